/* A run's step times in one record. */
#ifndef TIMED_STEPS_H
#define TIMED_STEPS_H

#include "store/timing_runs.h"

/* The median step and the median absolute deviation of `count` step times, which are sorted; what
 * comes before `skip` is warming up. */
timing_run timing_of_steps(double *seconds, int64_t count, int64_t skip);

#endif
