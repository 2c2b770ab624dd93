/* Measured step times: how they are put together.
 *
 * A timing has runs: the median step of each training run, or of a few steps made for the time
 * alone. A policy's time is the median over its runs; once it was timed in turn with others (A B A
 * B, so that a device that slows down or is shared hits all of them alike), over those runs alone.
 */
#ifndef STEP_TIMES_H
#define STEP_TIMES_H

#include "store/timing_runs.h"

enum { TIMING_RUNS = 64 };

typedef struct timing {
  int count;
  timing_run runs[TIMING_RUNS];
} timing;

void timing_add(timing *t, const timing_run *run); /* one that is NaN is left out */
/* NaN when nothing was timed. */
double timing_seconds(const timing *t);
/* The relative standard error of that: of the runs' spread where there are two, and of the steps
 * within them. */
double timing_noise(const timing *t);

/* How much the same thing's times differ, where a device is shared or slows down: the relative
 * standard deviation of the steps of the run where they vary most, and by how much the slowest run
 * takes longer than the fastest. */
typedef struct timing_spread {
  double steps, runs;
} timing_spread;
timing_spread timing_spread_of(const timing *t);

/* Whether two times are to be taken for equal: within `equal`, a share, or twice the noise of their
 * difference. */
bool timing_equal(double a, double noise_a, double b, double noise_b, double equal);

#endif
