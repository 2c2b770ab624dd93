/* Measured step times: how they are put together, and what they teach the prediction.
 *
 * A timing has runs: the median step of each training run, or of a few steps made for the time
 * alone. A policy's time is the median over its runs; once it was timed in turn with others (A B A
 * B, so that a device that slows down or is shared hits all of them alike), over those runs alone.
 *
 * The calibration corrects predictions by what was measured on the same device:
 *
 *   step = a GEMMs + b copies + c passes
 *
 * with a, b, c the posterior means of a Bayesian linear regression on relative errors: a priori
 * independent, normal around the ratio of the measured times to the predicted ones, with deviation
 * 0.3 of it; a policy's own deviation from such a sum is taken as 1%. One measurement thus scales
 * everything alike, and policies that differ in their parts tell the parts apart.
 */
#ifndef CALIBRATION_H
#define CALIBRATION_H

#include "tuner/cost.h"

enum { TIMING_RUNS = 64 };

typedef struct timing_run {
  double seconds;   /* median of its steps; NaN: none */
  double deviation; /* median absolute deviation of the steps */
  int64_t steps;
  bool in_turn; /* timed in turn with others */
} timing_run;

typedef struct timing {
  int count;
  timing_run runs[TIMING_RUNS];
} timing;

/* The median step and the median absolute deviation of `count` step times, which are sorted; what
 * comes before `skip` is warming up. */
timing_run timing_of_steps(double *seconds, int64_t count, int64_t skip);
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

typedef struct calibration_point {
  const cost_parts *parts; /* as the profile has them */
  double seconds;          /* measured */
} calibration_point;

/* Factors of 1 without a point. */
typedef struct calibration {
  double gemms, copies, passes;
  int points;
} calibration;
calibration calibration_fit(const calibration_point *points, int count);

#endif
