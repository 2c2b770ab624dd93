/* embedding: a row of the table for each token id, plus a learned row for its position where
 * `positions` is given. */
#include "train/layer.h"

static mpt_status shape(const graph *g, graph_layer *layer, graph_tensor *output,
                        mpt_error *error) {
  const graph_tensor *ids = &g->tensors[layer->inputs[0]];
  const layer_spec *spec = layer->spec;
  if (spec->positions > 0 && spec->positions < ids->shape[1])
    return graph_fail(g, layer, error, "it has %lld positions for a sequence of %lld",
                      (long long)spec->positions, (long long)ids->shape[1]);
  output->rank = 3;
  output->shape[0] = ids->shape[0];
  output->shape[1] = ids->shape[1];
  output->shape[2] = spec->features;
  layer->info.rank = 2;
  layer->info.shape[0] = spec->vocabulary;
  layer->info.shape[1] = spec->features;
  return MPT_OK;
}

/* Normal of deviation 0.02, as in GPT-2. */
static int parameters(const graph *g, const graph_layer *layer,
                      layer_parameter p[LAYER_MAX_PARAMETERS]) {
  (void)g;
  const layer_spec *spec = layer->spec;
  p[0] = (layer_parameter){.name = "weight",
                           .rank = 2,
                           .shape = {spec->vocabulary, spec->features},
                           .initial = LAYER_NORMAL,
                           .scale = 0.02 * spec->initial_scale};
  p[1] = (layer_parameter){.name = "position",
                           .rank = 2,
                           .shape = {spec->positions, spec->features},
                           .initial = LAYER_NORMAL,
                           .scale = 0.02 * spec->initial_scale};
  return spec->positions > 0 ? 2 : 1;
}

static void passes(const graph *g, int layer, const mpt_layer_policy *assignment, pass_list *list) {
  int out = g->layers[layer].output;
  double written = pass_tensor(g, assignment, out);
  double rows = 4.0 * (double)g->tensors[out].count; /* of the fp32 table, one for each token */
  double gradient = pass_gradient(g, assignment, out);
  pass_add(list, "embedding forward", PASS_EMBEDDING_FORWARD, layer, rows + written,
           graph_tensor_format(g, assignment, out));
  /* rows of the table's gradient are read and written */
  pass_add(list, "embedding backward", PASS_EMBEDDING_BACKWARD, layer, gradient + 2.0 * rows,
           graph_gradient_format(g, assignment, out));
}

/* The first T rows of the learned positions. */
static mpt_tensor positions(const mpt_tensor *parameter, int64_t sequence) {
  mpt_tensor view = *parameter;
  view.shape[0] = sequence;
  return view;
}

static mpt_status forward(layer_run *run, mpt_error *error) {
  mpt_tensor y = layer_rows(&run->output);
  mpt_tensor position = positions(&run->parameters[1], run->output.shape[1]);
  return mpt_embedding_forward(run->queue, run->ids, &run->parameters[0],
                               position.data ? &position : NULL, &y, error);
}

static mpt_status backward(layer_run *run, mpt_error *error) {
  mpt_tensor grad_y = layer_rows(&run->grad_output);
  mpt_tensor position = positions(&run->gradients[1], run->output.shape[1]);
  return mpt_embedding_backward(run->queue, run->ids, &grad_y, &run->gradients[0],
                                position.data ? &position : NULL, error);
}

const layer_kind layer_embedding = {
    .name = "embedding",
    .fields = LAYER_FEATURES | LAYER_VOCABULARY | LAYER_POSITIONS | LAYER_INITIAL_SCALE,
    .needs = LAYER_FEATURES | LAYER_VOCABULARY,
    .fewest_inputs = 1,
    .most_inputs = 1,
    .takes_ids = true,
    .shape = shape,
    .parameters = parameters,
    .passes = passes,
    .forward = forward,
    .backward = backward,
};
