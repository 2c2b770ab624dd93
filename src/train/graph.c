#include "base/error.h"
#include "base/shape_text.h"
#include "train/layer.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- messages ---- */

static mpt_status fail_at_layer(const graph *g, const layer_spec *spec, mpt_status status,
                                mpt_error *error, const char *format, va_list arguments) {
  char message[600];
  vsnprintf(message, sizeof message, format, arguments);
  if (spec->line > 0)
    return mpt_fail_at(error, status, g->path, spec->line, spec->column, "layer '%s': %s",
                       spec->name, message);
  return mpt_fail(error, status, "layer '%s': %s", spec->name, message);
}

mpt_status graph_fail(const graph *g, const graph_layer *layer, mpt_error *error,
                      const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  mpt_status status = fail_at_layer(g, layer->spec, MPT_ERROR_SHAPE, error, format, arguments);
  va_end(arguments);
  return status;
}

static mpt_status fail_syntax(const graph *g, const layer_spec *spec, mpt_error *error,
                              const char *format, ...) __attribute__((format(printf, 4, 5)));
static mpt_status fail_syntax(const graph *g, const layer_spec *spec, mpt_error *error,
                              const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  mpt_status status = fail_at_layer(g, spec, MPT_ERROR_SYNTAX, error, format, arguments);
  va_end(arguments);
  return status;
}

void graph_shape_text(const graph_tensor *tensor, char text[96]) {
  snprintf(text, 96, "%s", mpt_shape_print("batch", tensor->rank, tensor->shape).text);
}

int64_t graph_sample_size(const graph_tensor *tensor) {
  return tensor->count / tensor->shape[0];
}

/* ---- the fields that a kind takes ---- */

mpt_status layer_kind_check_fields(const graph *g, const graph_layer *layer, mpt_error *error) {
  const layer_spec *spec = layer->spec;
  const unsigned given = layer_spec_given(spec), needs = layer->kind->needs;
  const unsigned takes = layer->kind->fields | LAYER_NAME | LAYER_KIND | LAYER_FROM;
  for (int i = 0; i < LAYER_KEY_COUNT; i++) {
    const unsigned key = 1u << i;
    if ((given & key) != 0 && (takes & key) == 0)
      return fail_syntax(g, spec, error, "a %s takes no '%s'", spec->kind, layer_key_name(i));
    if ((needs & key) != 0 && (given & key) == 0)
      return fail_syntax(g, spec, error, "a %s needs '%s'", spec->kind, layer_key_name(i));
  }
  return MPT_OK;
}

/* ---- building ---- */

static bool size_tensor(graph_tensor *tensor) {
  tensor->count = 1;
  for (int i = 0; i < tensor->rank; i++)
    if (tensor->shape[i] <= 0 ||
        __builtin_mul_overflow(tensor->count, tensor->shape[i], &tensor->count) ||
        tensor->count > INT64_MAX / 64)
      return false;
  return true;
}

static mpt_status add_data(graph *g, const dataset_info *info, mpt_error *error) {
  graph_tensor *data = &g->tensors[0];
  data->producer = -1;
  data->shape[0] = g->batch;
  data->rank = 1;
  data->ids = info->tokens;
  if (info->tokens)
    data->shape[data->rank++] = g->sequence;
  for (int i = 0; i < info->rank && !info->tokens; i++)
    data->shape[data->rank++] = info->shape[i];
  if (!size_tensor(data))
    return mpt_fail(error, MPT_ERROR_SHAPE,
                    "a batch of %lld samples of this data is not of a usable size",
                    (long long)g->batch);
  return MPT_OK;
}

static int find_before(const graph *g, int count, const char *name) {
  for (int i = 0; i < count; i++)
    if (strcmp(g->layers[i].spec->name, name) == 0)
      return i;
  return -1;
}

