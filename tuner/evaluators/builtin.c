#include "tuner/evaluators/builtin.h"
#include "base/clock.h"
#include "base/error.h"
#include "train/trainer.h"
#include "tuner/evaluators/hopeless.h"
#include "tuner/evaluators/observer.h"
#include "tuner/evaluators/score_points.h"
#include "tuner/evaluators/timed_steps.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct builtin {
  evaluator base;
  builtin_options options;
  int *probed, *blamed; /* copies */
  bool busy, cancelled;
  evaluation_request request; /* where busy */
} builtin;

/* ---- while it trains ---- */

enum { WARM_UP = 2, MOST_STEPS = 24 };
#define ENOUGH_SECONDS 2.0 /* of timed steps, where the most are not reached before */

typedef struct run_watch {
  builtin *b;
  evaluator_progress *progress;
  void *context;
  observer observer; /* of an instrumented run */
  hopeless hopeless;
  double *seconds; /* of the steps without instruments */
  int64_t timed;
  double began; /* a timing: when its first step that counts did */
} run_watch;

static void watch_statistics(void *context, int64_t step, int layer, mpt_operand operand,
                             const mpt_statistics *statistics) {
  observer_statistics(&((run_watch *)context)->observer, step, layer, operand, statistics);
}

static void watch_layer(void *context, mpt_queue *queue, int64_t step, int layer,
                        const mpt_tensor *input, const mpt_tensor *weight,
                        const mpt_tensor *grad_output) {
  operand_probe_layer(((run_watch *)context)->observer.probe, queue, step, layer, input, weight,
                      grad_output);
}

/* Whether the asker wants it to go on. */
static bool tell_progress(run_watch *watch, const train_step *step) {
  if (watch->progress != NULL)
    watch->progress(watch->context, watch->b->request.id, step->step, step->steps);
  return !watch->b->cancelled;
}

static bool watch_training(void *context, const train_step *step) {
  run_watch *watch = context;
  const evaluation_request *r = &watch->b->request;
  if (!tell_progress(watch, step))
    return false;
  const bool instrumented =
      r->kind == REQUEST_OBSERVE && (step->step % r->instruments.statistics_every == 0 ||
                                     step->step % r->instruments.probe_every == 0);
  if (!instrumented && isfinite(step->seconds))
    watch->seconds[watch->timed++] = step->seconds;
  return !hopeless_at(&watch->hopeless, &r->limit, step->steps, step->step, step->loss);
}

static bool watch_timing(void *context, const train_step *step) {
  run_watch *watch = context;
  if (watch->timed == WARM_UP)
    watch->began = mpt_clock_seconds();
  if (isfinite(step->seconds) && watch->timed < WARM_UP + MOST_STEPS)
    watch->seconds[watch->timed++] = step->seconds;
  const bool enough = watch->timed >= WARM_UP + TIMING_LEAST_STEPS &&
                      mpt_clock_seconds() - watch->began > ENOUGH_SECONDS;
  return tell_progress(watch, step) && !enough && watch->timed < WARM_UP + MOST_STEPS;
}

/* ---- what it came to ---- */

static const char *layer_name(const builtin *b, int layer) {
  return b->options.graph->layers[layer].info.name;
}

static mpt_status count_casts(const builtin *b, const train_result *result,
                              store_counters *counters, mpt_error *error) {
  const size_t most = (size_t)result->layer_count * MPT_OPERAND_COUNT + 1;
  store_counter *rows = mpt_arena_take(&counters->memory, most * sizeof *rows);
  if (rows == NULL)
    return mpt_fail_memory(error, "counters", most * sizeof *rows);
  counters->rows = rows;
  for (int i = 0; i < result->layer_count; i++) {
    for (int o = 0; o < MPT_OPERAND_COUNT; o++) {
      const mpt_layer_counters *c = &result->counters[i];
      if (c->cast[o] != 0)
        rows[counters->count++] = (store_counter){.layer = layer_name(b, i),
                                                  .operand = (mpt_operand)o,
                                                  .cast = (int64_t)c->cast[o],
                                                  .saturated = (int64_t)c->saturated[o],
                                                  .vanished = (int64_t)c->vanished[o]};
    }
  }
  /* Where a value was not finite first. */
  const mpt_session_report *r = &result->report;
  const bool known = result->diverged && r->nonfinite_step >= 0 && r->nonfinite_layer >= 0;
  const int blamed = known ? b->blamed[r->nonfinite_layer] : -1;
  if (blamed >= 0)
    rows[counters->count++] = (store_counter){
        .layer = layer_name(b, blamed), .operand = r->nonfinite_operand, .blamed = true};
  return MPT_OK;
}

