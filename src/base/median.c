#include "base/median.h"
#include <math.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double mpt_median(double *values, int64_t count) {
  if (count < 1)
    return NAN;
  qsort(values, (size_t)count, sizeof *values, by_value);
  return 0.5 * (values[(count - 1) / 2] + values[count / 2]);
}
