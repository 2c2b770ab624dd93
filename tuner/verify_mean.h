/* The mean of D over pairs, as a function of the budget. Private to verify*.c. */
#ifndef VERIFY_MEAN_H
#define VERIFY_MEAN_H

#include "tuner/verify.h"
#include <math.h>

/* One way in which the mean of D may be off. With x the budget less the estimate, which is the
 * budget at which the mean is 0, the mean is -q x and its variance a - 2 b x + c x^2. Its upper
 * bound is -q x + h + sqrt(k^2 variance + h^2), k the quantile and h = z^2 times `skew`; the lower
 * bound alike. */
typedef struct verify_spread {
  double a, b, c;
  double freedom; /* Student's degrees; INFINITY: the normal's */
  double skew;
} verify_spread;

#define VERIFY_SPREADS 3
typedef struct verify_mean {
  int count;       /* pairs in which both trainings finished */
  double q;        /* what a unit of budget allows: the mean of the reference, or 1 */
  double estimate; /* the budget at which the mean of D is 0 */
  bool bounded;    /* else no spread is known: see verify_mean_of */
  int spreads;     /* the bounds are the widest of what these give */
  verify_spread spread[VERIFY_SPREADS];
} verify_mean;

static inline bool verify_finished(const verify_pair *p) {
  return isfinite(p->reference) && isfinite(p->candidate);
}

/* Not bounded: fewer than two pairs, or a relative budget of a reference that changes its sign. The
 * estimate may be there all the same. */
void verify_mean_of(const verify_rule *rule, const verify_pair *pairs, int count, verify_mean *m);

/* The budgets at which the bounds of the mean of D are 0, each at one-sided `level`. */
verify_interval verify_mean_bounds(const verify_mean *m, double level);

/* verify_steps.c: what the judged samples add, for metrics that are means over them. */
void verify_add_steps(const verify_rule *rule, const verify_pair *pairs, int count, verify_mean *m);

#endif
