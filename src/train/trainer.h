/* The built-in trainer: one training run under one assignment and seed.
 *
 * Forks. A run that saves checkpoints at `points` is a trajectory; a fork goes on from one of them
 * under another policy: `fork_from` is the checkpoint, `until` the step to stop before, and
 * assignment and loss_scale the fork's. All else is the trajectory's, `steps` included: the
 * schedule is continued and never compressed, and the batches and random numbers of step i are
 * those that the trajectory had. The optimizer's moments and its count of updates go on. Of the
 * state of the formats (loss scale, histories of amax) what the two policies share goes on as
 * mpt_session_adopt_state says, and the rest begins with the tensors; a fork under the trajectory's
 * own policy goes on with all of it and gives the same bits.
 *
 * result.losses[first_step ... steps_done) are the fork's, those before it the trajectory's. The
 * first of them is the loss of the checkpoint's weights under the fork's forward pass: beside the
 * trajectory's, what that costs at once.
 */
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

/* A checkpoint to leave on the way, before that step; those of a trajectory are what forks begin
 * from. */
typedef struct train_point {
  int64_t step; /* 0: the initial weights, with all that a run needs */
  const char *path;
} train_point;

/* Weights and the state of the formats as they are before that step, kept in host memory. The
 * caller sets the step and frees the rest with train_snapshot_clear. */
typedef struct train_snapshot {
  int64_t step;
  float *weights; /* of all parameters in one row; NULL: the training did not come so far */
  void *formats;  /* mpt_session_get_state's */
} train_snapshot;
void train_snapshot_clear(train_snapshot *snapshot);

typedef struct train_options {
  const workload *workload;
  const graph *graph;
  const dataset *data;
  const mpt_layer_policy *assignment; /* [graph->layer_count] */
  mpt_loss_scale_policy loss_scale;
  uint64_t seed;
  int64_t steps; /* horizon: the schedule is compressed to it, never cut off */
  int64_t until; /* the step to stop before; 0: steps */
  int threads;
  const char *backend; /* "cpu", "cuda" */
  int device_index;    /* of the backend */
  mpt_statistics_mode statistics;
  int64_t statistics_every;
  mpt_statistics_sink *on_statistics;
  train_layer_probe *on_layer;
  int64_t probe_every; /* steps at which on_layer is called; 0 never */
  bool (*on_step)(void *context, const train_step *step); /* false: stop; may be NULL */
  /* After every `held_out_every` steps but the last: the loss on all held-out data, in the policy's
   * formats, scales frozen. Changes no bit of the training. */
  void (*on_held_out)(void *context, int64_t steps_done, double loss);
  int64_t held_out_every;                                       /* 0: never */
  void *context;                                                /* of all callbacks */
  const char *load_checkpoint, *save_checkpoint, *save_initial; /* files, or NULL */
  const char *save_batches;  /* file for all the run's batches, or NULL */
  int64_t checkpoint_every;  /* steps; 0: at the end only */
  const train_point *points; /* in ascending order of steps, at most `until` */
  int point_count;
  train_snapshot *snapshots; /* to take on the way; steps as those of points */
  int snapshot_count;
  const char *fork_from; /* a trajectory's checkpoint, or NULL: see above. It saves none itself */
  bool side_pass;        /* room for a backward pass beside the one under way (scores.h) */
  bool resume;           /* continue from save_checkpoint if it is there */
  bool force;            /* ... though it is of another training */
} train_options;
train_options train_options_default(void);

/* How a policy has its loss scaled: as it says, else as the workload does. */
mpt_loss_scale_policy train_loss_scale(const workload *w, const mpt_policy *policy);

typedef struct train_result {
  int64_t first_step; /* of this process: where a checkpoint was continued, else 0 */
  int64_t steps_done;
  bool stopped;        /* by on_step */
  bool diverged;       /* the loss became non-finite, or no loss scale helps */
  double metric;       /* held-out, in the policy's formats, scales frozen, after the last step (or
                          `until`); NaN if diverged */
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
  double total_seconds; /* like report.skipped, of all processes that trained the run; of a fork
                           its own */
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
