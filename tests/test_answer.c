/* What a program says in a run, taken together; and what it is asked. */
#include "contract/answer.h"
#include "contract/job.h"
#include "contract/policy_json.h"
#include "json_schema.h"
#include "near.h"
#include <stdio.h>
#include <stdlib.h>

#define HELLO "{\"event\": \"hello\", \"protocol\": 1, \"program\": \"p\"}"
#define LAYERS                                                                                     \
  "{\"event\": \"layers\", \"layers\": [{\"name\": \"a\", \"kind\": \"linear\", \"shape\": [4, "   \
  "8]}, {\"name\": \"b\", \"kind\": \"linear\", \"shape\": [2, 4]}, {\"name\": \"s\", \"kind\": "  \
  "\"softmax\", \"shape\": [2]}]}"
#define APPLIED(a, b, s)                                                                           \
  "{\"event\": \"applied\", \"layers\": [{\"name\": \"b\", \"format\": \"" b                       \
  "\"}, {\"name\": \"a\", \"format\": \"" a "\"}, {\"name\": \"s\", \"format\": \"" s "\"}]}"
#define STEP(step, loss) "{\"event\": \"step\", \"step\": " #step ", \"loss\": " #loss "}"
#define METRIC(name, value)                                                                        \
  "{\"event\": \"metric\", \"name\": \"" name "\", \"value\": " #value ", \"goal\": \"max\"}"

static const mpt_layer_info layers[] = {
    {.name = "a", .kind = "linear", .rank = 2, .shape = {4, 8}},
    {.name = "b", .kind = "linear", .rank = 2, .shape = {2, 4}},
    {.name = "s", .kind = "softmax", .rank = 1, .shape = {2}},
};

static answer_terms terms_of(const mpt_layer_policy *formats) {
  return (answer_terms){
      .until = 100, .metric = "accuracy", .layers = layers, .layer_count = 3, .formats = formats};
}

/* Gives the lines to the answer; the status of the first that is refused. */
static mpt_status hear(answer *a, const char *const *lines, mpt_error *error) {
  for (; *lines != NULL; lines++) {
    event e;
    bool known;
    assert_int_equal(event_read(*lines, strlen(*lines), "events", 1, &known, &e, error), MPT_OK);
    assert_true(known);
    const mpt_status status = answer_take(a, &e, error);
    event_clear(&e);
    if (status != MPT_OK)
      return status;
  }
  return MPT_OK;
}

static void uniform(mpt_precision precision, mpt_layer_policy formats[3]) {
  for (int i = 0; i < 3; i++) {
    const mpt_layer_policy own = mpt_layer_policy_of(precision);
    formats[i] = mpt_layer_policy_for(layers[i].kind, &own);
  }
}

/* ---- a run ---- */

static void a_run_is_taken_together(void **state) {
  (void)state;
  static const char *const lines[] = {
      HELLO,
      LAYERS,
      APPLIED("fp8", "fp8", "bf16"),
      "{\"event\": \"step\", \"step\": 10, \"loss\": 2.5, \"seconds\": 0.5}",
      STEP(11, null),
      STEP(14, 1.5),
      "{\"event\": \"skipped\", \"step\": 11}",
      "{\"event\": \"nonfinite\", \"step\": 11, \"layer\": \"b\", \"operand\": \"weight\"}",
      "{\"event\": \"nonfinite\", \"step\": 12}",
      METRIC("f1", 0.1),
      METRIC("accuracy", 0.5),
      METRIC("accuracy", 0.75),
      METRIC("f1", 0.2),
      "{\"event\": \"done\", \"steps\": 5}",
      NULL};
  mpt_layer_policy formats[3];
  mpt_error error = {0};
  uniform(MPT_PRECISION_FP8, formats);
  answer_terms terms = terms_of(formats);
  terms.start = 10;
  answer a;
  answer_begin(&a, &terms);
  if (hear(&a, lines, &error) != MPT_OK)
    fail_msg("%s", error.message);
  assert_int_equal(answer_check_end(&a, &error), MPT_OK);
  assert_int_equal(a.layers.count, 3);
  assert_int_equal(a.loss_count, 5);
  assert_near(a.losses[0], 2.5, 0);
  assert_true(isnan(a.losses[1]) && isnan(a.losses[2]) && isnan(a.losses[3]));
  assert_near(a.losses[4], 1.5, 0);
  assert_int_equal(a.second_count, 1);
  assert_near(a.seconds[0], 0.5, 0);
  assert_int_equal(a.nonfinite_step, 11);
  assert_int_equal(a.nonfinite.step, 11);
  assert_string_equal(a.nonfinite.layer, "b");
  assert_int_equal(a.skipped, 1);
  assert_true(a.metric_heard && a.larger_is_better);
  assert_near(a.metric, 0.75, 0);
  assert_string_equal(a.other_metric, "f1");
  answer_end(&a);
}

