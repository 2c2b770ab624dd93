/* softmax: over the last dimension. */
#include "train/layer.h"
#include <string.h>

static mpt_status shape(const graph *g, graph_layer *layer, graph_tensor *output,
                        mpt_error *error) {
  const graph_tensor *input = &g->tensors[layer->inputs[0]];
  if (input->rank == 4)
    return graph_fail(g, layer, error, "a softmax reads rows of features, not images");
  output->rank = input->rank;
  memcpy(output->shape, input->shape, sizeof output->shape);
  return MPT_OK;
}

static void passes(const graph *g, int layer, const mpt_layer_policy *assignment, pass_list *list) {
  int in = g->layers[layer].inputs[0], out = g->layers[layer].output;
  pass_add(list, "softmax forward", PASS_ELEMENTWISE, layer,
           pass_tensor(g, assignment, in) + pass_tensor(g, assignment, out),
           graph_tensor_format(g, assignment, out));
  if (g->tensors[in].gradient)
    pass_add(list, "softmax backward", PASS_ELEMENTWISE, layer,
             pass_tensor(g, assignment, out) + pass_gradient(g, assignment, out) +
                 pass_input_gradient(g, assignment, layer, 0, list),
             graph_gradient_format(g, assignment, out));
}

static mpt_status forward(layer_run *run, mpt_error *error) {
  return mpt_softmax_forward(run->queue, &run->inputs[0], &run->output, error);
}

static mpt_status backward(layer_run *run, mpt_error *error) {
  return mpt_softmax_backward(run->queue, &run->output, &run->grad_output, &run->grad_inputs[0],
                              error);
}

const layer_kind layer_softmax = {
    .name = "softmax",
    .fewest_inputs = 1,
    .most_inputs = 1,
    .reads_output = true,
    .bounds = "values from 0 to 1",
    .bounded_above = true,
    .shape = shape,
    .passes = passes,
    .forward = forward,
    .backward = backward,
};