static mpt_status fill_evaluation(const builtin *b, train_result *result, store_evaluation *e,
                                  mpt_error *error) {
  const evaluation_request *r = &b->request;
  memcpy(e->key, r->key, sizeof e->key);
  memcpy(e->policy, r->policy, sizeof e->policy);
  memcpy(e->condition, r->condition, sizeof e->condition);
  memcpy(e->purpose, r->purpose, sizeof e->purpose);
  e->seed = r->seed;
  e->steps = r->steps;
  e->steps_done = result->steps_done;
  e->diverged = result->diverged;
  e->stopped = result->stopped;
  e->metric = result->stopped ? NAN : result->metric;
  e->metric_plain = result->stopped ? NAN : result->metric_plain;
  e->held_out_loss = result->held_out_loss;
  e->output_difference = result->output_difference;
  e->host_seconds = result->step_seconds;
  e->total_seconds = result->total_seconds;
  e->memory_bytes = result->memory_bytes;
  e->time = (int64_t)time(NULL);
  const char *failure =
      result->stopped ? "given up early: far behind the reference" : result->failure;
  if (failure[0] != '\0' && (e->failure = strdup(failure)) == NULL)
    return mpt_fail_memory(error, "an evaluation's record", strlen(failure));
  e->losses = result->losses; /* handed over, like what was judged */
  e->loss_count = result->steps_done;
  e->judged = result->judged;
  e->right = result->right;
  e->contributions = result->contributions;
  e->unit = result->unit;
  result->losses = NULL;
  result->right = NULL;
  result->contributions = NULL;
  return count_casts(b, result, &e->counters, error);
}

/* ---- carrying it out ---- */

static train_options options_for(const builtin *b, run_watch *watch) {
  const evaluation_request *r = &b->request;
  train_options o = train_options_default();
  o.workload = b->options.workload;
  o.graph = b->options.graph;
  o.data = b->options.data;
  o.assignment = r->assignment;
  o.loss_scale = r->loss_scale;
  o.seed = r->seed;
  o.steps = r->kind == REQUEST_TIME ? WARM_UP + MOST_STEPS + 2 : r->steps;
  o.threads = b->options.workload->threads;
  o.backend = b->options.backend;
  o.device_index = b->options.device_index;
  o.on_step = r->kind == REQUEST_TIME ? watch_timing : watch_training;
  o.context = watch;
  if (r->kind == REQUEST_OBSERVE) {
    o.statistics = MPT_STATISTICS_FULL;
    o.statistics_every = r->instruments.statistics_every;
    o.on_statistics = watch_statistics;
    o.on_layer = watch_layer;
    o.probe_every = r->instruments.probe_every;
  }
  return o;
}

