/* What docs/contract.md shows, and what the examples of evaluators say, is what mptune reads and
 * the shipped schema takes. */
#include "base/file.h"
#include "contract/answer.h"
#include "contract/event_reader.h"
#include "contract/job.h"
#include "json_schema.h"
#include "process/process.h"
#include "store_fixture.h"

static json_t *schema;

static int load_schema(void **state) {
  (void)state;
  schema = json_load_file(MPTUNE_SOURCE_DIR "/docs/contract.schema.json", 0, NULL);
  return schema == NULL;
}

static int free_schema(void **state) {
  (void)state;
  json_decref(schema);
  return 0;
}

static char *contents(const char *path) {
  char *text = NULL;
  size_t length;
  mpt_error error = {0};
  if (mpt_file_read(path, 1 << 20, &text, &length, &error) != MPT_OK)
    fail_msg("%s", error.message);
  return text;
}

static bool schema_takes(const char *definition, const char *line) {
  json_t *value = json_loads(line, 0, NULL);
  assert_non_null(value);
  const bool holds = schema_holds(schema, schema_reference(schema, definition), value);
  json_decref(value);
  return holds;
}

/* ---- the page ---- */

/* The next block of that language behind *at, cut out of the text; NULL where there is none. */
static char *next_block(char **at, const char *language) {
  char fence[20];
  snprintf(fence, sizeof fence, "\n```%s\n", language);
  char *begin = strstr(*at, fence);
  if (begin == NULL)
    return NULL;
  begin += strlen(fence);
  char *end = strstr(begin, "```\n");
  assert_non_null(end);
  *end = '\0';
  *at = end + 1;
  return begin;
}

static void take_line(answer *a, const char *line, int number) {
  event e;
  bool known;
  mpt_error error = {0};
  if (!schema_takes("#/$defs/event", line))
    fail_msg("the schema refuses %s", line);
  if (event_read(line, strlen(line), "docs/contract.md", number, &known, &e, &error) != MPT_OK)
    fail_msg("%s", error.message);
  assert_true(known);
  if (answer_take(a, &e, &error) != MPT_OK)
    fail_msg("%s: %s", line, error.message);
  event_clear(&e);
}

static void the_transcript_is_read(void **state) {
  (void)state;
  char *page = contents(MPTUNE_SOURCE_DIR "/docs/contract.md"), *at = page, *block;
  int blocks = 0, lines = 0;
  while ((block = next_block(&at, "jsonl")) != NULL) {
    answer a;
    const answer_terms terms = {.until = 3, .metric = "val_loss"};
    answer_begin(&a, &terms);
    for (char *rest = block, *line; (line = strsep(&rest, "\n")) != NULL && *line != '\0'; lines++)
      take_line(&a, line, lines);
    assert_int_equal(answer_check_end(&a, NULL), MPT_OK);
    assert_true(a.metric_heard || blocks == 0);
    answer_end(&a);
    blocks++;
  }
  assert_int_equal(blocks, 2);
  assert_int_equal(lines, 15);
  free(page);
}

static void the_jobs_of_the_page_are_jobs(void **state) {
  (void)state;
  char *page = contents(MPTUNE_SOURCE_DIR "/docs/contract.md"), *at = page;
  assert_true(schema_takes("#/$defs/job", next_block(&at, "json")));
  assert_true(schema_takes("#/$defs/answer", next_block(&at, "json")));
  assert_null(next_block(&at, "json"));
  free(page);
}

static void the_page_has_every_member(void **state) {
  (void)state;
  char *page = contents(MPTUNE_SOURCE_DIR "/docs/contract.md");
  for (int k = 0; k < EVENT_KIND_COUNT; k++)
    for (int i = 0; i < event_types[k].count; i++) {
      char word[100];
      snprintf(word, sizeof word, "`%s`", event_types[k].members[i].name);
      if (strstr(page, word) == NULL)
        fail_msg("docs/contract.md does not name %s of '%s'", word, event_types[k].name);
    }
  free(page);
}

static void the_page_shows_the_example(void **state) {
  (void)state;
  char *page = contents(MPTUNE_SOURCE_DIR "/docs/contract.md"), *at = page;
  char *example = contents(MPTUNE_SOURCE_DIR "/docs/examples/evaluator.py");
  assert_string_equal(next_block(&at, "python"), example);
  int lines = 0;
  for (const char *c = example; *c != '\0'; c++)
    lines += *c == '\n';
  assert_int_equal(lines, 40);
  free(example);
  free(page);
}

/* ---- the examples ---- */

typedef struct example_run {
  answer answer;
  int lines;
  char last[600];
  process_result result;
} example_run;