static mpt_status connect(graph *g, int index, mpt_error *error) {
  graph_layer *layer = &g->layers[index];
  const layer_spec *spec = layer->spec;
  const layer_kind *kind = layer->kind;
  layer->input_count = spec->input_count > 0 ? spec->input_count : 1;
  if (layer->input_count < kind->fewest_inputs || layer->input_count > kind->most_inputs)
    return kind->fewest_inputs == kind->most_inputs
               ? fail_syntax(g, spec, error, "a %s reads %d layer%s, not %d; name them in 'from'",
                             spec->kind, kind->fewest_inputs, kind->fewest_inputs > 1 ? "s" : "",
                             layer->input_count)
               : fail_syntax(g, spec, error,
                             "a %s reads %d to %d layers, not %d; name them in "
                             "'from'",
                             spec->kind, kind->fewest_inputs, kind->most_inputs,
                             layer->input_count);
  if (spec->input_count == 0)
    layer->inputs[0] = index;
  for (int i = 0; i < spec->input_count; i++) {
    int from = find_before(g, index, spec->inputs[i]);
    if (from < 0 && strcmp(spec->inputs[i], "input") != 0)
      return fail_syntax(g, spec, error, "there is no layer '%s' before it to read from",
                         spec->inputs[i]);
    layer->inputs[i] = from + 1;
  }
  for (int i = 0; i < layer->input_count; i++) {
    graph_tensor *input = &g->tensors[layer->inputs[i]];
    input->last_consumer = index;
    input->consumer_count++;
    if (input->ids != kind->takes_ids)
      return graph_fail(g, layer, error,
                        input->ids ? "a %s cannot read token ids; begin with an embedding"
                                   : "an %s reads the token ids of the data, and nothing else",
                        spec->kind);
    g->tensors[layer->output].gradient |= input->gradient;
  }
  return MPT_OK;
}

static mpt_status find_tied(graph *g, int index, mpt_error *error) {
  graph_layer *layer = &g->layers[index];
  layer->tied_to = -1;
  if (layer->spec->tied_to[0] == '\0')
    return MPT_OK;
  int to = find_before(g, index, layer->spec->tied_to);
  if (to < 0)
    return fail_syntax(g, layer->spec, error, "there is no layer '%s' before it to be tied to",
                       layer->spec->tied_to);
  if (g->layers[to].tied_to >= 0)
    to = g->layers[to].tied_to;
  const mpt_layer_info *info = &g->layers[to].info;
  if (!g->layers[to].has_gemm && !g->layers[to].kind->takes_ids)
    return graph_fail(g, layer, error,
                      "'%s' is a %s; a weight is shared with an embedding or a "
                      "linear layer",
                      info->name, info->kind);
  layer->tied_to = to;
  return MPT_OK;
}

static mpt_status check_tied(const graph *g, const graph_layer *layer, mpt_error *error) {
  if (layer->tied_to < 0)
    return MPT_OK;
  const mpt_layer_info *to = &g->layers[layer->tied_to].info, *info = &layer->info;
  if (to->rank == 2 && to->shape[0] == info->shape[0] && to->shape[1] == info->shape[1])
    return MPT_OK;
  return graph_fail(g, layer, error,
                    "its weight is [%lld, %lld], that of '%s', which it is tied to, [%lld, %lld]",
                    (long long)info->shape[0], (long long)info->shape[1], to->name,
                    (long long)to->shape[0], (long long)to->shape[1]);
}

static mpt_status count_parameters(graph *g, graph_layer *layer, mpt_error *error) {
  layer_parameter parameters[LAYER_MAX_PARAMETERS];
  int count = layer->kind->parameters ? layer->kind->parameters(g, layer, parameters) : 0;
  for (int i = layer->tied_to >= 0 ? 1 : 0; i < count; i++) {
    graph_tensor size = {.rank = parameters[i].rank};
    memcpy(size.shape, parameters[i].shape, sizeof size.shape);
    if (!size_tensor(&size))
      return graph_fail(g, layer, error, "its %s is too large", parameters[i].name);
    layer->parameters += size.count;
  }
  if (count > 0)
    g->tensors[layer->output].gradient = true;
  g->parameters += layer->parameters;
  return MPT_OK;
}