typedef struct disorder {
  const char *lines[6], *message;
  mpt_status status;
} disorder;

static const disorder disorders[] = {
    {{LAYERS}, "event 'layers' came before 'hello'; 'hello' is the first", MPT_ERROR_SYNTAX},
    {{HELLO, HELLO},
     "event 'hello' came twice; of several processes rank 0 alone writes events",
     MPT_ERROR_SYNTAX},
    {{"{\"event\": \"hello\", \"protocol\": 2, \"program\": \"p\"}"},
     "the program speaks version 2 of the contract, and this mptune 1; use a version of the "
     "program's library that MPTUNE_PROTOCOL names",
     MPT_ERROR_VERSION},
    {{HELLO, APPLIED("bf16", "bf16", "bf16")},
     "event 'applied' came before 'layers'; name the layers first",
     MPT_ERROR_SYNTAX},
    {{HELLO, LAYERS, STEP(0, 1)},
     "event 'step' came before 'applied'; say first which formats each layer has",
     MPT_ERROR_SYNTAX},
    {{HELLO, LAYERS, APPLIED("bf16", "bf16", "bf16"), STEP(3, 1), STEP(3, 1)},
     "step 3 came after step 3; steps go up, and of several processes rank 0 alone writes events",
     MPT_ERROR_SYNTAX},
    {{HELLO, LAYERS, APPLIED("bf16", "bf16", "bf16"), STEP(100, 1)},
     "step 100 is none of those to run; they begin with MPTUNE_START, 0, and end before "
     "MPTUNE_UNTIL, 100",
     MPT_ERROR_SYNTAX},
    {{HELLO, LAYERS, APPLIED("bf16", "bf16", "bf16"), "{\"event\": \"done\"}", STEP(1, 1)},
     "event 'step' came after 'done'; 'done' is the last",
     MPT_ERROR_SYNTAX},
    {{HELLO, "{\"event\": \"layers\", \"layers\": [{\"name\": \"a\", \"kind\": \"linear\", "
             "\"shape\": [4, 9]}]}"},
     "layer 'a' is linear [4, 9], and was linear [4, 8] in the first run; the model must be the "
     "same in every run; another model is another search (--fresh)",
     MPT_ERROR_MISMATCH},
    {{HELLO, "{\"event\": \"layers\", \"layers\": [{\"name\": \"z\", \"kind\": \"linear\", "
             "\"shape\": [4, 8]}]}"},
     "layer 0 is 'z', and was 'a' in the first run; the model must be the same in every run; "
     "another model is another search (--fresh)",
     MPT_ERROR_MISMATCH},
    {{HELLO, "{\"event\": \"layers\", \"layers\": [{\"name\": \"a\", \"kind\": \"linear\", "
             "\"shape\": [4, 8]}]}"},
     "there are 1 layers, and were 3 in the first run; the model must be the same in every run; "
     "another model is another search (--fresh)",
     MPT_ERROR_MISMATCH},
    {{HELLO, LAYERS, APPLIED("bf16", "fp32", "bf16")},
     "the formats that were applied are not those that were asked: layer 'b' got fp32 in fprop, "
     "and the policy says bf16; apply the file that MPTUNE_POLICY names to each product, or leave "
     "what you cannot apply out of hello's formats",
     MPT_ERROR_MISMATCH},
    {{HELLO, LAYERS, APPLIED("fprop=bf16,dgrad=bf16,wgrad=fp32", "bf16", "fp32")},
     "the formats that were applied are not those that were asked: layer 'a' got fp32 in wgrad, "
     "and the policy says bf16, and it is not the only one; apply",
     MPT_ERROR_MISMATCH},
    {{HELLO, LAYERS,
      "{\"event\": \"applied\", \"layers\": [{\"name\": \"a\", \"format\": "
      "\"bf16\"}]}"},
     "the formats that were applied are not those that were asked: layer 'b' is not among them, "
     "and it is not the only one; apply",
     MPT_ERROR_MISMATCH},
    {{HELLO, LAYERS,
      "{\"event\": \"applied\", \"layers\": [{\"name\": \"a\", \"format\": "
      "\"bf16\"}, {\"name\": \"b\", \"format\": \"bf16\"}, {\"name\": \"s\", "
      "\"format\": \"bf16\"}, {\"name\": \"c\", \"format\": \"bf16\"}]}"},
     "formats were applied to 1 layers that the event 'layers' does not name; name every layer "
     "that has a format",
     MPT_ERROR_MISMATCH},
};

