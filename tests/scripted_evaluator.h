/* An evaluator for tests that trains nothing: what a request comes to is a table, or what a
 * function makes of it. Losses fall from 1 above the metric to the metric; a policy's metric is the
 * reference's plus what each product loses in its format, with noise of the seed, which pairs have
 * in common, and noise of their own. The same request comes to the same record, in any order. */
#ifndef SCRIPTED_EVALUATOR_H
#define SCRIPTED_EVALUATOR_H

#include "base/error.h"
#include "tuner/evaluators/evaluator.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCRIPTED_LAYERS 8
#define SCRIPTED_FLIGHT 16

typedef enum scripted_order { SCRIPTED_IN_TURN, SCRIPTED_LAST_FIRST } scripted_order;

typedef struct script {
  int layer_count; /* with products */
  int layers[SCRIPTED_LAYERS];
  const char *names[SCRIPTED_LAYERS];
  double metric;                                      /* of the reference, on average */
  double worse[SCRIPTED_LAYERS][MPT_PRECISION_COUNT]; /* by a layer, all three products */
  double mixed_worse;            /* by a policy of several formats, which no layer's score says */
  double seed_noise, pair_noise; /* deviations */
  double vanished[SCRIPTED_LAYERS][MPT_PRECISION_COUNT]; /* share of the gradient, as observed */
  double step_seconds[MPT_PRECISION_COUNT];              /* 0: not measured */
  /* The record may be changed, its status too; `nth` counts requests from 0. NULL: as the table. */
  void (*change)(void *context, const evaluation_request *r, int nth, evaluation_record *record);
  void *context;
  int capacity; /* in flight; 0: 1 */
  unsigned lacks;
  scripted_order order;
} script;

typedef struct scripted_evaluator {
  evaluator base;
  script script;
  int in_flight;
  struct {
    evaluation_request request;
    int nth;
    bool cancelled;
  } flight[SCRIPTED_FLIGHT];
  int asked, trained, observed, timed, cancelled, most_in_flight; /* counts */
} scripted_evaluator;

/* Normal, by the text and seed alone. (Box and Muller 1958, over FNV-1a and splitmix64) */
static inline double scripted_noise(const char *text, uint64_t seed) {
  uint64_t x = seed * 0x9e3779b97f4a7c15ULL + 7;
  double uniform[2];
  for (const char *c = text; *c != '\0'; c++)
    x = (x ^ (unsigned char)*c) * 0xd6e8feb86659fd93ULL;
  for (int i = 0; i < 2; i++) {
    uint64_t z = x += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    uniform[i] = ((double)((z ^ (z >> 31)) >> 11) + 0.5) * 0x1p-53;
  }
  return sqrt(-2 * log(uniform[0])) * cos(2 * M_PI * uniform[1]);
}

static inline bool scripted_uniform(const script *s, const evaluation_request *r,
                                    mpt_precision precision) {
  for (int i = 0; i < s->layer_count; i++)
    for (int g = 0; g < MPT_GEMM_COUNT; g++)
      if (r->assignment[s->layers[i]].gemm[g].precision != precision)
        return false;
  return true;
}

static inline double scripted_metric(const script *s, const evaluation_request *r) {
  double metric = s->metric + s->seed_noise * scripted_noise("seed", r->seed);
  if (!scripted_uniform(s, r, MPT_PRECISION_FP32))
    metric += s->pair_noise * scripted_noise(r->policy, r->seed);
  if (!scripted_uniform(s, r, r->assignment[s->layers[0]].gemm[0].precision))
    metric += s->mixed_worse;
  for (int i = 0; i < s->layer_count; i++)
    for (int g = 0; g < MPT_GEMM_COUNT; g++)
      metric += s->worse[i][r->assignment[s->layers[i]].gemm[g].precision] / MPT_GEMM_COUNT;
  return metric;
}

static inline mpt_status scripted_train(const script *s, const evaluation_request *r,
                                        store_evaluation *e, mpt_error *error) {
  const double metric = scripted_metric(s, r);
  *e = (store_evaluation){.seed = r->seed,
                          .steps = r->steps,
                          .steps_done = r->steps,
                          .metric = metric,
                          .metric_plain = metric,
                          .held_out_loss = metric,
                          .host_seconds = 0.001,
                          .total_seconds = 0.001 * (double)r->steps,
                          .memory_bytes = 1 << 20,
                          .time = 1700000000,
                          .loss_count = r->steps,
                          .unit = NAN};
  memcpy(e->key, r->key, sizeof e->key);
  memcpy(e->policy, r->policy, sizeof e->policy);
  memcpy(e->condition, r->condition, sizeof e->condition);
  memcpy(e->purpose, r->purpose, sizeof e->purpose);
  e->losses = calloc((size_t)r->steps + 1, sizeof *e->losses);
  if (e->losses == NULL)
    return mpt_fail_memory(error, "losses", 0);
  for (int64_t i = 0; i < r->steps; i++)
    e->losses[i] = metric + exp(-8.0 * (double)i / (double)r->steps);
  for (int64_t i = r->steps / 2; r->limit.losses != NULL && i < r->steps && !e->stopped; i++)
    if (e->losses[i] - r->limit.losses[i] > r->limit.hopeless) {
      e->stopped = true;
      e->steps_done = e->loss_count = i + 1;
      e->metric = e->metric_plain = e->held_out_loss = NAN;
    }
  return MPT_OK;
}

