/* What is wrong with a note or a row of a run is said, with the remedy, by everything that reads
 * it: a search that continues, the report, the frontier. Nothing is read beyond its bounds: this
 * program is for the sanitizers, too. */
#include "base/progress.h"
#include "base/random.h"
#include "cli/commands.h"
#include "report/report.h"
#include "store/database.h"
#include "store/run_definition.h"
#include "store/run_faults.h"
#include "store/run_reference.h"
#include "store/run_scores.h"
#include "store/run_trajectory.h"
#include "store/run_winner.h"
#include "tiny_search.h"
#include <fcntl.h>
#include <jansson.h>
#include <sqlite3.h>
#include <sys/stat.h>

static void run_sql(const char *directory, const char *sql) {
  char path[700];
  sqlite3 *database = NULL;
  snprintf(path, sizeof path, "%s/run.sqlite", directory);
  assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
  if (sqlite3_exec(database, sql, NULL, NULL, NULL) != SQLITE_OK)
    fail_msg("%s: %s", sql, sqlite3_errmsg(database));
  sqlite3_close(database);
}

/* ---- each kind of damage, by its name ---- */

typedef struct wrong_note {
  const char *name, *json, *words;
} wrong_note;

static const wrong_note wrong_notes[] = {
    {"definition", "{", "the note 'definition' is no JSON: line 1"},
    {"definition", "1.0e+308", "in the note 'definition' the whole is not an object"},
    {"definition", "{\"name\": 5}", "in the note 'definition' name is not a text"},
    {"definition", "{\"name\": \"a\", \"name\": \"b\"}", "the note 'definition' is no JSON"},
    {"definition", "{\"started\": 1e30}", "started is not a time"},
    {"definition", "{\"target\": {\"times\": 3}}", "target.times is not a text"},
    {"definition", "{\"metric\": \"speed\"}", "metric is not a metric"},
    {"definition", "{\"metric_over\": \"all\"}", "metric_over is not held_out or population"},
    {"definition", "{\"budget\": {\"of\": \"metric\"}}", "budget.of is not error"},
    {"definition", "{\"versions\": {\"cpu_numerics\": -1}}", "cpu_numerics is not a count"},
    {"layers", "[{\"name\": \"a\"}, 3]", "[1] is not an object"},
    {"layers", "[{\"shape\": []}]", "[0].name is not a layer's name"},
    {"layers", "[{\"name\": \"a\", \"shape\": [3, -1]}]", "[0].shape[1] is not a count"},
    {"reference", "{\"seeds\": 3}", "seeds is not a list"},
    {"reference", "{\"margin\": -0.5}", "margin is not a number that is not negative"},
    {"scores@2 k", "{}", "in the note 'scores@2 k' the whole is not a list"},
    {"scores@2 k", "[{\"precision\": \"bf16\"}]", "[0].layer is not a layer's name"},
    {"scores@2 k", "[{\"layer\": \"a\", \"precision\": \"fp99\"}]",
     "[0].precision is not a precision"},
    {"scores@2 k", "[{\"layer\": \"a\", \"precision\": \"bf16\", \"forward\": []}]",
     "[0].forward is not a number"},
    {"scores@2 k",
     "[{\"layer\": \"a\", \"precision\": \"bf16\", \"operands\": {\"input\": {\"saturated\": 0.5, "
     "\"vanished\": 1.5}}}]",
     "[0].operands.input.vanished is not a share from 0 to 1"},
    {"sensitivity", "[{\"layer\": \"a\", \"precision\": \"bf16\", \"gemm\": \"x\"}]",
     "[0].gemm is not a GEMM"},
    {"winner", "{\"assignment\": {\"a\": \"fp99\"}}", ".a is not a layer's formats"},
    {"winner", "{\"rows\": [{}, 2]}", "rows[1] is not an object"},
    {"winner", "{\"verdict\": \"fine\"}", "verdict is not a verdict"},
    {"winner", "{\"rows\": [{\"accuracy\": {\"interval\": {\"confidence\": 2}}}]}",
     "rows[0].accuracy.interval.confidence is not a share from 0 to 1"},
    {"fault k", "[]", "in the note 'fault k' the whole is not a count"},
};

