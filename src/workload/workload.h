/* Workload files: what is trained, on what, how, and how good it must stay. docs/workload.md
 * describes the file. */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include "base/word_list.h"
#include "mptune/mptune.h"

#define WORKLOAD_MAX_INPUTS 4
#define WORKLOAD_MAX_SEEDS  64 /* of a search, and of an evaluation */

/* Keys of a layer, as bits. */
enum {
  LAYER_NAME = 1 << 0,
  LAYER_KIND = 1 << 1,
  LAYER_FROM = 1 << 2,
  LAYER_FEATURES = 1 << 3,
  LAYER_CHANNELS = 1 << 4,
  LAYER_KERNEL = 1 << 5,
  LAYER_STRIDE = 1 << 6,
  LAYER_PADDING = 1 << 7,
  LAYER_VOCABULARY = 1 << 8,
  LAYER_POSITIONS = 1 << 9,
  LAYER_HEADS = 1 << 10,
  LAYER_PROBABILITY = 1 << 11,
  LAYER_EPSILON = 1 << 12,
  LAYER_INITIAL_SCALE = 1 << 13,
  LAYER_OUTPUT_SCALE = 1 << 14,
  LAYER_BIAS = 1 << 15,
  LAYER_CAUSAL = 1 << 16,
  LAYER_TIED_TO = 1 << 17,
  LAYER_KEY_COUNT = 18
};

/* One layer as written in the file or made by a preset. Sizes are 0 when not given; which ones a
 * kind takes, and what shapes fit together, is the layer kind's to say (train/layer.h). */
typedef struct layer_spec {
  char name[MPT_MAX_NAME];
  char kind[24];
  int input_count;                                /* 0: the layer before it */
  char inputs[WORKLOAD_MAX_INPUTS][MPT_MAX_NAME]; /* names of layers; "input" is the data */
  int64_t features;                               /* linear: out_features; embedding: width */
  int64_t channels;                               /* conv2d: out channels */
  int64_t kernel, stride, padding;
  int64_t vocabulary, positions; /* embedding; positions 0: none learned */
  int64_t heads;
  double probability;   /* dropout */
  double epsilon;       /* layernorm; 0: the kind's default */
  double initial_scale; /* multiplies the initial weights, 1 by default */
  double output_scale;  /* `scale` layers and planted networks: multiplies the output, 1 */
  bool no_bias;
  bool causal;
  char tied_to[MPT_MAX_NAME]; /* linear: shares the weight of this embedding or linear */
  int line, column;           /* place in the file; 0 from a preset */
  unsigned given;             /* keys that the file has; 0 from a preset */
} layer_spec;
layer_spec layer_spec_default(void);

/* The keys that are given: in the file, whatever the value, or by another value than the default
 * where a program made the layer. */
unsigned layer_spec_given(const layer_spec *layer);
/* "features" of key 3, LAYER_FEATURES. */
const char *layer_key_name(int key);

#define WORKLOAD_MAX_WIDTHS 32
typedef struct size_list {
  int count;
  int64_t sizes[WORKLOAD_MAX_WIDTHS];
} size_list;

typedef struct model_spec {
  char preset[16]; /* "mlp", "cnn", "gpt", or "" for a list of layers */
  layer_spec *layers;
  int layer_count;
  /* what the preset was made from, for priced_as */
  int64_t width; /* gpt: of the residual stream; mlp, cnn: the largest hidden size */
  int64_t depth; /* gpt: blocks; mlp, cnn: hidden layers */
  int64_t heads, sequence, vocabulary;
  size_list widths;   /* mlp, cnn: of the hidden linear layers */
  size_list channels; /* cnn: of the convolutions */
  int64_t outputs;    /* mlp, cnn */
  int64_t kernel;     /* cnn */
  int activation;     /* mlp, cnn: among relu, sigmoid, tanh, gelu (mpt_activation) */
  bool flatten;       /* mlp: images come in */
  bool tied;          /* gpt: the head has the embedding's weight */
} model_spec;

