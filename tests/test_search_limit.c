/* A search that may train little trains what promises most. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/run_trajectory.h"
#include "tiny_search.h"

/* What was trained, in order: the run's record of it. */
static store_trajectory trained(const char *run) {
  mpt_error error = {0};
  store *s = NULL;
  store_trajectory all;
  if (store_open(run, STORE_READ, &s, &error) != MPT_OK ||
      store_get_trajectory(s, &all, &error) != MPT_OK)
    fail_msg("%s", error.message);
  store_close(s);
  return all;
}

static void uniform_policies_are_trained_from_the_fastest_on(void **state) {
  char run[600];
  workload *w = tiny(*state, MLP ADAM LARGE);
  tuner_options options = options_in(*state, "run", run);
  tuner_summary summary = tune(w, &options);
  store_trajectory all = trained(run);
  double before = 0;
  int count = 0;
  for (int i = 0; i < all.count; i++) {
    if (strncmp(all.steps[i].label, "all-", 4) != 0)
      continue;
    assert_true(all.steps[i].seconds >= before);
    before = all.steps[i].seconds;
    count++;
  }
  assert_true(count >= 3);
  store_trajectory_clear(&all);
  tuner_summary_clear(&summary);
  workload_free(w);
}

static void one_evaluation_is_of_the_fastest_uniform_policy(void **state) {
  char run[600];
  workload *w = tiny(*state, MLP ADAM LARGE);
  tuner_options options = options_in(*state, "run", run);
  options.max_evaluations = 1;
  tuner_summary summary = tune(w, &options);
  const tuner_row *fastest = row_named(&summary, "all-fp32");
  for (int i = 0; i < summary.row_count; i++)
    if (strncmp(summary.rows[i].label, "all-", 4) == 0 &&
        summary.rows[i].step_seconds < fastest->step_seconds)
      fastest = &summary.rows[i];
  assert_true(fastest->ratio < 0.9);
  store_trajectory all = trained(run);
  assert_int_equal(all.count, 1);
  assert_string_equal(all.steps[0].label, fastest->label);
  store_trajectory_clear(&all);
  tuner_summary_clear(&summary);
  workload_free(w);
}

#define IN_A_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_A_DIRECTORY(uniform_policies_are_trained_from_the_fastest_on),
      IN_A_DIRECTORY(one_evaluation_is_of_the_fastest_uniform_policy),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
