/* The session of a network: what it tells libmptune of its layers. */
#include "base/error.h"
#include "train/network_memory.h"
#include <stdlib.h>
#include <string.h>

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