typedef enum data_kind { DATA_IDX, DATA_CSV, DATA_BYTES, DATA_TOKENS, DATA_SYNTHETIC } data_kind;

/* Of ids in a file without a header. */
typedef enum id_type {
  ID_NOT_GIVEN = -1,
  ID_UINT8,
  ID_UINT16,
  ID_UINT32,
  ID_UINT64,
  ID_INT8,
  ID_INT16,
  ID_INT32,
  ID_INT64
} id_type;

typedef struct data_spec {
  data_kind kind;
  char package[64];    /* Debian package the files come from, or "" */
  char files[4][512];  /* idx: train images, train labels, held-out images, held-out labels;
                          others: one glob or path */
  int64_t sequence;    /* bytes, tokens, synthetic tokens: T */
  int64_t classes;     /* idx, csv, synthetic: labels in [0, classes); 0: float targets */
  int64_t samples;     /* synthetic: how many, training and held out; others: at most this many
                          training samples (bytes, tokens: at most this many ids), 0 all */
  int64_t held_out;    /* samples kept for the metric, 0: the default of the kind */
  mpt_word_list label; /* csv: names or numbers of the label, or target, columns; none: the last */
  mpt_word_list columns; /* csv: of the features, "0-9,12" as a text; none: all but the label */
  bool header;           /* csv: the first line holds names, not numbers */
  bool standardize;      /* csv: subtract mean and divide by deviation of the training part */
  int64_t vocabulary;    /* tokens, synthetic tokens: ids in [0, vocabulary) */
  id_type dtype;         /* tokens */
  bool probabilities;    /* csv: targets are in [0, 1], because the loss takes no others */
  /* synthetic: independent Gaussian features, labels or targets of a random two-layer teacher */
  int64_t features;             /* a sample's; or shape */
  int64_t shape[3];             /* channels, height, width; 0: a row of features */
  int64_t targets;              /* float targets, when there are no classes */
  int64_t hidden;               /* units of the teacher, 0: a linear teacher */
  double scale_low, scale_high; /* the columns' scales, log-spaced from the first to the last */
  double noise;                 /* deviation added to the teacher's outputs */
  double outliers;              /* share of samples whose features are ... */
  double outlier_scale;         /* ... times as large */
  double blank;                 /* share of samples whose features are all 0 */
  int64_t seed;
  int line, column;
} data_spec;
data_spec data_spec_default(data_kind kind);
const char *id_type_name(id_type type); /* "uint16" */
void data_spec_free(data_spec *data);   /* what it points to */

typedef enum loss_kind { LOSS_CROSS_ENTROPY, LOSS_NLL, LOSS_BINARY, LOSS_MSE } loss_kind;
typedef enum optimizer_kind { OPTIMIZER_SGD, OPTIMIZER_ADAM, OPTIMIZER_ADAMW } optimizer_kind;
typedef enum schedule_kind { SCHEDULE_CONSTANT, SCHEDULE_LINEAR, SCHEDULE_COSINE } schedule_kind;
/* METRIC_NAMED: a program's, by the name that it gives it. */
typedef enum metric_kind { METRIC_LOSS, METRIC_ACCURACY, METRIC_F1, METRIC_NAMED } metric_kind;

typedef struct optimizer_spec {
  optimizer_kind kind;
  double learning_rate, momentum, beta1, beta2, epsilon, weight_decay;
  double clip;        /* gradient norm, 0: none */
  int64_t accumulate; /* micro-batches of `batch` samples a step, 1 */
  schedule_kind schedule;
  int64_t warmup;        /* steps, at full length */
  double final_fraction; /* of the learning rate at the last step, 0 */
} optimizer_spec;

/* Over what the metric is a mean: these held-out samples, or others like them too. */
typedef enum metric_over { METRIC_OVER_HELD_OUT, METRIC_OVER_POPULATION } metric_over;

