/* The passes of a step besides GEMMs and casts, as a compiler that fuses well would run them
 * (PyTorch's inductor, or kernels written by hand):
 *
 * - bias and the rounding of an output belong to the GEMM that makes it;
 * - a pass reads nothing for an input that the layer just before it writes element by element
 *   (residual then norm: one kernel), but what it writes is written, since the backward pass or a
 *   later layer reads it;
 * - a residual's backward is no pass: both gradients are its output's; where a gradient is the sum
 *   of several, the layer that adds reads what is there;
 * - a dropout mask is drawn again, not stored;
 * - a convolution is an implicit GEMM: no columns are written;
 * - attention is fused: queries, keys and values are read once, no T x T matrix is written; its
 *   products are matrix operations in the layer's format;
 * - the bias gradient of a linear layer is a sum over rows, apart from its GEMM;
 * - the loss reads the logits once forward, reads them and writes their gradient backward;
 * - the optimizer is one pass over fp32 weight, gradient and moments.
 */
#include "train/layer.h"

void pass_add(pass_list *list, const char *name, int layer, double bytes, double operations,
              mpt_format format) {
  if (bytes <= 0.0 && operations <= 0.0)
    return;
  if (list->count < list->capacity)
    list->passes[list->count] = (graph_pass){name, layer, bytes, operations, format};
  list->count++;
}

static double element_bytes(mpt_format format) {
  return mpt_format_get(format)->bits / 8.0;
}

double pass_tensor(const graph *g, const mpt_layer_policy *assignment, int tensor) {
  return (double)g->tensors[tensor].count *
         (g->tensors[tensor].ids ? 4.0 : element_bytes(graph_tensor_format(g, assignment, tensor)));
}

double pass_gradient(const graph *g, const mpt_layer_policy *assignment, int tensor) {
  return g->tensors[tensor].gradient
             ? (double)g->tensors[tensor].count *
                   element_bytes(graph_gradient_format(g, assignment, tensor))
             : 0.0;
}

double pass_read(const graph *g, const mpt_layer_policy *assignment, int layer, int input) {
  int tensor = g->layers[layer].inputs[input], producer = g->tensors[tensor].producer;
  if (producer >= 0 && producer == layer - 1 && g->layers[producer].kind->is_pass)
    return 0.0;
  return pass_tensor(g, assignment, tensor);
}

double pass_sum(const graph *g, const mpt_layer_policy *assignment, int layer, int input) {
  int tensor = g->layers[layer].inputs[input];
  return g->tensors[tensor].last_consumer == layer ? 0.0 : pass_gradient(g, assignment, tensor);
}

int graph_loss_passes(const graph *g, const mpt_layer_policy *assignment, graph_pass *passes,
                      int capacity) {
  pass_list list = {.passes = passes, .capacity = capacity};
  mpt_format format = graph_tensor_format(g, assignment, g->output);
  double bytes = pass_tensor(g, assignment, g->output);
  pass_add(&list, "loss forward", -1, bytes, 0.0, format);
  pass_add(&list, "loss backward", -1, 2.0 * bytes, 0.0, format);
  return list.count;
}

int graph_optimizer_passes(const graph *g, const optimizer_spec *optimizer, graph_pass *passes,
                           int capacity) {
  pass_list list = {.passes = passes, .capacity = capacity};
  double weights = (double)g->parameters;
  /* read weight and gradient, write weight; each moment is read and written */
  double arrays = 3.0;
  if (optimizer->kind != OPTIMIZER_SGD)
    arrays += 4.0;
  else if (optimizer->momentum != 0.0)
    arrays += 2.0;
  if (optimizer->clip > 0.0)
    pass_add(&list, "gradient norm", -1, 4.0 * weights, 0.0, MPT_FP32);
  pass_add(&list, "optimizer", -1, 4.0 * arrays * weights, 0.0, MPT_FP32);
  return list.count;
}

/* Where to write after `count` passes. */
static graph_pass *after(graph_pass *passes, int count, int capacity) {
  return count < capacity ? passes + count : passes;
}

static int left(int count, int capacity) {
  return count < capacity ? capacity - count : 0;
}

int graph_passes(const graph *g, const mpt_layer_policy *assignment, graph_pass *passes,
                 int capacity, const optimizer_spec *optimizer) {
  pass_list list = {.passes = passes, .capacity = capacity};
  for (int i = 0; i < g->layer_count; i++)
    if (g->layers[i].kind->passes != NULL)
      g->layers[i].kind->passes(g, i, assignment, &list);
  int count = list.count;
  count += graph_loss_passes(g, assignment, after(passes, count, capacity), left(count, capacity));
  if (optimizer != NULL)
    count +=
        graph_optimizer_passes(g, optimizer, after(passes, count, capacity), left(count, capacity));
  return count;
}
