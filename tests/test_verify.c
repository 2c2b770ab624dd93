/* The verdict keeps its promises: errors at most alpha, bounds that agree with it, looks worth
 * taking. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "exact_levels.h"
#include "near.h"
#include "verdict_simulation.h"
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_statistics_double.h>
#include <stdio.h>
#include <string.h>

#define RUNS 20000

static const verify_rule plain = {.budget = 0.01, .alpha = 0.025, .most_diverged = NAN};

/* Over the table of docs/verification.md. */
static void levels_are_those_of_the_table(void **state) {
  (void)state;
  static const double alphas[2] = {0.025, 0.00625};
  static const double table[2][VERIFY_LOOKS] = {{.0042, .0028, .0040, .0058, .0081, .0110},
                                                {.0010, .0006, .0009, .0013, .0018, .0024}};
  for (int i = 0; i < 2; i++) {
    double levels[VERIFY_LOOKS];
    verify_levels(alphas[i], levels);
    for (int look = 0; look < VERIFY_LOOKS; look++)
      assert_true(fabs(levels[look] - table[i][look]) <= 0.00011);
  }
}

/* Of the spending itself, by Monte Carlo: at each look, of those that went on, as many pass as it
 * may spend. */
static void levels_spend_what_they_may_at_every_look(void **state) {
  (void)state;
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  static const double alphas[] = {0.5, 0.05};
  for (int a = 0; a < 2; a++) {
    double levels[VERIFY_LOOKS], limit[VERIFY_LOOKS];
    int passed[VERIFY_LOOKS] = {0};
    const int runs = 200000;
    verify_levels(alphas[a], levels);
    for (int look = 0; look < VERIFY_LOOKS; look++)
      limit[look] = gsl_cdf_tdist_Qinv(levels[look], verify_look_sizes[look] - 1);
    for (int run = 0; run < runs; run++) {
      double sum = 0.0, squares = 0.0;
      int n = 0;
      for (int look = 0; look < VERIFY_LOOKS; look++) {
        for (; n < verify_look_sizes[look]; n++) {
          const double x = gsl_ran_gaussian_ziggurat(random, 1.0);
          sum += x, squares += x * x;
        }
        const double deviation = sqrt((squares - sum * sum / n) / (n - 1));
        if (sum / n / (deviation / sqrt(n)) > limit[look]) {
          passed[look]++;
          break;
        }
      }
    }
    for (int look = 0; look < VERIFY_LOOKS; look++) {
      const int before = look == 0 ? 0 : verify_look_sizes[look - 1];
      const double share = alphas[a] * (verify_look_sizes[look] - before) / VERIFY_MOST_PAIRS;
      const double noise = sqrt(share * (1.0 - share) / runs);
      assert_true(fabs((double)passed[look] / runs - share) < 4.0 * noise);
    }
  }
  gsl_rng_free(random);
}

/* The table against the integration, between the alphas that it was made from; both are of ratios
 * to alpha, and the smallest is as accurate as the largest. */
static void levels_are_accurate_for_every_alpha(void **state) {
  (void)state;
  static const double alphas[] = {
      VERIFY_LARGEST_ALPHA, 0.45, 0.2, 0.05, 0.025, 0.00625, 7.3e-4, 1e-4, 2e-5, 3e-6,
      VERIFY_LEAST_ALPHA};
  static const exact_grid coarse = {.nodes = 31, .points = 96};
  for (size_t i = 0; i < sizeof alphas / sizeof alphas[0]; i++) {
    double levels[VERIFY_LOOKS], exact[VERIFY_LOOKS];
    verify_levels(alphas[i], levels);
    exact_levels(alphas[i], coarse, exact);
    for (int look = 0; look < VERIFY_LOOKS; look++)
      assert_near(levels[look] / exact[look], 1.0, 2e-5);
  }
}

