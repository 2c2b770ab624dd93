/* Where a run went wrong. */
#include "base/error.h"
#include "train/training.h"
#include <stdio.h>

static bool finite_tensor(training *t, const mpt_tensor *tensor, bool *nan) {
  uint32_t bits = 0;
  if (mpt_amax(t->net->queue, tensor, &bits, NULL) != MPT_OK)
    return true;
  *nan = bits > 0x7f800000u;
  return bits < 0x7f800000u;
}

/* The first layer whose weights, or else whose output, are not finite. */
static mpt_status find_forward(training *t, int *layer, const char **where, bool *nan,
                               mpt_error *error) {
  for (int i = 0; i < t->g->layer_count; i++) {
    const layer_run *run = &t->net->runs[i];
    for (int k = 0; k < LAYER_MAX_PARAMETERS; k++)
      if (run->parameters[k].data != NULL && !finite_tensor(t, &run->parameters[k], nan)) {
        *layer = i, *where = "a weight";
        return MPT_OK;
      }
    MPT_RETURN_IF_FAILED(network_forward_layer(t->net, i, error));
    if (!finite_tensor(t, &t->net->tensors[t->g->layers[i].output], nan)) {
      *layer = i, *where = "the output";
      return MPT_OK;
    }
  }
  return MPT_OK;
}

/* From the loss back: the first layer whose incoming gradient is not finite, else whose parameter
 * gradient is not. */
static mpt_status find_backward(training *t, int *layer, const char **where, bool *nan,
                                mpt_error *error) {
  double loss;
  MPT_RETURN_IF_FAILED(train_loss(t, mpt_session_loss_scale(t->net->session), &loss, error));
  MPT_RETURN_IF_FAILED(mpt_fill(t->net->queue, &t->net->all_gradients, 0.0f, error));
  MPT_RETURN_IF_FAILED(network_backward(t->net, t->step, NULL, NULL, error));
  for (int i = t->g->layer_count - 1; i >= 0; i--) {
    const layer_run *run = &t->net->runs[i];
    for (int k = 0; k < LAYER_MAX_PARAMETERS; k++)
      if (run->gradients[k].data != NULL && !finite_tensor(t, &run->gradients[k], nan)) {
        *layer = i, *where = "the gradient";
        return MPT_OK;
      }
  }
  return MPT_OK;
}

static void blame(training *t, int layer, mpt_operand operand, train_result *result) {
  mpt_session_report *report = &result->report;
  if (report->nonfinite_step >= 0)
    return;
  report->nonfinite_step = t->step;
  report->nonfinite_layer = layer;
  report->nonfinite_operand = operand;
}

mpt_status train_diagnose(training *t, const char *what, train_result *result, mpt_error *error) {
  network *n = t->net;
  int layer = -1;
  const char *where = NULL;
  bool nan = false;
  MPT_RETURN_IF_FAILED(mpt_session_set_statistics(n->session, MPT_STATISTICS_LITE, 1, error));
  MPT_RETURN_IF_FAILED(mpt_session_step_begin(n->session, t->step, error));
  for (int64_t m = 0; m < t->w->optimizer.accumulate && layer < 0; m++) {
    MPT_RETURN_IF_FAILED(train_pass_begin(t, t->step, m, error));
    MPT_RETURN_IF_FAILED(find_forward(t, &layer, &where, &nan, error));
    if (layer >= 0)
      break;
    MPT_RETURN_IF_FAILED(find_backward(t, &layer, &where, &nan, error));
  }
  result->report = mpt_session_get_report(n->session);
  if (layer < 0) {
    snprintf(result->failure, sizeof result->failure, "%s at step %lld", what, (long long)t->step);
    return MPT_OK;
  }
  blame(t, layer,
        where[0] == 'a'   ? MPT_WEIGHT
        : where[4] == 'g' ? MPT_GRAD_OUTPUT
                          : MPT_INPUT,
        result);
  snprintf(result->failure, sizeof result->failure,
           "%s at step %lld: %s of layer '%s' became %s first", what, (long long)t->step, where,
           t->g->layers[layer].info.name, nan ? "not a number" : "infinite");
  return MPT_OK;
}
