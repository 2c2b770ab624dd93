/* Time in a step: layer i runs forward at time i, the loss at time n, layer i backward at 2n - i;
 * the data is there from -1 on. A tensor's values live from their producer to the last layer that
 * reads them, forward or backward; its gradient from the layer that reads the tensor last, which
 * writes the gradient first, to its producer.
 *
 * Some tensors are one buffer: what a view sees; the gradients that a residual or a flatten hands
 * through unchanged; and logits and their gradient, which the cross-entropy writes over them. */
#include "train/tensor_plan.h"
#include "base/error.h"
#include "train/memory_fit.h"
#include <stdlib.h>
#include <string.h>

typedef struct planner {
  const tensor_plan_request *request;
  const graph *g;
  memory_buffer *buffers;
  int count;
  int *values, *gradients;             /* buffers of each tensor, -1 */
  int first_gradient, first_of_layers; /* buffers: values, gradients, what belongs to layers */
} planner;

static int backward_time(const graph *g, int layer) {
  return 2 * g->layer_count - layer;
}

static bool runs_backward(const planner *p, int layer) {
  return p->request->training && p->g->tensors[p->g->layers[layer].output].gradient;
}

/* A buffer for so many elements of a full batch of the graph's; -1 for none. */
static int add_buffer(planner *p, int64_t elements, mpt_format format, memory_span span) {
  if (elements == 0)
    return -1;
  mpt_format kept_in = p->request->training ? format : MPT_FP32;
  size_t count = (size_t)(elements / p->g->batch * p->request->samples);
  p->buffers[p->count] = (memory_buffer){
      .bytes = count * mpt_element_bytes(p->request->device, kept_in), .spans = {span, {1, 0}}};
  return p->count++;
}

static void extend(memory_span *span, memory_span by) {
  span->first = by.first < span->first ? by.first : span->first;
  span->last = by.last > span->last ? by.last : span->last;
}

/* ---- values ---- */

static bool reads_input(const planner *p, int layer) {
  const bool *kept = p->request->keeps_input;
  return p->g->layers[layer].kind->reads_inputs && !(kept != NULL && kept[layer]);
}

static memory_span life_of_values(const planner *p, int tensor) {
  const graph *g = p->g;
  const graph_tensor *t = &g->tensors[tensor];
  memory_span life = {t->producer, t->last_consumer < 0 ? g->layer_count : t->last_consumer};
  if (t->producer >= 0 && runs_backward(p, t->producer) &&
      g->layers[t->producer].kind->reads_output)
    life.last = backward_time(g, t->producer);
  for (int i = t->producer + 1; i <= t->last_consumer; i++)
    for (int k = 0; k < g->layers[i].input_count; k++)
      if (g->layers[i].inputs[k] == tensor && runs_backward(p, i) && reads_input(p, i) &&
          backward_time(g, i) > life.last)
        life.last = backward_time(g, i);
  return life;
}

static void plan_values(planner *p) {
  const graph *g = p->g;
  for (int t = 0; t < g->tensor_count; t++) {
    const graph_tensor *tensor = &g->tensors[t];
    const graph_layer *made_by = tensor->producer < 0 ? NULL : &g->layers[tensor->producer];
    mpt_format format = graph_tensor_format(g, p->request->assignment, t);
    memory_span life = life_of_values(p, t);
    p->values[t] = -1;
    if (tensor->ids)
      continue;
    if (made_by != NULL && made_by->kind->views &&
        graph_tensor_format(g, p->request->assignment, made_by->inputs[0]) == format) {
      p->values[t] = p->values[made_by->inputs[0]];
      extend(&p->buffers[p->values[t]].spans[0], life);
    } else {
      p->values[t] = add_buffer(p, tensor->count, format, life);
    }
  }
}

/* ---- gradients ---- */

/* Whose memory each gradient lies in: its own tensor's, or another's. */
static bool may_share(const planner *p, int layer, int input) {
  const graph *g = p->g;
  int t = g->layers[layer].inputs[input];
  return g->tensors[t].gradient && g->tensors[t].last_consumer == layer &&
         graph_gradient_format(g, p->request->assignment, t) ==
             graph_gradient_format(g, p->request->assignment, g->layers[layer].output);
}

/* Whether another layer than `layer`, from layer `first` on, reads the tensor: its backward pass
 * adds to the tensor's gradient when that of `first` runs, or before. */
static bool read_between(const graph *g, int tensor, int first, int layer) {
  for (int i = first; i < layer; i++)
    for (int k = 0; k < g->layers[i].input_count; k++)
      if (g->layers[i].inputs[k] == tensor)
        return true;
  return false;
}