/* What rounding would do: the forward score is what the format really costs. */
static inline mpt_status scripted_observe(const script *s, store_scores *seen, mpt_error *error) {
  store_score *all =
      mpt_arena_take(&seen->memory, (size_t)s->layer_count * MPT_PRECISION_COUNT * sizeof *all);
  if (all == NULL)
    return mpt_fail_memory(error, "scores", 0);
  seen->scores = all;
  for (int i = 0; i < s->layer_count; i++)
    for (int p = MPT_PRECISION_TF32; p < MPT_PRECISION_COUNT; p++) {
      store_score *score = &all[seen->count++];
      *score = (store_score){.layer = s->names[i],
                             .precision = (mpt_precision)p,
                             .forward = s->worse[i][p],
                             .output_amax = 1};
      for (int o = 0; o < MPT_OPERAND_COUNT; o++)
        score->operands[o].amax = 1;
      score->operands[MPT_GRAD_OUTPUT].vanished = s->vanished[i][p];
    }
  return MPT_OK;
}

static inline timing_run scripted_time(const script *s, const evaluation_request *r) {
  double seconds = 0;
  for (int i = 0; i < s->layer_count; i++)
    for (int g = 0; g < MPT_GEMM_COUNT; g++)
      seconds += s->step_seconds[r->assignment[s->layers[i]].gemm[g].precision];
  return (timing_run){.seconds = seconds > 0 ? seconds : NAN,
                      .deviation = seconds > 0 ? 1e-3 * seconds : NAN,
                      .steps = 20};
}

static inline void scripted_describe(const evaluator *e, evaluator_description *description) {
  const script *s = &((const scripted_evaluator *)e)->script;
  *description =
      (evaluator_description){.name = "a script", .lacks = s->lacks, .capacity = s->capacity};
}

static inline mpt_status scripted_submit(evaluator *e, const evaluation_request *request,
                                         mpt_error *error) {
  scripted_evaluator *p = (scripted_evaluator *)e;
  if (p->in_flight == p->script.capacity)
    return mpt_fail(error, MPT_ERROR_BUSY, "%d requests are in flight", p->in_flight);
  p->flight[p->in_flight].request = *request;
  p->flight[p->in_flight].cancelled = false;
  p->flight[p->in_flight++].nth = p->asked++;
  p->most_in_flight = p->in_flight > p->most_in_flight ? p->in_flight : p->most_in_flight;
  return MPT_OK;
}

static inline mpt_status scripted_answer(scripted_evaluator *p, const evaluation_request *r,
                                         evaluation_record *record, mpt_error *error) {
  p->trained += r->kind != REQUEST_TIME;
  p->observed += r->kind == REQUEST_OBSERVE;
  p->timed += r->kind == REQUEST_TIME;
  record->time = scripted_time(&p->script, r);
  if (r->kind != REQUEST_TIME)
    MPT_RETURN_IF_FAILED(scripted_train(&p->script, r, &record->evaluation, error));
  const bool sees = r->kind == REQUEST_OBSERVE && (p->script.lacks & EVALUATOR_NO_SCORES) == 0;
  return sees ? scripted_observe(&p->script, &record->seen.scores, error) : MPT_OK;
}

static inline mpt_status scripted_poll(evaluator *e, evaluator_progress *progress, void *context,
                                       bool *found, evaluation_record *record, mpt_error *error) {
  scripted_evaluator *p = (scripted_evaluator *)e;
  (void)error;
  *found = p->in_flight > 0;
  if (!*found)
    return MPT_OK;
  const int i = p->script.order == SCRIPTED_IN_TURN ? 0 : p->in_flight - 1;
  if (progress != NULL)
    progress(context, p->flight[i].request.id, 0, p->flight[i].request.steps);
  const evaluation_request r = p->flight[i].request;
  *record = (evaluation_record){.id = r.id};
  record->status = p->flight[i].cancelled
                       ? mpt_fail(&record->error, MPT_ERROR_INTERRUPTED, "interrupted")
                       : scripted_answer(p, &r, record, &record->error);
  if (record->status == MPT_OK && p->script.change != NULL)
    p->script.change(p->script.context, &r, p->flight[i].nth, record);
  p->in_flight--;
  memmove(&p->flight[i], &p->flight[i + 1], (size_t)(p->in_flight - i) * sizeof p->flight[0]);
  return MPT_OK;
}

static inline void scripted_cancel(evaluator *e, int64_t id) {
  scripted_evaluator *p = (scripted_evaluator *)e;
  for (int i = 0; i < p->in_flight; i++)
    if (p->flight[i].request.id == id && !p->flight[i].cancelled) {
      p->flight[i].cancelled = true;
      p->cancelled++;
    }
}

static inline void scripted_close(evaluator *e) {
  free(e);
}

/* For the function `change`: the request came to nothing. */
static inline void scripted_fail(evaluation_record *record, mpt_status status,
                                 const char *message) {
  const int64_t id = record->id;
  evaluation_record_clear(record);
  record->id = id;
  record->status = mpt_fail(&record->error, status, "%s", message);
}

/* The training diverged at its third step. */
static inline void scripted_diverge(evaluation_record *record) {
  store_evaluation *e = &record->evaluation;
  e->diverged = true;
  e->steps_done = e->loss_count = e->steps < 3 ? e->steps : 3;
  e->metric = e->metric_plain = e->held_out_loss = NAN;
  e->failure = strdup("the loss is not finite");
}

static inline scripted_evaluator *scripted_open(const script *s) {
  static const evaluator_table table = {.describe = scripted_describe,
                                        .submit = scripted_submit,
                                        .poll = scripted_poll,
                                        .cancel = scripted_cancel,
                                        .close = scripted_close};
  scripted_evaluator *p = calloc(1, sizeof *p);
  if (p == NULL)
    abort();
  p->base.table = &table;
  p->script = *s;
  if (p->script.capacity == 0)
    p->script.capacity = 1;
  return p;
}

#endif
