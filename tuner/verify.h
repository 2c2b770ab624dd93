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

/* The verdict at look `look` (0-based) over differences[0..n), n = verify_look_sizes[look], for the
 * `attempt`-th policy verified (1-based, gets alpha * 2^-attempt). A candidate that diverged is
 * counted as +infinity. Student's t bounds of paired differences; the level of each look by
 * spending of Pocock's type (Lan and DeMets 1983). */
verify_bound verify_look(const double *differences, int look, int attempt, double alpha);

#endif
