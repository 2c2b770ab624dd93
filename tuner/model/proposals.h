/* Which policies are worth a look: those that the exact solver finds fastest when every feature is
 * charged more, or less, than it is expected to cost.
 *
 * The solver adds up what each choice costs; that a sum is surer, or less sure, than its parts, it
 * cannot see (sums of mean - deviation are too kind by up to the root of the number of units). So
 * each feature is charged theta + lambda * deviation, and lambda is bisected until the policy found
 * meets the budget with a chance of 0.5, 0.8, 0.95 by the full covariance. All policies that were
 * found on the way are proposals: about 20.
 */
#ifndef PROPOSALS_H
#define PROPOSALS_H

#include "tuner/model/damage.h"

#define PROPOSAL_FEATURES 3 /* of one choice: one for each GEMM */

typedef struct proposal_unit {
  int choice_count;
  const int (*features)[PROPOSAL_FEATURES]; /* [choice]: -1 none, as the reference has it */
  const bool *vetoed;                       /* [choice]; NULL: none */
} proposal_unit;

/* What belongs to the caller: its solver, its prices, its records. */
typedef struct proposal_calls {
  /* The fastest choice whose sum of increase[unit][choice] (INFINITY: vetoed) is at most `budget`;
   * MPT_ERROR_NOT_FOUND when there is none. */
  mpt_status (*solve)(void *context, double *const *increase, double budget, int *choice,
                      mpt_error *error);
  mpt_status (*seconds)(void *context, const int *choice, double *seconds, mpt_error *error);
  int (*identity)(void *context, const int *choice); /* of its records, or -1; NULL: all -1 */
  void *context;
} proposal_calls;

typedef struct proposal {
  int *choice;    /* [units] */
  double seconds; /* a step */
  damage_belief belief;
  double chance; /* that it meets the budget */
} proposal;

/* Different ones, the fastest first. The caller frees with proposals_free. */
mpt_status proposals_make(const damage_model *model, const proposal_unit *units, int unit_count,
                          double budget, const proposal_calls *calls, proposal **list, int *count,
                          mpt_error *error);
void proposals_free(proposal *list, int count);

/* What the model says of one choice. */
mpt_status proposal_judge(const damage_model *model, const proposal_unit *units, int unit_count,
                          double budget, const proposal_calls *calls, proposal *p,
                          mpt_error *error);

#endif
