/* How measured step times are put together, and what they teach the prediction. */
#include "near.h"
#include "tuner/calibration.h"
#include "tuner/evaluators/timed_steps.h"
#include "tuner/step_times.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static timing_run run_of(double seconds, double deviation, bool in_turn) {
  return (timing_run){.seconds = seconds, .deviation = deviation, .steps = 20, .in_turn = in_turn};
}

static void a_run_is_the_median_of_its_steps_without_the_first(void **state) {
  (void)state;
  double steps[] = {9.0, 8.0, 1.0, 1.2, 0.9, 1.1, 5.0};
  const timing_run run = timing_of_steps(steps, 7, 2);
  assert_int_equal(run.steps, 5);
  assert_near(run.seconds, 1.1, 1e-12);
  assert_near(run.deviation, 0.1, 1e-12); /* of 0.1 0.1 0.2 0 3.9 */
  double few[] = {3.0, 2.0};
  assert_near(timing_of_steps(few, 2, 5).seconds, 2.0, 1e-12);
  assert_true(isnan(timing_of_steps(few, 0, 5).seconds));
}

static void runs_in_turn_take_the_place_of_those_before(void **state) {
  (void)state;
  timing t = {0};
  assert_true(isnan(timing_seconds(&t)));
  const double before[] = {1.0, 1.2, 1.1}, in_turn[] = {2.0, 2.2};
  for (int i = 0; i < 3; i++) {
    const timing_run run = run_of(before[i], 0.01, false);
    timing_add(&t, &run);
  }
  assert_near(timing_seconds(&t), 1.1, 1e-12);
  for (int i = 0; i < 2; i++) {
    const timing_run run = run_of(in_turn[i], 0.01, true);
    timing_add(&t, &run);
  }
  assert_near(timing_seconds(&t), 2.1, 1e-12);
  const timing_run none = run_of(NAN, NAN, true);
  timing_add(&t, &none);
  assert_int_equal(t.count, 5);
}

/* What a shared GPU does to times: of the runs that count. */
static void the_spread_is_that_of_the_runs_that_count(void **state) {
  (void)state;
  timing t = {0};
  timing_run run = run_of(1.0, 0.5, false);
  timing_add(&t, &run);
  assert_near(timing_spread_of(&t).runs, 0, 1e-12);
  assert_near(timing_spread_of(&t).steps, 1.4826 * 0.5, 1e-12);
  const double in_turn[] = {2.0, 2.2, 2.1};
  for (int i = 0; i < 3; i++) {
    run = run_of(in_turn[i], i == 1 ? 0.022 : 0, true);
    timing_add(&t, &run);
  }
  assert_near(timing_spread_of(&t).runs, 0.1, 1e-12);
  assert_near(timing_spread_of(&t).steps, 0.014826, 1e-12);
}

/* Steps of a normal distribution: the noise that is stated is that of the medians. */
static void noise_is_the_standard_error_of_the_time(void **state) {
  (void)state;
  enum { TRIALS = 400, STEPS = 40 };
  uint64_t seed = 88172645463325252u;
  double squares = 0, stated = 0;
  for (int trial = 0; trial < TRIALS; trial++) {
    double steps[STEPS];
    for (int i = 0; i < STEPS; i++) {
      double sum = 0; /* of 12 uniform numbers: variance 1 */
      for (int k = 0; k < 12; k++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        sum += (double)(seed >> 11) * 0x1p-53;
      }
      steps[i] = 1.0 + 0.02 * (sum - 6.0);
    }
    timing t = {0};
    const timing_run run = timing_of_steps(steps, STEPS, 0);
    timing_add(&t, &run);
    squares += pow(timing_seconds(&t) - 1.0, 2);
    stated += timing_noise(&t) / TRIALS;
  }
  const double seen = sqrt(squares / TRIALS);
  assert_true(stated > 0.8 * seen && stated < 1.25 * seen);
}

static void runs_that_differ_are_noise_too(void **state) {
  (void)state;
  timing t = {0};
  const double seconds[] = {1.0, 1.05, 1.1};
  for (int i = 0; i < 3; i++) {
    const timing_run run = run_of(seconds[i], 1e-4, false);
    timing_add(&t, &run);
  }
  assert_true(timing_noise(&t) > 0.03);
  assert_true(timing_equal(1.0, 0.03, 1.05, 0.03, 0.005));
  assert_false(timing_equal(1.0, 1e-3, 1.05, 1e-3, 0.005));
  assert_true(timing_equal(1.0, 0, 1.0049, 0, 0.005));
}

