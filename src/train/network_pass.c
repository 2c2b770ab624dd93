/* A batch through the network: forward, and backward. */
#include "base/error.h"
#include "train/network_memory.h"
#include "train/network_watch.h"

/* ---- the batch at hand ---- */

mpt_status network_set_mode(network *n, mpt_run_mode mode, mpt_error *error) {
  const graph *g = n->graph;
  MPT_RETURN_IF_FAILED(mpt_session_set_mode(n->session, mode, error));
  network_place_tensors(n, mode == MPT_RUN_TRAIN ? &n->training : &n->forward);
  for (int i = 0; i < g->layer_count; i++) {
    n->tensors[g->layers[i].output].format = mpt_session_output_format(n->session, i);
    n->runs[i].training = mode == MPT_RUN_TRAIN;
    n->runs[i].plain = mode == MPT_RUN_PLAIN;
  }
  for (int t = 0; t < g->tensor_count; t++) {
    int consumer = g->tensors[t].last_consumer;
    n->tensor_gradients[t].format =
        consumer < 0 ? n->tensors[t].format : mpt_session_grad_input_format(n->session, consumer);
  }
  return MPT_OK;
}

mpt_status network_set_batch(network *n, const dataset_batch *batch, int64_t samples,
                             mpt_error *error) {
  n->samples = samples;
  for (int t = 0; t < n->graph->tensor_count; t++)
    n->tensors[t].shape[0] = n->tensor_gradients[t].shape[0] = samples;
  if (n->graph->tensors[0].ids)
    return mpt_memory_upload(n->queue, batch->ids,
                             (size_t)mpt_tensor_count(&n->tensors[0]) * sizeof *n->ids, n->ids,
                             error);
  return mpt_tensor_upload(n->queue, batch->features, &n->tensors[0], error);
}

void network_set_randomness(network *n, uint64_t seed, uint64_t pass) {
  for (int i = 0; i < n->graph->layer_count; i++)
    if (n->graph->layers[i].kind->keyed_by_step)
      n->runs[i].dropout = (mpt_dropout_key){seed, pass, (uint32_t)i};
}

const mpt_tensor *network_output(const network *n) {
  return &n->tensors[n->graph->output];
}

/* Where what an operand's writer sees of it goes, NULL when nobody asks. */
static mpt_lite *lite_of(const network *n, int layer, mpt_operand operand) {
  return layer >= 0 && !n->aside ? mpt_session_lite(n->session, layer, operand) : NULL;
}

/* A tensor's gradient, about to be written for the last time. The layer whose grad_output is
 * complete with it is told that it has been looked at. */
static mpt_tensor last_gradient(network *n, int tensor) {
  int layer = n->gradient_of[tensor];
  mpt_tensor gradient = n->tensor_gradients[tensor];
  gradient.lite = lite_of(n, layer, MPT_GRAD_OUTPUT);
  if (layer >= 0 && !n->aside)
    n->tensor_gradients[n->graph->layers[layer].output].lite = gradient.lite;
  return gradient;
}

mpt_tensor network_output_gradient(network *n) {
  return last_gradient(n, n->graph->output);
}

/* ---- forward ---- */

mpt_status network_forward_layer(network *n, int index, mpt_error *error) {
  layer_run *run = &n->runs[index];
  const graph_layer *layer = run->layer;
  run->ids = n->ids;
  for (int k = 0; k < layer->input_count; k++)
    run->inputs[k] = n->tensors[layer->inputs[k]];
  mpt_tensor *output = &n->tensors[layer->output];
  output->lite = lite_of(n, n->input_of[layer->output], MPT_INPUT);
  run->output = *output;
  n->tensor_gradients[layer->output].lite = NULL;
  return layer->kind->forward(run, error);
}

mpt_status network_forward(network *n, mpt_error *error) {
  for (int i = 0; i < n->graph->layer_count; i++)
    MPT_RETURN_IF_FAILED(network_forward_layer(n, i, error));
  return MPT_OK;
}

/* ---- backward ----
 *
 * The layer that reads a tensor last runs backward first and writes the tensor's gradient; what the
 * others contribute is added in fp32 and the sum rounded. A kind that cannot add writes fp32 to a
 * buffer, which is added for it. */

static mpt_tensor contiguous_like(const mpt_tensor *tensor, void *data) {
  mpt_tensor made = mpt_tensor_of(data, MPT_FP32, tensor->rank, tensor->shape);
  made.device = tensor->device;
  return made;
}

mpt_status network_backward_layer(network *n, int index, mpt_error *error) {
  const graph *g = n->graph;
  layer_run *run = &n->runs[index];
  const graph_layer *layer = run->layer;
  bool to_add[WORKLOAD_MAX_INPUTS] = {false};
  mpt_tensor sums[WORKLOAD_MAX_INPUTS];
  run->grad_output = n->tensor_gradients[layer->output];
  if (n->aside) /* what was seen of the pass under way is not of this one */
    run->grad_output.lite = NULL;
  for (int k = 0; k < layer->input_count; k++) {
    int t = layer->inputs[k];
    mpt_tensor *gradient = &run->grad_inputs[k];
    *gradient = n->tensor_gradients[t];
    gradient->lite = NULL;
    if (g->tensors[t].gradient && network_writes_last(n, index, k))
      *gradient = last_gradient(n, t);
    run->accumulate[k] = false;
    if (!g->tensors[t].gradient) {
      if (tensor_plan_writes_unwanted(layer->kind))
        *gradient = contiguous_like(&n->tensors[t], run->sums[k]);
      else
        gradient->data = NULL;
    } else if (!tensor_plan_writes_first(g, index, k)) {
      run->accumulate[k] = layer->kind->adds_gradients;
      to_add[k] = !layer->kind->adds_gradients;
      sums[k] = *gradient;
      if (to_add[k])
        *gradient = contiguous_like(gradient, run->sums[k]);
    }
  }
  MPT_RETURN_IF_FAILED(layer->kind->backward(run, error));
  for (int k = 0; k < layer->input_count; k++)
    if (to_add[k])
      MPT_RETURN_IF_FAILED(mpt_accumulate_tensor(n->queue, &run->grad_inputs[k], &sums[k], error));
  return MPT_OK;
}

mpt_status network_backward(network *n, int64_t step, train_layer_probe *probe, void *context,
                            mpt_error *error) {
  for (int i = n->graph->layer_count - 1; i >= 0; i--) {
    n->runs[i].step = step;
    n->runs[i].probe = probe;
    n->runs[i].probe_context = context;
    if (n->graph->tensors[n->graph->layers[i].output].gradient)
      MPT_RETURN_IF_FAILED(network_backward_layer(n, i, error));
  }
  return MPT_OK;
}
