/* The sequential test keeps its promise: errors at most alpha, looks worth taking. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tuner/verify.h"
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_randist.h>
#include <math.h>

#define RUNS 20000

static verify_bound run_to_the_end(gsl_rng *random, double mean, int attempt, int *seeds) {
  double differences[12];
  for (int i = 0; i < 12; i++)
    differences[i] = mean + gsl_ran_gaussian(random, 1.0);
  verify_bound bound = {0};
  for (int look = 0; look < VERIFY_LOOKS; look++) {
    bound = verify_look(differences, look, attempt, 0.05);
    *seeds = verify_look_sizes[look];
    if (bound.verdict != MPT_VERDICT_INCONCLUSIVE)
      break;
  }
  return bound;
}

static void rates(double mean, int attempt, double *pass, double *fail, double *seeds) {
  int passed = 0, failed = 0, total = 0;
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  for (int i = 0; i < RUNS; i++) {
    int taken;
    const verify_bound bound = run_to_the_end(random, mean, attempt, &taken);
    passed += bound.verdict == MPT_VERDICT_PASS;
    failed += bound.verdict == MPT_VERDICT_FAIL;
    total += taken;
  }
  gsl_rng_free(random);
  *pass = (double)passed / RUNS, *fail = (double)failed / RUNS, *seeds = (double)total / RUNS;
}

/* A policy exactly as much worse as the margin: D has mean 0. */
static void test_errors_at_the_boundary_stay_below_alpha(void **state) {
  (void)state;
  for (int attempt = 1; attempt <= 2; attempt++) {
    double pass, fail, seeds;
    const double alpha = ldexp(0.05, -attempt);
    rates(0.0, attempt, &pass, &fail, &seeds);
    print_message("alpha %g: passes %.4f, fails %.4f at the boundary\n", alpha, pass, fail);
    assert_true(pass <= alpha && fail <= alpha);
    /* And the test is not so conservative that it gives most of alpha away. */
    assert_true(pass > 0.6 * alpha && fail > 0.6 * alpha);
  }
}

/* Paired runs of a 124M model spread by about half the customary margin: a policy as good as the
 * reference should pass, and one two margins worse should fail. */
static void test_power(void **state) {
  (void)state;
  double pass, fail, seeds;
  rates(-2.0, 1, &pass, &fail, &seeds);
  print_message("two deviations inside: passes %.4f after %.2f seeds\n", pass, seeds);
  assert_true(pass > 0.99 && fail == 0.0 && seeds < 7.0);
  rates(2.0, 1, &pass, &fail, &seeds);
  assert_true(fail > 0.99 && pass == 0.0 && seeds < 7.0);
  rates(-1.0, 1, &pass, &fail, &seeds);
  print_message("one deviation inside: passes %.4f after %.2f seeds\n", pass, seeds);
  assert_true(pass > 0.7 && fail < 0.001);
}

static void test_the_looks_spend_alpha_in_all(void **state) {
  (void)state;
  const double differences[12] = {0.1, -0.2, 0.3, 0.2, -0.1, 0.0, 0.1, -0.3, 0.2, 0.1, 0.0, -0.1};
  double attempts = 0.0;
  for (int attempt = 1; attempt <= 20; attempt++) {
    double sum = 0.0;
    for (int look = 0; look < VERIFY_LOOKS; look++)
      sum += verify_look(differences, look, attempt, 0.05).alpha;
    assert_true(fabs(sum / ldexp(0.05, -attempt) - 1.0) < 1e-12);
    attempts += sum;
  }
  assert_true(attempts < 0.05);
}

static void test_bounds_are_students(void **state) {
  (void)state;
  const double differences[3] = {-3.0, -2.0, -1.0}; /* mean -2, deviation 1 */
  const verify_bound bound = verify_look(differences, 0, 1, 0.05);
  /* The first look spends 0.025 ln(1 + (e - 1)/4). */
  assert_true(fabs(bound.alpha - 0.025 * log(1.0 + (exp(1.0) - 1.0) / 4.0)) < 1e-15);
  assert_true(fabs(bound.mean + 2.0) < 1e-15);
  /* The upper bound is where the distribution's tail holds alpha. */
  assert_true(fabs(gsl_cdf_tdist_Q((bound.upper + 2.0) * sqrt(3.0), 2.0) - bound.alpha) < 1e-10);
  assert_true(fabs((bound.upper + bound.lower) / 2.0 + 2.0) < 1e-12);
}

static void test_a_diverged_candidate_fails(void **state) {
  (void)state;
  const double infinite[3] = {-1.0, INFINITY, -1.0}, nan[3] = {NAN, -1.0, -1.0};
  assert_int_equal(verify_look(infinite, 0, 1, 0.05).verdict, MPT_VERDICT_FAIL);
  assert_true(verify_look(infinite, 0, 1, 0.05).upper == INFINITY);
  assert_int_equal(verify_look(nan, 0, 1, 0.05).verdict, MPT_VERDICT_FAIL);
  const double later[5] = {-1.0, -1.01, -0.99, INFINITY, -1.0};
  assert_int_equal(verify_look(later, 0, 1, 0.05).verdict, MPT_VERDICT_PASS);
  assert_int_equal(verify_look(later, 1, 1, 0.05).verdict, MPT_VERDICT_FAIL);
}

/* A policy that changes nothing has D = -margin for every seed. */
static void test_no_spread(void **state) {
  (void)state;
  const double same[3] = {-0.01, -0.01, -0.01}, worse[3] = {0.01, 0.01, 0.01}, zero[3] = {0};
  assert_int_equal(verify_look(same, 0, 1, 0.05).verdict, MPT_VERDICT_PASS);
  assert_int_equal(verify_look(worse, 0, 1, 0.05).verdict, MPT_VERDICT_FAIL);
  assert_int_equal(verify_look(zero, 0, 1, 0.05).verdict, MPT_VERDICT_INCONCLUSIVE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_errors_at_the_boundary_stay_below_alpha),
      cmocka_unit_test(test_power),
      cmocka_unit_test(test_the_looks_spend_alpha_in_all),
      cmocka_unit_test(test_bounds_are_students),
      cmocka_unit_test(test_a_diverged_candidate_fails),
      cmocka_unit_test(test_no_spread),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
