/* The workload's budget, as verification has it, and what held-out data cannot say about it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tuner/budget.h"
#include <math.h>
#include <string.h>

static workload accuracy_within(double worse_by, bool relative) {
  return (workload){
      .path = "net.yaml",
      .metric = METRIC_ACCURACY,
      .budget = {.worse_by = worse_by, .relative = relative, .line = 9, .column = 20}};
}

static void refused(const workload *w, int64_t judged, const char *const *parts) {
  mpt_error error = {0};
  assert_int_equal(budget_check_resolution(w, judged, 0.025, 24, &error), MPT_ERROR_SYNTAX);
  assert_true(error.line == 9 && error.column == 20);
  for (; *parts != NULL; parts++)
    if (strstr(error.message, *parts) == NULL)
      fail_msg("'%s' does not say '%s'", error.message, *parts);
}

static void a_budget_below_one_sample_is_refused(void **state) {
  (void)state;
  workload w = accuracy_within(0.001, true); /* 0.1% of 60 samples, and of 359 */
  refused(&w, 60,
          (const char *[]){"60 held-out samples", "0.1% of the accuracy",
                           "one sample more or less is 1.7%", "at least 1000 held-out samples",
                           "budget of at least 1.7%", NULL});
  refused(&w, 359, (const char *[]){"0.28%", "at least 0.28%", NULL});
  assert_int_equal(budget_check_resolution(&w, 1000, 0.025, 24, NULL), MPT_OK);
  w = accuracy_within(0.01, false);
  refused(&w, 60, (const char *[]){"is 0.017 (", "at least 100 held-out", "least 0.017)", NULL});
  w.budget.worse_by = 0.017;
  assert_int_equal(budget_check_resolution(&w, 60, 0.025, 24, NULL), MPT_OK);
  w.budget.worse_by = 1e-9;
  w.metric = METRIC_LOSS;
  assert_int_equal(budget_check_resolution(&w, 0, 0.025, 24, NULL), MPT_OK);
}

/* What is named as enough is: an equal policy passes within 24 pairs, and not with less. */
static void a_population_asks_for_more(void **state) {
  (void)state;
  workload w = accuracy_within(0.02, false);
  assert_int_equal(budget_check_resolution(&w, 100, 0.025, 24, NULL), MPT_OK);
  w.metric_over = METRIC_OVER_POPULATION;
  refused(&w, 100, (const char *[]){"population", "at least 270 held-out", "at least 0.053", NULL});
  assert_int_equal(budget_check_resolution(&w, 270, 0.025, 24, NULL), MPT_OK);
  for (int enough = 0; enough < 2; enough++) {
    verify_pair pairs[VERIFY_MOST_PAIRS];
    const int64_t samples = enough ? 270 : 255;
    for (int i = 0; i < VERIFY_MOST_PAIRS; i++)
      pairs[i] = (verify_pair){.reference = 1,
                               .candidate = 1,
                               .samples = samples,
                               .unit = 1,
                               .xx = (double)samples,
                               .xy = (double)samples,
                               .yy = (double)samples};
    const verify_rule rule = budget_rule(&w, 0.025);
    const verify_result r = verify_pairs(&rule, pairs, VERIFY_MOST_PAIRS, VERIFY_MOST_PAIRS);
    assert_int_equal(r.verdict, enough ? MPT_VERDICT_PASS : MPT_VERDICT_INCONCLUSIVE);
  }
}

static void a_share_of_divergence_that_no_verdict_shows_is_refused(void **state) {
  (void)state;
  workload w = accuracy_within(0.02, false);
  w.budget.max_diverged = 0.1;
  refused(&w, 1000, (const char *[]){"10%", "24 pairs", "11.7%", "12% or more", NULL});
  w.budget.max_diverged = 0.12;
  assert_int_equal(budget_check_resolution(&w, 1000, 0.025, 24, NULL), MPT_OK);
}

/* What 24 pairs could tell and those of this search cannot: they would be trained for nothing. */
static void what_takes_more_pairs_than_are_trained_is_refused(void **state) {
  (void)state;
  mpt_error error = {0};
  workload w = accuracy_within(0.02, false);
  w.budget.max_diverged = 0.2;
  assert_int_equal(budget_check_resolution(&w, 1000, 0.025, 18, NULL), MPT_OK);
  assert_int_equal(budget_check_resolution(&w, 1000, 0.025, 13, &error), MPT_ERROR_SYNTAX);
  assert_non_null(strstr(error.message, "13 pairs of which none diverges show at most 20.6% (give "
                                        "--pairs 24, 21% or more, or leave it out)"));
  w.budget.max_diverged = 0;
  w.metric_over = METRIC_OVER_POPULATION;
  assert_int_equal(budget_check_resolution(&w, 270, 0.025, 24, NULL), MPT_OK);
  assert_int_equal(budget_check_resolution(&w, 270, 0.025, 13, &error), MPT_ERROR_SYNTAX);
  assert_non_null(strstr(error.message, "within 13 pairs (give --pairs 24, at least 320 held-out "
                                        "samples, or a budget of at least 0.024)"));
}

static void a_larger_accuracy_is_better_and_a_larger_error_worse(void **state) {
  (void)state;
  workload w = accuracy_within(0.1, true);
  assert_true(budget_rule(&w, 0.05).higher_is_better);
  w.budget.of_error = true;
  assert_false(budget_rule(&w, 0.05).higher_is_better);
}

static void samples_are_counted_before_training(void **state) {
  (void)state;
  workload w = accuracy_within(0.1, true);
  assert_int_equal(budget_judged(&w, &(dataset_info){.held_out = 60, .classes = 10}), 60);
  assert_int_equal(
      budget_judged(&w,
                    &(dataset_info){.held_out = 7, .tokens = true, .sequence = 8, .classes = 9}),
      56);
  const dataset_info targets = {.held_out = 20, .targets = 3};
  assert_int_equal(budget_judged(&w, &targets), 60);
  w.metric = METRIC_F1;
  assert_int_equal(budget_judged(&w, &targets), 20);
  w.metric = METRIC_LOSS;
  assert_int_equal(budget_judged(&w, &targets), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_budget_below_one_sample_is_refused),
      cmocka_unit_test(a_population_asks_for_more),
      cmocka_unit_test(a_share_of_divergence_that_no_verdict_shows_is_refused),
      cmocka_unit_test(what_takes_more_pairs_than_are_trained_is_refused),
      cmocka_unit_test(a_larger_accuracy_is_better_and_a_larger_error_worse),
      cmocka_unit_test(samples_are_counted_before_training),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
