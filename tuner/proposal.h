/* The next policy to be trained, by what the model predicts. */
#ifndef PROPOSAL_H
#define PROPOSAL_H

#include "tuner/model.h"

/* The fastest policy that is predicted to meet the budget, and is new or known to meet it: *out,
 * NULL when there is none. `optimism`: by a prediction that is kinder by so many deviations to what
 * is uncertain. */
mpt_status proposal_next(const problem *p, ledger *l, const model *m, double optimism,
                         candidate **out, mpt_error *error);
/* The one predicted to cost least, whatever the budget. */
mpt_status proposal_most_accurate(const problem *p, ledger *l, const model *m, candidate **out,
                                  mpt_error *error);

#endif
