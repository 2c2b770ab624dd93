#include "train/trainer.h"
#include "base/error.h"
#include "train/training.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

train_options train_options_default(void) {
  return (train_options){.loss_scale = {MPT_LOSS_SCALE_DYNAMIC, 65536.0f},
                         .seed = 1,
                         .threads = 1,
                         .backend = "cpu",
                         .statistics = MPT_STATISTICS_OFF,
                         .statistics_every = 1};
}

void train_result_clear(train_result *result) {
  free(result->losses);
  free(result->counters);
  *result = (train_result){0};
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- opening ---- */

static mpt_status check_options(const train_options *o, mpt_error *error) {
  if (o->workload == NULL || o->graph == NULL || o->data == NULL || o->assignment == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "training needs a workload, its graph, its data and an assignment");
  if (o->steps < 1 || o->threads < 1 || o->checkpoint_every < 0 || o->probe_every < 0)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "training takes at least one step and one thread, and no negative intervals");
  return train_check_metric(o->workload, dataset_get_info(o->data), error);
}

static mpt_status take_host_memory(training *t, mpt_error *error) {
  size_t steps = (size_t)t->options->steps;
  size_t outputs = (size_t)t->g->tensors[t->g->output].count;
  t->losses = calloc(steps, sizeof *t->losses);
  t->seconds = calloc(steps, sizeof *t->seconds);
  t->outputs = calloc(outputs, sizeof *t->outputs);
  t->probe = calloc(2 * outputs, sizeof *t->probe);
  t->targets = calloc((size_t)t->g->rows, sizeof *t->targets);
  if (t->losses == NULL || t->seconds == NULL || t->outputs == NULL || t->probe == NULL ||
      t->targets == NULL)
    return mpt_fail_memory(error, "the training run", (steps + outputs) * sizeof(double));
  MPT_RETURN_IF_FAILED(dataset_batch_make(t->options->data, t->g->batch, &t->batch, error));
  if (t->g->loss != LOSS_BINARY && t->g->loss != LOSS_MSE)
    return MPT_OK;
  const graph_tensor *out = &t->g->tensors[t->g->output];
  void *data;
  MPT_RETURN_IF_FAILED(network_take(t->net, outputs * sizeof(float), &data, error));
  t->target_view = mpt_tensor_of(data, MPT_FP32, out->rank, out->shape);
  t->target_view.device = mpt_queue_device(t->net->queue);
  return MPT_OK;
}

/* Initial weights, or those of a checkpoint; then what is left of an interrupted run. */
static mpt_status set_weights(training *t, mpt_error *error) {
  const train_options *o = t->options;
  const char *start = o->load_checkpoint;
  if (start == NULL && t->w->checkpoint[0] != '\0')
    start = t->w->checkpoint;
  bool resumed = false;
  if (o->resume && o->save_checkpoint != NULL)
    MPT_RETURN_IF_FAILED(checkpoint_resume(t, o->save_checkpoint, &resumed, error));
  if (resumed)
    return MPT_OK;
  if (start != NULL)
    MPT_RETURN_IF_FAILED(checkpoint_load_weights(t, start, error));
  else
    MPT_RETURN_IF_FAILED(network_initialise(t->net, o->seed, error));
  if (o->save_initial != NULL)
    return checkpoint_save(t, o->save_initial, true, error);
  return MPT_OK;
}

static mpt_status training_open(training *t, const train_options *options, mpt_error *error) {
  MPT_RETURN_IF_FAILED(check_options(options, error));
  *t = (training){.options = options, .w = options->workload, .g = options->graph};
  if (options->save_checkpoint != NULL)
    MPT_RETURN_IF_FAILED(checkpoint_check_place(options->save_checkpoint, error));
  MPT_RETURN_IF_FAILED(network_open(options, &t->net, error));
  MPT_RETURN_IF_FAILED(take_host_memory(t, error));
  if (options->save_batches != NULL)
    MPT_RETURN_IF_FAILED(train_save_batches(t, options->save_batches, error));
  return set_weights(t, error);
}

static void training_close(training *t) {
  network_close(t->net);
  dataset_batch_free(&t->batch);
  free(t->losses);
  free(t->seconds);
  free(t->outputs);
  free(t->probe);
  free(t->targets);
}

/* ---- a step ---- */

/* Batch i belongs to step i, or to pass i where a step adds up several. */
mpt_status train_pass_begin(training *t, int64_t step, int64_t micro, mpt_error *error) {
  int64_t pass = step * t->w->optimizer.accumulate + micro;
  if (micro > 0)
    MPT_RETURN_IF_FAILED(mpt_session_microbatch(t->net->session, error));
  MPT_RETURN_IF_FAILED(
      dataset_training_batch(t->options->data, t->options->seed, pass, &t->batch, error));
  network_set_randomness(t->net, t->options->seed, (uint64_t)pass);
  return network_set_batch(t->net, &t->batch, t->batch.samples, error);
}

/* Forward and backward of a step's micro-batches. A loss that is not finite ends it. */
static mpt_status run_passes(training *t, train_step *step, mpt_error *error) {
  const train_options *o = t->options;
  int64_t passes = t->w->optimizer.accumulate;
  bool probe = o->on_layer != NULL && o->probe_every > 0 && t->step % o->probe_every == 0;
  float scale = step->loss_scale / (float)passes;
  step->loss = 0.0;
  for (int64_t m = 0; m < passes && isfinite(step->loss); m++) {
    double loss;
    MPT_RETURN_IF_FAILED(train_pass_begin(t, t->step, m, error));
    MPT_RETURN_IF_FAILED(network_forward(t->net, error));
    MPT_RETURN_IF_FAILED(train_loss(t, scale, &loss, error));
    step->loss += loss / (double)passes;
    if (isfinite(loss))
      MPT_RETURN_IF_FAILED(
          network_backward(t->net, t->step, probe ? o->on_layer : NULL, o->context, error));
  }
  return MPT_OK;
}

