#include "base/error.h"
#include "train/training.h"
#include <stdlib.h>

void train_snapshot_clear(train_snapshot *snapshot) {
  free(snapshot->weights);
  free(snapshot->formats);
  snapshot->weights = NULL;
  snapshot->formats = NULL;
}

/* All weights, with what lies between them. */
static mpt_tensor weights_of(const training *t) {
  mpt_tensor row = t->net->all_gradients;
  row.data = t->net->parameters[0].weight.data;
  return row;
}

mpt_status train_snapshot_take(const training *t, train_snapshot *snapshot, mpt_error *error) {
  const mpt_tensor weights = weights_of(t);
  const size_t count = (size_t)mpt_tensor_count(&weights),
               size = mpt_session_state_bytes(t->net->session);
  train_snapshot_clear(snapshot);
  snapshot->weights = malloc(count * sizeof *snapshot->weights);
  snapshot->formats = malloc(size);
  if (snapshot->weights == NULL || snapshot->formats == NULL) {
    train_snapshot_clear(snapshot);
    return mpt_fail_memory(error, "a copy of the weights", count * sizeof(float));
  }
  mpt_status status = mpt_tensor_download(t->net->queue, &weights, snapshot->weights, error);
  if (status == MPT_OK)
    status = mpt_session_get_state(t->net->session, snapshot->formats, size, error);
  if (status != MPT_OK)
    train_snapshot_clear(snapshot);
  return status;
}

mpt_status train_snapshot_restore(training *t, const train_snapshot *snapshot, mpt_error *error) {
  const mpt_tensor weights = weights_of(t);
  if (snapshot->weights == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "the training did not come to step %lld",
                    (long long)snapshot->step);
  MPT_RETURN_IF_FAILED(mpt_tensor_upload(t->net->queue, snapshot->weights, &weights, error));
  t->step = snapshot->step;
  return mpt_session_set_state(t->net->session, snapshot->formats,
                               mpt_session_state_bytes(t->net->session), error);
}
