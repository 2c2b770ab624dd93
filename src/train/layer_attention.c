/* attention: scaled dot products of several heads (Vaswani et al. 2017), fused as in
 * FlashAttention (Dao 2023). Reads queries, keys and values packed in one tensor [batch, T, 3C], or
 * from three layers of [batch, T, C]. */
#include "base/error.h"
#include "train/layer.h"

static mpt_status shape(const graph *g, graph_layer *layer, graph_tensor *output,
                        mpt_error *error) {
  const graph_tensor *input = &g->tensors[layer->inputs[0]];
  char text[96];
  graph_shape_text(input, text);
  if (input->rank != 3)
    return graph_fail(g, layer, error, "attention reads [batch, tokens, features], not %s", text);
  int64_t width = input->shape[2];
  if (layer->input_count == 1 && width % 3 != 0)
    return graph_fail(g, layer, error, "%s is not queries, keys and values side by side", text);
  if (layer->input_count == 2)
    return graph_fail(g, layer, error,
                      "attention reads one packed layer, or three: queries, keys and values");
  for (int i = 1; i < layer->input_count; i++)
    if (g->tensors[layer->inputs[i]].rank != 3 || g->tensors[layer->inputs[i]].shape[2] != width)
      return graph_fail(g, layer, error, "its three inputs are not of one shape, %s", text);
  if (layer->input_count == 1)
    width /= 3;
  if (width % layer->spec->heads != 0)
    return graph_fail(g, layer, error, "its width %lld is not a multiple of %lld heads",
                      (long long)width, (long long)layer->spec->heads);
  output->rank = 3;
  output->shape[0] = input->shape[0];
  output->shape[1] = input->shape[1];
  output->shape[2] = width;
  return MPT_OK;
}

/* Saved: log of the sum of exponentials of each row of scores. */
static void memory(const graph *g, const graph_layer *layer, const mpt_layer_policy *assignment,
                   layer_memory *m) {
  (void)assignment;
  const graph_tensor *input = &g->tensors[layer->inputs[0]];
  m->saved[0].count = input->shape[0] * input->shape[1] * layer->spec->heads;
}

mpt_format layer_attention_format(const mpt_layer_policy *formats) {
  return mpt_layer_policy_for("attention", formats).gemm[MPT_FPROP].operand[0];
}

static void add_attention(pass_list *list, const char *name, int layer, double bytes,
                          double operations, mpt_format format, bool backward) {
  const int added = list->count;
  pass_add(list, name, PASS_ELEMENTWISE, layer, bytes, format);
  if (added < list->capacity) {
    list->passes[added].operations = operations;
    list->passes[added].backward = backward;
  }
}

/* Forward two products of 2 T^2 C operations for each sample, backward five: scores again,
 * gradients of probabilities, queries, keys and values. Causal: half of each. */
static void passes(const graph *g, int layer, const mpt_layer_policy *assignment, pass_list *list) {
  const graph_layer *l = &g->layers[layer];
  const graph_tensor *out = &g->tensors[l->output];
  double product = 2.0 * (double)out->count * (double)out->shape[1] * (l->spec->causal ? 0.5 : 1.0);
  double y = pass_tensor(g, assignment, l->output),
         grad_y = pass_gradient(g, assignment, l->output);
  double read = 0.0, written = 0.0;
  mpt_format format = layer_attention_format(&assignment[layer]);
  for (int i = 0; i < l->input_count; i++) {
    read += pass_tensor(g, assignment, l->inputs[i]);
    written += pass_input_gradient(g, assignment, layer, i, list);
  }
  add_attention(list, "attention forward", layer, read + y, 2.0 * product, format, false);
  add_attention(list, "attention backward", layer, read + y + grad_y + written, 5.0 * product,
                format, true);
}

/* Queries, keys and values of what is packed in one tensor, or of three. */
static void split(const layer_run *run, const mpt_tensor *from, mpt_tensor parts[3]) {
  int64_t width = run->output.shape[2];
  for (int i = 0; i < 3; i++) {
    parts[i] = from[run->layer->input_count == 3 ? i : 0];
    if (run->layer->input_count == 1 && parts[i].data != NULL) {
      /* a view of columns: on a GPU elements are packed */
      size_t element = mpt_element_bytes(parts[i].device.kind, parts[i].format);
      parts[i].data = (char *)parts[i].data + (size_t)(i * width) * element;
      parts[i].shape[2] = width;
    }
  }
}

static mpt_attention_args arguments(const layer_run *run, const mpt_tensor parts[3],
                                    const mpt_tensor *lse) {
  const mpt_layer_policy *policy = mpt_session_layer_policy(run->session, run->index);
  return (mpt_attention_args){.query = &parts[0],
                              .key = &parts[1],
                              .value = &parts[2],
                              .y = &run->output,
                              .lse = lse,
                              .heads = (int)run->layer->spec->heads,
                              .causal = run->layer->spec->causal,
                              .format = run->plain ? MPT_FP32 : layer_attention_format(policy)};
}

static mpt_tensor lse_of(const layer_run *run) {
  return layer_view(
      run, run->saved[0], MPT_FP32, 3,
      (int64_t[]){run->output.shape[0], run->layer->spec->heads, run->output.shape[1]});
}

static mpt_status forward(layer_run *run, mpt_error *error) {
  mpt_tensor parts[3], lse = lse_of(run);
  split(run, run->inputs, parts);
  mpt_attention_args args = arguments(run, parts, &lse);
  return mpt_attention_forward(run->queue, &args, error);
}

static mpt_status backward(layer_run *run, mpt_error *error) {
  mpt_tensor parts[3], gradients[3], lse = lse_of(run);
  split(run, run->inputs, parts);
  split(run, run->grad_inputs, gradients);
  mpt_attention_args args = arguments(run, parts, &lse);
  return mpt_attention_backward(run->queue, &args, &run->grad_output, &gradients[0], &gradients[1],
                                &gradients[2], error);
}

const layer_kind layer_attention = {
    .name = "attention",
    .fields = LAYER_HEADS | LAYER_CAUSAL,
    .needs = LAYER_HEADS,
    .fewest_inputs = 1,
    .most_inputs = 3,
    .reads_inputs = true,
    .reads_output = true,
    .shape = shape,
    .memory = memory,
    .sees_outputs = true,
    .passes = passes,
    .forward = forward,
    .backward = backward,
};
