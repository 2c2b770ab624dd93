/* The mean of vectors d_1 ... d_n that are seen one by one, and what they scatter. */
#ifndef SCORE_PAIRS_H
#define SCORE_PAIRS_H

#include "train/scores.h"

typedef struct score_pairs {
  double sum[SCORE_SKETCH];
  double products[SCORE_MAX_BATCHES]; /* <d_1 + ... + d_(i-1), d_i> */
  double squares;                     /* sum of |d_i|^2 */
  int count;
} score_pairs;

void score_pairs_add(score_pairs *p, const double *d);
/* |mean d|^2 without the part that their scatter adds: the mean of <d_i, d_j> over i < j. 0 of
 * fewer than two. */
double score_pairs_mean_squared(const score_pairs *p);
/* Its standard error. */
double score_pairs_error(const score_pairs *p);
/* E|d - mean d|^2 of one of them. */
double score_pairs_variance(const score_pairs *p);

#endif
