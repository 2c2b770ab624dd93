/* The built-in trainer: one training run under one assignment and seed. */
#ifndef TRAINER_H
#define TRAINER_H

#include "train/graph.h"

/* What happened in a step, given to on_step. */
typedef struct train_step {
  int64_t step, steps;
  double loss; /* NaN or Inf when it is */
  float loss_scale;
  bool skipped;
  double seconds;
} train_step;

/* Called when a linear-like layer has its operands at hand, before its backward pass runs; for
 * sensitivity scores. conv2d gives its lowered input. Tensors are valid during the call. */
typedef void train_layer_probe(void *context, mpt_queue *queue, int64_t step, int layer,
                               const mpt_tensor *input, const mpt_tensor *weight,
                               const mpt_tensor *grad_output);

typedef struct train_options {
  const workload *workload;
  const graph *graph;
  const dataset *data;
  const mpt_layer_policy *assignment; /* [graph->layer_count] */
  mpt_loss_scale_policy loss_scale;
  uint64_t seed;
  int64_t steps; /* horizon: the schedule is compressed to it, never cut off */
  int threads;
  const char *backend; /* "cpu", "cuda" */
  int device_index;    /* of the backend */
  mpt_statistics_mode statistics;
  int64_t statistics_every;
  mpt_statistics_sink *on_statistics;
  train_layer_probe *on_layer;
  int64_t probe_every; /* steps at which on_layer is called; 0 never */
  bool (*on_step)(void *context, const train_step *step);       /* false: stop; may be NULL */
  void *context;                                                /* of all callbacks */
  const char *load_checkpoint, *save_checkpoint, *save_initial; /* files, or NULL */
  const char *save_batches; /* file for all the run's batches, or NULL */
  int64_t checkpoint_every; /* steps; 0: at the end only */
  bool resume;              /* continue from save_checkpoint if it is there */
  bool force;               /* ... though it is of another training */
} train_options;
train_options train_options_default(void);

/* How a policy has its loss scaled: as it says, else as the workload does. */
mpt_loss_scale_policy train_loss_scale(const workload *w, const mpt_policy *policy);

typedef struct train_result {
  int64_t steps_done;
  bool stopped;        /* by on_step */
  bool diverged;       /* the loss became non-finite, or no loss scale helps */
  double metric;       /* held-out, in the policy's formats, scales frozen; NaN if diverged */
  double metric_plain; /* the same weights, forward in fp32 */
  double held_out_loss;
  /* What the metric is a mean of, from the same pass; the caller frees it through
   * train_result_clear. Nothing of metric loss, nor of a run that diverged. */
  int64_t judged;       /* held-out samples: rows (tokens of text); of binary targets and accuracy,
                           each target */
  uint8_t *right;       /* accuracy: bits, the least significant first; their mean is the metric */
  float *contributions; /* f1: [judged], linearised; their mean is the metric */
  double unit;          /* the most that one judgement can change one contribution; accuracy: 1 */
  double step_seconds;  /* median of steps */
  double total_seconds; /* like report.skipped, of all processes that trained the run */
  double output_difference;     /* output check: ||policy - plain|| / ||plain|| of the outputs on a
                                   fixed probe batch, same weights */
  size_t memory_bytes;          /* weights, optimizer, activations, workspace */
  double *losses;               /* [steps_done], caller frees through train_result_clear */
  mpt_layer_counters *counters; /* [layer_count] */
  int layer_count;
  mpt_session_report report;
  char failure[256]; /* why it diverged, with layer and step */
} train_result;

/* Runs it. A run that diverges is MPT_OK with `diverged`; errors are of files, shapes, memory. */
mpt_status train_run(const train_options *options, train_result *result, mpt_error *error);
void train_result_clear(train_result *result);

/* The learning rate at `step` of `steps`, the schedule compressed from the workload's steps. */
double train_learning_rate(const optimizer_spec *optimizer, int64_t step, int64_t steps,
                           int64_t full_steps);

#endif