static void what_is_out_of_order_is_named(void **state) {
  (void)state;
  mpt_layer_policy formats[3];
  uniform(MPT_PRECISION_BF16, formats);
  const answer_terms terms = terms_of(formats);
  for (size_t i = 0; i < sizeof disorders / sizeof disorders[0]; i++) {
    mpt_error error = {0};
    answer a;
    answer_begin(&a, &terms);
    const mpt_status status = hear(&a, disorders[i].lines, &error);
    answer_end(&a);
    if (status != disorders[i].status ||
        strncmp(error.message, disorders[i].message, strlen(disorders[i].message)) != 0)
      fail_msg("%zu: %s: %s", i, mpt_status_name(status), error.message);
  }
}

static void what_is_missing_at_the_end_is_named(void **state) {
  (void)state;
  static const char *const lines[] = {HELLO, LAYERS, NULL};
  const answer_terms terms = terms_of(NULL);
  mpt_error error = {0};
  answer a;
  answer_begin(&a, &terms);
  assert_int_equal(answer_check_end(&a, &error), MPT_ERROR_SYNTAX);
  assert_string_equal(error.message, "the program ended without the event 'hello'; append it to "
                                     "the file that MPTUNE_EVENTS names");
  assert_int_equal(hear(&a, lines, &error), MPT_OK);
  assert_int_equal(answer_check_end(&a, &error), MPT_ERROR_SYNTAX);
  assert_non_null(strstr(error.message, "the event 'applied'"));
  answer_end(&a);
}

/* ---- formats, product by product ---- */

static mpt_status check(const char *asked, const char *applied, mpt_error *error) {
  char line[400];
  event e;
  bool known;
  mpt_layer_policy formats;
  assert_int_equal(mpt_layer_policy_parse(asked, &formats, NULL), MPT_OK);
  snprintf(line, sizeof line, "{\"event\": \"applied\", \"layers\": [{\"name\": \"a\", %s}]}",
           applied);
  if (event_read(line, strlen(line), "events", 1, &known, &e, error) != MPT_OK)
    fail_msg("%s: %s", line, error->message);
  const mpt_status status = applied_check(layers, &formats, 1, &e.applied, error);
  event_clear(&e);
  return status;
}

static void every_product_is_compared(void **state) {
  (void)state;
  static const struct {
    const char *asked, *applied;
    mpt_status status;
  } cases[] = {
      {"fp8", "\"format\": \"fp8\"", MPT_OK},
      {"fp8", "\"format\": \"bf16\"", MPT_ERROR_MISMATCH},
      {"fprop=fp8,dgrad=bf16,wgrad=bf16", "\"format\": \"fp8\"", MPT_ERROR_MISMATCH},
      {"fprop=fp8,dgrad=bf16,wgrad=bf16", "\"format\": \"bf16\", \"fprop\": \"fp8\"", MPT_OK},
      {"fprop=bf16,dgrad=bf16,wgrad=tf32", "\"format\": \"bf16\"", MPT_ERROR_MISMATCH},
      /* sums and scaling count where the program speaks of them */
      {"fprop=fp8+fast,dgrad=fp8,wgrad=fp8", "\"format\": \"fp8\"", MPT_OK},
      {"fprop=fp8+fast,dgrad=fp8,wgrad=fp8",
       "\"format\": \"fp8\", \"fprop\": {\"input\": \"fp8_e4m3\", \"weight\": \"fp8_e4m3\", "
       "\"accumulate\": \"split\"}",
       MPT_ERROR_MISMATCH},
      {"fp8:delayed/16/0", "\"format\": \"fp8\"", MPT_OK},
      {"fp8:delayed/16/0", "\"format\": \"fp8:delayed/16/0\"", MPT_OK},
      {"fp8:delayed/16/0", "\"format\": \"fp8:delayed/4/0\"", MPT_ERROR_MISMATCH},
      {"fp8",
       "\"format\": \"fp8\", \"scaling\": {\"mode\": \"delayed\", \"history\": 1, "
       "\"margin\": 0}",
       MPT_ERROR_MISMATCH},
      /* operands */
      {"fp8", "\"format\": \"fp8\", \"fprop\": {\"input\": \"fp8_e4m3\", \"weight\": \"fp8_e4m3\"}",
       MPT_OK},
      {"fp8", "\"format\": \"fp8\", \"fprop\": {\"input\": \"fp8_e5m2\", \"weight\": \"fp8_e4m3\"}",
       MPT_ERROR_MISMATCH},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    mpt_error error = {0};
    if (check(cases[i].asked, cases[i].applied, &error) != cases[i].status)
      fail_msg("%s asked, %s applied: %s", cases[i].asked, cases[i].applied, error.message);
  }
}

