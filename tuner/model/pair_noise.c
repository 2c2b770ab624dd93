#include "tuner/model/pair_noise.h"
#include <math.h>

pair_noise_prior pair_noise_prior_of(double budget) {
  return (pair_noise_prior){.deviation = budget / 4, .freedom = 1, .kind_freedom = 2};
}

void pair_noise_pool(const pair_noise_prior *prior, const pair_group *groups, int count, int kinds,
                     double *deviation) {
  double squares = prior->freedom * prior->deviation * prior->deviation, freedom = prior->freedom;
  for (int i = 0; i < count; i++)
    squares += groups[i].squares, freedom += groups[i].count - 1;
  const double all = squares / freedom;
  for (int k = 0; k < kinds; k++) {
    double own = prior->kind_freedom * all, degrees = prior->kind_freedom;
    for (int i = 0; i < count; i++)
      if (groups[i].kind == k)
        own += groups[i].squares, degrees += groups[i].count - 1;
    deviation[k] = sqrt(own / degrees);
  }
}