static void assert_damage(mpt_status status, const mpt_error *error, const char *words) {
  if (status != MPT_ERROR_DAMAGED || strstr(error->message, words) == NULL ||
      strstr(error->message, "run.sqlite' is damaged: ") == NULL ||
      strstr(error->message, "; start anew beside it (--fresh)") == NULL)
    fail_msg("'%s' is not said: status %s, '%s'", words, mpt_status_name(status), error->message);
}

/* By whoever reads notes of that kind. */
static mpt_status read_note(store *s, const char *name, mpt_error *error) {
  bool found = false;
  store_definition definition;
  store_layers layers;
  store_reference reference;
  store_scores scores;
  store_sensitivity sensitivity;
  store_winner winner;
  mpt_status status;
  if (strcmp(name, "definition") == 0) {
    status = store_get_definition(s, &definition, &found, error);
    store_definition_clear(&definition);
  } else if (strcmp(name, "layers") == 0) {
    status = store_get_layers(s, &layers, &found, error);
    store_layers_clear(&layers);
  } else if (strcmp(name, "reference") == 0) {
    status = store_get_reference(s, &reference, &found, error);
    store_reference_clear(&reference);
  } else if (strcmp(name, "scores@2 k") == 0) {
    status = store_get_scores(s, "k", &scores, &found, error);
    store_scores_clear(&scores);
  } else if (strcmp(name, "sensitivity") == 0) {
    status = store_get_sensitivity(s, &sensitivity, &found, error);
    store_sensitivity_clear(&sensitivity);
  } else if (strcmp(name, "winner") == 0) {
    status = store_get_winner(s, &winner, &found, error);
    store_winner_clear(&winner);
  } else {
    assert_string_equal(name, "fault k");
    status = store_has_fault(s, "k", &found, error);
  }
  assert_false(found);
  return status;
}

static void a_note_is_checked_by_its_kind(void **state) {
  for (size_t i = 0; i < sizeof wrong_notes / sizeof wrong_notes[0]; i++) {
    mpt_error error = {0};
    store *s = fixture_open(*state, STORE_WRITE);
    assert_int_equal(note_set(s, wrong_notes[i].name, wrong_notes[i].json, NULL), MPT_OK);
    assert_damage(read_note(s, wrong_notes[i].name, &error), &error, wrong_notes[i].words);
    store_close(s);
  }
}

static void fill_rows(const char *directory) {
  store *s = fixture_open(directory, STORE_WRITE);
  double losses[] = {1, 2};
  store_policy p = {.hash = "h", .label = "all-bf16", .assignment = (char *)"fc1 bf16\n"};
  store_evaluation e = {.key = "k",
                        .policy = "h",
                        .purpose = "uniform",
                        .steps = 2,
                        .steps_done = 2,
                        .losses = losses,
                        .loss_count = 2};
  store_time t = {.policy = "h", .device = "d", .seconds = 1};
  mpt_statistics x = {.count = 3, .full = true};
  x.histogram[127] = 3;
  assert_int_equal(store_put_policy(s, &p, NULL), MPT_OK);
  assert_int_equal(store_put_evaluation(s, &e, NULL), MPT_OK);
  assert_int_equal(store_put_time(s, &t, NULL), MPT_OK);
  assert_int_equal(store_put_statistics(s, "k", 0, "fc1", MPT_INPUT, &x, NULL), MPT_OK);
  const store_step step = {.evaluation = 1, .policy = "h", .label = "all-bf16"};
  assert_int_equal(store_put_step(s, &step, NULL), MPT_OK);
  store_close(s);
}

