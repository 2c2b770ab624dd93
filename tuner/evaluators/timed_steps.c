#include "tuner/evaluators/timed_steps.h"
#include "base/median.h"
#include <math.h>

timing_run timing_of_steps(double *seconds, int64_t count, int64_t skip) {
  timing_run run = {.seconds = NAN, .deviation = NAN};
  if (count <= skip)
    skip = count > 1 ? count - 1 : 0;
  run.steps = count - skip;
  if (run.steps < 1)
    return run;
  seconds += skip;
  run.seconds = mpt_median(seconds, run.steps);
  for (int64_t i = 0; i < run.steps; i++)
    seconds[i] = fabs(seconds[i] - run.seconds);
  run.deviation = mpt_median(seconds, run.steps);
  return run;
}
