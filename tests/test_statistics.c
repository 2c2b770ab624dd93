/* What follows from the statistics of a tensor, against counting one by one. */
#include "format_reference.h"
#include "mptune/statistics.h"
#include "statistics_reference.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct exact_counts {
  uint64_t overflow, subnormal, vanish;
} exact_counts;

static exact_counts count_one_by_one(mpt_format format, int exponent, const float *x, int64_t n) {
  exact_counts c = {0, 0, 0};
  uint32_t min_normal = bits_of(mpt_format_get(format)->min_normal);
  for (int64_t i = 0; i < n; i++) {
    if (x[i] == 0 || isnan(x[i]))
      continue;
    uint32_t scaled = reference_scale(bits_of(x[i]), exponent);
    uint32_t rounded = reference_round(format, scaled, false) & 0x7FFFFFFF;
    if (rounded >= 0x7F800000)
      c.overflow++;
    else if (rounded == 0)
      c.vanish++;
    else if ((scaled & 0x7FFFFFFF) < min_normal)
      c.subnormal++;
  }
  return c;
}

/* Values in the binade that holds `limit` * 2^-exponent. */
static double in_binade(const mpt_statistics *s, double limit, int exponent) {
  int e;
  frexp(ldexp(limit, -exponent), &e);
  int bin = e - 1 + 127;
  return bin > 254 ? 0 : (double)s->histogram[bin < 0 ? 0 : bin];
}

static void check_range(mpt_format format, int exponent, const float *x, int64_t n) {
  double unused;
  mpt_statistics s = plain_statistics(x, n, &unused);
  mpt_range_counts r;
  assert_int_equal(mpt_statistics_range(&s, format, exponent, &r, NULL), MPT_OK);
  exact_counts e = count_one_by_one(format, exponent, x, n);
  const mpt_format_info *f = mpt_format_get(format);
  if (r.overflow_low > e.overflow || e.overflow > r.overflow_high || r.vanish_low > e.vanish ||
      e.vanish > r.vanish_high || r.subnormal_low > e.subnormal || e.subnormal > r.subnormal_high)
    fail_msg("%s, scale 2^%d: exact %lu %lu %lu, bounds %lu-%lu %lu-%lu %lu-%lu", f->name, exponent,
             e.overflow, e.subnormal, e.vanish, r.overflow_low, r.overflow_high, r.subnormal_low,
             r.subnormal_high, r.vanish_low, r.vanish_high);
  /* Exact but for the binade of the limit. */
  double last = ldexp(1.0, f->max_exponent - f->mantissa_bits);
  double top = in_binade(&s, (double)f->max_finite + last / 2, exponent);
  double bottom = in_binade(&s, (double)f->min_subnormal / 2, exponent);
  assert_true((double)(r.overflow_high - r.overflow_low) <= top);
  assert_true((double)(r.vanish_high - r.vanish_low) <= bottom);
  /* Smallest normal numbers begin a binade, unless fp32's subnormals are in play: they share one
   * bin, and a product may round up to 2^-126. */
  double below_normal = in_binade(&s, (double)f->min_normal * 0.999, exponent);
  bool inexact = f->min_exponent == -126 && exponent < 0;
  if (!inexact && f->min_exponent - exponent > -126)
    below_normal = 0;
  assert_true((double)(r.subnormal_high - r.subnormal_low) <= bottom + below_normal);
}

static void range_bounds_the_exact_counts(void **state) {
  (void)state;
  enum { N = 1500 };
  static float x[N];
  uint64_t key = 0;
  for (mpt_format format = 0; format < MPT_FORMAT_COUNT; format++)
    for (int exponent = -126; exponent <= 126; exponent += 7)
      for (int kind = 0; kind < 6; kind++) {
        int centers[] = {0, -exponent, -exponent + 8, -exponent - 12, 100, -110};
        key++;
        draw_values(key, centers[kind], 1 + (int)(key * 7 % 60), kind % 3, x, N);
        check_range(format, exponent, x, 1 + (int64_t)(key % N));
      }
}

static void range_of_powers_of_two(void **state) {
  (void)state;
  float x[200];
  for (int i = 0; i < 200; i++)
    x[i] = ldexpf(i % 2 ? -1.0f : 1.0f, i - 100);
  double unused;
  mpt_statistics s = plain_statistics(x, 200, &unused);
  mpt_range_counts r;
  assert_int_equal(mpt_statistics_range(&s, MPT_FP8_E5M2, 0, &r, NULL), MPT_OK);
  /* 2^16 and more overflow, and the upper eighth of the binade of 2^15 would. Below 2^-14 they are
   * subnormal down to 2^-16; 2^-17 is a tie that vanishes, in a binade of which all else stays. */
  assert_int_equal(r.overflow_low, 84);
  assert_int_equal(r.overflow_high, 85);
  assert_int_equal(r.subnormal_low, 2);
  assert_int_equal(r.subnormal_high, 3);
  assert_int_equal(r.vanish_low, 83);
  assert_int_equal(r.vanish_high, 84);
}