/* All rows of a store, read as the report and the search do. */
static mpt_status read_rows(const char *directory, mpt_error *error) {
  store *s = fixture_open(directory, STORE_READ);
  store_policy *policies = NULL;
  store_evaluation *evaluations = NULL;
  store_statistics *statistics = NULL;
  store_time t = {0};
  int count = 0, policy_count = 0, evaluation_count = 0;
  bool found;
  mpt_status status = store_all_policies(s, &policies, &policy_count, error);
  if (status == MPT_OK)
    status = store_all_evaluations(s, &evaluations, &evaluation_count, error);
  if (status == MPT_OK)
    status = store_all_statistics(s, NULL, &statistics, &count, error);
  if (status == MPT_OK)
    status = store_find_time(s, "h", "d", &found, &t, error);
  store_trajectory trajectory = {.count = 0};
  if (status == MPT_OK)
    status = store_get_trajectory(s, &trajectory, error);
  assert_int_equal(trajectory.count, status == MPT_OK);
  store_trajectory_clear(&trajectory);
  for (int i = 0; i < policy_count; i++)
    free(policies[i].assignment);
  for (int i = 0; i < evaluation_count; i++)
    store_evaluation_clear(&evaluations[i]);
  free(policies);
  free(evaluations);
  free(statistics);
  store_time_clear(&t);
  store_close(s);
  return status;
}

static void a_row_is_checked(void **state) {
  static const struct {
    const char *sql, *words;
  } wrong[] = {
      {"UPDATE policies SET assignment = 'fc1 fp99'", "gives formats that do not exist"},
      {"UPDATE policies SET assignment = 'fc1'", "gives formats that do not exist"},
      {"UPDATE policies SET assignment = x'00'", "a column 'assignment' is not a text"},
      {"UPDATE policies SET predicted_seconds = -1.0", "a step time below 0"},
      {"UPDATE policies SET predicted_seconds = 'x'",
       "a column 'predicted_seconds' is not a number"},
      {"UPDATE policies SET label = printf('%.*c', 70, 'x')", "a column 'label' is longer than 63"},
      {"UPDATE evaluations SET steps = -1", "a column 'steps' is -1"},
      {"UPDATE evaluations SET steps_done = 3", "a column 'steps_done' is 3"},
      {"UPDATE evaluations SET steps = NULL", "a column 'steps' is empty"},
      {"UPDATE evaluations SET metric = 'x'", "a column 'metric' is not a number"},
      {"UPDATE evaluations SET losses = x'0011'", "2 bytes of losses for 2 steps"},
      {"UPDATE evaluations SET losses = zeroblob(8)", "8 bytes of losses for 2 steps"},
      {"UPDATE evaluations SET losses = 'text of 16 bytes'", "a column 'losses' is not a blob"},
      {"UPDATE evaluations SET memory_bytes = -5", "a column 'memory_bytes' is -5"},
      {"UPDATE evaluations SET total_seconds = -0.5", "took a time below 0"},
      {"UPDATE evaluations SET key = ''", "has no key"},
      {"UPDATE statistics SET operand = -1", "a column 'operand' is -1"},
      {"UPDATE statistics SET operand = 3", "a column 'operand' is 3"},
      {"UPDATE statistics SET count = -4", "a column 'count' is -4"},
      {"UPDATE statistics SET count = 4", "do not add up"},
      {"UPDATE statistics SET zeros = 4", "do not add up"},
      {"UPDATE statistics SET histogram = zeroblob(8)", "do not add up"},
      {"UPDATE statistics SET amax_bits = 4294967296", "a column 'amax_bits' is 4294967296"},
      {"UPDATE trajectory SET seconds = -1.0", "a step time below 0"},
      {"UPDATE trajectory SET evaluation = -1", "a column 'evaluation' is -1"},
      {"UPDATE trajectory SET measured_change = 'x'", "a column 'measured_change' is not a number"},
      {"UPDATE trajectory SET label = x'00'", "a column 'label' is not a text"},
      {"UPDATE times SET seconds = -1.0", "a step time is -1"},
      {"UPDATE times SET seconds = 9e999", "a step time is inf"},
      {"UPDATE times SET parts = '{\"runs\": [{\"run\": \"a\", \"seconds\": 0}]}'",
       "in the parts of a step time runs[0].seconds is not a time above 0"},
      {"UPDATE times SET parts = '{\"runs\": [{\"run\": \"a\", \"seconds\": 1, \"deviation\": 0, "
       "\"steps\": 0}]}'",
       "runs[0].steps is not a count of at least 1"},
      {"UPDATE times SET parts = '[]'", "in the parts of a step time the whole is not an object"},
      {"UPDATE evaluations SET counters = '{'", "the counters of evaluation 1 is no JSON"},
      {"UPDATE evaluations SET counters = '[{\"blamed\": true}]'",
       "in the counters of evaluation 1 [0].layer is not a layer's name"},
      {"UPDATE evaluations SET counters = '[{\"layer\": \"a\", \"operand\": \"x\"}]'",
       "[0].operand is not an operand"},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    mpt_error error = {0};
    fixture_clear(*state);
    fill_rows(*state);
    assert_int_equal(read_rows(*state, &error), MPT_OK);
    run_sql(*state, wrong[i].sql);
    assert_damage(read_rows(*state, &error), &error, wrong[i].words);
  }
}