typedef struct budget_spec {
  bool relative; /* worse_by: 0.5%, else absolute in the metric's units */
  bool of_error; /* relative to 1 - metric, of accuracy or f1; else to the metric */
  double worse_by;
  double max_diverged; /* share of the trainings, shown at 95%; 0: not asked for */
  int line, column;    /* of worse_by */
} budget_spec;

typedef struct pin_spec {
  char layers[MPT_MAX_NAME]; /* a glob */
  mpt_precision precision;
  int line, column;
} pin_spec;

typedef struct priced_spec {
  bool present;
  int64_t width, batch, sequence, heads, vocabulary; /* 0: as in the model */
} priced_spec;

typedef struct workload {
  char path[512]; /* "" of one that was given on the command line alone */
  char *text;     /* which is this then; NULL */
  /* The program that trains it (docs/contract.md), of which neither model nor data is known; "":
   * the built-in trainer. */
  char command[4096];
  char name[64];
  model_spec model;
  data_spec data;
  loss_kind loss;
  optimizer_spec optimizer;
  int64_t batch, steps;
  int threads;
  char checkpoint[512]; /* to start from, or "" */
  metric_kind metric;
  char metric_name[64]; /* "val_loss"; of the others their word */
  bool metric_larger;   /* of METRIC_NAMED: a larger one is better */
  metric_over metric_over;
  budget_spec budget;
  pin_spec *pins;
  int pin_count;
  uint32_t excluded; /* bit set of 1 << mpt_precision */
  mpt_precision reference;
  mpt_loss_scale_policy loss_scale;
  bool per_gemm;       /* choose formats for each GEMM, not only each layer */
  int reference_seeds; /* R, 3; at most WORKLOAD_MAX_SEEDS */
  char target[256];    /* profile name or file; "" where a program's names none */
  priced_spec priced;
} workload;

/* Reads a workload of at most 4 MiB and nesting depth 16: a file, or one that comes with mptune, by
 * its name (profile/shipped.h). *out is owned by the caller, who frees it with workload_free.
 * Relative paths of data are relative to the working directory. */
mpt_status workload_load(const char *name, workload **out, mpt_error *error);
void workload_free(workload *w);

/* A workload that a program trains: of the file, of the command line, or of both, which then says
 * more. A file that names no program does where the command line does; one of a model is refused.
 */
typedef struct workload_given {
  const char *command, *metric, *budget; /* "val_loss" or "accuracy:max"; "0.5%", "0.005"; NULL */
  int64_t steps;                         /* 0: not given */
} workload_given;
/* `name` may be NULL. */
mpt_status workload_load_program(const char *name, const workload_given *given, workload **out,
                                 mpt_error *error);
/* Whether the file is of one, given its name: false where it cannot be read. */
bool workload_is_program(const char *name);

bool workload_larger_is_better(const workload *w);
/* Of a mean over samples that are right or wrong. */
bool metric_moves_in_steps(int metric);

/* The model at the width, batch and sequence it is priced at: a copy of the preset rebuilt there,
 * or of the layers as they are. The caller frees the layers with model_free. */
mpt_status workload_priced_model(const workload *w, model_spec *model, int64_t *batch,
                                 int64_t *sequence, mpt_error *error);
void model_free(model_spec *model);

/* "0.5%" of the loss, "0.5% of the accuracy", "0.5% of the error rate", "0.005". */
void workload_budget_text(const workload *w, char *text, size_t size);

/* The training part in canonical text, for hashing: layers, data, loss, metric, optimizer,
 * schedule, batch, steps, loss scale and the content of the checkpoint; not budget, pins,
 * exclusions, target, names of files. A preset and the same layers written out give the same text.
 * The content of the data is added by the data set's hash. The caller frees *text with free(). */
mpt_status workload_training_text(const workload *w, char **out, mpt_error *error);
/* SHA-256 of that text, in hex: what a run's directory and a policy's provenance know it by. */
mpt_status workload_training_hash(const workload *w, char hex[65], mpt_error *error);

#endif
