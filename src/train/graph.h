/* The model as a graph: layers with shapes, the tensors between them, the GEMMs and passes that a
 * step makes. Built without memory for the data, so that a network priced at a width that does not
 * fit here can be described too. */
#ifndef GRAPH_H
#define GRAPH_H

#include "data/dataset.h"
#include "profile/pass_kind.h"

struct layer_kind; /* train/layer.h: one file for each kind, one line in the table */

typedef struct graph_tensor {
  int rank;
  int64_t shape[MPT_MAX_RANK]; /* the batch comes first */
  int64_t count;
  int producer;       /* layer, -1 for the data */
  int last_consumer;  /* layer, -1 for the output: it writes the gradient first */
  int consumer_count; /* layers that read it */
  bool ids;           /* int32 token ids */
  bool gradient; /* the backward pass makes its gradient: parameters lie before it. A layer whose
                    input has none makes no dgrad */
} graph_tensor;

/* A matrix product in the layer's forward pass, D[m,n] = A[m,k] B[n,k]^T; its dgrad is
 * (m, k, n) and its wgrad (n, k, m). Attention's products are in graph_passes. */
typedef struct graph_gemm {
  int64_t m, n, k;
} graph_gemm;

typedef struct graph_layer {
  mpt_layer_info info; /* shape: the weight's, [out, in] for what has a GEMM; without a weight one
                          row or sample of the output */
  const struct layer_kind *kind;
  const layer_spec *spec;
  int input_count;
  int inputs[WORKLOAD_MAX_INPUTS]; /* tensors */
  int output;                      /* tensor */
  bool has_gemm;                   /* linear, conv2d */
  bool has_format; /* a policy may choose its format; flatten and residual have storage
                      formats as well, ids have none */
  graph_gemm gemm;
  int tied_to;        /* layer whose weight it shares, -1 */
  int64_t parameters; /* own, 0 for the tied weight */
} graph_layer;

typedef struct graph {
  graph_layer *layers;
  int layer_count;
  graph_tensor *tensors; /* the data, then the output of each layer: layer i makes tensor i + 1 */
  int tensor_count;
  int input, output; /* tensors */
  int64_t batch, sequence;
  int64_t rows; /* rows of the loss: batch, or batch * sequence */
  int64_t parameters;
  loss_kind loss;
  model_spec model; /* owned copy: the specs that layers point to */
  char path[512];   /* of the workload file, for messages */
} graph;

/* `info` describes the data that goes in; errors name the layer, with the file's line and column
 * when it has one. Frees nothing of the caller's. */
mpt_status graph_build(const workload *w, const model_spec *model, int64_t batch, int64_t sequence,
                       const dataset_info *info, graph **out, mpt_error *error);
/* The layers of a program of which no more is known, in the order of the forward pass: each product
 * apart (graph_apart.c). It can be priced and searched, not trained. Rows that are not known are
 * taken to be the most of the others. */
mpt_status graph_apart(const mpt_layer_info *layers, int count, graph **out, mpt_error *error);
void graph_free(graph *g);                              /* NULL is allowed */
int graph_find(const graph *g, const char *layer_name); /* -1 */

/* One assignment entry per layer of the graph, in its order. Layers' infos for mpt_policy_*:
 * caller frees with free(). NULL when out of memory. */
mpt_layer_info *graph_layer_infos(const graph *g);

/* Storage format of a tensor: what its producer's fprop writes; the data is fp32. */
mpt_format graph_tensor_format(const graph *g, const mpt_layer_policy *assignment, int tensor);
/* And of its gradient: what the dgrad of the layer that reads it last writes; later sums are fp32
 * and rounded to it. The gradient of the output is stored as the output is. */
mpt_format graph_gradient_format(const graph *g, const mpt_layer_policy *assignment, int tensor);

/* Whether the layer's backward pass makes the gradient of its (first) input. */
bool graph_makes_dgrad(const graph *g, int layer);

/* Whether the layer has a format of its own: linear, conv2d, attention, embedding, and what a pin
 * of the workload names. Every other layer follows the one that produces its (first) input. */
bool graph_is_chosen(const workload *w, const graph *g, int layer);
/* The policy all-PRECISION, as a search trains it and the command line means it: the layers that
 * are chosen in that precision, their followers stored alike. What only passes the data on to the
 * first of them (a flatten) keeps it in fp32. With `fast`, fp8 has the sums of tensor cores in
 * fprop: what is trained on them has them. */
void graph_uniform(const workload *w, const graph *g, mpt_precision precision, bool fast,
                   mpt_layer_policy *assignment);

/* Passes other than GEMMs and casts: what one step reads and writes in the layer's forward and
 * backward (and in loss, optimizer) under an assignment, in bytes; and attention, which also has
 * matrix operations in `format`. graph_passes.c says what is counted. */
typedef struct graph_pass {
  const char *name; /* "layernorm forward" */
  int layer;        /* -1: loss, optimizer */
  pass_kind kind;
  double bytes;
  mpt_format format; /* of what it reads; attention: of its products */
  double operations; /* matrix operations inside it, 0 for a plain pass */
  bool backward;     /* attention */
} graph_pass;
/* Writes at most `capacity` of them; returns how many there are in all. */
int graph_passes(const graph *g, const mpt_layer_policy *assignment, graph_pass *passes,
                 int capacity, const optimizer_spec *optimizer);
/* The parts of it that belong to no layer: once a micro-batch, and once a step. */
int graph_loss_passes(const graph *g, const mpt_layer_policy *assignment, graph_pass *passes,
                      int capacity);
int graph_optimizer_passes(const graph *g, const optimizer_spec *optimizer, graph_pass *passes,
                           int capacity);

/* Whether the kernel that writes a tensor last looks at it as it does: what layers' inputs (or,
 * `gradient`, gradients) in fp8 with current scaling need to know is then found without a pass. */
bool graph_is_seen(const graph *g, int tensor, bool gradient);

#endif
