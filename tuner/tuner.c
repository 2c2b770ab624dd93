/* The search from end to end; each stage is a file of its own. */
#include "tuner/tuner.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/shown.h"
#include "tuner/label.h"
#include "tuner/search.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

tuner_options tuner_options_default(void) {
  return (tuner_options){
      .seed = 1, .max_evaluations = 26, .alpha = 0.05, .pairs = VERIFY_DEFAULT_PAIRS};
}

void tuner_summary_clear(tuner_summary *summary) {
  free(summary->rows);
  free(summary->message);
  *summary = (tuner_summary){0};
}

#define DRY_STEPS      8    /* trained to see how long a step takes here */
#define DRY_CANDIDATES 8    /* trainings of candidates in a short search */
#define DRY_OPERATIONS 1e12 /* of a step that is not even tried on a CPU */

/* Multiplications and additions in the GEMMs of a step. */
static double operations(const search *s) {
  double sum = 0;
  for (int i = 0; i < s->graph->layer_count; i++) {
    const graph_gemm *gemm = &s->graph->layers[i].gemm;
    if (s->graph->layers[i].has_gemm)
      sum += 6.0 * (double)gemm->m * (double)gemm->n * (double)gemm->k;
  }
  return sum * (double)s->w->optimizer.accumulate;
}

/* The time of a training in the reference's format: tried for a few steps. NaN: not tried. */
static mpt_status dry_seconds(search *s, double *run, mpt_error *error) {
  train_options o = search_train_options(s, &s->reference, s->options->seed);
  train_result result = {0};
  *run = NAN;
  if (strcmp(s->place.backend, "cpu") == 0 && operations(s) > DRY_OPERATIONS)
    return MPT_OK;
  o.steps = s->steps < DRY_STEPS ? s->steps : DRY_STEPS;
  MPT_RETURN_IF_FAILED(train_run(&o, &result, error));
  *run = result.step_seconds * (double)s->steps;
  train_result_clear(&result);
  return MPT_OK;
}

/* "0.031", "140" */
static void add_seconds(mpt_text *text, double seconds) {
  mpt_text_addf(text, seconds < 10 ? "%.2g" : "%.0f", seconds);
}

/* Emulated formats take up to twice as long as the reference's. */
static void plan_seconds(const search *s, double run, tuner_plan *p) {
  const bool emulated = strcmp(s->place.backend, "cpu") == 0;
  p->training_seconds = run;
  p->least_seconds = run * (p->references + DRY_CANDIDATES + 2 * p->least_pairs);
  p->most_seconds = (emulated ? 2 : 1) * run * (p->references + p->candidates + 2 * p->most_pairs);
}

static void add_times(const search *s, const tuner_plan *p, mpt_text *text) {
  const bool emulated = strcmp(s->place.backend, "cpu") == 0;
  mpt_text_add(text, "a training takes about ");
  add_seconds(text, p->training_seconds);
  mpt_text_addf(text, " s here in the reference's format%s: ",
                emulated ? ", up to twice that in emulated ones" : "");
  add_seconds(text, p->least_seconds);
  mpt_text_add(text, " to ");
  add_seconds(text, p->most_seconds);
  mpt_text_add(text, " s in all, where one policy is verified");
}

static mpt_status plan_text(const search *s, const tuner_plan *p, char **message,
                            mpt_error *error) {
  mpt_text text = {0};
  mpt_text_addf(&text, "%d layers, %d of them with a format to choose; %lld steps a training\n",
                p->layers, p->units, (long long)p->steps);
  mpt_text_addf(&text, "%d trainings of the reference, at most %d of candidates\n", p->references,
                p->candidates);
  mpt_text_addf(&text, "then %d to %d pairs for each policy that is verified\n", p->least_pairs,
                p->most_pairs);
  if (isnan(p->training_seconds))
    mpt_text_addf(&text,
                  "a step has %.2g operations: too many to try it on this processor (a GPU: "
                  "--backend cuda)",
                  operations(s));
  else
    add_times(s, p, &text);
  if (text.failed)
    return mpt_fail_memory(error, "the plan", 0);
  *message = text.data;
  return MPT_OK;
}

