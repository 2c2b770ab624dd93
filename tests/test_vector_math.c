/* The stated errors of the vectorised functions, on a stride through all floats. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kernels/cpu/vector_math.h"
#include <stdio.h>

enum { STRIDE = 4099 };

typedef float vector_function(float x);
typedef double reference_function(double x);

static float exp_of(float x) {
  return vector_exp(x);
}
static float tanh_of(float x) {
  return vector_tanh(x);
}
static float sigmoid_of(float x) {
  return vector_sigmoid(x);
}
static double sigmoid(double x) {
  return 1 / (1 + exp(-x));
}

static double unit_in_last_place(double value) {
  int exponent;
  frexp(value, &exponent);
  return fabs(value) < 0x1p-126 ? 0x1p-149 : ldexp(1, exponent - 24);
}

static void check(vector_function *f, reference_function *reference, double limit) {
  for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits += STRIDE) {
    float x = float_of((uint32_t)bits), got = f(x);
    double expected = reference((double)x);
    if (isnan(expected) || fabs(expected) > 3.4028235e38) {
      if (isnan(expected) ? !isnan(got) : isfinite(got))
        fail_msg("f(%g) is %g, expected %g", (double)x, (double)got, expected);
      continue;
    }
    double error = fabs((double)got - expected) / unit_in_last_place(expected);
    if (!(error <= limit))
      fail_msg("f(%.9g) is %.9g, expected %.9g: %.2f ulp", (double)x, (double)got, expected, error);
  }
}

static void exp_is_within_its_error(void **state) {
  (void)state;
  check(exp_of, exp, 1.5);
}

static void tanh_is_within_its_error(void **state) {
  (void)state;
  check(tanh_of, tanh, 2.5);
}

static void sigmoid_is_within_its_error(void **state) {
  (void)state;
  check(sigmoid_of, sigmoid, 2.5);
}

static void rows_of_any_length_are_summed_whole(void **state) {
  (void)state;
  float x[70];
  for (int i = 0; i < 70; i++)
    x[i] = (float)(i % 7 + 1);
  for (int n = 1; n <= 70; n++) {
    float sum = 0, squares = 0, spread = 0, largest = 0;
    for (int i = 0; i < n; i++) { /* whole numbers: exact in any order */
      sum += x[i];
      squares += x[i] * x[i];
      spread += (x[i] - 3) * (x[i] - 3);
      largest = x[i] > largest ? x[i] : largest;
    }
    assert_true(row_sum(x, n) == sum);
    assert_true(row_dot(x, x, n) == squares);
    assert_true(row_spread(x, 3, n) == spread);
    assert_true(row_max(x, n) == largest);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(exp_is_within_its_error),
      cmocka_unit_test(tanh_is_within_its_error),
      cmocka_unit_test(sigmoid_is_within_its_error),
      cmocka_unit_test(rows_of_any_length_are_summed_whole),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
