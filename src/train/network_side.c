/* A backward pass beside the one under way: a second set of gradients, of tensors and of
 * parameters, laid out as the first. The backward pass is linear in the gradients, so that what a
 * change of one of them does to those of all parameters below is found from the change alone, and
 * not as a small difference of two large passes.
 *
 * Layers are passed over where nothing of the change comes to; the gradients that a layer above
 * would have written first are zero, and what is below adds to them. */
#include "base/error.h"
#include "train/network.h"
#include <stdlib.h>

static void *moved(void *data, const void *from, void *to) {
  return data != NULL ? (char *)to + ((const char *)data - (const char *)from) : NULL;
}

/* Between the two sets. */
static void change_sides(network *n) {
  void *tensors[2] = {(char *)n->tensor_memory + n->training.first_gradient, n->side_memory};
  void *rows[2] = {n->all_gradients.data, n->side_gradients.data};
  const int from = n->aside, to = !from;
  for (int t = 0; t < n->graph->tensor_count; t++)
    n->tensor_gradients[t].data = moved(n->tensor_gradients[t].data, tensors[from], tensors[to]);
  for (int i = 0; i < n->graph->layer_count; i++)
    for (int k = 0; k < LAYER_MAX_PARAMETERS; k++)
      n->runs[i].gradients[k].data = moved(n->runs[i].gradients[k].data, rows[from], rows[to]);
  n->aside = to;
}

static mpt_status clear(network *n, mpt_error *error) {
  const int64_t count = (int64_t)(n->training.gradient_bytes / sizeof(float));
  mpt_tensor all = mpt_tensor_of(n->side_memory, MPT_FP32, 1, &count);
  all.device = mpt_queue_device(n->queue);
  if (count > 0)
    MPT_RETURN_IF_FAILED(mpt_fill(n->queue, &all, 0.0f, error));
  return mpt_fill(n->queue, &n->side_gradients, 0.0f, error);
}

static mpt_status begin(network *n, int layer, const mpt_tensor *product, mpt_error *error) {
  const graph_layer *l = &n->graph->layers[layer];
  mpt_tensor gradient = n->tensor_gradients[l->inputs[0]];
  gradient.lite = NULL;
  if (l->kind->spread != NULL)
    return l->kind->spread(&n->runs[layer], product, &gradient, error);
  const mpt_tensor rows = layer_rows(&gradient);
  return mpt_copy(n->queue, product, &rows, error);
}

static mpt_status run_below(network *n, int layer, bool *reached, mpt_error *error) {
  const graph *g = n->graph;
  reached[g->layers[layer].inputs[0]] = true;
  for (int i = layer - 1; i >= 0; i--) {
    const graph_layer *l = &g->layers[i];
    if (!reached[l->output] || !g->tensors[l->output].gradient)
      continue;
    n->runs[i].probe = NULL;
    MPT_RETURN_IF_FAILED(network_backward_layer(n, i, error));
    for (int k = 0; k < l->input_count; k++)
      reached[l->inputs[k]] = true;
  }
  return MPT_OK;
}

mpt_status network_backward_aside(network *n, int layer, const mpt_tensor *product,
                                  mpt_error *error) {
  if (n->side_memory == NULL || !graph_makes_dgrad(n->graph, layer))
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "the network has no room, or '%s' no dgrad",
                    n->graph->layers[layer].info.name);
  bool *reached = calloc((size_t)n->graph->tensor_count, sizeof *reached);
  if (reached == NULL)
    return mpt_fail_memory(error, "a backward pass aside", (size_t)n->graph->tensor_count);
  change_sides(n);
  mpt_status status = clear(n, error);
  if (status == MPT_OK)
    status = begin(n, layer, product, error);
  if (status == MPT_OK)
    status = run_below(n, layer, reached, error);
  change_sides(n);
  free(reached);
  return status;
}