static mpt_status carry_out(builtin *b, run_watch *watch, evaluation_record *record,
                            mpt_error *error) {
  const evaluation_request *r = &b->request;
  train_result result = {0};
  mpt_status status = MPT_OK;
  train_options o = options_for(b, watch);
  score_points points = {.count = 0};
  if (r->kind == REQUEST_OBSERVE)
    score_points_plan(&points, o.steps);
  o.snapshots = points.at;
  o.snapshot_count = points.count;
  watch->seconds = calloc((size_t)o.steps, sizeof *watch->seconds);
  if (watch->seconds == NULL)
    return mpt_fail_memory(error, "step times", (size_t)o.steps * sizeof *watch->seconds);
  if (r->kind == REQUEST_OBSERVE)
    MPT_TRY(observer_open(&watch->observer, b->options.graph, b->probed, b->options.probed_count,
                          &b->options.workload->loss_scale, error));
  MPT_TRY(train_run(&o, &result, error));
  if (b->cancelled)
    MPT_TRY(mpt_fail(error, MPT_ERROR_INTERRUPTED, "interrupted"));
  const int64_t warm_up = r->kind == REQUEST_TIME ? WARM_UP : (r->steps < 100 ? r->steps / 10 : 10);
  record->time = timing_of_steps(watch->seconds, watch->timed, warm_up);
  if (r->kind != REQUEST_TIME)
    MPT_TRY(fill_evaluation(b, &result, &record->evaluation, error));
  if (r->kind == REQUEST_OBSERVE)
    MPT_TRY(observer_finish(&watch->observer, &record->seen, error));
  if (r->kind == REQUEST_OBSERVE)
    MPT_TRY(score_points_measure(&points, &o, &record->seen.scores, error));
fail:
  score_points_clear(&points);
  train_result_clear(&result);
  observer_close(&watch->observer);
  free(watch->seconds);
  return status;
}

/* ---- the table ---- */

static void builtin_describe(const evaluator *e, evaluator_description *description) {
  (void)e;
  *description = (evaluator_description){.name = "the built-in trainer", .capacity = 1};
}

static mpt_status builtin_submit(evaluator *e, const evaluation_request *request,
                                 mpt_error *error) {
  builtin *b = (builtin *)e;
  if (b->busy)
    return mpt_fail(error, MPT_ERROR_BUSY, "the built-in trainer takes one request at a time");
  b->request = *request;
  b->busy = true;
  b->cancelled = false;
  return MPT_OK;
}

static mpt_status builtin_poll(evaluator *e, evaluator_progress *progress, void *context,
                               bool *found, evaluation_record *record, mpt_error *error) {
  builtin *b = (builtin *)e;
  (void)error;
  *found = b->busy;
  if (!b->busy)
    return MPT_OK;
  run_watch watch = {.b = b, .progress = progress, .context = context};
  mpt_error why = {0};
  const mpt_status status = b->cancelled ? mpt_fail(&why, MPT_ERROR_INTERRUPTED, "interrupted")
                                         : carry_out(b, &watch, record, &why);
  if (status != MPT_OK)
    evaluation_record_clear(record);
  record->id = b->request.id;
  record->status = status;
  record->error = why;
  b->busy = false;
  return MPT_OK;
}

static void builtin_cancel(evaluator *e, int64_t id) {
  builtin *b = (builtin *)e;
  b->cancelled = b->cancelled || (b->busy && b->request.id == id);
}

static void builtin_close(evaluator *e) {
  builtin *b = (builtin *)e;
  free(b->probed);
  free(b->blamed);
  free(b);
}

static const evaluator_table builtin_table = {.describe = builtin_describe,
                                              .submit = builtin_submit,
                                              .poll = builtin_poll,
                                              .cancel = builtin_cancel,
                                              .close = builtin_close};

static int *copy_of(const int *values, int count) {
  int *copy = calloc((size_t)count + 1, sizeof *copy);
  if (copy != NULL && count > 0)
    memcpy(copy, values, (size_t)count * sizeof *copy);
  return copy;
}

mpt_status builtin_open(const builtin_options *options, evaluator **out, mpt_error *error) {
  builtin *b = calloc(1, sizeof *b);
  if (b == NULL)
    return mpt_fail_memory(error, "the built-in trainer", sizeof *b);
  b->base.table = &builtin_table;
  b->options = *options;
  b->probed = copy_of(options->probed_layers, options->probed_count);
  b->blamed = copy_of(options->blamed, options->graph->layer_count);
  if (b->probed == NULL || b->blamed == NULL) {
    builtin_close(&b->base);
    return mpt_fail_memory(error, "the built-in trainer", 0);
  }
  *out = &b->base;
  return MPT_OK;
}
