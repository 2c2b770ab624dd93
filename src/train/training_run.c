/* Training: step after step, and what it comes to. */
#include "base/clock.h"
#include "base/error.h"
#include "base/median.h"
#include "train/training.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static bool is_instrumented(const train_options *o, int64_t step) {
  return (o->statistics != MPT_STATISTICS_OFF && step % o->statistics_every == 0) ||
         (o->on_layer != NULL && o->probe_every > 0 && step % o->probe_every == 0);
}

static bool is_probed(const training *t) {
  const train_options *o = t->options;
  return o->on_layer != NULL && o->probe_every > 0 && t->step % o->probe_every == 0;
}

/* Forward and backward of a step's micro-batches, the first of which is at hand. A loss that is not
 * finite ends it, where the host knows it in time. */
static mpt_status run_passes(training *t, mpt_error *error) {
  const train_options *o = t->options;
  int64_t passes = t->w->optimizer.accumulate;
  train_layer_probe *probe = is_probed(t) ? o->on_layer : NULL;
  for (int64_t m = 0; m < passes; m++) {
    if (m > 0)
      MPT_RETURN_IF_FAILED(train_pass_begin(t, t->step, m, error));
    MPT_RETURN_IF_FAILED(network_forward(t->net, error));
    MPT_RETURN_IF_FAILED(train_loss(t, 1.0f / (float)passes, &t->device_losses[m], error));
    if (!t->lags) {
      double loss;
      MPT_RETURN_IF_FAILED(train_read_loss(t, &t->device_losses[m], &loss, error));
      t->loss += loss / (double)passes;
      t->ended_early = !isfinite(loss);
      if (t->ended_early)
        return MPT_OK;
    }
    MPT_RETURN_IF_FAILED(network_backward(t->net, t->step, probe, o->context, error));
  }
  return MPT_OK;
}

/* A step, operation by operation. */
static mpt_status run_operations(training *t, mpt_error *error) {
  network *n = t->net;
  const mpt_step_state *state;
  MPT_RETURN_IF_FAILED(mpt_session_step_begin(n->session, t->step, error));
  MPT_RETURN_IF_FAILED(mpt_fill(n->queue, &n->all_gradients, 0.0f, error));
  MPT_RETURN_IF_FAILED(run_passes(t, error));
  if (t->ended_early)
    return mpt_session_step_end(n->session, NULL, 0, 0.0f, &state, error);
  MPT_RETURN_IF_FAILED(mpt_session_step_end(n->session, n->gradients, n->parameter_count,
                                            (float)t->w->optimizer.clip, &state, error));
  return train_update(t, state, error);
}

/* A GPU runs a whole step from a recording, once the first steps have found how to run each product
 * and begun the histories of scales; of that the session hears after the first, so that the second
 * ends as all that follow (mpt_session_deliver). Not where the host has a say inside the step:
 * micro-batches, random numbers keyed by the step, probes. */
enum { STEPS_BEFORE_RECORDING = 2 };

static bool may_record(const training *t) {
  for (int i = 0; i < t->g->layer_count; i++)
    if (t->g->layers[i].kind->keyed_by_step)
      return false;
  return t->lags && t->w->optimizer.accumulate == 1 && t->batch.samples == t->g->batch &&
         !is_probed(t) && t->run_plainly >= STEPS_BEFORE_RECORDING;
}

static mpt_status record_step(training *t, mpt_recording **recording, mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_session_deliver(t->net->session, error));
  MPT_RETURN_IF_FAILED(mpt_queue_record_begin(t->net->queue, error));
  mpt_status status = run_operations(t, error);
  mpt_error ending = {0};
  mpt_status ended = mpt_queue_record_end(t->net->queue, recording, &ending);
  if (status == MPT_OK && ended != MPT_OK && error != NULL)
    *error = ending;
  return status != MPT_OK ? status : ended;
}

enum { SLOT_STATE, SLOT_LOSSES, SLOTS_OF_STEP };

/* Three steps have slots of their own: of the one heard of, of the one under way, and of the one
 * before, from whose fetch the device's time is counted. */
static int slot_of(int64_t step, int what) {
  return (int)(step % 3) * SLOTS_OF_STEP + what;
}

