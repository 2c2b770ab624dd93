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

#define AFRESH_PAIRS 12 /* of the last look */
#define AFRESH_SEED  50000

/* Differences less the margin, worse is positive, from the store of an evaluation of one policy. */
static inline mpt_status afresh_differences(const char *run, metric_kind metric, double margin,
                                            double difference[AFRESH_PAIRS], mpt_error *error) {
  store *s = NULL;
  store_evaluation *all = NULL;
  int count = 0;
  mpt_status status = store_open(run, STORE_READ, &s, error);
  if (status == MPT_OK)
    status = store_all_evaluations(s, &all, &count, error);
  for (int i = 0; i < AFRESH_PAIRS && status == MPT_OK; i++) {
    double found[2] = {NAN, NAN}; /* of the reference, of the policy */
    for (int k = 0; k < count; k++)
      if (all[k].seed == AFRESH_SEED + (uint64_t)i)
        found[strcmp(all[k].purpose, "reference") != 0] = all[k].metric;
    const double worse = metric == METRIC_LOSS ? found[1] - found[0] : found[0] - found[1];
    difference[i] = isfinite(found[1]) ? worse - margin : INFINITY;
  }
  for (int i = 0; i < count; i++)
    store_evaluation_clear(&all[i]);
  free(all);
  store_close(s);
  return status;
}

/* `directory`/FORMAT is a run of its own. `margin` is in units of the metric. */
static inline mpt_status verified_afresh(const workload *w, const char *directory, mpt_precision q,
                                         double margin, verify_bound *bound, mpt_error *error) {
  char run[640], label[32];
  mpt_policy *policy = NULL;
  tuner_summary summary;
  tuner_options options = tuner_options_default();
  double difference[AFRESH_PAIRS];
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
  status = afresh_differences(run, w->metric, margin, difference, error);
  *bound = (verify_bound){.verdict = MPT_VERDICT_INCONCLUSIVE};
  for (int k = 0; k < VERIFY_LOOKS && bound->verdict == MPT_VERDICT_INCONCLUSIVE; k++)
    *bound = verify_look(difference, k, 1, 0.05);
  return status;
}

#endif