static cost_parts parts_of(double gemms, double copies, double passes) {
  return (cost_parts){.gemms = gemms, .copies = copies, .passes = passes};
}

static double corrected(const calibration *c, const cost_parts *p) {
  return c->gemms * p->gemms + c->copies * p->copies + c->passes * p->passes;
}

static calibration fitted(const calibration_point *points, int count) {
  calibration c;
  assert_int_equal(calibration_fit(points, count, &c, NULL), MPT_OK);
  return c;
}

static void one_measurement_scales_everything_alike(void **state) {
  (void)state;
  const cost_parts p = parts_of(30e-3, 1e-3, 10e-3);
  const calibration_point point = {&p, 1.2 * 41e-3};
  const calibration c = fitted(&point, 1), none = fitted(NULL, 0);
  assert_near(c.gemms, 1.2, 1e-9);
  assert_near(c.copies, 1.2, 1e-9);
  assert_near(c.passes, 1.2, 1e-9);
  assert_near(none.gemms, 1.0, 0);
  assert_int_equal(none.points, 0);
}

/* Policies that differ in their parts: the factors are found, and a policy not seen is foretold. */
static void parts_are_told_apart(void **state) {
  (void)state;
  const cost_parts p[] = {parts_of(60e-3, 0, 12e-3), parts_of(30e-3, 1e-3, 9e-3),
                          parts_of(20e-3, 6e-3, 9e-3), parts_of(24e-3, 3e-3, 9e-3)};
  calibration_point points[3];
  for (int i = 0; i < 3; i++)
    points[i] =
        (calibration_point){&p[i], 1.05 * p[i].gemms + 1.6 * p[i].copies + 1.3 * p[i].passes};
  const calibration c = fitted(points, 3);
  const double truth = 1.05 * p[3].gemms + 1.6 * p[3].copies + 1.3 * p[3].passes;
  assert_true(fabs(corrected(&c, &p[3]) / truth - 1) < 0.01);
  assert_true(fabs(cost_uncorrected(&p[3]) / truth - 1) > 0.1);
  assert_true(c.copies > c.passes && c.passes > c.gemms);
}

/* At the posterior means the derivative of what calibration.h states is zero. */
static void factors_are_the_posterior_means(void **state) {
  (void)state;
  const cost_parts p[] = {parts_of(30e-3, 1e-3, 9e-3), parts_of(20e-3, 6e-3, 9e-3)};
  const calibration_point points[] = {{&p[0], 48e-3}, {&p[1], 44e-3}};
  const calibration c = fitted(points, 2);
  const double ratio = sqrt(48.0 / 40.0 * 44.0 / 35.0), factors[] = {c.gemms, c.copies, c.passes};
  for (int f = 0; f < 3; f++) {
    const double prior = (factors[f] - ratio) / pow(0.3 * ratio, 2);
    double measured = 0;
    for (int i = 0; i < 2; i++) {
      const double part[] = {p[i].gemms, p[i].copies, p[i].passes}, seconds = points[i].seconds;
      measured += part[f] / seconds * (corrected(&c, &p[i]) / seconds - 1) / (0.01 * 0.01);
    }
    assert_true(fabs(prior) > 0.01);
    assert_near(measured, -prior, 1e-9);
  }
}

/* A single measurement that is far off moves no factor beyond what makes sense. */
static void factors_stay_positive(void **state) {
  (void)state;
  const cost_parts p[] = {parts_of(30e-3, 1e-3, 9e-3), parts_of(30e-3, 1.1e-3, 9e-3)};
  const calibration_point points[] = {{&p[0], 40e-3}, {&p[1], 80e-3}};
  const calibration c = fitted(points, 2);
  assert_true(c.gemms > 0 && c.copies > 0 && c.passes > 0);
  assert_true(isfinite(c.gemms + c.copies + c.passes));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_run_is_the_median_of_its_steps_without_the_first),
      cmocka_unit_test(runs_in_turn_take_the_place_of_those_before),
      cmocka_unit_test(the_spread_is_that_of_the_runs_that_count),
      cmocka_unit_test(noise_is_the_standard_error_of_the_time),
      cmocka_unit_test(runs_that_differ_are_noise_too),
      cmocka_unit_test(one_measurement_scales_everything_alike),
      cmocka_unit_test(parts_are_told_apart),
      cmocka_unit_test(factors_are_the_posterior_means),
      cmocka_unit_test(factors_stay_positive),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
