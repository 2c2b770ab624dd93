/* The error of a rounded number against the decimal that was written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/decimal.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double error_of(const char *text, float rounded) {
  double relative = -1;
  mpt_error error = {0};
  if (cli_relative_error(text, rounded, &relative, &error) != MPT_OK)
    fail_msg("%s", error.message);
  return relative;
}

/* Expectations by rational arithmetic (Python's fractions). */
static void known_errors(void **unused) {
  (void)unused;
  static const struct {
    const char *text;
    float rounded;
    double expected;
  } cases[] = {
      {"0.1", 0.1f, 1.4901161193847656e-08},
      {"-0.3", -0.3f, 3.973642985026042e-08},
      {"16777217", 16777216.0f, 5.9604641222677158e-08},
      {"+1.0000000000000000000000000001", 1.0f, 1e-28},
      {"0.9999999999999999999999999999", 1.0f, 1e-28},
      {"00500.e-3", 0.5f, 0},
      {"0.00005E4", 0.5f, 0},
      {"1", 0.0f, 1},
      {"0e99999999999999999999", 0.0f, 0},
      {"1e-99999999999999999999", 0.0f, 1},
      {"1e39", INFINITY, INFINITY},
      {"1e300", 448.0f, 1},
      {"0.7e-45", 0x1p-149f, 1.001854949035453},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const double got = error_of(cases[i].text, cases[i].rounded);
    if (got != cases[i].expected && !(fabs(got - cases[i].expected) <= 4e-16 * cases[i].expected))
      fail_msg("%s: %.17g, expected %.17g", cases[i].text, got, cases[i].expected);
  }
  assert_true(isnan(error_of("1", NAN)));
}

/* Numbers of 17 digits and any magnitude, against 64 bits of mantissa. */
static void random_numbers(void **unused) {
  (void)unused;
  uint64_t state = 1;
  for (int i = 0; i < 20000; i++) {
    char text[64];
    state = state * 6364136223846793005u + 1442695040888963407u;
    snprintf(text, sizeof text, "%s0.%017llue%d", i % 2 ? "-" : "",
             (unsigned long long)(state >> 8), (int)(state >> 3) % 37);
    const float rounded = strtof(text, NULL);
    const long double value = strtold(text, NULL);
    const double expected = (double)(fabsl((long double)rounded - value) / fabsl(value));
    const double got = error_of(text, rounded);
    if (!(fabs(got - expected) <= 2e-19 + 1e-15 * expected))
      fail_msg("%s: %.17g, expected %.17g", text, got, expected);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(known_errors),
                                     cmocka_unit_test(random_numbers)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