/* Begins a step, and leaves word of how it went in its slots. */
static mpt_status run_step(training *t, mpt_error *error) {
  network *n = t->net;
  const optimizer_spec *optimizer = &t->w->optimizer;
  float rate = (float)train_learning_rate(optimizer, t->step, t->options->steps, t->w->steps);
  t->ended_early = false;
  t->loss = 0.0;
  MPT_RETURN_IF_FAILED(mpt_memory_upload(n->queue, &rate, sizeof rate, t->learning_rate, error));
  MPT_RETURN_IF_FAILED(train_pass_begin(t, t->step, 0, error));
  if (!may_record(t)) {
    if (t->lags && t->run_plainly == 1)
      MPT_RETURN_IF_FAILED(mpt_session_deliver(n->session, error));
    MPT_RETURN_IF_FAILED(run_operations(t, error));
    t->run_plainly++;
  } else {
    mpt_recording **recording = &t->recordings[mpt_session_collects(n->session, t->step)];
    if (*recording != NULL)
      MPT_RETURN_IF_FAILED(mpt_session_step_again(n->session, t->step, error));
    else
      MPT_RETURN_IF_FAILED(record_step(t, recording, error));
    MPT_RETURN_IF_FAILED(mpt_queue_replay(n->queue, *recording, error));
  }
  MPT_RETURN_IF_FAILED(mpt_memory_fetch(n->queue, slot_of(t->step, SLOT_STATE),
                                        mpt_session_state(n->session), sizeof(mpt_step_state),
                                        error));
  if (!t->lags) /* the losses have been read */
    return MPT_OK;
  return mpt_memory_fetch(n->queue, slot_of(t->step, SLOT_LOSSES), t->device_losses,
                          (size_t)optimizer->accumulate * sizeof *t->device_losses, error);
}

/* A gradient that is not finite where no loss scale can be lowered any more. */
static const char *hopeless(const mpt_step_state *state) {
  if (!state->dynamic)
    return "a gradient that no loss scale governs became non-finite";
  return state->loss_scale <= state->floor
             ? "no loss scale keeps the gradients finite, they overflowed"
             : NULL;
}

static const char *failure_of(const train_step *step, const mpt_step_state *state) {
  if (!isfinite(step->loss))
    return isnan(step->loss) ? "the loss became not a number" : "the loss became infinite";
  return step->skipped ? hopeless(state) : NULL;
}

/* The mean loss of a step, from its slot. */
static mpt_status fetched_loss(const training *t, int64_t index, double *loss, mpt_error *error) {
  double losses[MOST_LOSSES];
  int64_t passes = t->w->optimizer.accumulate;
  *loss = 0.0;
  MPT_RETURN_IF_FAILED(mpt_memory_fetched(t->net->queue, slot_of(index, SLOT_LOSSES),
                                          (size_t)passes * sizeof *losses, losses, NULL, error));
  for (int64_t m = 0; m < passes && isfinite(*loss); m++)
    *loss += losses[m] / (double)passes;
  return MPT_OK;
}

/* Waits for word of the first step that has not been heard of. *failed says why the run cannot go
 * on, or is NULL. */
static mpt_status finish_step(training *t, train_step *step, const char **failed,
                              mpt_error *error) {
  double device_seconds;
  int64_t index = t->taken++;
  mpt_step_state state;
  *step = (train_step){.step = index, .steps = t->options->steps, .loss = t->loss};
  MPT_RETURN_IF_FAILED(mpt_memory_fetched(t->net->queue, slot_of(index, SLOT_STATE), sizeof state,
                                          &state, &device_seconds, error));
  if (t->lags)
    MPT_RETURN_IF_FAILED(fetched_loss(t, index, &step->loss, error));
  step->loss_scale = state.loss_scale;
  step->skipped = !t->ended_early && state.overflow != 0;
  t->skipped += step->skipped;
  step->seconds = t->lags ? device_seconds : mpt_clock_seconds() - t->started;
  t->losses[index] = step->loss;
  *failed = failure_of(step, &state);
  return MPT_OK;
}

/* ---- the run ---- */

/* What follows from the outcome of the first step that has not been heard of. */
static mpt_status take_outcome(training *t, train_result *result, mpt_error *error) {
  const train_options *o = t->options;
  train_step step;
  const char *failed;
  MPT_RETURN_IF_FAILED(finish_step(t, &step, &failed, error));
  if (failed != NULL) {
    result->diverged = true;
    t->step = step.step; /* that is looked at again */
    MPT_RETURN_IF_FAILED(train_diagnose(t, failed, result, error));
    t->step = t->taken;
  } else if (!is_instrumented(o, step.step) && !isnan(step.seconds)) {
    t->seconds[t->timed++] = step.seconds;
  }
  bool proceed = o->on_step == NULL || o->on_step(o->context, &step);
  result->stopped =
      !result->diverged && (result->stopped || (!proceed && step.step + 1 < t->until));
  return MPT_OK;
}

