#include "tuner/verify_plan.h"
#include <math.h>

/* No prediction is certain. */
#define LEAST_CHANCE 0.05
#define MOST_CHANCE  0.95

void verify_weights(const double *chance, int count, double available, double *weights) {
  double reached = 1, sum = 0;
  for (int i = 0; i < count; i++) {
    const double p = fmin(MOST_CHANCE, fmax(LEAST_CHANCE, chance[i])); /* NaN: the least */
    weights[i] = reached * p;
    reached *= 1 - p;
    sum += weights[i];
  }
  /* What one may not have goes to the others: only one can be above the limit, and is settled by
   * the first pass. */
  const double most = VERIFY_MOST_WEIGHT * available, all = (1 - VERIFY_RESERVE) * available;
  double capped = 0, rest = sum;
  for (int i = 0; i < count; i++) {
    if (weights[i] / sum * all <= most)
      continue;
    rest -= weights[i];
    capped += most;
    weights[i] = -1;
  }
  for (int i = 0; i < count; i++)
    weights[i] = weights[i] < 0 ? most : fmin(most, weights[i] / rest * (all - capped));
}
