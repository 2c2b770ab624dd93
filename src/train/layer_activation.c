/* relu, sigmoid, tanh, gelu: element by element, any shape. */
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
  const int read = g->layers[layer].kind->reads_inputs ? in : out;
  pass_add(list, "activation forward", PASS_ELEMENTWISE, layer,
           pass_tensor(g, assignment, in) + pass_tensor(g, assignment, out),
           graph_tensor_format(g, assignment, in));
  if (g->tensors[in].gradient)
    pass_add(list, "activation backward", PASS_ELEMENTWISE, layer,
             pass_tensor(g, assignment, read) + pass_gradient(g, assignment, out) +
                 pass_input_gradient(g, assignment, layer, 0, list),
             graph_gradient_format(g, assignment, out));
}

static mpt_activation activation_of(const layer_run *run) {
  static const char *const names[] = {"relu", "sigmoid", "tanh", "gelu"};
  int i = 0;
  while (i < 3 && strcmp(names[i], run->layer->kind->name) != 0)
    i++;
  return (mpt_activation)i;
}

static mpt_status forward(layer_run *run, mpt_error *error) {
  return mpt_activation_forward(run->queue, activation_of(run), &run->inputs[0], &run->output,
                                error);
}

static mpt_status backward(layer_run *run, mpt_error *error) {
  return mpt_activation_backward(run->queue, activation_of(run), &run->inputs[0], &run->output,
                                 &run->grad_output, &run->grad_inputs[0], error);
}

/* Backward, gelu reads its input and the others their output (mpt_activation_backward). */
#define ACTIVATION_KIND(word, reads, range, above)                                                 \
  const layer_kind layer_##word = {                                                                \
      .name = #word,                                                                               \
      .fewest_inputs = 1,                                                                          \
      .most_inputs = 1,                                                                            \
      .sees_outputs = true,                                                                        \
      .reads = true,                                                                               \
      .bounds = range,                                                                             \
      .bounded_above = above,                                                                      \
      .shape = shape,                                                                              \
      .passes = passes,                                                                            \
      .forward = forward,                                                                          \
      .backward = backward,                                                                        \
  }
ACTIVATION_KIND(relu, reads_output, "none below 0", false);
ACTIVATION_KIND(sigmoid, reads_output, "values from 0 to 1", true);
ACTIVATION_KIND(tanh, reads_output, "values from -1 to 1", true);
ACTIVATION_KIND(gelu, reads_inputs, "none below -0.17", false);