static int evaluations_in(const char *directory) {
  store *s = fixture_open(directory, STORE_READ);
  store_evaluation *all = NULL;
  int count = 0;
  assert_int_equal(store_all_evaluations(s, &all, &count, NULL), MPT_OK);
  for (int i = 0; i < count; i++)
    store_evaluation_clear(&all[i]);
  free(all);
  store_close(s);
  return count;
}

/* Statistics are put into words when the search is over. */
static void nothing_is_trained_beside_damaged_statistics(void **state) {
  char run[600];
  mpt_error error = {0};
  workload *w = tiny(*state, MLP ADAM "budget: {worse_by: 10%}\n");
  tuner_options options = options_in(*state, "run", run);
  tuner_summary summary = tune(w, &options);
  tuner_summary_clear(&summary);
  run_sql(run, "DELETE FROM evaluations WHERE purpose <> 'reference';"
               "UPDATE statistics SET zeros = count + 1 WHERE id = 5");
  const int before = evaluations_in(run);
  assert_true(before >= 3);
  assert_damage(tuner_run(w, &options, &summary, &error), &error, "do not add up");
  assert_int_equal(evaluations_in(run), before);
  workload_free(w);
}

/* ---- anything anywhere ---- */

static uint32_t drawn; /* how many random numbers were taken */

static uint32_t below(uint32_t limit) {
  uint32_t words[4];
  mpt_philox(20, drawn++, 0, words);
  return words[0] % limit;
}

/* Every value in `json`, in order; the one at *left is replaced. */
static json_t *replaced(json_t *json, int *left, json_t *by) {
  if ((*left)-- == 0)
    return json_incref(by);
  if (json_is_array(json))
    for (size_t i = 0; i < json_array_size(json) && *left >= 0; i++)
      json_array_set_new(json, i, replaced(json_array_get(json, i), left, by));
  const char *key;
  json_t *value;
  void *next;
  json_object_foreach_safe(json, next, key, value) {
    if (*left >= 0)
      json_object_set_new(json, key, replaced(value, left, by));
  }
  return json_incref(json);
}

static int size_of(const json_t *json) {
  int count = 1;
  size_t i;
  const char *key;
  json_t *value;
  json_array_foreach(json, i, value) {
    count += size_of(value);
  }
  json_object_foreach((json_t *)json, key, value) {
    count += size_of(value);
  }
  return count;
}

static json_t *odd_value(void) {
  switch (below(9)) {
  case 0:
    return json_null();
  case 1:
    return json_integer(-1);
  case 2:
    return json_real(1e308);
  case 3:
    return json_integer(INT64_MAX);
  case 4:
    return json_string("x");
  case 5:
    return json_true();
  case 6:
    return json_array();
  case 7:
    return json_real(0.0);
  default:
    return json_object();
  }
}