/* ---- what is asked ---- */

static void a_job_is_variables_and_a_line(void **state) {
  (void)state;
  static const char *const more[] = {"CUDA_VISIBLE_DEVICES=3", NULL};
  static const char *const expected[] = {"MPTUNE_PROTOCOL=1",
                                         "MPTUNE_MODE=observe",
                                         "MPTUNE_POLICY=/r/p.json",
                                         "MPTUNE_SEED=18446744073709551615",
                                         "MPTUNE_STEPS=2000",
                                         "MPTUNE_START=100",
                                         "MPTUNE_UNTIL=200",
                                         "MPTUNE_FROM=/r/at 100",
                                         "MPTUNE_SAVE=",
                                         "MPTUNE_EVENTS=/r/e.jsonl",
                                         "MPTUNE_STATS_EVERY=50",
                                         "CUDA_VISIBLE_DEVICES=3"};
  job j = {.mode = JOB_OBSERVE,
           .policy = "/r/p.json",
           .seed = UINT64_MAX,
           .steps = 2000,
           .start = 100,
           .until = 200,
           .from = "/r/at 100",
           .events = "/r/e.jsonl",
           .statistics_every = 50};
  char **all = job_environment(&j, more);
  assert_non_null(all);
  for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
    assert_string_equal(all[i], expected[i]);
  assert_null(all[sizeof expected / sizeof expected[0]]);
  free(all);

  j.seed = 7;
  char *text = NULL;
  mpt_error error = {0};
  assert_int_equal(job_json(&j, 12, &text, &error), MPT_OK);
  assert_null(strchr(text, '\n'));
  json_t *schema = json_load_file(MPTUNE_SOURCE_DIR "/docs/contract.schema.json", 0, NULL);
  json_t *line = json_loads(text, 0, NULL);
  assert_non_null(schema);
  assert_true(schema_holds(schema, schema_reference(schema, "#/$defs/job"), line));
  assert_int_equal(json_integer_value(json_object_get(line, "job")), 12);
  assert_true(json_is_null(json_object_get(line, "save")));
  json_decref(line);
  json_decref(schema);
  free(text);
}

static void a_policy_as_json_is_the_policy(void **state) {
  (void)state;
  static const char yaml[] =
      "schema: mptune/policy@1\nname: \"12\"\ndefault: bf16\nrules:\n"
      "  - layers: [\"a*\", \"[!b].x\"]\n    format: fp8\n"
      "    scaling: {mode: delayed, history: 16, margin: 1}\n"
      "  - layers: [\"b\"]\n    fprop: fp8\n    dgrad: {grad_output: fp8_e4m3, weight: fp8_e4m3, "
      "accumulate: fast}\n    wgrad: tf32\n"
      "loss_scale: {mode: static, initial: 1024.0}\n"
      "layers:\n  - {name: \"a\", kind: linear, shape: [4, 8], rows: 3}\n"
      "provenance:\n  tool: \"1.10\"\n";
  mpt_policy *first = NULL, *second = NULL;
  char *json = NULL, *a = NULL, *b = NULL;
  mpt_error error = {0};
  if (mpt_policy_parse(yaml, strlen(yaml), "yaml", &first, &error) != MPT_OK ||
      policy_json(first, &json, &error) != MPT_OK ||
      mpt_policy_parse(json, strlen(json), "json", &second, &error) != MPT_OK)
    fail_msg("%s", error.message);
  json_t *parsed = json_loads(json, 0, NULL);
  assert_non_null(parsed);
  assert_true(json_is_string(json_object_get(parsed, "name"))); /* though it looks like a number */
  json_decref(parsed);
  assert_int_equal(mpt_policy_text(first, &a, &error), MPT_OK);
  assert_int_equal(mpt_policy_text(second, &b, &error), MPT_OK);
  assert_string_equal(a, b);
  free(a);
  free(b);
  free(json);
  mpt_policy_free(first);
  mpt_policy_free(second);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_run_is_taken_together),
      cmocka_unit_test(what_is_out_of_order_is_named),
      cmocka_unit_test(what_is_missing_at_the_end_is_named),
      cmocka_unit_test(every_product_is_compared),
      cmocka_unit_test(a_job_is_variables_and_a_line),
      cmocka_unit_test(a_policy_as_json_is_the_policy),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
