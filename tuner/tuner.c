/* The search from end to end; each stage is a file of its own. */
#include "tuner/tuner.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/text.h"
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

#define DRY_STEPS 8 /* trained to see how long a step takes here */

/* What would be evaluated and about how long that takes; writes nothing. */
static mpt_status dry_run(search *s, tuner_summary *summary, mpt_error *error) {
  train_options o = train_options_default();
  train_result result = {0};
  o.workload = s->w;
  o.graph = s->graph;
  o.data = s->data;
  o.assignment = s->reference.assignment;
  o.loss_scale = s->w->loss_scale;
  o.seed = s->options->seed;
  o.steps = s->steps < DRY_STEPS ? s->steps : DRY_STEPS;
  o.threads = s->w->threads;
  MPT_RETURN_IF_FAILED(train_run(&o, &result, error));
  const double run = result.step_seconds * (double)s->steps;
  train_result_clear(&result);
  const int references = s->w->reference_seeds, most = s->options->max_evaluations;
  mpt_text text = {0};
  mpt_text_addf(&text, "%d layers, %d of them with a format to choose; %lld steps a training\n",
                s->graph->layer_count, s->space->unit_count, (long long)s->steps);
  mpt_text_addf(&text, "%d trainings of the reference, at most %d of candidates\n", references,
                most);
  mpt_text_addf(&text, "then 3 to 12 pairs for each policy that is verified\n");
  mpt_text_addf(&text,
                "a training takes about %.2g s here in the reference's format, up to twice "
                "that in emulated ones: %.0f to %.0f s in all",
                run, run * (references + 8 + 6), 2 * run * (references + most + 24));
  if (text.failed)
    return mpt_fail_memory(error, "the plan", 0);
  summary->message = text.data;
  summary->found = true;
  return MPT_OK;
}

mpt_status tuner_run(const workload *w, const tuner_options *options, tuner_summary *summary,
                     mpt_error *error) {
  search s;
  candidate *winner = NULL;
  *summary = (tuner_summary){0};
  mpt_status status = MPT_OK;
  MPT_TRY(search_open(&s, w, options, true, error));
  if (options->dry_run) {
    MPT_TRY(dry_run(&s, summary, error));
    goto fail;
  }
  s.planned = w->reference_seeds + options->max_evaluations +
              2 * verify_look_sizes[VERIFY_LOOKS - 1]; /* pairs for one policy */
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

mpt_status tuner_observe(const workload *w, const tuner_options *options, tuner_observation *seen,
                         mpt_error *error) {
  search s;
  store_evaluation evaluation = {0};
  mpt_status status = MPT_OK;
  MPT_TRY(search_open(&s, w, options, false, error));
  s.reference_seed[0] = options->seed;
  s.planned = 1;
  MPT_TRY(observe_reference(&s, &evaluation, error));
  *seen = (tuner_observation){0};
  memcpy(seen->key, evaluation.key, sizeof seen->key);
  if (evaluation.diverged)
    snprintf(seen->failure, sizeof seen->failure, "%s",
             evaluation.failure == NULL ? "not finite" : evaluation.failure);
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
  MPT_TRY(search_open(&s, &seeded, options, false, error));
  s.planned = seeds * (count + 1);
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