/* A gradient that is not finite where no loss scale can be lowered any more. */
static const char *hopeless(const training *t, float scale_before) {
  mpt_session_report report = mpt_session_get_report(t->net->session);
  if (report.loss_scale_at_floor)
    return "no loss scale keeps the gradients finite, they overflowed";
  return mpt_session_loss_scale(t->net->session) < scale_before
             ? NULL
             : "a gradient that no loss scale governs became non-finite";
}

/* *failed says why the run cannot go on, or is NULL. */
static mpt_status run_step(training *t, train_step *step, const char **failed, mpt_error *error) {
  network *n = t->net;
  const optimizer_spec *optimizer = &t->w->optimizer;
  *failed = NULL;
  MPT_RETURN_IF_FAILED(mpt_session_step_begin(n->session, t->step, error));
  step->loss_scale = mpt_session_loss_scale(n->session);
  MPT_RETURN_IF_FAILED(mpt_fill(n->queue, &n->all_gradients, 0.0f, error));
  MPT_RETURN_IF_FAILED(run_passes(t, step, error));
  t->losses[t->step] = step->loss;
  if (!isfinite(step->loss)) {
    *failed = isnan(step->loss) ? "the loss became not a number" : "the loss became infinite";
    return mpt_session_step_end(n->session, NULL, 0, 0.0f, NULL, error);
  }
  const mpt_step_state *state;
  MPT_RETURN_IF_FAILED(mpt_session_step_end(n->session, n->gradients, n->parameter_count,
                                            (float)optimizer->clip, &state, error));
  step->skipped = state->overflow != 0;
  if (step->skipped)
    *failed = hopeless(t, step->loss_scale);
  double rate = train_learning_rate(optimizer, t->step, t->options->steps, t->w->steps);
  return train_update(t, rate, state, error);
}

/* ---- the run ---- */

static bool is_instrumented(const train_options *o, int64_t step) {
  return (o->statistics != MPT_STATISTICS_OFF && step % o->statistics_every == 0) ||
         (o->on_layer != NULL && o->probe_every > 0 && step % o->probe_every == 0);
}

static mpt_status save_if_due(const training *t, bool last, mpt_error *error) {
  const train_options *o = t->options;
  bool due = o->checkpoint_every > 0 && t->step % o->checkpoint_every == 0;
  if (o->save_checkpoint == NULL || !(due || last))
    return MPT_OK;
  return checkpoint_save(t, o->save_checkpoint, false, error);
}

static mpt_status train_steps(training *t, train_result *result, mpt_error *error) {
  const train_options *o = t->options;
  while (t->step < o->steps && !result->stopped) {
    train_step step = {.step = t->step, .steps = o->steps};
    const char *failed;
    double start = now();
    MPT_RETURN_IF_FAILED(run_step(t, &step, &failed, error));
    step.seconds = now() - start;
    if (failed != NULL) {
      result->diverged = true;
      MPT_RETURN_IF_FAILED(train_diagnose(t, failed, result, error));
    } else if (!is_instrumented(o, t->step)) {
      t->seconds[t->timed++] = step.seconds;
    }
    t->step++;
    bool proceed = o->on_step == NULL || o->on_step(o->context, &step);
    if (result->diverged)
      return MPT_OK;
    result->stopped = !proceed && t->step < o->steps;
    MPT_RETURN_IF_FAILED(save_if_due(t, result->stopped || t->step == o->steps, error));
  }
  return MPT_OK;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values, int64_t count) {
  if (count == 0)
    return NAN;
  qsort(values, (size_t)count, sizeof *values, by_value);
  return 0.5 * (values[(count - 1) / 2] + values[count / 2]);
}

static mpt_status report(training *t, train_result *result, mpt_error *error) {
  int layers = t->g->layer_count;
  result->counters = calloc((size_t)layers, sizeof *result->counters);
  if (result->counters == NULL)
    return mpt_fail_memory(error, "the counters", (size_t)layers * sizeof *result->counters);
  result->layer_count = layers;
  for (int i = 0; i < layers; i++)
    MPT_RETURN_IF_FAILED(mpt_session_counters(t->net->session, i, &result->counters[i], error));
  if (!result->diverged)
    result->report = mpt_session_get_report(t->net->session);
  result->memory_bytes = t->net->memory_bytes;
  result->steps_done = t->step;
  result->step_seconds = median(t->seconds, t->timed);
  result->losses = t->losses;
  t->losses = NULL;
  return MPT_OK;
}

mpt_status train_run(const train_options *options, train_result *result, mpt_error *error) {
  mpt_status status = MPT_OK;
  training t = {0};
  double start = now();
  *result = (train_result){.metric = NAN,
                           .metric_plain = NAN,
                           .held_out_loss = NAN,
                           .step_seconds = NAN,
                           .output_difference = NAN};
  MPT_TRY(training_open(&t, options, error));
  MPT_TRY(train_steps(&t, result, error));
  if (!result->diverged && !result->stopped)
    MPT_TRY(train_evaluate(&t, result, error));
  MPT_TRY(report(&t, result, error));
  result->total_seconds = now() - start;
  training_close(&t);
  return MPT_OK;
fail:
  training_close(&t);
  train_result_clear(result);
  return status;
}
