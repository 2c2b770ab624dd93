/* The passes of a step besides GEMMs and casts, as mptune's CUDA backend runs them:
 *
 * - a layer's forward and backward are a kernel each, which reads its inputs and writes its outputs
 *   once; nothing is fused across layers;
 * - bias and the rounding of an output belong to the GEMM that makes it; the bias gradient is a sum
 *   over rows, apart from its GEMM;
 * - where a gradient is the sum of several, the layer that adds reads what is there (layernorm, in
 *   its own pass); what cannot add writes fp32 for a pass that does;
 * - a residual's backward is no pass where both gradients can be its output's;
 * - a dropout mask is drawn again, not stored;
 * - a convolution writes its columns, and reads them: im2col, and rows to images and back;
 * - attention is fused: queries, keys and values are read once, no T x T matrix is written; its
 *   products are matrix operations in the layer's format;
 * - the loss reads the logits and writes their gradient, once;
 * - gradients are cleared, looked at (for overflow and their norm), and read by the optimizer with
 *   the fp32 weights and moments.
 */
#include "train/layer.h"

void pass_add(pass_list *list, const char *name, pass_kind kind, int layer, double bytes,
              mpt_format format) {
  if (bytes <= 0.0)
    return;
  if (list->count < list->capacity)
    list->passes[list->count] =
        (graph_pass){.name = name, .layer = layer, .kind = kind, .bytes = bytes, .format = format};
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

double pass_input_gradient(const graph *g, const mpt_layer_policy *assignment, int layer, int input,
                           pass_list *list) {
  const graph_layer *l = &g->layers[layer];
  const graph_tensor *t = &g->tensors[l->inputs[input]];
  const double bytes = pass_gradient(g, assignment, l->inputs[input]);
  if (!t->gradient || t->last_consumer == layer)
    return bytes;
  if (l->kind->adds_gradients)
    return 2.0 * bytes;
  const double sum = 4.0 * (double)t->count;
  pass_add(list, "sum of gradients", PASS_ELEMENTWISE, layer, sum + 2.0 * bytes, MPT_FP32);
  return sum;
}

bool graph_is_seen(const graph *g, int tensor, bool gradient) {
  const graph_tensor *t = &g->tensors[tensor];
  if (!gradient)
    return t->producer >= 0 && g->layers[t->producer].kind->sees_outputs;
  for (int i = t->producer + 1; i < g->layer_count; i++)
    for (int k = 0; k < g->layers[i].input_count; k++)
      if (g->layers[i].inputs[k] == tensor) /* the first reader runs backward last */
        return g->layers[i].kind->forwards_gradients
                   ? graph_is_seen(g, g->layers[i].output, true)
                   : g->layers[i].kind->sees_outputs ||
                         (t->last_consumer != i && !g->layers[i].kind->adds_gradients);
  return g->loss == LOSS_CROSS_ENTROPY;
}

int graph_loss_passes(const graph *g, const mpt_layer_policy *assignment, graph_pass *passes,
                      int capacity) {
  pass_list list = {.passes = passes, .capacity = capacity};
  mpt_format format = graph_tensor_format(g, assignment, g->output);
  double bytes = 2.0 * pass_tensor(g, assignment, g->output);
  if (g->loss == LOSS_BINARY || g->loss == LOSS_MSE) /* fp32 targets */
    bytes += 4.0 * (double)g->tensors[g->output].count;
  pass_add(&list, "loss", g->loss == LOSS_CROSS_ENTROPY ? PASS_LOSS : PASS_ELEMENTWISE, -1, bytes,
           format);
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
  pass_add(&list, "clear gradients", PASS_ELEMENTWISE, -1, 4.0 * weights, MPT_FP32);
  pass_add(&list, "check gradients", PASS_REDUCTION, -1, 4.0 * weights, MPT_FP32);
  pass_add(&list, "optimizer", PASS_OPTIMIZER, -1, 4.0 * arrays * weights, MPT_FP32);
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