static mpt_status add_layer(graph *g, int index, mpt_error *error) {
  graph_layer *layer = &g->layers[index];
  layer->spec = &g->model.layers[index];
  layer->kind = layer_kind_find(layer->spec->kind);
  layer->output = index + 1;
  layer->has_format = true;
  if (layer->kind == NULL) {
    char known[400];
    layer_kind_names(known, sizeof known);
    return fail_syntax(g, layer->spec, error, "unknown kind '%s' (known: %s)", layer->spec->kind,
                       known);
  }
  layer->has_gemm = layer->kind->has_gemm;
  snprintf(layer->info.name, sizeof layer->info.name, "%s", layer->spec->name);
  snprintf(layer->info.kind, sizeof layer->info.kind, "%s", layer->spec->kind);
  MPT_RETURN_IF_FAILED(layer_kind_check_fields(g, layer, error));
  graph_tensor *output = &g->tensors[layer->output];
  output->producer = index;
  output->last_consumer = -1;
  MPT_RETURN_IF_FAILED(connect(g, index, error));
  MPT_RETURN_IF_FAILED(find_tied(g, index, error));
  MPT_RETURN_IF_FAILED(layer->kind->shape(g, layer, output, error));
  if (!size_tensor(output)) {
    char text[96];
    graph_shape_text(output, text);
    return graph_fail(g, layer, error, "its output %s is too large", text);
  }
  graph_tensor columns = {.rank = 2, .shape = {layer->gemm.m, layer->gemm.k}};
  if (layer->has_gemm && !size_tensor(&columns))
    return graph_fail(g, layer, error, "its product of [%lld, %lld] is too large",
                      (long long)layer->gemm.m, (long long)layer->gemm.k);
  MPT_RETURN_IF_FAILED(check_tied(g, layer, error));
  if (layer->info.rank ==
      0) { /* no weight: a row of the output, or a sample where it has no rows */
    int first = output->rank == 4 ? 1 : output->rank - 1;
    layer->info.rank = output->rank - first;
    for (int i = first; i < output->rank; i++)
      layer->info.shape[i - first] = output->shape[i];
  }
  layer->info.rows = layer->has_gemm     ? layer->gemm.m
                     : output->rank == 4 ? output->shape[0]
                                         : output->count / output->shape[output->rank - 1];
  return count_parameters(g, layer, error);
}

/* ---- the end of the network ---- */

static mpt_status check_class_loss(const graph *g, const graph_layer *last, const graph_tensor *out,
                                   const dataset_info *info, mpt_error *error) {
  int64_t outputs = out->shape[out->rank - 1];
  if (info->classes == 0)
    return graph_fail(g, last, error,
                      "the loss is of classes, and the data has float targets; use "
                      "loss mse or binary_cross_entropy");
  if (outputs < info->classes)
    return graph_fail(g, last, error, "it has %lld outputs, and the data has %lld classes",
                      (long long)outputs, (long long)info->classes);
  if (g->loss == LOSS_NLL && strcmp(last->spec->kind, "softmax") != 0)
    return graph_fail(g, last, error,
                      "the loss nll reads probabilities; end with a softmax, or use cross_entropy");
  return MPT_OK;
}

/* Logits are any numbers: where the outputs have bounds, so has the loss, and no training gets
 * below it. The softmax of cross_entropy is that of their differences, which one bound leaves free.
 */
static mpt_status check_logits(const graph *g, mpt_error *error) {
  const graph_layer *last = &g->layers[g->layer_count - 1];
  const bool binary = g->loss == LOSS_BINARY;
  if (!binary && g->loss != LOSS_CROSS_ENTROPY)
    return MPT_OK;
  while (last->kind->keeps_bounds && last->inputs[0] > 0)
    last = &g->layers[last->inputs[0] - 1];
  if (last->kind->bounds == NULL || !(last->kind->bounded_above || binary))
    return MPT_OK;
  return graph_fail(
      g, last, error,
      "the loss %s reads logits, which are any numbers, and a %s gives %s; leave it "
      "out%s",
      binary ? "binary_cross_entropy" : "cross_entropy", last->spec->kind, last->kind->bounds,
      strcmp(last->spec->kind, "softmax") == 0 && !binary ? ", or use the loss nll" : "");
}

static mpt_status check_loss(graph *g, const dataset_info *info, mpt_error *error) {
  const graph_layer *last = &g->layers[g->layer_count - 1];
  const graph_tensor *out = &g->tensors[g->output];
  int64_t outputs = out->shape[out->rank - 1];
  char text[96];
  graph_shape_text(out, text);
  if (out->rank != (info->tokens ? 3 : 2))
    return graph_fail(g, last, error,
                      info->tokens ? "its output %s is not a row for each token"
                                   : "its output %s is not one row for each sample; add a flatten",
                      text);
  if (!out->gradient)
    return graph_fail(g, last, error, "the network has no parameters to train");
  g->rows = out->count / outputs;
  MPT_RETURN_IF_FAILED(check_logits(g, error));
  if (g->loss == LOSS_CROSS_ENTROPY || g->loss == LOSS_NLL)
    return check_class_loss(g, last, out, info, error);
  int64_t targets = info->classes == 2 && g->loss == LOSS_BINARY ? 1 : info->targets;
  if (info->tokens || targets == 0)
    return graph_fail(g, last, error,
                      "the loss needs float targets, and the data has classes; use "
                      "loss cross_entropy");
  if (outputs != targets)
    return graph_fail(g, last, error, "it has %lld outputs, and the data has %lld target%s",
                      (long long)outputs, (long long)targets, targets == 1 ? "" : "s");
  return MPT_OK;
}

