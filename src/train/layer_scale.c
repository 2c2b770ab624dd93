/* scale: y = output_scale x, a power of two, so that nothing is rounded unless the storage format's
 * range ends. For networks that are built to have wide or narrow layers. */
#include "train/layer.h"
#include <math.h>
#include <string.h>

static mpt_status shape(const graph *g, graph_layer *layer, graph_tensor *output,
                        mpt_error *error) {
  const graph_tensor *input = &g->tensors[layer->inputs[0]];
  int exponent;
  if (frexp(layer->spec->output_scale, &exponent) != 0.5 || exponent < -59 || exponent > 61)
    return graph_fail(g, layer, error,
                      "its output_scale %g is not a power of two between 2^-60 and 2^60",
                      layer->spec->output_scale);
  output->rank = input->rank;
  memcpy(output->shape, input->shape, sizeof output->shape);
  return MPT_OK;
}

static void passes(const graph *g, int layer, const mpt_layer_policy *assignment, pass_list *list) {
  int in = g->layers[layer].inputs[0], out = g->layers[layer].output;
  pass_add(list, "scale forward", PASS_ELEMENTWISE, layer,
           pass_tensor(g, assignment, in) + pass_tensor(g, assignment, out),
           graph_tensor_format(g, assignment, out));
  if (g->tensors[in].gradient)
    pass_add(list, "scale backward", PASS_ELEMENTWISE, layer,
             pass_gradient(g, assignment, out) + pass_input_gradient(g, assignment, layer, 0, list),
             graph_gradient_format(g, assignment, out));
}

static int exponent_of(const layer_run *run) {
  return ilogb(run->layer->spec->output_scale);
}

static mpt_status forward(layer_run *run, mpt_error *error) {
  return mpt_cast(run->queue, &run->inputs[0], exponent_of(run), &run->output, NULL, error);
}

static mpt_status backward(layer_run *run, mpt_error *error) {
  return mpt_cast(run->queue, &run->grad_output, exponent_of(run), &run->grad_inputs[0], NULL,
                  error);
}

const layer_kind layer_scale = {
    .name = "scale",
    .fields = LAYER_OUTPUT_SCALE,
    .needs = LAYER_OUTPUT_SCALE,
    .fewest_inputs = 1,
    .most_inputs = 1,
    .shape = shape,
    .passes = passes,
    .forward = forward,
    .backward = backward,
};
