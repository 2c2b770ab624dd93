#include "train/network.h"
#include "base/error.h"
#include "train/network_memory.h"
#include "train/network_watch.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening ---- */

mpt_status network_open_session(const network *n, const train_options *options, int64_t samples,
                                mpt_session **session, mpt_error *error) {
  const graph *g = n->graph;
  mpt_session_layer *layers = calloc((size_t)g->layer_count, sizeof *layers);
  if (layers == NULL)
    return mpt_fail_memory(error, "the session's layers", (size_t)g->layer_count * sizeof *layers);
  for (int i = 0; i < g->layer_count; i++) {
    const graph_layer *layer = &g->layers[i];
    int producer = g->tensors[layer->inputs[0]].producer;
    layers[i].info = layer->info;
    layers[i].info.rows = layer->info.rows / g->batch * samples;
    /* a convolution reads columns of its own */
    if (layer->has_gemm && layer->kind->memory == NULL)
      strcpy(layers[i].input_name, producer < 0 ? "input" : g->layers[producer].info.name);
    layers[i].formats_known = true;
    layers[i].input_format = graph_tensor_format(g, options->assignment, layer->inputs[0]);
    layers[i].grad_output_format = graph_gradient_format(g, options->assignment, layer->output);
  }
  mpt_session_config config = mpt_session_config_default();
  config.queue = n->queue;
  config.assignment = options->assignment;
  config.loss_scale = options->loss_scale;
  config.steps = options->steps;
  config.statistics = options->statistics;
  config.statistics_every = options->statistics_every;
  config.on_statistics = options->on_statistics;
  config.context = options->context;
  mpt_status status = mpt_session_open(&config, layers, g->layer_count, session, error);
  free(layers);
  return status;
}

static mpt_status take_workspace(network *n, mpt_error *error) {
  void *workspace;
  char what[96];
  size_t bytes = mpt_session_workspace_bytes(n->session);
  snprintf(what, sizeof what, "copies in the policy's formats for a batch of %lld",
           (long long)n->graph->batch);
  MPT_RETURN_IF_FAILED(network_take(n, what, bytes, &workspace, error));
  return mpt_session_set_workspace(n->session, workspace, bytes, error);
}

mpt_status network_open(const train_options *options, network **out, mpt_error *error) {
  mpt_status status = MPT_OK;
  network *n = calloc(1, sizeof *n);
  if (n == NULL)
    return mpt_fail_memory(error, "the network", sizeof *n);
  n->graph = options->graph;
  mpt_queue_config config = mpt_queue_config_default();
  config.threads = options->threads;
  config.backend = options->backend;
  config.device_index = options->device_index;
  MPT_TRY(mpt_queue_open(&config, &n->queue, error));
  MPT_TRY(network_open_session(n, options, n->graph->batch, &n->session, error));
  MPT_TRY(network_take_parameters(n, &options->workload->optimizer, error));
  MPT_TRY(take_workspace(n, error));
  MPT_TRY(network_take_tensors(n, options, error));
  MPT_TRY(network_set_mode(n, MPT_RUN_TRAIN, error));
  network_plan_watch(n);
  *out = n;
  return MPT_OK;
fail:
  if ((status == MPT_ERROR_MEMORY || status == MPT_ERROR_DEVICE_MEMORY) && n->session != NULL &&
      error != NULL)
    network_advise(n, options, error);
  network_close(n);
  return status;
}

void network_close(network *n) {
  if (n == NULL)
    return;
  mpt_session_close(n->session);
  for (int i = 0; i < n->block_count; i++)
    mpt_memory_free(n->queue, n->blocks[i]);
  mpt_queue_close(n->queue);
  free(n->parameters);
  free(n->gradients);
  free(n->updates);
  free(n->tensors);
  free(n->tensor_gradients);
  free(n->input_of);
  free(n->gradient_of);
  free(n->runs);
  tensor_plan_clear(&n->training);
  tensor_plan_clear(&n->forward);
  free(n);
}

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