/* A policy exactly at its limit, whose reference's mean is not known but estimated. */
static void at_the_limit_of_a_relative_budget_at_most_alpha_pass(void **state) {
  (void)state;
  static const double deviations[] = {0.05, 0.16};
  for (int i = 0; i < 4; i++) {
    const verify_rule rule = {.budget = 0.16,
                              .relative = true,
                              .higher_is_better = i >= 2,
                              .alpha = 0.025,
                              .most_diverged = NAN};
    const normal_truth truth = {
        .mean = 1.0, .reference = deviations[i % 2], .worse = 0.16, .pair = 0.02};
    const int runs = i < 2 ? RUNS : RUNS / 5; /* the other direction mirrors the first */
    const simulated found = simulate(&rule, normal_pair, &truth, runs, VERIFY_MOST_PAIRS);
    print_message("reference varies by %g: %.4f pass, %.4f fail, %.1f pairs\n", truth.reference,
                  found.pass, found.fail, found.pairs);
    assert_true(found.pass <= 0.028 && found.pass > 0.019);
    assert_true(found.fail <= 0.028);
  }
}

static void at_the_limit_of_an_absolute_budget_at_most_alpha_pass(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    verify_rule rule = plain;
    rule.higher_is_better = i == 1;
    const normal_truth truth = {.mean = 1.0, .reference = 0.3, .worse = 0.01, .pair = 0.004};
    const simulated found = simulate(&rule, normal_pair, &truth, RUNS / 2, VERIFY_MOST_PAIRS);
    assert_true(found.pass <= 0.028 && found.pass > 0.019 && found.fail <= 0.028);
  }
}

/* Deviations inside the limit, and what passes after how many pairs. */
static void power_is_that_of_the_table(void **state) {
  (void)state;
  static const struct {
    double inside, pass, pairs;
  } table[] = {{0.5, 0.54, 18.2}, {0.75, 0.88, 15.7}, {1, 0.988, 12.3}, {2, 1.0, 6.6}, {4, 1, 4.4}};
  for (int i = 0; i < 5; i++) {
    const normal_truth truth = {
        .mean = 1.0, .worse = plain.budget - 0.003 * table[i].inside, .pair = 0.003};
    const simulated found = simulate(&plain, normal_pair, &truth, 4000, VERIFY_MOST_PAIRS);
    print_message("%g deviations inside: %.3f pass after %.1f pairs\n", table[i].inside, found.pass,
                  found.pairs);
    assert_true(fabs(found.pass - table[i].pass) < 0.03);
    assert_true(fabs(found.pairs - table[i].pairs) < 0.4);
    assert_true(found.fail < 0.002);
  }
}

/* D and its Student bound, worked out apart. */
static double bound_at(const verify_rule *rule, const verify_pair *pairs, int n, double budget,
                       double level, double side) {
  double d[VERIFY_MOST_PAIRS], mean = 0.0;
  for (int i = 0; i < n; i++)
    mean += pairs[i].reference;
  for (int i = 0; i < n; i++) {
    const double r = pairs[i].reference, e = pairs[i].candidate - r;
    d[i] =
        (rule->higher_is_better ? -e : e) - budget * (rule->relative ? (mean < 0.0 ? -r : r) : 1.0);
  }
  const double deviation = fmax(gsl_stats_sd(d, 1, (size_t)n), rule->least_deviation);
  return gsl_stats_mean(d, 1, (size_t)n) +
         side * gsl_cdf_tdist_Qinv(level, n - 1) * deviation / sqrt(n);
}

