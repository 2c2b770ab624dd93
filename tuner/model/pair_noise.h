/* The deviation of one paired difference, from pairs of the same kind.
 *
 * Runs of the reference under other seeds differ 4 to 24 times as much as a policy and the
 * reference under one seed do, so they say nothing here. Policies of 16 bits and of fp8 differ
 * tenfold, so each kind has its own deviation; with few pairs it is drawn to that of all kinds, and
 * that to a prior:
 *
 *   all    v = (f0 d0^2 + sum of squares) / (f0 + sum of degrees of freedom)
 *   kind   v_k = (f1 v + squares of the kind) / (f1 + degrees of the kind)
 *
 * squares: of the differences about their policy's own mean, n - 1 degrees for n pairs. These are
 * the posterior means' usual stand-ins under scaled inverse chi-square priors (Gelman et al. 2013,
 * section 2.6). */
#ifndef PAIR_NOISE_H
#define PAIR_NOISE_H

/* The pairs of one policy. */
typedef struct pair_group {
  int kind;       /* 0 to kinds - 1 */
  int count;      /* finished pairs, >= 1 */
  double squares; /* sum of (difference - mean)^2 */
} pair_group;

typedef struct pair_noise_prior {
  double deviation;    /* d0: what a budget that is worth a search can be told apart from: a quarter
                          of it */
  double freedom;      /* f0: 1 */
  double kind_freedom; /* f1: 2 */
} pair_noise_prior;
pair_noise_prior pair_noise_prior_of(double budget); /* in metric units */

/* deviation[kinds], each > 0 where the prior's is. */
void pair_noise_pool(const pair_noise_prior *prior, const pair_group *groups, int count, int kinds,
                     double *deviation);

#endif
