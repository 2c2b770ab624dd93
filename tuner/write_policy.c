/* policy.yaml, with what was found out about the policy and how. */
#include "base/error.h"
#include "tuner/outcome.h"
#include "tuner/results.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* The policy file's figures are shares of the reference's metric, whatever the budget is. */
static mpt_policy_result result_of(const search_view *s, const candidate *c, mpt_verdict verdict) {
  const evidence *e = &c->seen;
  mpt_policy_result r = {.verdict = verdict, .worse_by = e->worse_share, .upper_bound = NAN};
  if (c == &s->ledger->reference)
    r.worse_by = r.upper_bound = 0;
  else if (e->fresh && isfinite(e->interval.upper))
    r.upper_bound = s->problem->workload->budget.relative
                        ? e->interval.upper
                        : e->interval.upper / fabs(e->reference_metric);
  r.confidence = 1 - s->problem->options->alpha;
  r.step_time_ratio = c->seconds / s->ledger->reference.seconds;
  r.time_measured = c->timed.count > 0 && s->ledger->reference.timed.count > 0;
  r.steps = s->problem->steps;
  return r;
}

/* "measured: 36.0 ms a step, predicted 35.1 ms" */
static void describe_times(const search_view *s, const candidate *c, char *text, size_t size) {
  if (c->timed.count > 0)
    snprintf(text, size, "measured: %.4g ms a step, predicted %.4g ms", 1e3 * c->seconds,
             1e3 * cost_uncorrected(&c->cost));
  else
    snprintf(text, size, "%s",
             s->problem->profile->synthetic ? "predicted for a synthetic device" : "predicted");
}

static mpt_status set_provenance(const search_view *s, const candidate *c, mpt_verdict verdict,
                                 mpt_policy *policy, mpt_error *error) {
  char budget[64], seeds[OUTCOME_SEEDS_SIZE], accuracy[64], stamp[32];
  const time_t now = time(NULL);
  struct tm utc;
  gmtime_r(&now, &utc);
  strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &utc);
  outcome_seeds(s, c, seeds);
  snprintf(accuracy, sizeof accuracy, "%s on the %s",
           verdict == MPT_VERDICT_PASS ? "verified" : "measured, not verified,",
           s->problem->workload->priced.present ? "proxy" : "model");
  workload_budget_text(s->problem->workload, budget, sizeof budget);
  char times[160];
  describe_times(s, c, times, sizeof times);
  const struct {
    const char *key, *value;
  } entries[] = {
      {"tool", "mptune " MPTUNE_VERSION},
      {"time", stamp},
      {"workload", s->problem->workload->name},
      {"workload_hash", s->problem->training_hash},
      {"data_hash", s->problem->condition.data},
      {"backend", s->problem->place.text},
      {"target",
       s->problem->place.measures ? s->problem->place.device : s->problem->profile_identity},
      {"times", times},
      {"accuracy", accuracy},
      {"seeds", seeds},
      {"budget_worse_by", budget},
  };
  for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++)
    MPT_RETURN_IF_FAILED(
        mpt_policy_set_provenance(policy, entries[i].key, entries[i].value, error));
  return MPT_OK;
}

mpt_status write_policy(const search_view *s, const candidate *c, mpt_verdict verdict,
                        mpt_error *error) {
  mpt_layer_info *layers = graph_layer_infos(s->problem->graph);
  mpt_policy *policy = NULL;
  char path[600];
  mpt_status status = MPT_OK;
  if (layers == NULL)
    return mpt_fail_memory(error, "the layers' names", 0);
  snprintf(path, sizeof path, "%s/policy.yaml", s->problem->options->run);
  MPT_TRY(mpt_policy_from_assignment(s->problem->workload->name, layers, c->assignment,
                                     s->problem->graph->layer_count, c->loss_scale, &policy,
                                     error));
  MPT_TRY(set_provenance(s, c, verdict, policy, error));
  const mpt_policy_result result = result_of(s, c, verdict);
  MPT_TRY(mpt_policy_set_result(policy, &result, error));
  MPT_TRY(mpt_policy_save(policy, path, error));
fail:
  mpt_policy_free(policy);
  free(layers);
  return status;
}
