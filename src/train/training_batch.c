/* The batch of a pass, on its way to the network. */
#include "base/clock.h"
#include "base/error.h"
#include "train/training.h"

double training_seconds(const training *t) {
  return t->seconds_before + mpt_clock_seconds() - t->began;
}

mpt_status train_set_batch(training *t, int64_t samples, mpt_error *error) {
  MPT_RETURN_IF_FAILED(network_set_batch(t->net, &t->batch, samples, error));
  if (t->g->loss != LOSS_CROSS_ENTROPY && t->g->loss != LOSS_NLL)
    return MPT_OK;
  size_t rows = (size_t)(t->g->rows / t->g->batch * samples);
  return mpt_memory_upload(t->net->queue, t->batch.labels, rows * sizeof *t->labels, t->labels,
                           error);
}

/* Batch i belongs to step i, or to pass i where a step adds up several. */
mpt_status train_pass_begin(training *t, int64_t step, int64_t micro, mpt_error *error) {
  int64_t pass = step * t->w->optimizer.accumulate + micro;
  if (micro > 0)
    MPT_RETURN_IF_FAILED(mpt_session_microbatch(t->net->session, error));
  MPT_RETURN_IF_FAILED(
      dataset_training_batch(t->options->data, t->options->seed, pass, &t->batch, error));
  network_set_randomness(t->net, t->options->seed, (uint64_t)pass);
  return train_set_batch(t, t->batch.samples, error);
}