/* One value beyond a limit among many in its binade is known to be there. */
static void range_uses_the_extremes(void **state) {
  (void)state;
  float x[100];
  for (int i = 0; i < 100; i++)
    x[i] = 300.0f;
  x[42] = -500.0f;
  double unused;
  mpt_statistics s = plain_statistics(x, 100, &unused);
  mpt_range_counts r;
  assert_int_equal(mpt_statistics_range(&s, MPT_FP8_E4M3, 0, &r, NULL), MPT_OK);
  assert_int_equal(r.overflow_low, 1);
  assert_int_equal(r.overflow_high, 100);
  x[42] = -460.0f; /* rounds to 448 */
  s = plain_statistics(x, 100, &unused);
  assert_int_equal(mpt_statistics_range(&s, MPT_FP8_E4M3, 0, &r, NULL), MPT_OK);
  assert_int_equal(r.overflow_high, 0);
  for (int i = 0; i < 100; i++)
    x[i] = 0x1.8p-17f;
  x[7] = -0x1p-17f; /* vanishes, the others become 2^-16 */
  s = plain_statistics(x, 100, &unused);
  assert_int_equal(mpt_statistics_range(&s, MPT_FP8_E5M2, 0, &r, NULL), MPT_OK);
  assert_int_equal(r.vanish_low, 1);
  assert_int_equal(r.vanish_high, 100);
}

static void range_refuses_what_it_cannot_answer(void **state) {
  (void)state;
  mpt_statistics s = {.count = 1, .full = true};
  mpt_range_counts r = {.vanish_low = 7};
  mpt_error error = {0};
  assert_int_equal(mpt_statistics_range(&s, MPT_FP16, 127, &r, &error), MPT_ERROR_ARGUMENT);
  assert_non_null(strstr(error.message, "127"));
  assert_int_equal(mpt_statistics_range(&s, MPT_FP16, -127, &r, NULL), MPT_ERROR_ARGUMENT);
  assert_int_equal(mpt_statistics_range(&s, MPT_FORMAT_COUNT, 0, &r, NULL), MPT_ERROR_ARGUMENT);
  assert_int_equal(mpt_statistics_range(NULL, MPT_FP16, 0, &r, NULL), MPT_ERROR_ARGUMENT);
  s.full = false;
  assert_int_equal(mpt_statistics_range(&s, MPT_FP16, 0, &r, &error), MPT_ERROR_ARGUMENT);
  assert_non_null(strstr(error.message, "full"));
  assert_int_equal(r.vanish_low, 7);
}

/* The largest scale at which amax still fits; the next one is too large. */
static void scale_exponent_is_the_largest_that_fits(void **state) {
  (void)state;
  for (mpt_format format = 0; format < MPT_FORMAT_COUNT; format++) {
    double max = (double)mpt_format_get(format)->max_finite;
    for (uint32_t amax = 1; amax < 0x7F800000; amax += 104729) {
      int e = mpt_scale_exponent(format, amax, 0);
      double value = (double)float_of(amax);
      assert_true(e >= -126 && e <= 126);
      assert_true(e == -126 || ldexp(value, e) <= max);
      assert_true(e == 126 || ldexp(value, e + 1) > max);
      int margin = (int)(amax % 5), lower = e - margin < -126 ? -126 : e - margin;
      if (e < 126)
        assert_int_equal(mpt_scale_exponent(format, amax, margin), lower);
    }
  }
}

