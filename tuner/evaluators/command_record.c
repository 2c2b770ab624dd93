#include "tuner/evaluators/command_record.h"
#include "base/error.h"
#include "tuner/evaluators/timed_steps.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- statistics and probes ---- */

void command_seen_clear(command_seen *s) {
  free(s->seen.statistics);
  store_scores_clear(&s->seen.scores);
  free(s->probe);
  *s = (command_seen){0};
}

static void keep_statistics(command_seen *s, const event_stats *e) {
  store_statistics row = {
      .step = e->step, .operand = (mpt_operand)e->operand, .statistics = e->statistics};
  memcpy(row.layer, e->layer, sizeof row.layer);
  if (!observation_add(&s->seen, &row))
    s->out_of_memory = true;
}

static void keep_probe(command_seen *s, const event_probe *e) {
  if (s->probe == NULL)
    s->probe = calloc((size_t)s->program->layer_count * MPT_PRECISION_COUNT, sizeof *s->probe);
  if (s->probe == NULL) {
    s->out_of_memory = true;
    return;
  }
  /* Of operands it says nothing: what overflows and vanishes, a training shows. */
  s->probe[e->index * MPT_PRECISION_COUNT + e->format] =
      (store_score){.layer = s->program->layers[e->index].name,
                    .precision = (mpt_precision)e->format,
                    .forward = e->forward,
                    .dgrad = e->dgrad,
                    .wgrad = e->wgrad,
                    .output_amax = e->output_amax};
}

void command_seen_take(void *context, const event *e) {
  if (e->kind == EVENT_STATS)
    keep_statistics(context, &e->stats);
  else if (e->kind == EVENT_PROBE)
    keep_probe(context, &e->probe);
}

/* Whether the layer was probed in every format below fp32: of one that was in a few, scores would
 * compare what is known with what is not. */
static bool is_whole(const store_score *probe) {
  for (int p = MPT_PRECISION_TF32; p < MPT_PRECISION_COUNT; p++)
    if (probe[p].layer == NULL)
      return false;
  return true;
}

static mpt_status collect_scores(const command_seen *s, store_scores *scores, mpt_error *error) {
  const int layers = s->probe != NULL ? s->program->layer_count : 0;
  store_score *all =
      mpt_arena_take(&scores->memory, ((size_t)layers + 1) * MPT_PRECISION_COUNT * sizeof *all);
  if (all == NULL)
    return mpt_fail_memory(error, "sensitivity measurements", 0);
  scores->scores = all;
  for (int i = 0; i < layers; i++) {
    const store_score *own = &s->probe[i * MPT_PRECISION_COUNT];
    for (int p = MPT_PRECISION_TF32; p < MPT_PRECISION_COUNT && is_whole(own); p++)
      all[scores->count++] = own[p];
  }
  return MPT_OK;
}

static mpt_status hand_over(command_seen *s, observation *seen, mpt_error *error) {
  if (s->out_of_memory)
    return mpt_fail_memory(error, "what a program observed", 0);
  MPT_RETURN_IF_FAILED(collect_scores(s, &s->seen.scores, error));
  *seen = s->seen;
  s->seen = (observation){0};
  return MPT_OK;
}

/* ---- the evaluation ---- */

/* Takes the answer's seconds apart. */
static timing_run time_of(const answer *a) {
  const event_time *t = &a->time;
  const int64_t warm_up = a->second_count < 100 ? a->second_count / 10 : 10;
  timing_run run = timing_of_steps(a->seconds, a->second_count, warm_up);
  if (!a->heard[EVENT_TIME])
    return run;
  run.seconds = t->median;
  run.steps = t->steps;
  if (isfinite(t->spread))
    run.deviation = t->spread;
  else if (isnan(run.deviation)) /* not known: runs show it */
    run.deviation = 0;
  return run;
}

/* Losses of every step that was run, NaN where the program did not say one. */
static mpt_status fill_losses(const answer *a, store_evaluation *e, mpt_error *error) {
  e->losses = malloc(((size_t)e->steps_done + 1) * sizeof *e->losses);
  if (e->losses == NULL)
    return mpt_fail_memory(error, "losses", (size_t)e->steps_done * sizeof *e->losses);
  for (int64_t i = 0; i < e->steps_done; i++)
    e->losses[i] = i < a->loss_count ? a->losses[i] : (double)NAN;
  e->loss_count = e->steps_done;
  return MPT_OK;
}

static mpt_status fill_evaluation(const evaluation_request *r, const answer *a,
                                  const command_ending *ending, store_evaluation *e,
                                  mpt_error *error) {
  const bool good = ending->end == PROGRAM_GOOD;
  memcpy(e->key, r->key, sizeof e->key);
  memcpy(e->policy, r->policy, sizeof e->policy);
  memcpy(e->condition, r->condition, sizeof e->condition);
  memcpy(e->purpose, r->purpose, sizeof e->purpose);
  e->seed = r->seed;
  e->steps = r->steps;
  e->steps_done = good ? r->steps : a->last_step + 1;
  e->diverged = !good && !ending->hopeless;
  e->stopped = ending->hopeless;
  e->metric = good ? a->metric : (double)NAN;
  e->metric_plain = e->held_out_loss = e->output_difference = e->unit = NAN;
  e->total_seconds = ending->seconds;
  e->memory_bytes = a->time.peak_bytes > 0 ? (size_t)a->time.peak_bytes : 0;
  e->time = (int64_t)time(NULL);
  const char *failure =
      ending->hopeless ? "given up early: far behind the reference" : ending->why->message;
  if (!good && (e->failure = strdup(failure)) == NULL)
    return mpt_fail_memory(error, "an evaluation's record", strlen(failure));
  return fill_losses(a, e, error);
}

mpt_status command_record_fill(const evaluation_request *request, const answer *a,
                               const command_ending *ending, command_seen *seen,
                               evaluation_record *record, mpt_error *error) {
  record->time = time_of(a);
  if (request->kind == REQUEST_TIME)
    return MPT_OK;
  record->evaluation.host_seconds = record->time.seconds;
  MPT_RETURN_IF_FAILED(fill_evaluation(request, a, ending, &record->evaluation, error));
  return request->kind == REQUEST_OBSERVE ? hand_over(seen, &record->seen, error) : MPT_OK;
}
