/* A program's layers as a graph. Nothing is known of how they are connected, so that each product
 * stands apart: it reads a tensor of its own, stored in fp32, and its output is read by what is
 * listed behind it. Its GEMMs and the casts of its operands are what is priced; other work is not
 * known. */
#include "base/error.h"
#include "train/layer.h"
#include <stdlib.h>
#include <string.h>

enum { ROWS_UNKNOWN = 4096 };

/* One that only has a name and a storage format. */
static const layer_kind named = {.name = "named", .fewest_inputs = 1, .most_inputs = 1};

static mpt_status allocate(graph *g, int count, mpt_error *error) {
  const size_t layers = (size_t)count;
  g->model.layers = calloc(layers, sizeof *g->model.layers);
  g->layers = calloc(layers, sizeof *g->layers);
  g->tensors = calloc(2 * layers + 1, sizeof *g->tensors);
  if (g->model.layers == NULL || g->layers == NULL || g->tensors == NULL)
    return mpt_fail_memory(error, "a program's layers", layers * sizeof *g->layers);
  g->layer_count = g->model.layer_count = count;
  g->tensor_count = 2 * count + 1;
  return MPT_OK;
}

static void set_matrix(graph_tensor *t, int64_t rows, int64_t columns) {
  t->rank = 2;
  t->shape[0] = rows;
  t->shape[1] = columns;
  t->count = rows * columns;
  t->gradient = true;
}

/* The product's own input is behind the outputs of all layers. */
static mpt_status add_product(graph *g, int index, int64_t rows, mpt_error *error) {
  graph_layer *l = &g->layers[index];
  int64_t k = 1, size;
  for (int i = 1; i < l->info.rank; i++)
    if (__builtin_mul_overflow(k, l->info.shape[i], &k))
      k = INT64_MAX;
  l->gemm = (graph_gemm){.m = rows, .n = l->info.shape[0], .k = k};
  if (__builtin_mul_overflow(rows, l->gemm.n, &size) || __builtin_mul_overflow(rows, k, &size) ||
      __builtin_mul_overflow(l->gemm.n, k, &size) ||
      __builtin_add_overflow(g->parameters, size, &g->parameters))
    return mpt_fail(error, MPT_ERROR_SHAPE, "layer '%s' of the program is too large to be priced",
                    l->info.name);
  l->kind = layer_kind_find("linear");
  l->has_gemm = true;
  l->parameters = size;
  l->inputs[0] = g->layer_count + 1 + index;
  graph_tensor *input = &g->tensors[l->inputs[0]];
  set_matrix(input, rows, k);
  input->producer = -1;
  set_matrix(&g->tensors[l->output], rows, l->gemm.n);
  return MPT_OK;
}

static void add_named(graph *g, int index) {
  graph_layer *l = &g->layers[index];
  const int64_t columns = l->info.rank > 0 ? l->info.shape[l->info.rank - 1] : 1;
  l->kind = &named;
  l->inputs[0] = index;
  set_matrix(&g->tensors[l->output], 1, columns);
}

static mpt_status add_layer(graph *g, int index, const mpt_layer_info *info, int64_t rows,
                            mpt_error *error) {
  graph_layer *l = &g->layers[index];
  layer_spec *spec = &g->model.layers[index];
  *spec = layer_spec_default();
  spec->no_bias = true; /* not known */
  memcpy(spec->name, info->name, sizeof spec->name);
  memcpy(spec->kind, info->kind, sizeof spec->kind);
  l->info = *info;
  l->spec = spec;
  l->input_count = 1;
  l->output = index + 1;
  l->has_format = true;
  l->tied_to = -1;
  g->tensors[l->output].producer = index;
  g->tensors[l->output].last_consumer = -1;
  if (mpt_layer_has_gemm(info->kind))
    MPT_RETURN_IF_FAILED(add_product(g, index, info->rows > 0 ? info->rows : rows, error));
  else
    add_named(g, index);
  graph_tensor *input = &g->tensors[l->inputs[0]];
  input->last_consumer = index;
  input->consumer_count++;
  return MPT_OK;
}

mpt_status graph_apart(const mpt_layer_info *layers, int count, graph **out, mpt_error *error) {
  mpt_status status = MPT_OK;
  int64_t rows = 0;
  graph *g = calloc(1, sizeof *g);
  if (g == NULL)
    return mpt_fail_memory(error, "a program's layers", sizeof *g);
  MPT_TRY(allocate(g, count, error));
  for (int i = 0; i < count; i++)
    rows = layers[i].rows > rows ? layers[i].rows : rows;
  /* Of the data nothing is known: tensor 0 has no elements, and is the output as well. What is no
   * product leaves the one behind the outputs empty, too. */
  for (int i = 0; i < g->tensor_count; i++)
    g->tensors[i] = (graph_tensor){.rank = 1, .shape = {1}, .producer = -1, .last_consumer = -1};
  g->batch = g->sequence = 1;
  g->loss = LOSS_MSE;
  for (int i = 0; i < count; i++)
    MPT_TRY(add_layer(g, i, &layers[i], rows > 0 ? rows : ROWS_UNKNOWN, error));
  *out = g;
  return MPT_OK;
fail:
  graph_free(g);
  return status;
}