static void read_events(example_run *run, const char *path) {
  char *text = contents(path);
  for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL && *line != '\0';)
    take_line(&run->answer, line, ++run->lines);
  free(text);
}

/* Runs the example under a policy of that text, for `until` of 20 steps. */
static example_run run_example(void **state, const char *command, const char *policy_text,
                               int64_t until) {
  char policy[600], events[600], log[600];
  mpt_error error = {0};
  process *p = NULL;
  example_run run = {0};
  const answer_terms terms = {.until = until, .metric = "loss"};
  snprintf(policy, sizeof policy, "%s/policy.json", (const char *)*state);
  snprintf(events, sizeof events, "%s/events.jsonl", (const char *)*state);
  snprintf(log, sizeof log, "%s/log", (const char *)*state);
  assert_int_equal(mpt_file_write(policy, policy_text, strlen(policy_text), &error), MPT_OK);
  unlink(events);
  const job j = {.policy = policy, .seed = 3, .steps = 20, .until = until, .events = events};
  static const char *const more[] = {"MPTUNE=" MPTUNE_BINARY_DIR "/mptune", NULL};
  char **environment = job_environment(&j, more);
  process_options o = process_options_default();
  o.command = command;
  o.environment = (const char *const *)environment;
  o.log = log;
  o.limit = 60;
  if (process_start(&o, &p, &error) != MPT_OK)
    fail_msg("%s", error.message);
  free(environment);
  while (!process_wait(&p, 1, 10)) {
  }
  assert_true(process_ended(p, &run.result));
  process_last_lines(p, 3, run.last, sizeof run.last);
  process_close(p);
  if (run.result.code != 0)
    fail_msg("%s: %s", command, run.last);
  answer_begin(&run.answer, &terms);
  read_events(&run, events);
  if (answer_check_end(&run.answer, &error) != MPT_OK)
    fail_msg("%s", error.message);
  return run;
}

#define FP32 "{\"schema\": \"mptune/policy@1\", \"default\": \"fp32\"}"
#define MIXED                                                                                      \
  "{\"schema\": \"mptune/policy@1\", \"default\": \"fp32\", \"rules\": [{\"layers\": [\"*2\"], "   \
  "\"format\": \"fp32\", \"wgrad\": \"bf16\"}, {\"layers\": [\"fc[1]\"], \"format\": \"bf16\"}]}"

static double metric_of(void **state, const char *command, const char *policy) {
  example_run run = run_example(state, command, policy, 20);
  assert_true(run.answer.metric_heard);
  const double metric = run.answer.metric;
  answer_end(&run.answer);
  return metric;
}

static void check_example(void **state, const char *command) {
  example_run first = run_example(state, command, FP32, 0);
  assert_true(first.answer.layers.count >= 2);
  assert_false(first.answer.heard[EVENT_STEP] || first.answer.metric_heard);
  answer_end(&first.answer);
  const double fp32 = metric_of(state, command, FP32), mixed = metric_of(state, command, MIXED);
  assert_true(isfinite(fp32) && isfinite(mixed));
  assert_true(fp32 != mixed);                           /* the policy was applied */
  assert_true(fp32 == metric_of(state, command, FP32)); /* the same again */
  assert_true(fabs(fp32 - mixed) < 0.05 * fabs(fp32));
}

static void the_example_in_python_is_an_evaluator(void **state) {
  if (system("python3 -c 'import fnmatch, json, random' >/dev/null 2>&1") != 0)
    skip();
  check_example(state, "exec python3 " MPTUNE_SOURCE_DIR "/docs/examples/evaluator.py");
}

static void the_example_in_c_is_an_evaluator(void **state) {
  check_example(state, "exec " MPTUNE_BINARY_DIR "/tests/example_evaluator");
}

static void the_example_in_shell_is_an_evaluator(void **state) {
  if (access(MPTUNE_BINARY_DIR "/mptune", X_OK) != 0)
    skip();
  check_example(state, "exec sh " MPTUNE_SOURCE_DIR "/docs/examples/metric_only.sh");
}

int main(void) {
#define IN_DIRECTORY(test)                                                                         \
  cmocka_unit_test_setup_teardown(test, fixture_setup_in_memory, fixture_teardown)
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_transcript_is_read),
      cmocka_unit_test(the_jobs_of_the_page_are_jobs),
      cmocka_unit_test(the_page_has_every_member),
      cmocka_unit_test(the_page_shows_the_example),
      IN_DIRECTORY(the_example_in_python_is_an_evaluator),
      IN_DIRECTORY(the_example_in_c_is_an_evaluator),
      IN_DIRECTORY(the_example_in_shell_is_an_evaluator),
  };
  return cmocka_run_group_tests(tests, load_schema, free_schema);
}
