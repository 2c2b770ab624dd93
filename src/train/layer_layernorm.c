/* layernorm: over the last dimension (Ba, Kiros, Hinton 2016). */
#include "train/layer.h"

static mpt_status shape(const graph *g, graph_layer *layer, graph_tensor *output,
                        mpt_error *error) {
  const graph_tensor *input = &g->tensors[layer->inputs[0]];
  if (input->rank == 4)
    return graph_fail(g, layer, error, "a layernorm reads rows of features, not images");
  output->rank = input->rank;
  for (int i = 0; i < input->rank; i++)
    output->shape[i] = input->shape[i];
  layer->info.rank = 1;
  layer->info.shape[0] = input->shape[input->rank - 1];
  return MPT_OK;
}

static int parameters(const graph *g, const graph_layer *layer,
                      layer_parameter p[LAYER_MAX_PARAMETERS]) {
  (void)g;
  int64_t width = layer->info.shape[0];
  p[0] = (layer_parameter){.name = "weight", .rank = 1, .shape = {width}, .initial = LAYER_ONES};
  p[1] = (layer_parameter){.name = "bias", .rank = 1, .shape = {width}, .initial = LAYER_ZEROS};
  return 2;
}

/* Saved: mean and 1/deviation of each row. */
static void memory(const graph *g, const graph_layer *layer, const mpt_layer_policy *assignment,
                   layer_memory *m) {
  (void)assignment;
  const graph_tensor *input = &g->tensors[layer->inputs[0]];
  m->saved[0].count = m->saved[1].count = input->count / input->shape[input->rank - 1];
}

static void passes(const graph *g, int layer, const mpt_layer_policy *assignment, pass_list *list) {
  int in = g->layers[layer].inputs[0], out = g->layers[layer].output;
  double x = pass_tensor(g, assignment, in), grad_y = pass_gradient(g, assignment, out);
  pass_add(list, "layernorm forward", PASS_NORM_FORWARD, layer, x + pass_tensor(g, assignment, out),
           graph_tensor_format(g, assignment, in));
  /* the parameters' gradients are found in the same pass */
  pass_add(list, "layernorm backward", PASS_NORM_BACKWARD, layer,
           grad_y + x + pass_input_gradient(g, assignment, layer, 0, list),
           graph_gradient_format(g, assignment, out));
}

static mpt_tensor row_values(const layer_run *run, int index) {
  int64_t rows = mpt_tensor_count(&run->output) / run->layer->info.shape[0];
  return layer_view(run, run->saved[index], MPT_FP32, 1, &rows);
}

static mpt_status forward(layer_run *run, mpt_error *error) {
  mpt_tensor mean = row_values(run, 0), rstd = row_values(run, 1);
  double epsilon = run->layer->spec->epsilon;
  return mpt_layernorm_forward(run->queue, &run->inputs[0], &run->parameters[0],
                               &run->parameters[1], epsilon > 0.0 ? (float)epsilon : 1e-5f,
                               &run->output, &mean, &rstd, error);
}

static mpt_status backward(layer_run *run, mpt_error *error) {
  mpt_tensor mean = row_values(run, 0), rstd = row_values(run, 1);
  return mpt_layernorm_backward(run->queue, &run->grad_output, &run->inputs[0], &run->parameters[0],
                                &mean, &rstd, &run->grad_inputs[0], run->accumulate[0],
                                &run->gradients[0], &run->gradients[1], error);
}

const layer_kind layer_layernorm = {
    .name = "layernorm",
    .fields = LAYER_EPSILON,
    .fewest_inputs = 1,
    .most_inputs = 1,
    .reads_inputs = true,
    .adds_gradients = true,
    .sees_outputs = true,
    .shape = shape,
    .parameters = parameters,
    .memory = memory,
    .passes = passes,
    .forward = forward,
    .backward = backward,
};
