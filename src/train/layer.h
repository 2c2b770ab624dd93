/* Layer kinds: everything that one kind of layer means, in one file.
 *
 * A new kind is a file layer_NAME.c with its layer_kind and a line in layer_kinds.c
 * (docs/add-a-layer.md).
 */
#ifndef LAYER_H
#define LAYER_H

#include "mptune/ops.h"
#include "train/graph.h"
#include "train/trainer.h"

enum { LAYER_MAX_PARAMETERS = 2, LAYER_MAX_SAVED = 2, LAYER_MAX_SCRATCH = 2 };

typedef enum layer_initial {
  LAYER_ZEROS,
  LAYER_ONES,
  LAYER_NORMAL, /* of deviation `scale` */
  LAYER_UNIFORM /* on (-scale, scale] */
} layer_initial;

typedef struct layer_parameter {
  const char *name; /* "weight": the parameter is called LAYER.weight */
  int rank;
  int64_t shape[MPT_MAX_RANK];
  layer_initial initial;
  double scale;
} layer_parameter;

/* Memory besides inputs, output and parameters, for a full batch. */
typedef struct layer_area {
  int64_t count; /* elements; 0: none */
  mpt_format format;
} layer_area;
typedef struct layer_memory {
  layer_area saved[LAYER_MAX_SAVED];     /* from forward to backward */
  layer_area scratch[LAYER_MAX_SCRATCH]; /* for the duration of a call, either pass */
} layer_memory;

/* What a layer's forward and backward are given. Shapes are those of the batch at hand, which may
 * be smaller than the graph's. */
typedef struct layer_run {
  const graph *graph;
  const graph_layer *layer;
  int index;
  mpt_queue *queue;
  mpt_session *session;
  bool training;
  bool plain;              /* MPT_RUN_PLAIN: fp32, whatever the policy says */
  mpt_dropout_key dropout; /* of the step; zeros but for kinds that are keyed_by_step */
  const int32_t *ids;      /* when the data is token ids */
  int64_t step;

  mpt_tensor inputs[WORKLOAD_MAX_INPUTS], output;
  mpt_tensor parameters[LAYER_MAX_PARAMETERS]; /* data is NULL for what the layer has not */
  mpt_tensor gradients[LAYER_MAX_PARAMETERS];  /* fp32, added to */
  void *saved[LAYER_MAX_SAVED], *scratch[LAYER_MAX_SCRATCH];
  void *sums[WORKLOAD_MAX_INPUTS]; /* the network's */

  mpt_tensor grad_output;
  mpt_tensor grad_inputs[WORKLOAD_MAX_INPUTS]; /* data is NULL: not wanted */
  bool accumulate[WORKLOAD_MAX_INPUTS];        /* only for kinds that can (adds_gradients) */
  train_layer_probe *probe;                    /* NULL: none in this step */
  void *probe_context;
} layer_run;

typedef struct pass_list {
  graph_pass *passes;
  int count, capacity;
} pass_list;

typedef struct layer_kind {
  const char *name;
  unsigned fields; /* keys that it takes besides name, kind and from: LAYER_FEATURES, ... */
  unsigned needs;  /* of them, those without which it makes no sense */
  int fewest_inputs, most_inputs;
  bool takes_ids;          /* reads token ids, and nothing else */
  bool has_gemm;           /* runs through mpt_linear_* */
  bool sees_outputs;       /* on a GPU the kernels that write its output, and its inputs' gradients,
                              can look at them in passing (mpt_tensor.lite) */
  bool reads_inputs;       /* its backward pass reads values of its inputs */
  bool reads_output;       /* and of its output: what no layer reads any more is not kept */
  bool views;              /* its output is its input seen with another shape */
  bool forwards_gradients; /* its inputs' gradients are its output's */
  const char *bounds;      /* of its outputs, whatever comes in: "values from 0 to 1"; NULL: none */
  bool bounded_above;      /* they have a largest, too */
  bool keeps_bounds;       /* its outputs have those of its inputs */
  bool adds_gradients;     /* backward minds `accumulate`; for others the network adds */
  bool keyed_by_step;      /* draws by layer_run.dropout, which others are not given: no two steps
                              are the same, so none is recorded */

  /* Fills output->rank and shape, layer->gemm and info.shape where it has a weight; inputs are set
   * and sized. Errors go through graph_fail. */
  mpt_status (*shape)(const graph *g, graph_layer *layer, graph_tensor *output, mpt_error *error);
  /* How many, and which. A tied weight is described too. NULL: none. */
  int (*parameters)(const graph *g, const graph_layer *layer,
                    layer_parameter parameters[LAYER_MAX_PARAMETERS]);
  void (*memory)(const graph *g, const graph_layer *layer, const mpt_layer_policy *assignment,
                 layer_memory *memory); /* NULL: none */
  void (*passes)(const graph *g, int layer, const mpt_layer_policy *assignment, pass_list *list);
  mpt_status (*forward)(layer_run *run, mpt_error *error);
  mpt_status (*backward)(layer_run *run, mpt_error *error);
  /* What the layer's dgrad makes, [rows, k], as the gradient of its input, which is written. NULL:
   * it is that gradient's rows. */
  mpt_status (*spread)(layer_run *run, const mpt_tensor *product, const mpt_tensor *grad_input,
                       mpt_error *error);
} layer_kind;

/* NULL when there is none of that name. */
const layer_kind *layer_kind_find(const char *name);
/* Names of all kinds, "linear, conv2d, ...". */
void layer_kind_names(char *text, size_t size);
/* MPT_ERROR_SYNTAX for a field that the kind does not take, or needs and has not. */
mpt_status layer_kind_check_fields(const graph *g, const graph_layer *layer, mpt_error *error);

/* An error about a layer, at its place in the workload file when it has one; the message begins
 * with "layer 'NAME': ". */
mpt_status graph_fail(const graph *g, const graph_layer *layer, mpt_error *error,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));
/* "[batch, 3, 28, 28]" */
void graph_shape_text(const graph_tensor *tensor, char text[96]);
/* Elements behind the batch dimension. */
int64_t graph_sample_size(const graph_tensor *tensor);

/* What attention multiplies in. */
mpt_format layer_attention_format(const mpt_layer_policy *formats);

/* ---- for a kind's passes (graph_passes.c) ---- */
/* Nothing where there are no bytes; `format` is that of what is read. */
void pass_add(pass_list *list, const char *name, pass_kind kind, int layer, double bytes,
              mpt_format format);
double pass_tensor(const graph *g, const mpt_layer_policy *assignment, int tensor); /* bytes */
/* Bytes of the tensor's gradient, 0 when it has none. */
double pass_gradient(const graph *g, const mpt_layer_policy *assignment, int tensor);
/* What the layer's backward pass moves for the gradient of an input: it is written, and read too
 * where the layer adds to it. A kind that cannot add writes fp32, and the sum is a pass of its own,
 * added here. */
double pass_input_gradient(const graph *g, const mpt_layer_policy *assignment, int layer, int input,
                           pass_list *list);

/* ---- for a kind's forward and backward ---- */
/* `data` as rows of the tensor's last dimension. */
mpt_tensor layer_rows(const mpt_tensor *tensor);
/* A contiguous view of the layer's own memory, on its queue's device. */
static inline mpt_tensor layer_view(const layer_run *run, void *data, mpt_format format, int rank,
                                    const int64_t *shape) {
  mpt_tensor view = mpt_tensor_of(data, format, rank, shape);
  view.device = mpt_queue_device(run->queue);
  return view;
}

#endif
