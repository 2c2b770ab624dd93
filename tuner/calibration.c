#include "tuner/calibration.h"
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>

#define PRIOR_DEVIATION 0.3  /* of a factor, relative to the common ratio */
#define MODEL_DEVIATION 0.01 /* of a step time from the sum of its parts */

static int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median_of(double *values, int64_t count) {
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
  run.seconds = median_of(seconds, run.steps);
  for (int64_t i = 0; i < run.steps; i++)
    seconds[i] = fabs(seconds[i] - run.seconds);
  run.deviation = median_of(seconds, run.steps);
  return run;
}

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
  return median_of(seconds, count);
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

/* Solves the symmetric positive definite 3 x 3 system by Cramer's rule. */
static void solve3(double m[3][3], const double y[3], double x[3]) {
  double cofactor[3][3];
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++) {
      const int a = (i + 1) % 3, b = (i + 2) % 3, c = (j + 1) % 3, d = (j + 2) % 3;
      cofactor[i][j] = m[a][c] * m[b][d] - m[a][d] * m[b][c];
    }
  const double determinant =
      m[0][0] * cofactor[0][0] + m[0][1] * cofactor[0][1] + m[0][2] * cofactor[0][2];
  for (int j = 0; j < 3; j++)
    x[j] = (cofactor[0][j] * y[0] + cofactor[1][j] * y[1] + cofactor[2][j] * y[2]) / determinant;
}

calibration calibration_fit(const calibration_point *points, int count) {
  calibration c = {1, 1, 1, 0};
  double logs = 0;
  for (int i = 0; i < count; i++) {
    const cost_parts *p = points[i].parts;
    logs += log(points[i].seconds / (p->gemms + p->copies + p->passes));
    c.points++;
  }
  if (c.points == 0)
    return c;
  const double ratio = exp(logs / c.points);
  const double prior = 1 / (PRIOR_DEVIATION * PRIOR_DEVIATION * ratio * ratio);
  const double weight = 1 / (MODEL_DEVIATION * MODEL_DEVIATION);
  double matrix[3][3] = {{prior, 0, 0}, {0, prior, 0}, {0, 0, prior}};
  double right[3] = {prior * ratio, prior * ratio, prior * ratio}, factors[3];
  for (int i = 0; i < count; i++) {
    const cost_parts *p = points[i].parts;
    const double row[3] = {p->gemms / points[i].seconds, p->copies / points[i].seconds,
                           p->passes / points[i].seconds};
    for (int a = 0; a < 3; a++) {
      for (int b = 0; b < 3; b++)
        matrix[a][b] += weight * row[a] * row[b];
      right[a] += weight * row[a];
    }
  }
  solve3(matrix, right, factors);
  /* A factor far from the others is noise, and the solver takes no negative times. */
  c.gemms = fmin(fmax(factors[0], 0.25 * ratio), 4 * ratio);
  c.copies = fmin(fmax(factors[1], 0.25 * ratio), 4 * ratio);
  c.passes = fmin(fmax(factors[2], 0.25 * ratio), 4 * ratio);
  return c;
}
