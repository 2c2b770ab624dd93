/* Which layer's operand each tensor is, so that the operation that writes it collects the operand's
 * statistics on the way (mpt_session_lite). */
#include "train/network_watch.h"

/* The first layer that reads a tensor, which runs backward last, and by which input; -1. */
static int first_reader(const graph *g, int tensor, int *input) {
  for (int i = 0; i < g->layer_count; i++)
    for (*input = 0; *input < g->layers[i].input_count; ++*input)
      if (g->layers[i].inputs[*input] == tensor)
        return i;
  return -1;
}

/* A convolution's operands are tensors of its own. */
static bool reads_directly(const graph_layer *layer) {
  return layer->has_gemm && layer->kind->memory == NULL;
}

/* The tensor by whose gradient's last write that of `tensor` is complete: its own, or that of a sum
 * whose gradient it shares. */
static int completed_with(const network *n, int tensor) {
  const graph *g = n->graph;
  int input, reader = first_reader(g, tensor, &input);
  while (reader >= 0 && g->layers[reader].kind->forwards_gradients &&
         n->tensor_gradients[tensor].data == n->tensor_gradients[g->layers[reader].output].data) {
    tensor = g->layers[reader].output;
    reader = first_reader(g, tensor, &input);
  }
  return tensor;
}

void network_plan_watch(network *n) {
  const graph *g = n->graph;
  for (int t = 0; t < g->tensor_count; t++)
    n->input_of[t] = n->gradient_of[t] = -1;
  for (int i = g->layer_count - 1; i >= 0; i--) {
    const graph_layer *layer = &g->layers[i];
    if (!reads_directly(layer))
      continue;
    int producer = g->tensors[layer->inputs[0]].producer;
    /* what a view shows, nobody writes */
    if (producer >= 0 && !g->layers[producer].kind->views)
      n->input_of[layer->inputs[0]] = i;
    n->gradient_of[completed_with(n, layer->output)] = i;
  }
}

bool network_writes_last(const network *n, int layer, int input) {
  int first_input = -1, tensor = n->graph->layers[layer].inputs[input];
  int first = first_reader(n->graph, tensor, &first_input);
  return first == layer && first_input == input;
}
