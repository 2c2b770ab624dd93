#include "base/error.h"
#include "train/training.h"

/* Binary cross-entropy of class labels 0 and 1: the labels are the targets. */
static void labels_to_targets(training *t) {
  for (int64_t i = 0; i < t->net->samples; i++)
    t->targets[i] = (float)t->batch.labels[i];
}

static mpt_status target_view(training *t, const mpt_tensor *outputs, mpt_tensor *view,
                              mpt_error *error) {
  const float *host = t->batch.targets;
  if (host == NULL) {
    labels_to_targets(t);
    host = t->targets;
  }
  *view = t->target_view;
  view->shape[0] = outputs->shape[0];
  return mpt_tensor_upload(t->net->queue, host, view, error);
}

mpt_status train_loss(training *t, float scale, double *loss, mpt_error *error) {
  mpt_queue *queue = t->net->queue;
  mpt_tensor outputs = layer_rows(network_output(t->net));
  mpt_tensor whole = network_output_gradient(t->net), gradient = layer_rows(&whole), targets;
  const mpt_tensor *wanted = scale > 0.0f ? &gradient : NULL;
  const mpt_step_state *state = mpt_session_state(t->net->session);
  switch (t->g->loss) {
  case LOSS_CROSS_ENTROPY:
    return mpt_cross_entropy(queue, &outputs, t->labels, scale, state, loss, NULL, wanted, error);
  case LOSS_NLL:
    return mpt_nll(queue, &outputs, t->labels, scale, state, loss, NULL, wanted, error);
  case LOSS_BINARY:
    MPT_RETURN_IF_FAILED(target_view(t, &outputs, &targets, error));
    return mpt_binary_cross_entropy(queue, &outputs, &targets, scale, state, loss, wanted, error);
  case LOSS_MSE:
    MPT_RETURN_IF_FAILED(target_view(t, &outputs, &targets, error));
    return mpt_mean_squared_error(queue, &outputs, &targets, scale, state, loss, wanted, error);
  }
  return mpt_fail(error, MPT_ERROR_INTERNAL, "there is no loss %d", (int)t->g->loss);
}

mpt_status train_read_loss(training *t, const double *loss, double *value, mpt_error *error) {
  return mpt_memory_download(t->net->queue, loss, sizeof *value, value, error);
}