/* Both gradients of a sum are its output's. The branch, whose producer is nearer, may share it when
 * nobody else adds to it and its producer uses it up before anything is added to the stream's, by
 * itself either: it may read the stream. */
static void share_residual(planner *p, int layer) {
  const graph *g = p->g;
  const graph_layer *l = &g->layers[layer];
  int branch = g->tensors[l->inputs[0]].producer > g->tensors[l->inputs[1]].producer ? 0 : 1;
  int t = l->inputs[branch], stream = l->inputs[1 - branch];
  int producer = g->tensors[t].producer;
  if (may_share(p, layer, 1 - branch))
    p->gradients[stream] = p->gradients[l->output];
  if (may_share(p, layer, branch) && g->tensors[t].consumer_count == 1 &&
      !g->layers[producer].kind->forwards_gradients && !read_between(g, stream, producer, layer))
    p->gradients[t] = p->gradients[l->output];
}

/* The output's gradient lies where the output does, if the loss may write it there and nothing
 * reads the output's values afterwards. */
static bool loss_is_in_place(const planner *p) {
  return p->g->loss == LOSS_CROSS_ENTROPY && !p->request->apart &&
         p->buffers[p->values[p->g->output]].spans[0].last <= p->g->layer_count;
}

static void plan_gradients(planner *p) {
  const graph *g = p->g;
  for (int t = g->tensor_count - 1; t >= 0; t--) {
    const graph_tensor *tensor = &g->tensors[t];
    if (!p->request->training || !tensor->gradient) /* the data has none */
      continue;
    const graph_layer *made_by = &g->layers[tensor->producer];
    bool is_output = tensor->last_consumer < 0;
    memory_span life = {is_output ? g->layer_count : backward_time(g, tensor->last_consumer),
                        backward_time(g, tensor->producer)};
    if (p->gradients[t] < 0 && is_output && loss_is_in_place(p))
      p->gradients[t] = p->values[t];
    if (p->gradients[t] >= 0)
      extend(&p->buffers[p->gradients[t]].spans[0], life);
    else
      p->gradients[t] =
          add_buffer(p, tensor->count, graph_gradient_format(g, p->request->assignment, t), life);
    /* the layers in front are still to come: their gradients are handed on */
    if (!made_by->kind->forwards_gradients)
      continue;
    if (made_by->input_count == 2)
      share_residual(p, tensor->producer);
    else if (may_share(p, tensor->producer, 0))
      p->gradients[made_by->inputs[0]] = p->gradients[t];
  }
}

/* ---- what belongs to a layer ---- */

bool tensor_plan_writes_unwanted(const layer_kind *kind) {
  return !kind->has_gemm && !kind->takes_ids && !kind->forwards_gradients;
}

bool tensor_plan_writes_first(const graph *g, int index, int input) {
  const graph_layer *layer = &g->layers[index];
  int tensor = layer->inputs[input];
  for (int k = 0; k < input; k++)
    if (layer->inputs[k] == tensor)
      return false;
  return g->tensors[tensor].last_consumer == index;
}

/* Memory of one layer, as buffers. */
typedef struct layer_buffers {
  int saved[LAYER_MAX_SAVED], scratch[LAYER_MAX_SCRATCH], sums[WORKLOAD_MAX_INPUTS];
} layer_buffers;

static void plan_sums(planner *p, int index, layer_buffers *to) {
  const graph *g = p->g;
  const graph_layer *l = &g->layers[index];
  int time = backward_time(g, index);
  for (int k = 0; k < WORKLOAD_MAX_INPUTS; k++)
    to->sums[k] = -1;
  for (int k = 0; k < l->input_count && runs_backward(p, index); k++) {
    const graph_tensor *t = &g->tensors[l->inputs[k]];
    bool added = t->gradient && !tensor_plan_writes_first(g, index, k) && !l->kind->adds_gradients;
    bool unwanted = !t->gradient && tensor_plan_writes_unwanted(l->kind);
    if (added || unwanted)
      to->sums[k] = add_buffer(p, t->count, MPT_FP32, (memory_span){time, time});
  }
}

static void plan_layer(planner *p, int index, layer_buffers *to) {
  const graph_layer *l = &p->g->layers[index];
  int backward = runs_backward(p, index) ? backward_time(p->g, index) : index;
  layer_memory m = {0};
  if (l->kind->memory != NULL)
    l->kind->memory(p->g, l, p->request->assignment, &m);
  for (int k = 0; k < LAYER_MAX_SAVED; k++)
    to->saved[k] =
        add_buffer(p, m.saved[k].count, m.saved[k].format, (memory_span){index, backward});
  for (int k = 0; k < LAYER_MAX_SCRATCH; k++) {
    to->scratch[k] =
        add_buffer(p, m.scratch[k].count, m.scratch[k].format, (memory_span){index, index});
    if (to->scratch[k] >= 0)
      p->buffers[to->scratch[k]].spans[1] = (memory_span){backward, backward};
  }
  plan_sums(p, index, to);
}

