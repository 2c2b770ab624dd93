/* Where a run went wrong. */
#include "base/error.h"
#include "train/training.h"
#include <stdio.h>

/* The first value that is not finite. */
typedef struct finding {
  int layer; /* -1: none */
  mpt_operand operand;
  bool nan; /* else infinite */
} finding;

static const char *const where[MPT_OPERAND_COUNT] = {
    [MPT_INPUT] = "the output", [MPT_WEIGHT] = "a parameter", [MPT_GRAD_OUTPUT] = "the gradient"};

/* Whether the tensor of layer `layer` is not finite; then it is what was found. */
static bool look(training *t, const mpt_tensor *tensor, int layer, mpt_operand operand,
                 finding *found) {
  uint32_t bits = 0;
  const uint32_t infinity = 0x7f800000u;
  if (tensor->data == NULL || mpt_amax(t->net->queue, tensor, t->bits, NULL) != MPT_OK ||
      mpt_memory_download(t->net->queue, t->bits, sizeof bits, &bits, NULL) != MPT_OK ||
      bits < infinity)
    return false;
  *found = (finding){layer, operand, bits > infinity};
  return true;
}

/* The first layer with a parameter, or else an output, that is not finite. */
static mpt_status find_forward(training *t, finding *found, mpt_error *error) {
  for (int i = 0; i < t->g->layer_count; i++) {
    const layer_run *run = &t->net->runs[i];
    for (int k = 0; k < LAYER_MAX_PARAMETERS; k++)
      if (look(t, &run->parameters[k], i, MPT_WEIGHT, found))
        return MPT_OK;
    MPT_RETURN_IF_FAILED(network_forward_layer(t->net, i, error));
    if (look(t, &t->net->tensors[t->g->layers[i].output], i, MPT_INPUT, found))
      return MPT_OK;
  }
  return MPT_OK;
}

/* From the loss back, the first layer with a parameter gradient that is not finite. */
static mpt_status find_backward(training *t, finding *found, mpt_error *error) {
  MPT_RETURN_IF_FAILED(train_loss(t, 1.0f, t->device_losses, error));
  MPT_RETURN_IF_FAILED(mpt_fill(t->net->queue, &t->net->all_gradients, 0.0f, error));
  MPT_RETURN_IF_FAILED(network_backward(t->net, t->step, NULL, NULL, error));
  for (int i = t->g->layer_count - 1; i >= 0; i--)
    for (int k = 0; k < LAYER_MAX_PARAMETERS; k++)
      if (look(t, &t->net->runs[i].gradients[k], i, MPT_GRAD_OUTPUT, found))
        return MPT_OK;
  return MPT_OK;
}

/* The session's statistics may have seen a value before. */
static void report_finding(const training *t, const finding *found, mpt_session_report *report) {
  *report = mpt_session_get_report(t->net->session);
  if (report->nonfinite_step >= 0 || found->layer < 0)
    return;
  report->nonfinite_step = t->step;
  report->nonfinite_layer = found->layer;
  report->nonfinite_operand = found->operand;
}

mpt_status train_diagnose(training *t, const char *what, train_result *result, mpt_error *error) {
  mpt_session *session = t->net->session;
  finding found = {.layer = -1};
  int length = snprintf(result->failure, sizeof result->failure, "%s at step %lld", what,
                        (long long)t->step);
  MPT_RETURN_IF_FAILED(mpt_session_set_statistics(session, MPT_STATISTICS_LITE, 1, error));
  MPT_RETURN_IF_FAILED(mpt_session_step_begin(session, t->step, error));
  for (int64_t m = 0; m < t->w->optimizer.accumulate && found.layer < 0; m++) {
    MPT_RETURN_IF_FAILED(train_pass_begin(t, t->step, m, error));
    MPT_RETURN_IF_FAILED(find_forward(t, &found, error));
    if (found.layer < 0)
      MPT_RETURN_IF_FAILED(find_backward(t, &found, error));
  }
  report_finding(t, &found, &result->report);
  if (found.layer >= 0)
    snprintf(result->failure + length, sizeof result->failure - (size_t)length,
             ": %s of layer '%s' is %s first", where[found.operand],
             t->g->layers[found.layer].info.name, found.nan ? "not a number" : "infinite");
  return MPT_OK;
}
