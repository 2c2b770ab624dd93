/* dropout (Srivastava et al. 2014): while training, drops elements with `probability` and scales
 * the others by 1 / (1 - probability); otherwise copies. */
#include "train/layer.h"
#include <string.h>

static mpt_status shape(const graph *g, graph_layer *layer, graph_tensor *output,
                        mpt_error *error) {
  (void)error;
  const graph_tensor *input = &g->tensors[layer->inputs[0]];
  output->rank = input->rank;
  memcpy(output->shape, input->shape, sizeof output->shape);
  return MPT_OK;
}

static void passes(const graph *g, int layer, const mpt_layer_policy *assignment, pass_list *list) {
  int in = g->layers[layer].inputs[0], out = g->layers[layer].output;
  pass_add(list, "dropout forward", PASS_ELEMENTWISE, layer,
           pass_tensor(g, assignment, in) + pass_tensor(g, assignment, out),
           graph_tensor_format(g, assignment, out));
  if (g->tensors[in].gradient)
    pass_add(list, "dropout backward", PASS_ELEMENTWISE, layer,
             pass_gradient(g, assignment, out) + pass_input_gradient(g, assignment, layer, 0, list),
             graph_gradient_format(g, assignment, out));
}

static mpt_status forward(layer_run *run, mpt_error *error) {
  if (!run->training)
    return mpt_copy(run->queue, &run->inputs[0], &run->output, error);
  return mpt_dropout(run->queue, &run->inputs[0], (float)run->layer->spec->probability,
                     run->dropout, &run->output, error);
}

static mpt_status backward(layer_run *run, mpt_error *error) {
  return mpt_dropout(run->queue, &run->grad_output, (float)run->layer->spec->probability,
                     run->dropout, &run->grad_inputs[0], error);
}

const layer_kind layer_dropout = {
    .name = "dropout",
    .fields = LAYER_PROBABILITY,
    .needs = LAYER_PROBABILITY,
    .fewest_inputs = 1,
    .most_inputs = 1,
    .keeps_bounds = true,
    .shape = shape,
    .sees_outputs = true,
    .keyed_by_step = true,
    .passes = passes,
    .forward = forward,
    .backward = backward,
};