/* ---- the plan ---- */

static size_t offset_of(const planner *p, int buffer) {
  return buffer >= 0 ? p->buffers[buffer].offset : TENSOR_PLAN_NONE;
}

static void take_places(const planner *p, const layer_buffers *own, tensor_plan *plan) {
  const graph *g = p->g;
  for (int t = 0; t < g->tensor_count; t++) {
    plan->values[t] = offset_of(p, p->values[t]);
    plan->gradients[t] = offset_of(p, p->gradients[t]);
    if (p->values[t] >= 0 &&
        (p->values[plan->largest] < 0 ||
         p->buffers[p->values[t]].bytes > p->buffers[p->values[plan->largest]].bytes))
      plan->largest = t;
  }
  for (int i = 0; i < g->layer_count; i++) {
    layer_places *to = &plan->layers[i];
    for (int k = 0; k < LAYER_MAX_SAVED; k++)
      to->saved[k] = offset_of(p, own[i].saved[k]);
    for (int k = 0; k < LAYER_MAX_SCRATCH; k++)
      to->scratch[k] = offset_of(p, own[i].scratch[k]);
    for (int k = 0; k < WORKLOAD_MAX_INPUTS; k++)
      to->sums[k] = offset_of(p, own[i].sums[k]);
  }
}

static mpt_status allocate(planner *p, layer_buffers **own, tensor_plan *plan, mpt_error *error) {
  size_t layers = (size_t)p->g->layer_count, tensors = (size_t)p->g->tensor_count;
  const size_t of_layer = LAYER_MAX_SAVED + LAYER_MAX_SCRATCH + WORKLOAD_MAX_INPUTS;
  p->buffers = calloc(2 * tensors + of_layer * layers, sizeof *p->buffers);
  p->values = calloc(tensors, sizeof *p->values);
  p->gradients = calloc(tensors, sizeof *p->gradients);
  *own = calloc(layers, sizeof **own);
  plan->values = calloc(tensors, sizeof *plan->values);
  plan->gradients = calloc(tensors, sizeof *plan->gradients);
  plan->layers = calloc(layers, sizeof *plan->layers);
  if (p->buffers == NULL || p->values == NULL || p->gradients == NULL || *own == NULL ||
      plan->values == NULL || plan->gradients == NULL || plan->layers == NULL)
    return mpt_fail_memory(error, "the plan of tensors", tensors * sizeof *p->buffers);
  for (size_t t = 0; t < tensors; t++)
    p->values[t] = p->gradients[t] = -1;
  return MPT_OK;
}

/* One buffer after the other: values, gradients, what belongs to layers. */
static void fit_apart(const planner *p, tensor_plan *plan) {
  enum { ALIGNMENT = 256 };
  for (int i = 0; i < p->count; i++) {
    const size_t bytes = (p->buffers[i].bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    p->buffers[i].offset = plan->bytes;
    if (i == p->first_gradient)
      plan->first_gradient = plan->bytes;
    if (i >= p->first_gradient && i < p->first_of_layers)
      plan->gradient_bytes += bytes;
    plan->bytes += bytes;
  }
  plan->in_use = plan->bytes;
}

mpt_status tensor_plan_make(const tensor_plan_request *request, tensor_plan *plan,
                            mpt_error *error) {
  mpt_status status = MPT_OK;
  planner p = {.request = request, .g = request->graph};
  layer_buffers *own = NULL;
  *plan = (tensor_plan){0};
  MPT_TRY(allocate(&p, &own, plan, error));
  plan_values(&p);
  p.first_gradient = p.count;
  plan_gradients(&p);
  p.first_of_layers = p.count;
  for (int i = 0; i < p.g->layer_count; i++)
    plan_layer(&p, i, &own[i]);
  if (request->apart) {
    fit_apart(&p, plan);
  } else {
    MPT_TRY(memory_fit(p.buffers, p.count, &plan->bytes, error));
    MPT_TRY(memory_in_use(p.buffers, p.count, &plan->in_use, error));
  }
  take_places(&p, own, plan);
fail:
  free(p.buffers);
  free(p.values);
  free(p.gradients);
  free(own);
  if (status != MPT_OK)
    tensor_plan_clear(plan);
  return status;
}

void tensor_plan_clear(tensor_plan *plan) {
  free(plan->values);
  free(plan->gradients);
  free(plan->layers);
  *plan = (tensor_plan){0};
}
