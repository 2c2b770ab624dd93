/* A training run under way: what the files of the trainer share. */
#ifndef TRAINING_H
#define TRAINING_H

#include "train/network.h"

/* Losses of a step that a slot of the queue holds: with more micro-batches the host waits for each.
 */
enum { MOST_LOSSES = MPT_FETCH_BYTES / sizeof(double) };

typedef struct training {
  const train_options *options;
  const workload *w;
  const graph *g;
  network *net;
  dataset_batch batch; /* buffers for graph->batch samples */
  float *targets;      /* [rows, outputs]: class labels as float targets; NULL where not needed */
  mpt_tensor target_view;
  float *outputs; /* [graph output's count]: a batch of outputs on the host, or NULL */
  float *probe;   /* [2][probe_rows of outputs]: the output check's, under the policy and plain */
  int64_t probe_rows;

  /* In device memory. */
  int32_t *labels;       /* [graph->rows] */
  double *device_losses; /* [passes of a step] */
  float *learning_rate;  /* of this step */
  uint32_t *bits;        /* of an amax */

  int64_t step;       /* begun so far */
  int64_t first_step; /* of this process */
  int64_t until;      /* the step to stop before */
  char *origin;       /* what it is trained on (checkpoint_origin), NULL where nothing is saved */
  char training_hash[65];       /* of the workload's part of that */
  int64_t skipped;              /* steps, in all processes of the run */
  double began, seconds_before; /* host time; and what earlier processes took */
  double *losses;               /* [options->steps] */
  double *seconds;
  int64_t timed; /* steps in `seconds` */

  /* A GPU is kept busy: the outcome of a step is waited for once the next one has begun. */
  bool lags;
  int64_t taken;    /* outcomes so far */
  double loss;      /* of the step at hand, where the host reads it after each micro-batch */
  bool ended_early; /* the loss was not finite, known before the backward pass */
  double started;   /* host time */
  mpt_recording *recordings[2]; /* of a whole step, and of one with statistics; NULL before */
  int64_t run_plainly;          /* steps that were run operation by operation */
} training;

/* loss.c */
/* Mean loss over the batch at hand into *loss, in device memory; with `scale` > 0 also its gradient
 * times `scale` and the step's loss scale, into the network's output gradient. */
mpt_status train_loss(training *t, float scale, double *loss, mpt_error *error);
mpt_status train_read_loss(training *t, const double *loss, double *value, mpt_error *error);

/* update.c: one optimizer step on every parameter, at the learning rate on the device. */
mpt_status train_update(training *t, const mpt_step_state *state, mpt_error *error);

/* Outputs of a row: the last dimension of the network's output. */
static inline int64_t train_output_columns(const training *t) {
  const graph_tensor *out = &t->g->tensors[t->g->output];
  return out->shape[out->rank - 1];
}

/* metrics.c: metrics on the held-out data, and the output check. */
mpt_status train_evaluate(training *t, train_result *result, mpt_error *error);
/* The loss alone, in the policy's formats, between steps. */
mpt_status train_held_out_loss(training *t, double *loss, mpt_error *error);
/* MPT_ERROR_ARGUMENT when the metric does not fit the loss. */
mpt_status train_check_metric(const workload *w, const dataset_info *info, mpt_error *error);

/* checkpoint.c, checkpoint_load.c */
/* MPT_ERROR_IO where a file cannot be written: known before the training, not after it. */
mpt_status checkpoint_check_place(const char *path, mpt_error *error);
/* Weights alone, or everything that a run needs to continue bit for bit. */
mpt_status checkpoint_save(const training *t, const char *path, bool weights_only,
                           mpt_error *error);
mpt_status checkpoint_load_weights(training *t, const char *path, mpt_error *error);
/* *found says whether there was one; it must be of the same run, or options->force. */
mpt_status checkpoint_resume(training *t, const char *path, bool *found, mpt_error *error);
/* Begins a fork (trainer.h). MPT_ERROR_MISMATCH names what differs from the trajectory. */
mpt_status checkpoint_fork(training *t, const char *path, mpt_error *error);

/* checkpoint_origin.c: t->origin, what a run is trained on, a line "key=value" for each fact. */
mpt_status checkpoint_origin(training *t, mpt_error *error);

/* save_batches.c: all of the run's batches, in a file like a checkpoint. */
mpt_status train_save_batches(training *t, const char *path, mpt_error *error);

/* diagnose.c: runs the step again, on the same weights and batches, and says in result->failure and
 * result->report where the first value was not finite. */
mpt_status train_diagnose(training *t, const char *what, train_result *result, mpt_error *error);

/* snapshot.c: between steps; restored in a training with the same layers and formats. */
mpt_status train_snapshot_take(const training *t, train_snapshot *snapshot, mpt_error *error);
mpt_status train_snapshot_restore(training *t, const train_snapshot *snapshot, mpt_error *error);

/* training_open.c: checks the options, takes all memory, and sets initial weights or a
 * checkpoint's. Closed by training_close in any case. */
mpt_status training_open(training *t, const train_options *options, mpt_error *error);
void training_close(training *t);
/* Labels, losses and targets on the device. */
mpt_status train_take_device_memory(training *t, mpt_error *error);

/* training_batch.c */
/* What the run took so far, in all processes. */
double training_seconds(const training *t);
/* Fills the batch of a pass, and hands it to the network. */
mpt_status train_pass_begin(training *t, int64_t step, int64_t micro, mpt_error *error);
/* Hands the first `samples` of t->batch to the network, and its labels to the device. */
mpt_status train_set_batch(training *t, int64_t samples, mpt_error *error);

#endif
