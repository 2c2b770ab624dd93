/* Parameters lie in four rows (weights, gradients, moments), so that one call clears all gradients.
 *
 * Every tensor has memory of its own, but what a view sees, and the gradients that a residual or a
 * flatten hands through unchanged: those share the memory of the output's gradient. */
#include "train/network_memory.h"
#include "base/error.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 }; /* elements: 256 bytes */

static int64_t aligned(int64_t elements) {
  return (elements + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

mpt_status network_take(network *n, size_t bytes, void **data, mpt_error *error) {
  if (n->block_count == (int)(sizeof n->blocks / sizeof *n->blocks))
    return mpt_fail(error, MPT_ERROR_INTERNAL, "the network has too many blocks of memory");
  MPT_RETURN_IF_FAILED(mpt_memory_allocate(n->queue, bytes > 0 ? bytes : 1, data, error));
  n->blocks[n->block_count++] = *data;
  n->memory_bytes += bytes;
  return MPT_OK;
}

static mpt_status take_floats(network *n, int64_t elements, float **data, mpt_error *error) {
  void *block = NULL;
  MPT_RETURN_IF_FAILED(network_take(n, (size_t)elements * sizeof(float), &block, error));
  *data = block;
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

static void list_parameters(network *n, int64_t *total) {
  const graph *g = n->graph;
  *total = 0;
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
      *total += aligned(made->count);
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
  int64_t total, offset = 0;
  list_parameters(n, &total);
  n->moments = optimizer->kind != OPTIMIZER_SGD ? 2 : optimizer->momentum != 0.0 ? 1 : 0;
  float *rows[4] = {NULL};
  for (int r = 0; r < 2 + n->moments; r++)
    MPT_RETURN_IF_FAILED(take_floats(n, total, &rows[r], error));
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

/* Whose memory each tensor's values and gradient lie in: its own, or another tensor's. */
typedef struct sharing {
  int *values, *gradients;
} sharing;

static mpt_format gradient_format(const network *n, int tensor) {
  int consumer = n->graph->tensors[tensor].last_consumer;
  return consumer >= 0 ? mpt_session_grad_input_format(n->session, consumer)
                       : mpt_session_output_format(n->session, n->graph->tensors[tensor].producer);
}

static bool may_share(const network *n, int layer, int input) {
  const graph *g = n->graph;
  int t = g->layers[layer].inputs[input];
  return g->tensors[t].gradient && g->tensors[t].last_consumer == layer &&
         gradient_format(n, t) == gradient_format(n, g->layers[layer].output);
}

/* Whether another layer than `layer`, behind layer `after`, reads the tensor: its backward pass
 * adds to the tensor's gradient before that of `after` runs. */
static bool read_between(const graph *g, int tensor, int after, int layer) {
  for (int i = after + 1; i < layer; i++)
    for (int k = 0; k < g->layers[i].input_count; k++)
      if (g->layers[i].inputs[k] == tensor)
        return true;
  return false;
}

/* Both gradients of a sum are its output's. The branch, whose producer is nearer, may share it when
 * nobody else adds to it and its producer uses it up before anything is added to the stream's. */
static void share_residual(const network *n, int layer, sharing *s) {
  const graph *g = n->graph;
  const graph_layer *l = &g->layers[layer];
  int branch = g->tensors[l->inputs[0]].producer > g->tensors[l->inputs[1]].producer ? 0 : 1;
  int t = l->inputs[branch], stream = l->inputs[1 - branch];
  int producer = g->tensors[t].producer;
  if (may_share(n, layer, 1 - branch))
    s->gradients[stream] = s->gradients[l->output];
  if (may_share(n, layer, branch) && g->tensors[t].consumer_count == 1 &&
      !g->layers[producer].kind->forwards_gradients && !read_between(g, stream, producer, layer))
    s->gradients[t] = s->gradients[l->output];
}

static void plan_sharing(const network *n, sharing *s) {
  const graph *g = n->graph;
  for (int t = 0; t < g->tensor_count; t++)
    s->values[t] = s->gradients[t] = t;
  for (int i = 0; i < g->layer_count; i++) {
    const graph_layer *l = &g->layers[i];
    int in = l->inputs[0], producer = g->tensors[in].producer;
    mpt_format stored = producer < 0 ? MPT_FP32 : mpt_session_output_format(n->session, producer);
    if (l->kind->views && mpt_session_output_format(n->session, i) == stored)
      s->values[l->output] = s->values[in];
  }
  for (int i = g->layer_count - 1; i >= 0; i--) {
    const graph_layer *l = &g->layers[i];
    if (!l->kind->forwards_gradients || !g->tensors[l->output].gradient)
      continue;
    if (l->input_count == 2)
      share_residual(n, i, s);
    else if (may_share(n, i, 0))
      s->gradients[l->inputs[0]] = s->gradients[l->output];
  }
}

bool network_writes_unwanted(const layer_kind *kind) {
  return !kind->has_gemm && !kind->takes_ids && !kind->forwards_gradients;
}

/* Elements of the buffers in which gradients wait to be added, or are thrown away. */
static void size_sums(const network *n, int64_t sizes[WORKLOAD_MAX_INPUTS]) {
  const graph *g = n->graph;
  memset(sizes, 0, WORKLOAD_MAX_INPUTS * sizeof *sizes);
  for (int i = 0; i < g->layer_count; i++) {
    const graph_layer *l = &g->layers[i];
    for (int k = 0; k < l->input_count; k++) {
      const graph_tensor *t = &g->tensors[l->inputs[k]];
      bool shared = t->consumer_count > 1 && !l->kind->adds_gradients;
      bool unwanted = !t->gradient && network_writes_unwanted(l->kind);
      if ((shared || unwanted) && t->count > sizes[k])
        sizes[k] = t->count;
    }
  }
}

static mpt_status take_layers_memory(network *n, mpt_error *error) {
  const graph *g = n->graph;
  int64_t scratch[LAYER_MAX_SCRATCH] = {0}, saved = 0;
  for (int i = 0; i < g->layer_count; i++) {
    layer_memory m = {0};
    if (g->layers[i].kind->memory != NULL)
      g->layers[i].kind->memory(g, &g->layers[i], &m);
    for (int k = 0; k < LAYER_MAX_SAVED; k++)
      saved += aligned(m.saved[k]);
    for (int k = 0; k < LAYER_MAX_SCRATCH; k++)
      scratch[k] = m.scratch[k] > scratch[k] ? m.scratch[k] : scratch[k];
  }
  float *block, *areas[LAYER_MAX_SCRATCH];
  MPT_RETURN_IF_FAILED(take_floats(n, saved, &block, error));
  for (int k = 0; k < LAYER_MAX_SCRATCH; k++)
    MPT_RETURN_IF_FAILED(take_floats(n, scratch[k], &areas[k], error));
  for (int i = 0; i < g->layer_count; i++) {
    layer_memory m = {0};
    if (g->layers[i].kind->memory != NULL)
      g->layers[i].kind->memory(g, &g->layers[i], &m);
    for (int k = 0; k < LAYER_MAX_SAVED; k++) {
      n->runs[i].saved[k] = block;
      block += aligned(m.saved[k]);
    }
    memcpy(n->runs[i].scratch, areas, sizeof areas);
  }
  return MPT_OK;
}

static mpt_status place_tensors(network *n, const sharing *s, mpt_error *error) {
  const graph *g = n->graph;
  mpt_device device = mpt_queue_device(n->queue);
  int64_t values = 0, gradients = 0;
  for (int t = 0; t < g->tensor_count; t++) {
    values += s->values[t] == t && !g->tensors[t].ids ? aligned(g->tensors[t].count) : 0;
    gradients += s->gradients[t] == t && g->tensors[t].gradient ? aligned(g->tensors[t].count) : 0;
  }
  float *value, *gradient;
  MPT_RETURN_IF_FAILED(take_floats(n, values, &value, error));
  MPT_RETURN_IF_FAILED(take_floats(n, gradients, &gradient, error));
  for (int t = 0; t < g->tensor_count; t++) {
    const graph_tensor *from = &g->tensors[t];
    n->tensors[t] = n->tensor_gradients[t] = mpt_tensor_of(NULL, MPT_FP32, from->rank, from->shape);
    n->tensors[t].device = n->tensor_gradients[t].device = device;
    if (s->values[t] == t && !from->ids) {
      n->tensors[t].data = value;
      value += aligned(from->count);
    }
    if (s->gradients[t] == t && from->gradient) {
      n->tensor_gradients[t].data = gradient;
      gradient += aligned(from->count);
    }
  }
  for (int t = 0; t < g->tensor_count; t++) {
    n->tensors[t].data = n->tensors[s->values[t]].data;
    n->tensor_gradients[t].data = n->tensor_gradients[s->gradients[t]].data;
  }
  return MPT_OK;
}

mpt_status network_take_tensors(network *n, mpt_error *error) {
  const graph *g = n->graph;
  size_t count = (size_t)g->tensor_count;
  mpt_status status = MPT_OK;
  sharing s = {calloc(count, sizeof *s.values), calloc(count, sizeof *s.gradients)};
  n->tensors = calloc(count, sizeof *n->tensors);
  n->tensor_gradients = calloc(count, sizeof *n->tensor_gradients);
  if (s.values == NULL || s.gradients == NULL || n->tensors == NULL ||
      n->tensor_gradients == NULL) {
    status = mpt_fail_memory(error, "the network's tensors", count * sizeof *n->tensors);
    goto fail;
  }
  plan_sharing(n, &s);
  MPT_TRY(place_tensors(n, &s, error));
  if (g->tensors[0].ids) {
    void *ids;
    MPT_TRY(network_take(n, (size_t)g->tensors[0].count * sizeof *n->ids, &ids, error));
    n->ids = ids;
  }
  MPT_TRY(take_layers_memory(n, error));
  int64_t sums[WORKLOAD_MAX_INPUTS];
  size_sums(n, sums);
  for (int k = 0; k < WORKLOAD_MAX_INPUTS; k++)
    MPT_TRY(take_floats(n, sums[k], &n->sums[k], error));
fail:
  free(s.values);
  free(s.gradients);
  return status;
}
