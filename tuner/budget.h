/* The workload's budget as verify.h has it, and what held-out data can say about it. */
#ifndef BUDGET_H
#define BUDGET_H

#include "data/dataset.h"
#include "tuner/verify.h"

/* `alpha` is what this policy may spend: verify_rule. */
verify_rule budget_rule(const workload *w, double alpha);

/* How many samples the metric will be a mean of; 0 for the loss. */
int64_t budget_judged(const workload *w, const dataset_info *info);

/* MPT_ERROR_SYNTAX at the budget where no verdict could pass even an equal policy, known before
 * anything is trained: a budget below one of `judged` samples, or below what so many pairs can
 * tell; a share of diverged trainings that they cannot show. */
mpt_status budget_check_resolution(const workload *w, int64_t judged, double alpha, int pairs,
                                   mpt_error *error);

#endif