/* A note with one value replaced, or one byte. */
static char *mutated(const char *text, bool byte) {
  if (byte) {
    char *copy = strdup(text);
    const uint32_t at = below((uint32_t)strlen(text));
    copy[at] = (char)(copy[at] ^ (int)(1u << below(7)));
    return copy;
  }
  json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
  assert_non_null(json);
  int left = (int)below((uint32_t)size_of(json));
  json_t *by = odd_value(), *made = replaced(json, &left, by);
  char *changed = json_dumps(made, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
  json_decref(json);
  json_decref(made);
  json_decref(by);
  assert_non_null(changed);
  return changed;
}

/* A run that was made once, and is damaged again and again. */
typedef struct whole_run {
  workload *w;
  tuner_options options;
  char run[600], file[700];
  char *bytes;
  size_t length;
  char last[2000]; /* what was done to it */
  char failure[3000];
} whole_run;

static void read_file(whole_run *r) {
  struct stat about = {0};
  const int file = open(r->file, O_RDONLY);
  assert_true(file >= 0 && fstat(file, &about) == 0);
  r->length = (size_t)about.st_size;
  r->bytes = malloc(r->length);
  assert_int_equal(read(file, r->bytes, r->length), r->length);
  close(file);
}

static void restore(const whole_run *r) {
  char beside[720];
  snprintf(beside, sizeof beside, "%s-wal", r->file);
  unlink(beside);
  snprintf(beside, sizeof beside, "%s-shm", r->file);
  unlink(beside);
  const int file = open(r->file, O_WRONLY | O_TRUNC);
  assert_true(file >= 0);
  assert_int_equal(write(file, r->bytes, r->length), r->length);
  close(file);
}

/* Its exit code; what it prints is for nobody. */
static int quiet_frontier(const char *run) {
  const cli_values values = {.arguments = {run}, .argument_count = 1, .json = true};
  const int null = open("/dev/null", O_WRONLY), out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
  fflush(stdout);
  dup2(null, STDOUT_FILENO);
  dup2(null, STDERR_FILENO);
  const int code = command_frontier.run(&values);
  fflush(stdout);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  close(null), close(out), close(err);
  return code;
}

static void note_failure(whole_run *r, const char *who, const mpt_error *error) {
  if (r->failure[0] == '\0')
    snprintf(r->failure, sizeof r->failure, "%s: %s: %s", r->last, who, error->message);
}

/* Whatever it comes to, it is a result or an error that says what to do. */
static void read_everything(whole_run *r) {
  for (int kind = REPORT_HTML; kind <= REPORT_JSON; kind++) {
    mpt_error error = {0};
    char *text = NULL;
    const mpt_status status = report_text(r->run, (report_kind)kind, &text, &error);
    if (status != MPT_OK && status != MPT_ERROR_DAMAGED)
      note_failure(r, "report", &error);
    free(text);
  }
  const int code = quiet_frontier(r->run);
  if (code != EXIT_DONE && code != EXIT_FAILED && code != EXIT_USAGE)
    note_failure(r, "frontier", &(mpt_error){.message = "an odd exit code"});
  tuner_summary summary = {0};
  mpt_error error = {0};
  const mpt_status status = tuner_run(r->w, &r->options, &summary, &error);
  if (status != MPT_OK && status != MPT_ERROR_DAMAGED && status != MPT_ERROR_MISMATCH &&
      status != MPT_ERROR_NONFINITE && status != MPT_ERROR_ARGUMENT)
    note_failure(r, "tune", &error);
  tuner_summary_clear(&summary);
}

static void mutate_notes(whole_run *r, int each) {
  char names[64][100];
  int count = 0;
  sqlite3 *database = NULL;
  sqlite3_stmt *rows = NULL;
  assert_int_equal(sqlite3_open(r->file, &database), SQLITE_OK);
  assert_int_equal(sqlite3_prepare_v2(database, "SELECT name FROM notes", -1, &rows, NULL),
                   SQLITE_OK);
  while (sqlite3_step(rows) == SQLITE_ROW && count < 64)
    snprintf(names[count++], sizeof names[0], "%.99s", sqlite3_column_text(rows, 0));
  sqlite3_finalize(rows);
  sqlite3_close(database);
  assert_true(count >= 6);
  for (int n = 0; n < count; n++) {
    for (int i = 0; i < each; i++) {
      char *text = NULL;
      restore(r);
      store *s = fixture_open(r->run, STORE_WRITE);
      assert_int_equal(note_get(s, names[n], &text, NULL), MPT_OK);
      char *changed = mutated(text, i % 3 == 2);
      snprintf(r->last, sizeof r->last, "%.99s: %.1800s", names[n], changed);
      assert_int_equal(note_set(s, names[n], changed, NULL), MPT_OK);
      free(text);
      free(changed);
      store_close(s);
      read_everything(r);
    }
  }
}

static void mutate_rows(whole_run *r, int each) {
  static const char *const tables[] = {"policies",   "evaluations", "times",     "statistics",
                                       "conditions", "attempts",    "processes", "trajectory"};
  static const char *const values[] = {
      "NULL", "-1",     "9223372036854775807",      "1e300", "'x'", "x'00'", "zeroblob(2048)",
      "0",    "-9e999", "printf('%.*c', 3000, 'y')"};
  for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
    char columns[32][40], sql[2000];
    int count = 0;
    sqlite3 *database = NULL;
    sqlite3_stmt *rows = NULL;
    restore(r);
    snprintf(sql, sizeof sql,
             "SELECT name FROM pragma_table_info('%s') WHERE pk = 0 OR type <> 'INTEGER'",
             tables[t]);
    assert_int_equal(sqlite3_open(r->file, &database), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(database, sql, -1, &rows, NULL), SQLITE_OK);
    while (sqlite3_step(rows) == SQLITE_ROW && count < 32)
      snprintf(columns[count++], sizeof columns[0], "%.39s", sqlite3_column_text(rows, 0));
    sqlite3_finalize(rows);
    sqlite3_close(database);
    for (int c = 0; c < count; c++) {
      for (int i = 0; i < each; i++) {
        restore(r);
        snprintf(sql, sizeof sql, /* OR IGNORE: what the table itself refuses stays */
                 "UPDATE OR IGNORE %s SET %s = %s WHERE rowid = (SELECT rowid FROM %s LIMIT 1 "
                 "OFFSET (SELECT %u %% max(1, count(*)) FROM %s))",
                 tables[t], columns[c], values[below(10)], tables[t], below(1000), tables[t]);
        snprintf(r->last, sizeof r->last, "%s", sql);
        run_sql(r->run, sql);
        read_everything(r);
      }
    }
  }
}

static void nothing_that_is_changed_does_harm(void **state) {
  whole_run r = {0};
  const char *more = getenv("MPTUNE_MUTATIONS"); /* many times as many */
  const int times = more == NULL ? 1 : atoi(more);
  mpt_log_configure(0, MPT_COLOR_NEVER);
  r.w = tiny(*state, MLP ADAM "budget: {worse_by: 10%}\nexclude: [fp32]\n");
  r.options = options_in(*state, "run", r.run);
  r.options.target = "here";
  r.options.emulated_times = true;
  snprintf(r.file, sizeof r.file, "%s/run.sqlite", r.run);
  tuner_summary summary = tune(r.w, &r.options);
  tuner_summary_clear(&summary);
  read_file(&r);
  mutate_notes(&r, 6 * times);
  mutate_rows(&r, 1 * times);
  if (r.failure[0] != '\0')
    fail_msg("%s", r.failure);
  free(r.bytes);
  workload_free(r.w);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup_in_memory, fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_note_is_checked_by_its_kind),
      TEST(a_row_is_checked),
      TEST(nothing_is_trained_beside_damaged_statistics),
      TEST(nothing_that_is_changed_does_harm),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
