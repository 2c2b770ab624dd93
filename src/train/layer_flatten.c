/* flatten: the sample as one row of features. No arithmetic: the network gives the output the
 * input's memory where both have one format, else this rounds. */
#include "train/layer.h"

static mpt_status shape(const graph *g, graph_layer *layer, graph_tensor *output,
                        mpt_error *error) {
  (void)error;
  const graph_tensor *input = &g->tensors[layer->inputs[0]];
  output->rank = 2;
  output->shape[0] = input->shape[0];
  output->shape[1] = graph_sample_size(input);
  return MPT_OK;
}

/* Only a change of format costs anything. */
static void passes(const graph *g, int layer, const mpt_layer_policy *assignment, pass_list *list) {
  int in = g->layers[layer].inputs[0], out = g->layers[layer].output;
  mpt_format format = graph_tensor_format(g, assignment, out);
  mpt_format gradient = graph_gradient_format(g, assignment, out);
  if (graph_tensor_format(g, assignment, in) != format)
    pass_add(list, "flatten forward", PASS_ELEMENTWISE, layer,
             pass_tensor(g, assignment, in) + pass_tensor(g, assignment, out), format);
  if (g->tensors[in].gradient && graph_gradient_format(g, assignment, in) != gradient)
    pass_add(list, "flatten backward", PASS_ELEMENTWISE, layer,
             pass_gradient(g, assignment, out) + pass_input_gradient(g, assignment, layer, 0, list),
             gradient);
}

static mpt_status forward(layer_run *run, mpt_error *error) {
  mpt_tensor x = layer_rows(&run->inputs[0]), y = x;
  if (run->output.data == run->inputs[0].data)
    return MPT_OK;
  y.data = run->output.data;
  y.format = run->output.format;
  y.lite = run->output.lite;
  return mpt_copy(run->queue, &x, &y, error);
}

static mpt_status backward(layer_run *run, mpt_error *error) {
  mpt_tensor to = layer_rows(&run->grad_inputs[0]), from = to;
  if (run->grad_output.data == run->grad_inputs[0].data)
    return MPT_OK;
  from.data = run->grad_output.data;
  from.format = run->grad_output.format;
  return mpt_copy(run->queue, &from, &to, error);
}

const layer_kind layer_flatten = {
    .name = "flatten",
    .fewest_inputs = 1,
    .most_inputs = 1,
    .views = true,
    .forwards_gradients = true,
    .keeps_bounds = true,
    .shape = shape,
    .passes = passes,
    .forward = forward,
    .backward = backward,
};
