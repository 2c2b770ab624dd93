/* One figure for one number, and bounds that promise no more than was found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tuner/change.h"
#include <math.h>
#include <stdlib.h>

static void says(void (*write)(bool, double, char *), bool relative, double change,
                 const char *expected) {
  char text[CHANGE_SIZE];
  write(relative, change, text);
  assert_string_equal(text, expected);
}

static void changes_are_rounded_to_the_nearest(void **state) {
  (void)state;
  says(change_text, true, 0.011958974, "+1.196%");
  says(change_text, true, -0.0033, "-0.330%");
  says(change_text, false, 0.0012584, "+0.001258");
  says(change_text, true, -0.0, "+0.000%");
  says(change_text, false, -0.0, "+0");
  says(change_text, true, NAN, "-");
}

/* A budget of 17.241% would not have passed what was bounded by 17.24112%. */
static void bounds_are_rounded_outwards(void **state) {
  (void)state;
  says(change_upper_text, true, 0.1724112, "+17.242%");
  says(change_lower_text, true, 0.1384899, "+13.848%");
  says(change_upper_text, true, -0.0050049, "-0.500%"); /* better by at least 0.500% */
  says(change_lower_text, true, -0.0050041, "-0.501%");
  says(change_upper_text, false, 0.00356701, "+0.003568");
  says(change_lower_text, false, -0.1411201, "-0.1412");
  says(change_upper_text, false, 0.0, "+0");
  says(change_upper_text, true, INFINITY, "-");
}

/* 0.3% is 0.003, which no double is. */
static void what_is_a_round_figure_stays(void **state) {
  (void)state;
  for (int i = -3000; i <= 3000; i++) {
    char nearest[CHANGE_SIZE], lower[CHANGE_SIZE], upper[CHANGE_SIZE];
    for (int relative = 0; relative < 2; relative++) {
      const double change = i / 1e5;
      change_text(relative, change, nearest);
      change_lower_text(relative, change, lower);
      change_upper_text(relative, change, upper);
      assert_string_equal(lower, nearest);
      assert_string_equal(upper, nearest);
    }
  }
}

static void a_bound_read_back_is_no_smaller(void **state) {
  (void)state;
  char text[CHANGE_SIZE];
  for (double bound = 1e-7; bound < 1e5; bound *= 1.0371) {
    change_upper_text(true, bound, text);
    assert_true(strtod(text, NULL) / 100 >= bound);
    change_upper_text(false, bound, text);
    assert_true(strtod(text, NULL) >= bound);
    change_lower_text(false, bound, text);
    assert_true(strtod(text, NULL) <= bound);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(changes_are_rounded_to_the_nearest),
      cmocka_unit_test(bounds_are_rounded_outwards),
      cmocka_unit_test(what_is_a_round_figure_stays),
      cmocka_unit_test(a_bound_read_back_is_no_smaller),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