static void bound_and_verdict_agree_on_any_input(void **state) {
  (void)state;
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  int bounded = 0, decided = 0;
  double alpha = 0.5;
  for (int round = 0; round < 3000; round++) {
    if (round % 300 == 0) /* whose levels take a while */
      alpha = exp(gsl_ran_flat(random, -9.0, -1.0));
    verify_pair pairs[VERIFY_MOST_PAIRS] = {0};
    const int n = verify_look_sizes[gsl_rng_uniform_int(random, VERIFY_LOOKS)];
    const normal_truth truth = {.mean = gsl_rng_uniform(random) < 0.3 ? -2.0 : 2.0,
                                .reference = exp(gsl_ran_flat(random, -6.0, 1.0)),
                                .worse = gsl_ran_gaussian(random, 0.05),
                                .pair = exp(gsl_ran_flat(random, -9.0, 0.0))};
    const verify_rule rule = {.budget = exp(gsl_ran_flat(random, -6.0, -1.0)),
                              .relative = gsl_rng_uniform(random) < 0.7,
                              .higher_is_better = gsl_rng_uniform(random) < 0.5,
                              .alpha = alpha,
                              .most_diverged = NAN,
                              .least_deviation = gsl_rng_uniform(random) < 0.3 ? 0.01 : 0.0};
    for (int i = 0; i < n; i++)
      normal_pair(random, &rule, &truth, &pairs[i]);
    const verify_result r = verify_pairs(&rule, pairs, n, VERIFY_MOST_PAIRS);
    const bool pass = r.bound.upper<rule.budget, fails = r.bound.lower> rule.budget;
    assert_int_equal(r.verdict, pass    ? MPT_VERDICT_PASS
                                : fails ? MPT_VERDICT_FAIL
                                        : MPT_VERDICT_INCONCLUSIVE);
    decided += pass || fails;
    if (!isfinite(r.bound.upper)) {
      assert_true(r.no_share && rule.relative && r.verdict == MPT_VERDICT_INCONCLUSIVE);
      continue;
    }
    bounded++;
    assert_true(r.bound.lower <= r.worse_as_budget && r.worse_as_budget <= r.bound.upper);
    const double near = 1e-6 * (r.bound.upper - r.bound.lower) + 1e-12;
    assert_true(bound_at(&rule, pairs, r.tried, r.bound.upper + near, r.level, 1.0) < 0.0);
    assert_true(bound_at(&rule, pairs, r.tried, r.bound.upper - near, r.level, 1.0) > 0.0);
    assert_true(bound_at(&rule, pairs, r.tried, r.bound.lower + near, r.level, -1.0) < 0.0);
    assert_true(bound_at(&rule, pairs, r.tried, r.bound.lower - near, r.level, -1.0) > 0.0);
    const verify_interval again = verify_mean_interval(&rule, pairs, r.tried, r.level);
    assert_true(again.lower == r.bound.lower && again.upper == r.bound.upper);
  }
  assert_true(bounded > 1500 && bounded < 3000 && decided > 500);
  gsl_rng_free(random);
}

/* Pairs with differences from a list, the reference being 1. */
static void make_pairs(verify_pair *pairs, const double *worse, int count) {
  for (int i = 0; i < count; i++)
    pairs[i] = (verify_pair){.reference = 1.0, .candidate = 1.0 + worse[i]};
}

static void fewer_pairs_than_a_look_decide_nothing(void **state) {
  (void)state;
  const double worse[4] = {0, 0, 0, 0};
  verify_pair pairs[4];
  make_pairs(pairs, worse, 4);
  for (int n = 0; n < 4; n++) {
    const verify_result r = verify_pairs(&plain, pairs, n, VERIFY_MOST_PAIRS);
    assert_int_equal(r.verdict, MPT_VERDICT_INCONCLUSIVE);
    assert_int_equal(r.finished, n);
    assert_true(r.bound.upper == INFINITY && isnan(r.level) && r.may_still_pass);
  }
  assert_int_equal(verify_pairs(&plain, pairs, 4, VERIFY_MOST_PAIRS).verdict, MPT_VERDICT_PASS);
  const verify_interval one = verify_mean_interval(&plain, pairs, 1, 0.025);
  assert_true(one.lower == -INFINITY && one.upper == INFINITY);
}

/* What passed stays passed: seeds that come later do not change a verdict. */
static void a_verdict_stays(void **state) {
  (void)state;
  const double worse[9] = {0.001, -0.001, 0.002, 0, 0.9, 0.8, 0.9, 0.9, 0.9};
  verify_pair pairs[9];
  make_pairs(pairs, worse, 9);
  const verify_result r = verify_pairs(&plain, pairs, 9, VERIFY_MOST_PAIRS);
  assert_int_equal(r.verdict, MPT_VERDICT_PASS);
  assert_int_equal(r.tried, 4);
  assert_false(r.may_still_pass);
  assert_int_equal(r.within, 4);
  assert_true(fabs(r.within_share - pow(0.05, 0.25)) < 1e-9);
  assert_true(fabs(r.diverged_bound - (1.0 - pow(0.05, 0.25))) < 1e-9);
}

