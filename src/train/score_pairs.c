#include "train/score_pairs.h"
#include <math.h>

void score_pairs_add(score_pairs *p, const double *d) {
  double product = 0, square = 0;
  for (int i = 0; i < SCORE_SKETCH; i++) {
    product += p->sum[i] * d[i];
    square += d[i] * d[i];
    p->sum[i] += d[i];
  }
  p->products[p->count++] = product;
  p->squares += square;
}

static double pair_count(const score_pairs *p) {
  return 0.5 * p->count * (p->count - 1);
}

double score_pairs_mean_squared(const score_pairs *p) {
  double sum = 0;
  for (int i = 1; i < p->count; i++)
    sum += p->products[i];
  return p->count < 2 ? 0 : sum / pair_count(p);
}

/* The i-th product holds i - 1 pairs, whose scatter about their mean is independent of that of the
 * others when d is scattered about 0, and nearly so otherwise. */
double score_pairs_error(const score_pairs *p) {
  const double mean = score_pairs_mean_squared(p);
  double sum = 0;
  for (int i = 1; i < p->count; i++)
    sum += (p->products[i] - i * mean) * (p->products[i] - i * mean);
  if (p->count > 2) /* the mean is one of what they scatter about */
    sum *= (p->count - 1.0) / (p->count - 2.0);
  return p->count < 2 ? 0 : sqrt(sum) / pair_count(p);
}

double score_pairs_variance(const score_pairs *p) {
  const double mean = score_pairs_mean_squared(p);
  return p->count < 2 ? 0 : fmax(0, p->squares / p->count - mean);
}
