#include "tuner/step_times.h"
#include "base/median.h"
#include <gsl/gsl_statistics_double.h>
#include <math.h>

void timing_add(timing *t, const timing_run *run) {
  if (isfinite(run->seconds) && run->seconds > 0 && t->count < TIMING_RUNS)
    t->runs[t->count++] = *run;
}

/* The runs that count: those made in turn with others, where there are any. */
static int runs_that_count(const timing *t, const timing_run *chosen[TIMING_RUNS]) {
  int in_turn = 0, count = 0;
  for (int i = 0; i < t->count; i++)
    in_turn += t->runs[i].in_turn;
  for (int i = 0; i < t->count; i++)
    if (in_turn == 0 || t->runs[i].in_turn)
      chosen[count++] = &t->runs[i];
  return count;
}

double timing_seconds(const timing *t) {
  const timing_run *runs[TIMING_RUNS];
  double seconds[TIMING_RUNS];
  const int count = runs_that_count(t, runs);
  if (count == 0)
    return NAN;
  for (int i = 0; i < count; i++)
    seconds[i] = runs[i]->seconds;
  return mpt_median(seconds, count);
}

/* For a normal distribution the deviation is 1.4826 median absolute deviations, and the standard
 * error of a median sqrt(pi/2) times that of a mean. */
double timing_noise(const timing *t) {
  const timing_run *runs[TIMING_RUNS];
  double seconds[TIMING_RUNS] = {0}, within = 0;
  const int count = runs_that_count(t, runs);
  if (count == 0)
    return 0;
  for (int i = 0; i < count; i++) {
    seconds[i] = runs[i]->seconds;
    const double step = 1.4826 * runs[i]->deviation / runs[i]->seconds;
    within += M_PI / 2 * step * step / (double)runs[i]->steps;
  }
  const double mean = gsl_stats_mean(seconds, 1, (size_t)count);
  double between = 0;
  if (count > 1)
    between = M_PI / 2 * gsl_stats_variance_m(seconds, 1, (size_t)count, mean) / (mean * mean);
  return sqrt(fmax(within / count, between) / count);
}

timing_spread timing_spread_of(const timing *t) {
  const timing_run *runs[TIMING_RUNS];
  const int count = runs_that_count(t, runs);
  double least = INFINITY, most = 0;
  timing_spread spread = {0};
  for (int i = 0; i < count; i++) {
    spread.steps = fmax(spread.steps, 1.4826 * runs[i]->deviation / runs[i]->seconds);
    least = fmin(least, runs[i]->seconds);
    most = fmax(most, runs[i]->seconds);
  }
  spread.runs = count > 1 ? most / least - 1 : 0;
  return spread;
}

bool timing_equal(double a, double noise_a, double b, double noise_b, double equal) {
  const double least = fmin(a, b), difference = fabs(a - b);
  return difference <= fmax(equal, 2 * hypot(noise_a, noise_b)) * least;
}