static void scale_exponent_at_the_edges(void **state) {
  (void)state;
  assert_int_equal(mpt_scale_exponent(MPT_FP8_E4M3, bits_of(448.0f), 0), 0);
  assert_int_equal(mpt_scale_exponent(MPT_FP8_E4M3, bits_of(448.0f) + 1, 0), -1);
  assert_int_equal(mpt_scale_exponent(MPT_FP8_E4M3, bits_of(1.0f), 0), 8);
  assert_int_equal(mpt_scale_exponent(MPT_FP8_E4M3, bits_of(1.0f), 2), 6);
  assert_int_equal(mpt_scale_exponent(MPT_FP8_E5M2, bits_of(1.0f), 0), 15);
  assert_int_equal(mpt_scale_exponent(MPT_FP8_E4M3, 1, 0), 126);  /* 2^-149 */
  assert_int_equal(mpt_scale_exponent(MPT_FP8_E4M3, 1, 40), 117); /* 157 - 40 */
  assert_int_equal(mpt_scale_exponent(MPT_FP8_E4M3, 0x7F7FFFFF, 0), -120);
  assert_int_equal(mpt_scale_exponent(MPT_FP8_E4M3, 0x7F7FFFFF, 10), -126);
  assert_int_equal(mpt_scale_exponent(MPT_FP8_E4M3, bits_of(1.0f), INT32_MAX), -126);
  assert_int_equal(mpt_scale_exponent(MPT_FP8_E4M3, bits_of(1.0f), INT32_MIN), 126);
  assert_int_equal(mpt_scale_exponent(MPT_FP8_E4M3, 0, 3), 0);
  assert_int_equal(mpt_scale_exponent(MPT_FP8_E4M3, 0x7F800000, 0), 0);
  assert_int_equal(mpt_scale_exponent(MPT_FP8_E4M3, 0x7FC00000, 0), 0);
}

static void merge_is_the_statistics_of_both(void **state) {
  (void)state;
  enum { N = 1000 };
  static float x[N];
  for (uint64_t key = 0; key < 60; key++) {
    draw_values(key, 0, 40, (int)(key % 3), x, N);
    int64_t cut = key < 2 ? (int64_t)key * N : (int64_t)(key * 16);
    double unused, absolute;
    mpt_statistics a = plain_statistics(x, cut, &unused);
    mpt_statistics b = plain_statistics(x + cut, N - cut, &unused);
    mpt_statistics both = plain_statistics(x, N, &absolute);
    mpt_statistics_merge(&a, &b);
    assert_true(fabs(a.sum - both.sum) <= 1e-12 * absolute);
    assert_true(fabs(a.sum_of_squares - both.sum_of_squares) <= 1e-12 * both.sum_of_squares);
    a.sum = both.sum, a.sum_of_squares = both.sum_of_squares;
    assert_memory_equal(&a, &both, sizeof a);
  }
}

static void merge_with_lite_is_lite(void **state) {
  (void)state;
  const float x[] = {1, 2, 3};
  double unused;
  for (int lite = 0; lite < 2; lite++) {
    mpt_statistics s[2] = {plain_statistics(x, 3, &unused), plain_statistics(x, 3, &unused)};
    s[lite].full = false;
    memset(s[lite].histogram, 0, sizeof s[lite].histogram);
    mpt_statistics_merge(&s[0], &s[1]);
    assert_int_equal(s[0].count, 6);
    assert_false(s[0].full);
  }
  mpt_statistics zeroed = {0}, full = plain_statistics(x, 3, &unused);
  mpt_statistics_merge(&zeroed, &full);
  assert_true(zeroed.full);
}

static double range_of(const float *x, int64_t n, bool full) {
  double unused;
  mpt_statistics s = plain_statistics(x, n, &unused);
  s.full = full;
  return mpt_statistics_dynamic_range(&s);
}

static void dynamic_range_is_in_binades(void **state) {
  (void)state;
  assert_true(range_of((float[]){-8, 0, 0.5f}, 3, false) == 4);
  assert_true(range_of((float[]){3}, 1, true) == 0);
  assert_true(range_of((float[]){0, 0}, 2, true) == 0);
  assert_true(range_of((float[]){0x1p-149f, 1}, 2, true) == 149);
  assert_true(range_of((float[]){INFINITY, NAN}, 2, true) == 0);
  assert_true(range_of((float[]){1, 6, INFINITY}, 3, true) == 3); /* to the end of [4, 8) */
  assert_true(range_of((float[]){1, 6, NAN}, 3, false) == 0);
  double unused;
  mpt_statistics s = plain_statistics((float[]){1, -6}, 2, &unused);
  assert_true(mpt_statistics_amax(&s) == 6);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(range_bounds_the_exact_counts),
      cmocka_unit_test(range_of_powers_of_two),
      cmocka_unit_test(range_uses_the_extremes),
      cmocka_unit_test(range_refuses_what_it_cannot_answer),
      cmocka_unit_test(scale_exponent_is_the_largest_that_fits),
      cmocka_unit_test(scale_exponent_at_the_edges),
      cmocka_unit_test(merge_is_the_statistics_of_both),
      cmocka_unit_test(merge_with_lite_is_lite),
      cmocka_unit_test(dynamic_range_is_in_binades),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
