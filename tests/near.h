/* Numbers that must be near each other. cmocka's assert_float_equal takes NaN for any number, and
 * compares in float: tests/house.sh refuses it. */
#ifndef TEST_NEAR_H
#define TEST_NEAR_H

#include <math.h>

#define assert_near(got, expected, tolerance)                                                      \
  do {                                                                                             \
    const double near_got = (got), near_expected = (expected);                                     \
    if (!(fabs(near_got - near_expected) <= (tolerance)))                                          \
      fail_msg("%s is %.17g, expected %.17g", #got, near_got, near_expected);                      \
  } while (0)

#endif
