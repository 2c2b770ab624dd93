/* linear: y = x weight^T + bias over the last dimension of x. */
#include "base/error.h"
#include "train/layer.h"
#include <math.h>

static mpt_status shape(const graph *g, graph_layer *layer, graph_tensor *output,
                        mpt_error *error) {
  const graph_tensor *input = &g->tensors[layer->inputs[0]];
  if (input->rank == 4) {
    char text[96];
    graph_shape_text(input, text);
    return graph_fail(g, layer, error, "it cannot read an image %s; add a flatten before it", text);
  }
  int64_t k = input->shape[input->rank - 1];
  output->rank = input->rank;
  for (int i = 0; i < input->rank; i++)
    output->shape[i] = input->shape[i];
  output->shape[input->rank - 1] = layer->spec->features;
  layer->gemm = (graph_gemm){.m = input->count / k, .n = layer->spec->features, .k = k};
  layer->info.rank = 2;
  layer->info.shape[0] = layer->spec->features;
  layer->info.shape[1] = k;
  return MPT_OK;
}

/* In a network over tokens normal of deviation 0.02 and no bias, as in GPT-2; elsewhere uniform
 * within 1/sqrt(inputs), weight and bias, as PyTorch's nn.Linear. */
static int parameters(const graph *g, const graph_layer *layer,
                      layer_parameter p[LAYER_MAX_PARAMETERS]) {
  bool tokens = g->tensors[g->input].ids;
  double bound = 1.0 / sqrt((double)layer->gemm.k);
  p[0] = (layer_parameter){.name = "weight",
                           .rank = 2,
                           .shape = {layer->gemm.n, layer->gemm.k},
                           .initial = tokens ? LAYER_NORMAL : LAYER_UNIFORM,
                           .scale = (tokens ? 0.02 : bound) * layer->spec->initial_scale};
  p[1] = (layer_parameter){.name = "bias",
                           .rank = 1,
                           .shape = {layer->gemm.n},
                           .initial = tokens ? LAYER_ZEROS : LAYER_UNIFORM,
                           .scale = bound};
  return layer->spec->no_bias ? 1 : 2;
}

static void passes(const graph *g, int layer, const mpt_layer_policy *assignment, pass_list *list) {
  if (!g->layers[layer].spec->no_bias)
    pass_add(list, "bias backward", PASS_COLUMN_SUM, layer,
             pass_gradient(g, assignment, g->layers[layer].output),
             graph_gradient_format(g, assignment, g->layers[layer].output));
}

static const mpt_tensor *present(const mpt_tensor *tensor) {
  return tensor->data != NULL ? tensor : NULL;
}

static mpt_status forward(layer_run *run, mpt_error *error) {
  return mpt_linear_forward(run->session, run->index, &run->inputs[0], &run->parameters[0],
                            present(&run->parameters[1]), &run->output, error);
}

static mpt_status backward(layer_run *run, mpt_error *error) {
  if (run->probe != NULL) {
    mpt_tensor input = layer_rows(&run->inputs[0]), grad = layer_rows(&run->grad_output);
    run->probe(run->probe_context, run->queue, run->step, run->index, &input, &run->parameters[0],
               &grad);
  }
  return mpt_linear_backward(run->session, run->index, &run->grad_output, &run->inputs[0],
                             &run->parameters[0], present(&run->grad_inputs[0]), run->accumulate[0],
                             &run->gradients[0], present(&run->gradients[1]), error);
}

const layer_kind layer_linear = {
    .name = "linear",
    .fields = LAYER_FEATURES | LAYER_BIAS | LAYER_INITIAL_SCALE | LAYER_TIED_TO,
    .needs = LAYER_FEATURES,
    .fewest_inputs = 1,
    .most_inputs = 1,
    .has_gemm = true,
    .reads_inputs = true,
    .adds_gradients = true,
    .shape = shape,
    .parameters = parameters,
    .passes = passes,
    .forward = forward,
    .backward = backward,
};