/* No look above `most`, at the levels of the whole plan. */
static void a_plan_that_ends_earlier_spends_no_more(void **state) {
  (void)state;
  double worse[24], levels[VERIFY_LOOKS];
  verify_pair pairs[24];
  for (int i = 0; i < 24; i++)
    worse[i] = 0.009 + (i % 2 ? 0.02 : -0.02);
  make_pairs(pairs, worse, 24);
  verify_levels(plain.alpha, levels);
  const verify_result early = verify_pairs(&plain, pairs, 24, VERIFY_DEFAULT_PAIRS);
  assert_int_equal(early.finished, 13);
  assert_true(early.level == levels[3] && !early.may_still_pass);
  const verify_result late = verify_pairs(&plain, pairs, 24, VERIFY_MOST_PAIRS);
  assert_int_equal(late.finished, 24);
  assert_true(late.level == levels[5]);
}

static void no_share_of_a_reference_that_may_be_0(void **state) {
  (void)state;
  verify_pair pairs[4] = {{.reference = 1}, {.reference = -1}, {.reference = 1}, {.reference = 2}};
  verify_rule rule = plain;
  rule.relative = true;
  for (int i = 0; i < 2; i++) {
    const verify_result r = verify_pairs(&rule, pairs, 4, VERIFY_MOST_PAIRS);
    assert_int_equal(r.verdict, MPT_VERDICT_INCONCLUSIVE);
    assert_true(r.no_share && r.bound.upper == INFINITY && r.bound.lower == -INFINITY);
    for (int k = 0; k < 4; k++) /* of one sign, but a mean that may be 0 */
      pairs[k].reference = pairs[k].candidate = k == 3 ? 10.0 : 0.01;
  }
  for (int k = 0; k < 4; k++)
    pairs[k].reference = 0.0, pairs[k].candidate = 0.0;
  assert_true(verify_pairs(&rule, pairs, 4, VERIFY_MOST_PAIRS).no_share);
}

static void numbers_too_large_to_square_bound_nothing(void **state) {
  (void)state;
  verify_pair pairs[4];
  for (int relative = 0; relative < 2; relative++) {
    verify_rule rule = plain;
    rule.relative = relative;
    for (int i = 0; i < 4; i++)
      pairs[i] = (verify_pair){.reference = 1e300 * (1 + 0.1 * i), .candidate = 1.5e308};
    const verify_result r = verify_pairs(&rule, pairs, 4, VERIFY_MOST_PAIRS);
    assert_true(r.verdict == MPT_VERDICT_INCONCLUSIVE && r.bound.upper == INFINITY);
  }
}

/* The reference and the candidate of `n` pairs diverge under the first k seeds. */
static verify_result diverging(verify_rule rule, int n, int of_reference, int of_candidate) {
  verify_pair pairs[VERIFY_MOST_TRIED];
  for (int i = 0; i < n; i++)
    pairs[i] = (verify_pair){.reference = i < of_reference ? NAN : 1.0 + 0.001 * (i % 3),
                             .candidate = i < of_candidate ? INFINITY : 1.001 + 0.001 * (i % 2)};
  return verify_pairs(&rule, pairs, n, VERIFY_MOST_PAIRS);
}

static void divergence_is_judged_by_its_rule(void **state) {
  (void)state;
  verify_rule rule = plain;
  verify_result r = diverging(rule, 4, 0, 1);
  assert_int_equal(r.verdict, MPT_VERDICT_FAIL); /* one, where the reference has none */
  assert_int_equal(r.candidate_diverged, 1);
  assert_int_equal(diverging(rule, 3, 0, 1).verdict, MPT_VERDICT_INCONCLUSIVE);
  assert_int_equal(diverging(rule, 4, 0, 4).verdict, MPT_VERDICT_FAIL);
  r = diverging(rule, 5, 1, 1); /* no more often: the mean of the four that finish */
  assert_int_equal(r.verdict, MPT_VERDICT_PASS);
  assert_true(r.tried == 5 && r.finished == 4 && r.reference_diverged == 1);
  assert_int_equal(diverging(rule, 5, 1, 0).verdict, MPT_VERDICT_PASS);
  r = diverging(rule, 6, 1, 2); /* more often, by chance perhaps */
  assert_int_equal(r.verdict, MPT_VERDICT_INCONCLUSIVE);
  assert_true(r.bound.upper < rule.budget && r.may_still_pass);
  /* 7 of 9 against 1 of 9: p = (C(9,7) C(9,1) + C(9,8)) / C(18,8) = 0.0076. */
  assert_int_equal(diverging(rule, 9, 1, 7).verdict, MPT_VERDICT_FAIL);
  r = diverging(rule, VERIFY_MOST_TRIED, VERIFY_MOST_TRIED, VERIFY_MOST_TRIED);
  assert_true(r.verdict == MPT_VERDICT_INCONCLUSIVE && r.finished == 0 && !r.may_still_pass);
  assert_true(isnan(r.reference) && r.diverged_bound == 1.0);
}

