/* Opening a training: what it takes, and what it begins with. */
#include "base/clock.h"
#include "base/error.h"
#include "train/training.h"
#include <stdlib.h>

static mpt_status check_points(const train_options *o, mpt_error *error) {
  const int64_t until = o->until > 0 ? o->until : o->steps;
  if (o->until < 0 || o->until > o->steps)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "a training of %lld steps does not stop before %lld",
                    (long long)o->steps, (long long)o->until);
  for (int i = 0; i < o->point_count; i++)
    if (o->points[i].step < (i > 0 ? o->points[i - 1].step + 1 : 0) || o->points[i].step > until)
      return mpt_fail(
          error, MPT_ERROR_ARGUMENT,
          "points of a trajectory are steps from 0 to %lld in ascending order, not %lld",
          (long long)until, (long long)o->points[i].step);
  if (o->fork_from != NULL && (o->load_checkpoint != NULL || o->save_checkpoint != NULL ||
                               o->save_initial != NULL || o->point_count > 0))
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "a fork begins with the trajectory's checkpoint, and saves none");
  return MPT_OK;
}

static mpt_status check_options(const train_options *o, mpt_error *error) {
  if (o->workload == NULL || o->graph == NULL || o->data == NULL || o->assignment == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "training needs a workload, its graph, its data and an assignment");
  if (o->steps < 1 || o->threads < 1 || o->checkpoint_every < 0 || o->probe_every < 0 ||
      o->held_out_every < 0)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "training takes at least one step and one thread, and no negative intervals");
  MPT_RETURN_IF_FAILED(check_points(o, error));
  return train_check_metric(o->workload, dataset_get_info(o->data), error);
}

/* The output check compares as many rows of outputs as fit here: all of them in small networks. */
enum { PROBE_ELEMENTS = 1 << 22 };

static mpt_status take_host_memory(training *t, mpt_error *error) {
  size_t steps = (size_t)t->options->steps;
  size_t outputs = (size_t)t->g->tensors[t->g->output].count;
  int64_t columns = train_output_columns(t), rows = (int64_t)outputs / columns;
  t->probe_rows = rows * columns <= PROBE_ELEMENTS ? rows : PROBE_ELEMENTS / columns + 1;
  t->losses = calloc(steps, sizeof *t->losses);
  t->seconds = calloc(steps, sizeof *t->seconds);
  t->probe = calloc(2 * (size_t)(t->probe_rows * columns), sizeof *t->probe);
  t->targets = calloc((size_t)t->g->rows, sizeof *t->targets);
  if (t->w->metric != METRIC_LOSS)
    t->outputs = calloc(outputs, sizeof *t->outputs);
  if (t->losses == NULL || t->seconds == NULL || t->probe == NULL || t->targets == NULL ||
      (t->w->metric != METRIC_LOSS && t->outputs == NULL))
    return mpt_fail_memory(error, "the training run", (steps + outputs) * sizeof(double));
  return dataset_batch_make(t->options->data, t->g->batch, &t->batch, error);
}

mpt_status train_take_device_memory(training *t, mpt_error *error) {
  const graph_tensor *out = &t->g->tensors[t->g->output];
  size_t passes = (size_t)t->w->optimizer.accumulate;
  void *data = NULL;
  MPT_RETURN_IF_FAILED(
      network_take(t->net, "labels", (size_t)t->g->rows * sizeof *t->labels, &data, error));
  t->labels = data;
  MPT_RETURN_IF_FAILED(
      network_take(t->net, "losses", passes * sizeof *t->device_losses, &data, error));
  t->device_losses = data;
  MPT_RETURN_IF_FAILED(
      network_take(t->net, "a learning rate", sizeof *t->learning_rate, &data, error));
  t->learning_rate = data;
  MPT_RETURN_IF_FAILED(network_take(t->net, "an amax", sizeof *t->bits, &data, error));
  t->bits = data;
  if (t->g->loss != LOSS_BINARY && t->g->loss != LOSS_MSE)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(
      network_take(t->net, "targets", (size_t)out->count * sizeof(float), &data, error));
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
  if (o->fork_from != NULL)
    return checkpoint_fork(t, o->fork_from, error);
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

mpt_status training_open(training *t, const train_options *options, mpt_error *error) {
  MPT_RETURN_IF_FAILED(check_options(options, error));
  *t = (training){.options = options,
                  .w = options->workload,
                  .g = options->graph,
                  .until = options->until > 0 ? options->until : options->steps,
                  .began = mpt_clock_seconds()};
  if (options->save_checkpoint != NULL)
    MPT_RETURN_IF_FAILED(checkpoint_check_place(options->save_checkpoint, error));
  for (int i = 0; i < options->point_count; i++)
    MPT_RETURN_IF_FAILED(checkpoint_check_place(options->points[i].path, error));
  if (options->save_checkpoint != NULL || options->point_count > 0 || options->fork_from != NULL)
    MPT_RETURN_IF_FAILED(checkpoint_origin(t, error));
  MPT_RETURN_IF_FAILED(network_open(options, &t->net, error));
  t->lags = mpt_queue_device(t->net->queue).kind != MPT_DEVICE_CPU &&
            t->w->optimizer.accumulate <= MOST_LOSSES;
  MPT_RETURN_IF_FAILED(take_host_memory(t, error));
  MPT_RETURN_IF_FAILED(train_take_device_memory(t, error));
  if (options->save_batches != NULL)
    MPT_RETURN_IF_FAILED(train_save_batches(t, options->save_batches, error));
  return set_weights(t, error);
}

void training_close(training *t) {
  for (int i = 0; t->net != NULL && i < 2; i++)
    mpt_recording_free(t->net->queue, t->recordings[i]);
  network_close(t->net);
  dataset_batch_free(&t->batch);
  free(t->losses);
  free(t->seconds);
  free(t->outputs);
  free(t->probe);
  free(t->targets);
  free(t->origin);
}
