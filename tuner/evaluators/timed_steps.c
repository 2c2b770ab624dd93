#include "tuner/evaluators/timed_steps.h"
#include <math.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double timing_median(double *values, int64_t count) {
  qsort(values, (size_t)count, sizeof *values, by_value);
  return 0.5 * (values[(count - 1) / 2] + values[count / 2]);
}

timing_run timing_of_steps(double *seconds, int64_t count, int64_t skip) {
  timing_run run = {.seconds = NAN, .deviation = NAN};
  if (count <= skip)
    skip = count > 1 ? count - 1 : 0;
  run.steps = count - skip;
  if (run.steps < 1)
    return run;
  seconds += skip;
  run.seconds = timing_median(seconds, run.steps);
  for (int64_t i = 0; i < run.steps; i++)
    seconds[i] = fabs(seconds[i] - run.seconds);
  run.deviation = timing_median(seconds, run.steps);
  return run;
}