static void at_most_so_many_may_diverge_if_asked(void **state) {
  (void)state;
  verify_rule rule = plain;
  rule.most_diverged = 0.5; /* 4 without one show 53%, 6 show 39% */
  assert_int_equal(diverging(rule, 4, 0, 0).verdict, MPT_VERDICT_INCONCLUSIVE);
  assert_int_equal(diverging(rule, 6, 0, 0).verdict, MPT_VERDICT_PASS);
  rule.most_diverged = 0.1;
  assert_int_equal(diverging(rule, 24, 0, 0).verdict, MPT_VERDICT_INCONCLUSIVE);
  /* Though the reference does it as often. */
  assert_int_equal(diverging(rule, 9, 7, 7).verdict, MPT_VERDICT_FAIL);
}

/* Where 10% of the trainings of either diverge, by the same formats. */
static void an_equal_policy_survives_divergence(void **state) {
  (void)state;
  const normal_truth truth = {.mean = 1.0, .pair = 0.003, .diverges = 0.1};
  const simulated found = simulate(&plain, normal_pair, &truth, 4000, VERIFY_MOST_PAIRS);
  print_message("10%% diverge: %.3f pass, %.3f fail after %.1f pairs\n", found.pass, found.fail,
                found.pairs);
  assert_true(found.fail < 0.34);
}

static void lognormal_pair(gsl_rng *random, const verify_rule *rule, const void *context,
                           verify_pair *pair) {
  (void)context;
  const double mean = exp(0.5), deviation = sqrt((M_E - 1.0) * M_E);
  const double d = (mean - gsl_ran_lognormal(random, 0.0, 1.0)) / deviation;
  *pair = (verify_pair){.reference = 1.0, .candidate = 1.0 + rule->budget - 0.003 * d};
}

/* No test of an unbounded mean is valid without assumptions: a floor helps. */
static void a_known_least_deviation_tames_heavy_tails(void **state) {
  (void)state;
  verify_rule rule = plain;
  const simulated bare = simulate(&rule, lognormal_pair, NULL, 4000, VERIFY_MOST_PAIRS);
  rule.least_deviation = 0.8 * 0.003;
  const simulated floored = simulate(&rule, lognormal_pair, NULL, 4000, VERIFY_MOST_PAIRS);
  print_message("lognormal at the limit: %.3f pass, with a floor %.3f\n", bare.pass, floored.pass);
  assert_true(floored.pass < 0.5 * bare.pass);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(levels_are_those_of_the_table),
      cmocka_unit_test(levels_spend_what_they_may_at_every_look),
      cmocka_unit_test(levels_are_accurate_for_every_alpha),
      cmocka_unit_test(at_the_limit_of_a_relative_budget_at_most_alpha_pass),
      cmocka_unit_test(at_the_limit_of_an_absolute_budget_at_most_alpha_pass),
      cmocka_unit_test(power_is_that_of_the_table),
      cmocka_unit_test(bound_and_verdict_agree_on_any_input),
      cmocka_unit_test(fewer_pairs_than_a_look_decide_nothing),
      cmocka_unit_test(a_verdict_stays),
      cmocka_unit_test(a_plan_that_ends_earlier_spends_no_more),
      cmocka_unit_test(no_share_of_a_reference_that_may_be_0),
      cmocka_unit_test(numbers_too_large_to_square_bound_nothing),
      cmocka_unit_test(divergence_is_judged_by_its_rule),
      cmocka_unit_test(at_most_so_many_may_diverge_if_asked),
      cmocka_unit_test(an_equal_policy_survives_divergence),
      cmocka_unit_test(a_known_least_deviation_tames_heavy_tails),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
