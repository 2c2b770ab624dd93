/* Workloads that a program trains: a file, the command line, or both. */
#include "near.h"
#include "store_fixture.h"
#include "workload/workload.h"

static const char *write_file(void **state, const char *name, const char *text) {
  static char path[600];
  snprintf(path, sizeof path, "%s/%s", (const char *)*state, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fprintf(file, "schema: mptune/workload@1\n%s", text);
  fclose(file);
  return path;
}

#define WHOLE                                                                                      \
  "command: python train.py --lr 3e-4\nsteps: 2000\nmetric: val_loss\nbudget: {worse_by: 0.5%}\n"

static void a_file_is_enough(void **state) {
  workload *w = NULL;
  mpt_error error = {0};
  const workload_given nothing = {.steps = 0};
  const char *path = write_file(state, "net.yaml",
                                WHOLE "pins: [{layers: \"head\", format: bf16}]\nexclude: [fp16]\n"
                                      "reference: bf16\ntarget: synthetic-bits\n");
  assert_true(workload_is_program(path));
  if (workload_load_program(path, &nothing, &w, &error) != MPT_OK)
    fail_msg("%s", error.message);
  assert_string_equal(w->name, "net");
  assert_string_equal(w->command, "python train.py --lr 3e-4");
  assert_string_equal(w->metric_name, "val_loss");
  assert_int_equal(w->metric, METRIC_NAMED);
  assert_false(workload_larger_is_better(w));
  assert_int_equal(w->steps, 2000);
  assert_true(w->budget.relative);
  assert_near(w->budget.worse_by, 0.005, 1e-15);
  assert_int_equal(w->pin_count, 1);
  assert_int_equal(w->excluded, 1u << MPT_PRECISION_FP16);
  assert_int_equal(w->reference, MPT_PRECISION_BF16);
  assert_null(w->text);
  workload_free(w);
}

static void the_command_line_is_enough(void **state) {
  (void)state;
  workload *w = NULL;
  mpt_error error = {0};
  const workload_given given = {.command = "sh 'a \"b\".sh' \xc3\xa9",
                                .metric = "top-1:accuracy:max",
                                .budget = "0.01",
                                .steps = 30};
  if (workload_load_program(NULL, &given, &w, &error) != MPT_OK)
    fail_msg("%s", error.message);
  assert_string_equal(w->name, "program");
  assert_string_equal(w->command, given.command);
  assert_string_equal(w->target, "");
  assert_string_equal(w->metric_name, "top-1:accuracy");
  assert_true(workload_larger_is_better(w));
  assert_false(w->budget.relative);
  assert_near(w->budget.worse_by, 0.01, 0);
  assert_non_null(strstr(w->text, "mptune/workload@1"));
  workload_free(w);
}

static void the_command_line_says_more(void **state) {
  workload *w = NULL;
  mpt_error error = {0};
  const workload_given given = {.command = "other", .steps = 7};
  const char *path = write_file(state, "net.yaml", WHOLE);
  if (workload_load_program(path, &given, &w, &error) != MPT_OK)
    fail_msg("%s", error.message);
  assert_string_equal(w->command, "other");
  assert_int_equal(w->steps, 7);
  assert_string_equal(w->metric_name, "val_loss");
  workload_free(w);
}

/* Trainings of two programs, or metrics, are never compared. */
static void what_decides_results_is_hashed(void **state) {
  (void)state;
  static const workload_given all[] = {
      {"a", "m", "1%", 5},     {"b", "m", "1%", 5}, {"a", "n", "1%", 5},
      {"a", "m:max", "1%", 5}, {"a", "m", "1%", 6}, {"a", "m:min", "2%", 5}}; /* as the first */
  char hashes[6][65];
  for (int i = 0; i < 6; i++) {
    workload *w = NULL;
    assert_int_equal(workload_load_program(NULL, &all[i], &w, NULL), MPT_OK);
    assert_int_equal(workload_training_hash(w, hashes[i], NULL), MPT_OK);
    workload_free(w);
    for (int j = 0; j < i; j++)
      assert_int_equal(strcmp(hashes[i], hashes[j]) == 0, i == 5 && j == 0);
  }
}

typedef struct refusal {
  const char *text; /* of a file; NULL: none */
  workload_given given;
  const char *message;
} refusal;

static const refusal refusals[] = {
    {NULL,
     {.metric = "m", .budget = "1%", .steps = 5},
     "a search with a program needs a program: --command 'python train.py', or 'command' in the "
     "workload"},
    {NULL,
     {.command = "a", .budget = "1%", .steps = 5},
     "a search with a program needs a metric: --metric val_loss, or 'metric' in the workload"},
    {NULL,
     {.command = "a", .metric = "m", .steps = 5},
     "a search with a program needs a budget: --budget 0.5%, or 'budget' in the workload"},
    {NULL,
     {.command = "a", .metric = "m", .budget = "1%"},
     "a search with a program needs a length: --steps 2000, or 'steps' in the workload"},
    {NULL,
     {.command = "a", .metric = "m:best", .budget = "1%", .steps = 5},
     "metric 'm:best': behind the ':' stands which is better, min or max"},
    {NULL,
     {.command = "a", .metric = ":max", .budget = "1%", .steps = 5},
     "a metric's name has 1 to 63 bytes"},
    {NULL, {.command = "a", .metric = "m", .budget = "-1%", .steps = 5}, "worse_by is -1%"},
    {NULL, {.command = "a", .metric = "m", .budget = "1% ]", .steps = 5}, "worse_by is '1% ]'"},
    {"command: a\nmodel: {preset: mlp}\n", {.steps = 0}, "'model'"},
    {"command: a\nsteps: 0\n", {.steps = 0}, "steps"},
};

static void what_is_missing_or_too_much_is_named(void **state) {
  for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
    const refusal *r = &refusals[i];
    workload *w = NULL;
    mpt_error error = {0};
    const char *path = r->text != NULL ? write_file(state, "net.yaml", r->text) : NULL;
    assert_int_not_equal(workload_load_program(path, &r->given, &w, &error), MPT_OK);
    assert_null(w);
    if (strstr(error.message, r->message) == NULL)
      fail_msg("'%s' is not in: %s", r->message, error.message);
    assert_int_equal(error.file[0] != '\0', r->text != NULL);
  }
}

static void the_built_in_trainer_does_not_take_it(void **state) {
  workload *w = NULL;
  mpt_error error = {0};
  const char *path = write_file(state, "net.yaml", WHOLE);
  assert_int_equal(workload_load(path, &w, &error), MPT_ERROR_SYNTAX);
  assert_string_equal(error.message, "this workload is trained by a program, which 'mptune tune' "
                                     "runs; everything else needs a model and data");
  assert_int_equal(error.line, 2);
  assert_false(workload_is_program("tiny-classifier"));
  assert_false(workload_is_program("/no/such/file"));
}

int main(void) {
#define IN_DIRECTORY(test)                                                                         \
  cmocka_unit_test_setup_teardown(test, fixture_setup_in_memory, fixture_teardown)
  const struct CMUnitTest tests[] = {
      IN_DIRECTORY(a_file_is_enough),
      cmocka_unit_test(the_command_line_is_enough),
      IN_DIRECTORY(the_command_line_says_more),
      cmocka_unit_test(what_decides_results_is_hashed),
      IN_DIRECTORY(what_is_missing_or_too_much_is_named),
      IN_DIRECTORY(the_built_in_trainer_does_not_take_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