/* What is due between two steps, once the outcome of the first is known. */
typedef struct due {
  bool save, held_out;
  const train_point *point;
  train_snapshot *snapshot;
} due;

static due due_now(const training *t) {
  const train_options *o = t->options;
  due now = {.save = o->save_checkpoint != NULL && o->checkpoint_every > 0 &&
                     t->step % o->checkpoint_every == 0,
             .held_out = o->on_held_out != NULL && o->held_out_every > 0 && t->step < t->until &&
                         t->step % o->held_out_every == 0};
  for (int i = 0; i < o->point_count; i++)
    if (o->points[i].step == t->step)
      now.point = &o->points[i];
  for (int i = 0; i < o->snapshot_count; i++)
    if (o->snapshots[i].step == t->step)
      now.snapshot = &o->snapshots[i];
  return now;
}

static mpt_status tell_held_out(training *t, mpt_error *error) {
  double loss;
  MPT_RETURN_IF_FAILED(train_held_out_loss(t, &loss, error));
  t->options->on_held_out(t->options->context, t->step, loss);
  /* The copies of weights that a recorded step begins with are gone: the next makes them anew. */
  if (t->run_plainly >= STEPS_BEFORE_RECORDING)
    t->run_plainly = STEPS_BEFORE_RECORDING - 1;
  return MPT_OK;
}

static bool is_anything_due(const due *now) {
  return now->save || now->held_out || now->point != NULL || now->snapshot != NULL;
}

static mpt_status train_steps(training *t, train_result *result, mpt_error *error) {
  const train_options *o = t->options;
  t->taken = t->first_step = t->step;
  if (t->step == 0 && o->point_count > 0 && o->points[0].step == 0)
    MPT_RETURN_IF_FAILED(checkpoint_save(t, o->points[0].path, false, error));
  for (int i = 0; i < o->snapshot_count; i++)
    if (o->snapshots[i].step == t->step)
      MPT_RETURN_IF_FAILED(train_snapshot_take(t, &o->snapshots[i], error));
  while (t->step < t->until && !result->stopped) {
    t->started = mpt_clock_seconds();
    MPT_RETURN_IF_FAILED(run_step(t, error));
    t->step++;
    const bool last = t->step == t->until;
    const due now = due_now(t);
    int64_t behind = t->lags && !last && !is_anything_due(&now) ? 1 : 0;
    while (!result->diverged && t->taken < t->step - (result->stopped ? 0 : behind))
      MPT_RETURN_IF_FAILED(take_outcome(t, result, error));
    if (result->diverged)
      return MPT_OK;
    if (o->save_checkpoint != NULL && (now.save || last || result->stopped))
      MPT_RETURN_IF_FAILED(checkpoint_save(t, o->save_checkpoint, false, error));
    if (now.point != NULL)
      MPT_RETURN_IF_FAILED(checkpoint_save(t, now.point->path, false, error));
    if (now.snapshot != NULL)
      MPT_RETURN_IF_FAILED(train_snapshot_take(t, now.snapshot, error));
    if (now.held_out && !result->stopped)
      MPT_RETURN_IF_FAILED(tell_held_out(t, error));
  }
  return MPT_OK;
}

static mpt_status report(training *t, train_result *result, mpt_error *error) {
  int layers = t->g->layer_count;
  /* what was wrong with ids or labels, a GPU says when it is waited for */
  MPT_RETURN_IF_FAILED(mpt_queue_synchronize(t->net->queue, error));
  if (!result->diverged)
    MPT_RETURN_IF_FAILED(mpt_session_deliver(t->net->session, error));
  result->counters = calloc((size_t)layers, sizeof *result->counters);
  if (result->counters == NULL)
    return mpt_fail_memory(error, "the counters", (size_t)layers * sizeof *result->counters);
  result->layer_count = layers;
  for (int i = 0; i < layers; i++)
    MPT_RETURN_IF_FAILED(mpt_session_counters(t->net->session, i, &result->counters[i], error));
  if (!result->diverged)
    result->report = mpt_session_get_report(t->net->session);
  result->report.skipped = t->skipped;
  result->memory_bytes = t->net->memory_bytes;
  result->first_step = t->first_step;
  result->steps_done = t->step;
  result->step_seconds = mpt_median(t->seconds, t->timed);
  result->losses = t->losses;
  t->losses = NULL;
  return MPT_OK;
}

mpt_status train_run(const train_options *options, train_result *result, mpt_error *error) {
  mpt_status status = MPT_OK;
  training t = {0};
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
  result->total_seconds = training_seconds(&t);
  training_close(&t);
  return MPT_OK;
fail:
  training_close(&t);
  train_result_clear(result);
  return status;
}
