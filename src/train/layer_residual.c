/* residual: the sum of two layers' outputs. */
#include "base/error.h"
#include "train/layer.h"
#include <string.h>

static mpt_status shape(const graph *g, graph_layer *layer, graph_tensor *output,
                        mpt_error *error) {
  const graph_tensor *a = &g->tensors[layer->inputs[0]], *b = &g->tensors[layer->inputs[1]];
  if (a->rank != b->rank || memcmp(a->shape, b->shape, sizeof a->shape) != 0) {
    char first[96], second[96];
    graph_shape_text(a, first);
    graph_shape_text(b, second);
    return graph_fail(g, layer, error, "its inputs have shapes %s and %s; a sum needs one shape",
                      first, second);
  }
  if (layer->inputs[0] == layer->inputs[1])
    return graph_fail(g, layer, error, "both its inputs are one layer; use a scale of 2.0");
  output->rank = a->rank;
  memcpy(output->shape, a->shape, sizeof output->shape);
  return MPT_OK;
}

/* Backward, an input's gradient that nobody has written yet, stored alike, is the output's. */
static void passes(const graph *g, int layer, const mpt_layer_policy *assignment, pass_list *list) {
  const graph_layer *l = &g->layers[layer];
  const mpt_format stored = graph_tensor_format(g, assignment, l->output);
  const mpt_format gradient = graph_gradient_format(g, assignment, l->output);
  pass_add(list, "residual forward", PASS_ELEMENTWISE, layer,
           pass_tensor(g, assignment, l->inputs[0]) + pass_tensor(g, assignment, l->inputs[1]) +
               pass_tensor(g, assignment, l->output),
           stored);
  for (int i = 0; i < 2; i++) {
    const graph_tensor *t = &g->tensors[l->inputs[i]];
    if (t->gradient && (t->last_consumer != layer ||
                        graph_gradient_format(g, assignment, l->inputs[i]) != gradient))
      pass_add(list, "residual backward", PASS_ELEMENTWISE, layer,
               pass_gradient(g, assignment, l->output) +
                   pass_input_gradient(g, assignment, layer, i, list),
               gradient);
  }
}

static mpt_status forward(layer_run *run, mpt_error *error) {
  return mpt_add(run->queue, &run->inputs[0], &run->inputs[1], &run->output, error);
}

static mpt_status backward(layer_run *run, mpt_error *error) {
  for (int i = 0; i < 2; i++) {
    const mpt_tensor *to = &run->grad_inputs[i];
    if (to->data == NULL || to->data == run->grad_output.data)
      continue;
    MPT_RETURN_IF_FAILED(run->accumulate[i]
                             ? mpt_accumulate_tensor(run->queue, &run->grad_output, to, error)
                             : mpt_copy(run->queue, &run->grad_output, to, error));
  }
  return MPT_OK;
}

const layer_kind layer_residual = {
    .name = "residual",
    .fewest_inputs = 2,
    .most_inputs = 2,
    .forwards_gradients = true,
    .adds_gradients = true,
    .sees_outputs = true,
    .shape = shape,
    .passes = passes,
    .forward = forward,
    .backward = backward,
};
