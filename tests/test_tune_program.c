/* Whole searches with a program: none is lost by what the program does under one policy. */
#include "store_fixture.h"
#include "tuner/tuner.h"
#include "workload/workload.h"

static workload *program(const char *arguments) {
  static char command[800];
  mpt_error error = {0};
  workload *w = NULL;
  snprintf(command, sizeof command, "exec sh %s/tests/data/program.sh %s", MPTUNE_SOURCE_DIR,
           arguments);
  const workload_given given = {
      .command = command, .metric = "val_loss", .budget = "5%", .steps = 12};
  if (workload_load_program(NULL, &given, &w, &error) != MPT_OK)
    fail_msg("%s", error.message);
  return w;
}

static mpt_status tune(void **state, const char *arguments, tuner_summary *summary,
                       mpt_error *error) {
  char run[600];
  tuner_options options = tuner_options_default();
  workload *w = program(arguments);
  snprintf(run, sizeof run, "%s/run", (const char *)*state);
  fixture_clear(run);
  options.run = run;
  options.target = "synthetic-bits";
  options.pairs = 4;
  options.limit = strstr(arguments, "hangs") != NULL ? 0.5 : 0;
  const mpt_status status = tuner_run(w, &options, summary, error);
  workload_free(w);
  return status;
}

static const tuner_row *row(const tuner_summary *summary, const char *label) {
  for (int i = 0; i < summary->row_count; i++)
    if (strcmp(summary->rows[i].label, label) == 0)
      return &summary->rows[i];
  fail_msg("no row '%s'", label);
  abort();
}

/* On the synthetic device all-tf32 is the fastest, and worse by 1.4%. */
static void a_good_program_is_searched(void **state) {
  mpt_error error = {0};
  tuner_summary summary;
  if (tune(state, "good", &summary, &error) != MPT_OK)
    fail_msg("%s", error.message);
  assert_true(summary.found && summary.gain && summary.predicted);
  assert_true(row(&summary, "all-tf32")->winner);
  assert_int_equal(row(&summary, "all-tf32")->verdict, MPT_VERDICT_PASS);
  assert_true(row(&summary, "all-bf16")->ratio < 1);
  tuner_summary_clear(&summary);
}

/* Whatever it does under all-tf32, the next best wins. */
static void what_fails_under_one_policy_leaves_the_others(void **state) {
  static const char *const behaviours[] = {
      "hangs",        "crashes",   "killed",       "untested",    "nonsense",      "nan",
      "other_layers", "no_metric", "other_metric", "not_applied", "fills_the_disk"};
  for (size_t i = 0; i < sizeof behaviours / sizeof behaviours[0]; i++) {
    char arguments[80];
    mpt_error error = {0};
    tuner_summary summary;
    snprintf(arguments, sizeof arguments, "%s tf32", behaviours[i]);
    if (tune(state, arguments, &summary, &error) != MPT_OK)
      fail_msg("%s: %s", arguments, error.message);
    if (row(&summary, "all-tf32")->winner || row(&summary, "all-tf32")->verdict == MPT_VERDICT_PASS)
      fail_msg("%s: all-tf32 wins", arguments);
    assert_true(summary.found && summary.gain);
    assert_true(row(&summary, "all-bf16")->winner || row(&summary, "all-fp16")->winner);
    tuner_summary_clear(&summary);
  }
}

/* The reference is needed: what it does is the end, with its words, and another status than that
 * of a search that found nothing. */
static void what_fails_under_the_reference_is_said(void **state) {
  static const struct {
    const char *behaviour, *text;
  } cases[] = {{"crashes", "the program must work in fp32 before others can be compared with it"},
               {"untested", "exit code 125"},
               {"no_metric", "without the metric 'val_loss'"},
               {"nonsense", "write one JSON object a line"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    mpt_error error = {0};
    tuner_summary summary;
    assert_int_equal(tune(state, cases[i].behaviour, &summary, &error), MPT_ERROR_PROGRAM);
    if (strstr(error.message, cases[i].text) == NULL)
      fail_msg("%s: %s", cases[i].behaviour, error.message);
  }
}

/* It has looked good in the search: verification alone sees it. */
static void what_fails_in_verification_is_not_verified(void **state) {
  static const char *const behaviours[] = {"crashes", "untested", "nan"};
  for (size_t i = 0; i < sizeof behaviours / sizeof behaviours[0]; i++) {
    char arguments[80];
    mpt_error error = {0};
    tuner_summary summary;
    snprintf(arguments, sizeof arguments, "%s tf32 1000", behaviours[i]);
    if (tune(state, arguments, &summary, &error) != MPT_OK)
      fail_msg("%s: %s", arguments, error.message);
    assert_int_not_equal(row(&summary, "all-tf32")->verdict, MPT_VERDICT_PASS);
    assert_false(row(&summary, "all-tf32")->winner);
    tuner_summary_clear(&summary);
  }
}

static void a_seed_that_is_not_heeded_ends_the_search(void **state) {
  mpt_error error = {0};
  tuner_summary summary;
  assert_int_equal(tune(state, "ignores_the_seed", &summary, &error), MPT_ERROR_ARGUMENT);
  assert_non_null(strstr(error.message, "does not heed MPTUNE_SEED"));
}

int main(void) {
#define IN_DIRECTORY(test)                                                                         \
  cmocka_unit_test_setup_teardown(test, fixture_setup_in_memory, fixture_teardown)
  const struct CMUnitTest tests[] = {
      IN_DIRECTORY(a_good_program_is_searched),
      IN_DIRECTORY(what_fails_under_one_policy_leaves_the_others),
      IN_DIRECTORY(what_fails_under_the_reference_is_said),
      IN_DIRECTORY(what_fails_in_verification_is_not_verified),
      IN_DIRECTORY(a_seed_that_is_not_heeded_ends_the_search),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
