/* Sequential verification: paired differences, looks at n = 3, 5, 8, 12 with alpha spending. */
#ifndef VERIFY_H
#define VERIFY_H

#include "mptune/mptune.h"

#define VERIFY_LOOKS 4
extern const int verify_look_sizes[VERIFY_LOOKS]; /* 3, 5, 8, 12 */

typedef struct verify_bound {
  mpt_verdict verdict; /* inconclusive: take the next look, or the end */
  double mean;         /* of D, in the metric's units, worse is positive, margin taken off */
  double lower, upper; /* confidence bounds of mean D at this look */
  double alpha;        /* spent at this look, one-sided */
} verify_bound;

/* What look `look` spends of `alpha`, one-sided, for the `attempt`-th policy verified. */
double verify_alpha(int look, int attempt, double alpha);

/* The verdict at look `look` (0-based) over differences[0..n), n = verify_look_sizes[look], for the
 * `attempt`-th policy verified (1-based, gets alpha * 2^-attempt). Pass when the upper bound is
 * below 0, fail when the lower bound is above.
 *
 * The bounds are Student's, of paired differences, each one-sided at what this look spends. The
 * spending function is of Pocock's type (Lan and DeMets 1983), alpha ln(1 + (e - 1) t) at the
 * information t = n/12. A look is given the increment of the function and nothing for its
 * correlation with earlier looks: a union bound, so the error over all looks, and over all
 * attempts, is at most alpha. Exact boundaries would be a little narrower; for Student's t they
 * depend on the unknown variance.
 *
 * A difference that is not finite is a candidate that diverged where its paired reference did not:
 * the mean is infinite, no further seed can lower it, and the verdict is fail. When all differences
 * are equal the bounds are their mean. */
verify_bound verify_look(const double *differences, int look, int attempt, double alpha);

#endif