static mpt_status check_used(const graph *g, mpt_error *error) {
  for (int i = 0; i < g->layer_count - 1; i++)
    if (g->tensors[g->layers[i].output].consumer_count == 0)
      return graph_fail(g, &g->layers[i], error,
                        "no layer reads it, and only the last one may be the output");
  return MPT_OK;
}

static mpt_status allocate(graph *g, const model_spec *model, mpt_error *error) {
  size_t count = (size_t)model->layer_count;
  g->model = *model;
  g->model.layers = malloc(count * sizeof *g->model.layers);
  g->layers = calloc(count, sizeof *g->layers);
  g->tensors = calloc(count + 1, sizeof *g->tensors);
  if (g->model.layers == NULL || g->layers == NULL || g->tensors == NULL)
    return mpt_fail_memory(error, "the graph", count * sizeof *g->layers);
  memcpy(g->model.layers, model->layers, count * sizeof *g->model.layers);
  g->layer_count = model->layer_count;
  g->tensor_count = model->layer_count + 1;
  return MPT_OK;
}

mpt_status graph_build(const workload *w, const model_spec *model, int64_t batch, int64_t sequence,
                       const dataset_info *info, graph **out, mpt_error *error) {
  mpt_status status = MPT_OK;
  if (model->layer_count < 1 || batch < 1 || (info->tokens && sequence < 1))
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "a network needs a layer, a sample%s",
                    info->tokens ? " and a token" : "");
  graph *g = calloc(1, sizeof *g);
  if (g == NULL)
    return mpt_fail_memory(error, "the graph", sizeof *g);
  g->batch = batch;
  g->sequence = info->tokens ? sequence : 1;
  g->loss = w->loss;
  snprintf(g->path, sizeof g->path, "%s", w->path);
  MPT_TRY(allocate(g, model, error));
  g->output = g->layer_count;
  MPT_TRY(add_data(g, info, error));
  for (int i = 0; i < g->layer_count; i++)
    MPT_TRY(add_layer(g, i, error));
  MPT_TRY(check_used(g, error));
  MPT_TRY(check_loss(g, info, error));
  *out = g;
  return MPT_OK;
fail:
  graph_free(g);
  return status;
}

void graph_free(graph *g) {
  if (g == NULL)
    return;
  free(g->model.layers);
  free(g->layers);
  free(g->tensors);
  free(g);
}

int graph_find(const graph *g, const char *layer_name) {
  return find_before(g, g->layer_count, layer_name);
}

mpt_layer_info *graph_layer_infos(const graph *g) {
  mpt_layer_info *infos = calloc((size_t)g->layer_count, sizeof *infos);
  for (int i = 0; infos != NULL && i < g->layer_count; i++)
    infos[i] = g->layers[i].info;
  return infos;
}

bool graph_makes_dgrad(const graph *g, int layer) {
  return g->tensors[g->layers[layer].inputs[0]].gradient;
}

mpt_format graph_tensor_format(const graph *g, const mpt_layer_policy *assignment, int tensor) {
  int producer = g->tensors[tensor].producer;
  return producer < 0 ? MPT_FP32
                      : mpt_layer_policy_storage(&assignment[producer],
                                                 g->layers[producer].has_gemm, MPT_FPROP);
}

mpt_format graph_gradient_format(const graph *g, const mpt_layer_policy *assignment, int tensor) {
  int consumer = g->tensors[tensor].last_consumer;
  if (consumer < 0)
    return graph_tensor_format(g, assignment, tensor);
  return mpt_layer_policy_storage(&assignment[consumer], g->layers[consumer].has_gemm, MPT_DGRAD);
}