/* What would be evaluated and about how long that takes; writes nothing. */
static mpt_status dry_run(search *s, tuner_summary *summary, mpt_error *error) {
  double run;
  MPT_RETURN_IF_FAILED(dry_seconds(s, &run, error));
  tuner_plan *p = &summary->plan;
  *p = (tuner_plan){.layers = s->graph->layer_count,
                    .units = s->space->unit_count,
                    .steps = s->steps,
                    .references = s->w->reference_seeds,
                    .candidates = s->options->max_evaluations,
                    .least_pairs = verify_look_sizes[0],
                    .most_pairs = s->options->pairs};
  plan_seconds(s, run, p);
  summary->found = true;
  return plan_text(s, p, &summary->message, error);
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
  s.planned =
      w->reference_seeds + options->max_evaluations + 2 * options->pairs; /* for one policy */
  MPT_TRY(verification_keeps_seeds(&s, error));
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
  tuner_options untimed = *options; /* nothing is said of times: no device's need be known */
  if (untimed.target == NULL)
    untimed.target = w->target;
  MPT_TRY(search_open(&s, w, &untimed, false, error));
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

/* Resolves a policy on the graph's layers; formats of layers that a policy file gives another
 * storage than the space would are taken as they are written. */
static mpt_status resolved(search *s, const tuner_policy *given, const char *label, candidate **out,
                           mpt_error *error) {
  const mpt_policy *policy = given->policy;
  bool permitted;
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
  if (given->uniform)
    space_uniform(s->space, mpt_policy_default(policy), assignment, &permitted);
  MPT_TRY(search_candidate(s, assignment, train_loss_scale(s->w, policy), label, out, error));
fail:
  free(assignment);
  free(layers);
  return status;
}

mpt_status tuner_evaluate(const workload *w, const tuner_options *options,
                          const tuner_policy *policies, int count, int seeds,
                          tuner_summary *summary, mpt_error *error) {
  search s;
  candidate **evaluated = NULL;
  char(*labels)[LABEL_SIZE] = NULL;
  workload seeded = *w;
  seeded.reference_seeds = seeds;
  *summary = (tuner_summary){.predicted = true, .proxy = w->priced.present};
  mpt_status status = MPT_OK;
  MPT_TRY(search_open(&s, &seeded, options, false, error));
  s.planned = seeds * (count + 1);
  MPT_TRY(stage_reference(&s, error));
  s.may_give_up = false; /* what was asked for is trained to its end */
  summary->rows = calloc((size_t)count + 1, sizeof *summary->rows);
  evaluated = calloc((size_t)count + 1, sizeof *evaluated);
  labels = calloc((size_t)count + 1, sizeof *labels);
  if (summary->rows == NULL || evaluated == NULL || labels == NULL) {
    status = mpt_fail_memory(error, "the summary", 0);
    goto fail;
  }
  label_paths(policies, count, labels);
  for (int i = 0; i < count; i++) {
    MPT_TRY(resolved(&s, &policies[i], labels[i], &evaluated[i], error));
    while (evaluated[i]->seed_count < seeds)
      MPT_TRY(search_try(&s, evaluated[i], error));
  }
  summary->predicted = !s.place.measures;
  summary->relative = w->budget.relative;
  MPT_TRY(search_see(&s, error));
  summary->rows[summary->row_count++] = search_row(&s, &s.reference);
  for (int i = 0; i < count; i++) {
    tuner_row *row = &summary->rows[summary->row_count++];
    *row = search_row(&s, evaluated[i]);
    row->refused = NULL; /* what was asked for is not chosen among */
    /* Another policy may have had the label in an earlier evaluation: then it has a number here. */
    if (strncmp(row->label, labels[i], strlen(labels[i])) != 0)
      mpt_copy_text(row->label, sizeof row->label, labels[i]);
  }
  snprintf(summary->policy_path, sizeof summary->policy_path, "%s", options->run);
  summary->evaluations = s.trainings;
fail:
  mpt_progress_end();
  free(evaluated);
  free(labels);
  search_close(&s);
  if (status != MPT_OK)
    tuner_summary_clear(summary);
  return status;
}
