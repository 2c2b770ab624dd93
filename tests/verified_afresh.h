/* Whether a uniform policy meets a budget, found out apart from the search: under seeds that it
 * never used, judged as the search judges its first attempt. */
#ifndef VERIFIED_AFRESH_H
#define VERIFIED_AFRESH_H

#include "store/store.h"
#include "tuner/tuner.h"
#include "tuner/verify.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AFRESH_PAIRS VERIFY_DEFAULT_PAIRS
#define AFRESH_SEED  50000

/* From the store of an evaluation of one policy. */
static inline mpt_status afresh_pairs(const char *run, verify_pair pairs[AFRESH_PAIRS],
                                      mpt_error *error) {
  store *s = NULL;
  store_evaluation *all = NULL;
  int count = 0;
  mpt_status status = store_open(run, STORE_READ, &s, error);
  if (status == MPT_OK)
    status = store_all_evaluations(s, &all, &count, error);
  for (int i = 0; i < AFRESH_PAIRS && status == MPT_OK; i++) {
    pairs[i] = (verify_pair){.reference = NAN, .candidate = NAN};
    for (int k = 0; k < count; k++)
      if (all[k].seed == AFRESH_SEED + (uint64_t)i && !all[k].diverged)
        *(strcmp(all[k].purpose, "reference") == 0 ? &pairs[i].reference : &pairs[i].candidate) =
            all[k].metric;
  }
  for (int i = 0; i < count; i++)
    store_evaluation_clear(&all[i]);
  free(all);
  store_close(s);
  return status;
}

/* `directory`/FORMAT is a run of its own. */
static inline mpt_status verified_afresh(const workload *w, const char *directory, mpt_precision q,
                                         verify_result *result, mpt_error *error) {
  char run[640], label[32];
  mpt_policy *policy = NULL;
  tuner_summary summary;
  tuner_options options = tuner_options_default();
  verify_pair pairs[AFRESH_PAIRS];
  snprintf(label, sizeof label, "all-%s", mpt_precision_name(q));
  snprintf(run, sizeof run, "%.600s/%s", directory, label);
  options.run = run;
  options.seed = AFRESH_SEED;
  mpt_status status = mpt_policy_uniform(q, &policy, error);
  const tuner_policy given = {.label = label, .policy = policy, .uniform = true};
  if (status == MPT_OK)
    status = tuner_evaluate(w, &options, &given, 1, AFRESH_PAIRS, &summary, error);
  mpt_policy_free(policy);
  if (status != MPT_OK)
    return status;
  tuner_summary_clear(&summary);
  if ((status = afresh_pairs(run, pairs, error)) != MPT_OK)
    return status;
  const verify_rule rule = {.budget = w->budget.worse_by,
                            .relative = w->budget.relative,
                            .higher_is_better = w->metric != METRIC_LOSS,
                            .alpha = 0.025,
                            .most_diverged = NAN};
  *result = verify_pairs(&rule, pairs, AFRESH_PAIRS, AFRESH_PAIRS);
  return MPT_OK;
}

#endif
