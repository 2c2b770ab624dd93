/* How verification divides the search's alpha among the policies that it sets out to look at. */
#ifndef VERIFY_PLAN_H
#define VERIFY_PLAN_H

#define VERIFY_MOST_WEIGHT 0.5  /* of one policy, so that its own level is alpha / 2 at most */
#define VERIFY_RESERVE     0.25 /* of what is left, for policies that are proposed later */

/* weights[count] of a list in the order in which it is worked off; chance[i] is that of policy i to
 * pass if it is looked at, `available` the share of alpha that is not given away yet. A policy gets
 * in proportion to the chance that it is reached and passes; all of them at most
 * (1 - VERIFY_RESERVE) * available, and each at most VERIFY_MOST_WEIGHT of it. */
void verify_weights(const double *chance, int count, double available, double *weights);

#endif
