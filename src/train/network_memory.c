/* Parameters lie in four rows (weights, gradients, moments), so that one call clears all gradients.
 *
 * Everything else of a step lies in one block, by a plan for training and one for the forward
 * passes of an evaluation, which keep nothing for a backward pass (tensor_plan.h). */
#include "train/network_memory.h"
#include "base/error.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 }; /* elements: 256 bytes */

static int64_t aligned(int64_t elements) {
  return (elements + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

void network_bytes_text(double bytes, char *text, size_t size) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  for (; bytes >= 1024.0 && unit < 4; unit++)
    bytes /= 1024.0;
  snprintf(text, size, "%.3g %s", bytes, units[unit]);
}

mpt_status network_take(network *n, const char *what, size_t bytes, void **data, mpt_error *error) {
  if (n->block_count == (int)(sizeof n->blocks / sizeof *n->blocks))
    return mpt_fail(error, MPT_ERROR_INTERNAL, "the network has too many blocks of memory");
  mpt_error why = {0};
  mpt_status status = mpt_memory_allocate(n->queue, bytes > 0 ? bytes : 1, data, &why);
  if (status != MPT_OK)
    return mpt_fail(error, status, "%s: %s", what, why.message);
  n->blocks[n->block_count++] = *data;
  n->memory_bytes += bytes;
  return MPT_OK;
}

/* ---- parameters ---- */

static int describe(const graph *g, int layer, layer_parameter p[LAYER_MAX_PARAMETERS]) {
  const layer_kind *kind = g->layers[layer].kind;
  return kind->parameters != NULL ? kind->parameters(g, &g->layers[layer], p) : 0;
}

static int first_own(const graph_layer *layer) {
  return layer->tied_to >= 0 ? 1 : 0;
}

int network_moments(const optimizer_spec *optimizer) {
  return optimizer->kind != OPTIMIZER_SGD ? 2 : optimizer->momentum != 0.0 ? 1 : 0;
}

size_t network_parameter_bytes(const graph *g) {
  int64_t total = 0;
  for (int i = 0; i < g->layer_count; i++) {
    layer_parameter p[LAYER_MAX_PARAMETERS];
    int count = describe(g, i, p);
    for (int k = first_own(&g->layers[i]); k < count; k++) {
      mpt_tensor whole = mpt_tensor_of(NULL, MPT_FP32, p[k].rank, p[k].shape);
      total += aligned(mpt_tensor_count(&whole));
    }
  }
  return (size_t)total * sizeof(float);
}

static void list_parameters(network *n) {
  const graph *g = n->graph;
  for (int i = 0; i < g->layer_count; i++) {
    layer_parameter p[LAYER_MAX_PARAMETERS];
    int count = describe(g, i, p);
    for (int k = first_own(&g->layers[i]); k < count; k++) {
      network_parameter *made = &n->parameters[n->parameter_count++];
      made->what = p[k];
      snprintf(made->name, sizeof made->name, "%s.%s", g->layers[i].info.name, p[k].name);
      made->weight = mpt_tensor_of(NULL, MPT_FP32, p[k].rank, p[k].shape);
      made->count = mpt_tensor_count(&made->weight);
      made->gradient = made->moments[0] = made->moments[1] = made->weight;
    }
  }
}

/* Hands each layer its parameters: those listed for it, and the weight that it is tied to. */
static void bind_parameters(network *n) {
  const graph *g = n->graph;
  int next = 0;
  for (int i = 0; i < g->layer_count; i++) {
    layer_parameter p[LAYER_MAX_PARAMETERS];
    int count = describe(g, i, p), first = first_own(&g->layers[i]);
    layer_run *run = &n->runs[i];
    if (first == 1) {
      run->parameters[0] = n->runs[g->layers[i].tied_to].parameters[0];
      run->gradients[0] = n->runs[g->layers[i].tied_to].gradients[0];
    }
    for (int k = first; k < count; k++, next++) {
      run->parameters[k] = n->parameters[next].weight;
      run->gradients[k] = n->parameters[next].gradient;
    }
  }
}

/* A row of all parameters, for messages, and the largest tensor in it. */
static void name_row(const network *n, int row, char *text, size_t size) {
  static const char *const names[] = {"weights", "gradients", "first moments", "second moments"};
  const network_parameter *largest = &n->parameters[0];
  for (int i = 1; i < n->parameter_count; i++)
    if (n->parameters[i].count > largest->count)
      largest = &n->parameters[i];
  char bytes[32];
  network_bytes_text((double)largest->count * sizeof(float), bytes, sizeof bytes);
  snprintf(text, size, "%s of %d parameters, the largest '%s' of %s", names[row],
           n->parameter_count, largest->name, bytes);
}

mpt_status network_take_parameters(network *n, const optimizer_spec *optimizer, mpt_error *error) {
  const graph *g = n->graph;
  size_t most = (size_t)g->layer_count * LAYER_MAX_PARAMETERS;
  n->parameters = calloc(most, sizeof *n->parameters);
  n->gradients = calloc(most, sizeof *n->gradients);
  n->updates = calloc(most, sizeof *n->updates);
  n->runs = calloc((size_t)g->layer_count, sizeof *n->runs);
  if (n->parameters == NULL || n->gradients == NULL || n->updates == NULL || n->runs == NULL)
    return mpt_fail_memory(error, "the network", most * sizeof *n->parameters);
  for (int i = 0; i < g->layer_count; i++)
    n->runs[i] = (layer_run){
        .graph = g, .layer = &g->layers[i], .index = i, .queue = n->queue, .session = n->session};
  int64_t total = (int64_t)(network_parameter_bytes(g) / sizeof(float)), offset = 0;
  list_parameters(n);
  n->moments = network_moments(optimizer);
  float *rows[4] = {NULL};
  for (int r = 0; r < 2 + n->moments; r++) {
    char what[256];
    void *row = NULL;
    name_row(n, r, what, sizeof what);
    MPT_RETURN_IF_FAILED(network_take(n, what, (size_t)total * sizeof(float), &row, error));
    rows[r] = row;
  }
  mpt_device device = mpt_queue_device(n->queue);
  for (int i = 0; i < n->parameter_count; i++) {
    network_parameter *p = &n->parameters[i];
    mpt_tensor *views[4] = {&p->weight, &p->gradient, &p->moments[0], &p->moments[1]};
    for (int r = 0; r < 4; r++) {
      views[r]->data = rows[r] != NULL ? rows[r] + offset : NULL;
      views[r]->device = device;
    }
    n->gradients[i] = &p->gradient;
    offset += aligned(p->count);
  }
  n->all_gradients = mpt_tensor_of(rows[1], MPT_FP32, 1, &total);
  n->all_gradients.device = device;
  bind_parameters(n);
  return MPT_OK;
}

/* ---- tensors ---- */

/* The block, and what fills most of it. */
static void name_tensors(const network *n, char *text, size_t size) {
  const graph *g = n->graph;
  const graph_tensor *t = &g->tensors[n->training.largest];
  mpt_format format =
      t->producer < 0 ? MPT_FP32 : mpt_session_output_format(n->session, t->producer);
  char shape[96], bytes[32];
  graph_shape_text(t, shape);
  network_bytes_text((double)t->count *
                         (double)mpt_element_bytes(mpt_queue_device(n->queue).kind, format),
                     bytes, sizeof bytes);
  snprintf(text, size,
           "activations and gradients of a batch of %lld, the largest %s%s%s %s in %s, %s",
           (long long)g->batch, t->producer < 0 ? "the data" : "the output of '",
           t->producer < 0 ? "" : g->layers[t->producer].info.name, t->producer < 0 ? "" : "'",
           shape, mpt_format_get(format)->name, bytes);
}

mpt_status network_plan_tensors(const network *n, const train_options *options,
                                const mpt_session *session, int64_t samples, tensor_plan *training,
                                tensor_plan *forward, mpt_error *error) {
  const graph *g = n->graph;
  tensor_plan_request request = {.graph = g,
                                 .assignment = options->assignment,
                                 .device = mpt_queue_device(n->queue).kind,
                                 .samples = samples,
                                 .training = true};
  bool *keeps_input = calloc((size_t)g->layer_count, sizeof *keeps_input);
  if (keeps_input == NULL)
    return mpt_fail_memory(error, "the plan of tensors", (size_t)g->layer_count);
  /* probes and scores look at inputs in the backward pass */
  const bool looked_at = options->on_layer != NULL || options->side_pass;
  for (int i = 0; i < g->layer_count && !looked_at; i++)
    keeps_input[i] = mpt_session_keeps_input(session, i);
  request.keeps_input = keeps_input;
  request.apart = options->side_pass;
  mpt_status status = tensor_plan_make(&request, training, error);
  request.training = request.apart = false;
  if (status == MPT_OK && (status = tensor_plan_make(&request, forward, error)) != MPT_OK)
    tensor_plan_clear(training);
  free(keeps_input);
  return status;
}

/* When its tensors have places. */
static mpt_status take_side(network *n, mpt_error *error) {
  void *row = NULL;
  const size_t bytes = mpt_tensor_bytes(&n->all_gradients);
  n->side_gradients = n->all_gradients;
  MPT_RETURN_IF_FAILED(
      network_take(n, "a second set of parameters' gradients", bytes, &row, error));
  n->side_gradients.data = row;
  return network_take(n, "a second set of tensors' gradients", n->training.gradient_bytes,
                      &n->side_memory, error);
}

mpt_status network_take_tensors(network *n, const train_options *options, mpt_error *error) {
  const graph *g = n->graph;
  size_t count = (size_t)g->tensor_count;
  char what[512];
  n->tensors = calloc(count, sizeof *n->tensors);
  n->tensor_gradients = calloc(count, sizeof *n->tensor_gradients);
  n->input_of = calloc(count, sizeof *n->input_of);
  n->gradient_of = calloc(count, sizeof *n->gradient_of);
  if (n->tensors == NULL || n->tensor_gradients == NULL || n->input_of == NULL ||
      n->gradient_of == NULL)
    return mpt_fail_memory(error, "the network's tensors", count * sizeof *n->tensors);
  mpt_device device = mpt_queue_device(n->queue);
  for (int t = 0; t < g->tensor_count; t++) {
    const graph_tensor *from = &g->tensors[t];
    n->tensors[t] = n->tensor_gradients[t] = mpt_tensor_of(NULL, MPT_FP32, from->rank, from->shape);
    n->tensors[t].device = n->tensor_gradients[t].device = device;
  }
  MPT_RETURN_IF_FAILED(
      network_plan_tensors(n, options, n->session, g->batch, &n->training, &n->forward, error));
  size_t bytes = n->training.bytes > n->forward.bytes ? n->training.bytes : n->forward.bytes;
  name_tensors(n, what, sizeof what);
  MPT_RETURN_IF_FAILED(network_take(n, what, bytes, &n->tensor_memory, error));
  if (options->side_pass)
    MPT_RETURN_IF_FAILED(take_side(n, error));
  if (!g->tensors[0].ids)
    return MPT_OK;
  void *ids;
  snprintf(what, sizeof what, "token ids of a batch of %lld", (long long)g->batch);
  MPT_RETURN_IF_FAILED(
      network_take(n, what, (size_t)g->tensors[0].count * sizeof *n->ids, &ids, error));
  n->ids = ids;
  return MPT_OK;
}

static void *at(const network *n, size_t offset) {
  return offset == TENSOR_PLAN_NONE ? NULL : (char *)n->tensor_memory + offset;
}

void network_place_tensors(network *n, const tensor_plan *plan) {
  const graph *g = n->graph;
  for (int t = 0; t < g->tensor_count; t++) {
    n->tensors[t].data = at(n, plan->values[t]);
    n->tensor_gradients[t].data = at(n, plan->gradients[t]);
  }
  for (int i = 0; i < g->layer_count; i++) {
    layer_run *run = &n->runs[i];
    for (int k = 0; k < LAYER_MAX_SAVED; k++)
      run->saved[k] = at(n, plan->layers[i].saved[k]);
    for (int k = 0; k < LAYER_MAX_SCRATCH; k++)
      run->scratch[k] = at(n, plan->layers[i].scratch[k]);
    for (int k = 0; k < WORKLOAD_MAX_INPUTS; k++)
      run->sums[k] = at(n, plan->layers[i].sums[k]);
  }
}
