/* The search from end to end; each stage is a file of its own. */
#include "tuner/tuner.h"
#include "base/error.h"
#include "base/progress.h"
#include "tuner/search.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

tuner_options tuner_options_default(void) {
  return (tuner_options){.seed = 1, .max_evaluations = 26, .alpha = 0.05};
}

void tuner_summary_clear(tuner_summary *summary) {
  free(summary->rows);
  free(summary->message);
  *summary = (tuner_summary){0};
}

mpt_status tuner_run(const workload *w, const tuner_options *options, tuner_summary *summary,
                     mpt_error *error) {
  search s;
  candidate *winner = NULL;
  *summary = (tuner_summary){0};
  mpt_status status = MPT_OK;
  MPT_TRY(search_open(&s, w, options, error));
  MPT_TRY(stage_reference(&s, error));
  MPT_TRY(stage_sensitivity(&s, error));
  MPT_TRY(stage_adjust(&s, error));
  /* What the search cost before verification; verification may ask for more. */
  const int before_verification = s.trainings;
  MPT_TRY(stage_verify(&s, &winner, error));
  MPT_TRY(stage_write(&s, winner, summary, error));
  summary->evaluations = before_verification;
fail:
  mpt_progress_end();
  search_close(&s);
  if (status != MPT_OK)
    tuner_summary_clear(summary);
  return status;
}

mpt_status tuner_observe(const workload *w, const tuner_options *options, mpt_error *error) {
  search s;
  store_evaluation evaluation = {0};
  mpt_status status = MPT_OK;
  MPT_TRY(search_open(&s, w, options, error));
  s.reference_seed[0] = options->seed;
  MPT_TRY(observe_reference(&s, &evaluation, error));
fail:
  mpt_progress_end();
  store_evaluation_clear(&evaluation);
  search_close(&s);
  return status;
}

/* Resolves a policy on the graph's layers; formats of layers that a policy gives another storage
 * than the space would are taken as they are written. */
static mpt_status resolved(search *s, const mpt_policy *policy, const char *label, candidate **out,
                           mpt_error *error) {
  mpt_layer_info *layers = graph_layer_infos(s->graph);
  mpt_layer_policy *assignment = calloc((size_t)s->graph->layer_count, sizeof *assignment);
  mpt_status status = MPT_OK;
  mpt_resolve_options options = mpt_resolve_options_default();
  if (layers == NULL || assignment == NULL) {
    status = mpt_fail_memory(error, "a policy's formats", 0);
    goto fail;
  }
  options.device_formats = s->profile->formats;
  MPT_TRY(mpt_policy_resolve(policy, layers, s->graph->layer_count, &options, assignment, error));
  MPT_TRY(search_candidate(s, assignment, label, out, error));
fail:
  free(assignment);
  free(layers);
  return status;
}

static tuner_row evaluated_row(const search *s, const candidate *c, const char *label) {
  const double mean = candidate_mean(c);
  tuner_row row = {.step_seconds = c->cost.total, .worse_by = mean, .metric = NAN};
  snprintf(row.label, sizeof row.label, "%s", label);
  row.ratio = c->cost.total / s->reference.cost.total;
  if (isfinite(mean))
    row.metric = s->reference_mean + s->sign * mean;
  row.verdict = MPT_VERDICT_UNVERIFIED;
  row.memory_bytes = c->memory_bytes;
  return row;
}

mpt_status tuner_evaluate(const workload *w, const tuner_options *options,
                          const mpt_policy *const *policies, const char *const *labels, int count,
                          int seeds, tuner_summary *summary, mpt_error *error) {
  search s;
  workload seeded = *w;
  seeded.reference_seeds = seeds;
  *summary = (tuner_summary){.predicted = true, .proxy = w->priced.present};
  mpt_status status = MPT_OK;
  MPT_TRY(search_open(&s, &seeded, options, error));
  MPT_TRY(stage_reference(&s, error));
  summary->rows = calloc((size_t)count + 1, sizeof *summary->rows);
  if (summary->rows == NULL) {
    status = mpt_fail_memory(error, "the summary", 0);
    goto fail;
  }
  summary->rows[summary->row_count++] = (tuner_row){.step_seconds = s.reference.cost.total,
                                                    .ratio = 1,
                                                    .metric = s.reference_mean,
                                                    .verdict = MPT_VERDICT_PASS,
                                                    .reference = true,
                                                    .memory_bytes = s.reference.memory_bytes};
  memcpy(summary->rows[0].label, s.reference.label, sizeof s.reference.label);
  for (int i = 0; i < count; i++) {
    candidate *c = NULL;
    MPT_TRY(resolved(&s, policies[i], labels[i], &c, error));
    while (c->seed_count < seeds)
      MPT_TRY(search_try(&s, c, error));
    summary->rows[summary->row_count++] = evaluated_row(&s, c, labels[i]);
  }
  snprintf(summary->policy_path, sizeof summary->policy_path, "%s", options->run);
  summary->evaluations = s.trainings;
fail:
  mpt_progress_end();
  search_close(&s);
  if (status != MPT_OK)
    tuner_summary_clear(summary);
  return status;
}
