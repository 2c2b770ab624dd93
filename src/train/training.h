/* A training run under way: what the files of the trainer share. */
#ifndef TRAINING_H
#define TRAINING_H

#include "train/network.h"

typedef struct training {
  const train_options *options;
  const workload *w;
  const graph *g;
  network *net;
  dataset_batch batch; /* buffers for graph->batch samples */
  float *targets;      /* [rows, outputs]: class labels as float targets; NULL where not needed */
  mpt_tensor target_view;
  float *outputs; /* [graph output's count]: a batch of outputs on the host */
  float *probe;   /* twice that: the output check's, under the policy and plain */
  int64_t step;   /* done so far */
  double *losses; /* [options->steps] */
  double *seconds;
  int64_t timed; /* steps in `seconds` */
} training;

/* loss.c */
/* Mean loss over the first `samples` of the batch at hand; with `scale` > 0 also its gradient times
 * `scale`, into the network's output gradient. */
mpt_status train_loss(training *t, float scale, double *loss, mpt_error *error);

/* update.c: one optimizer step on every parameter. */
mpt_status train_update(training *t, double learning_rate, const mpt_step_state *state,
                        mpt_error *error);

/* metrics.c: metrics on the held-out data, and the output check. */
mpt_status train_evaluate(training *t, train_result *result, mpt_error *error);
/* MPT_ERROR_ARGUMENT when the metric does not fit the loss. */
mpt_status train_check_metric(const workload *w, const dataset_info *info, mpt_error *error);

/* checkpoint.c */
/* MPT_ERROR_IO where a file cannot be written: known before the training, not after it. */
mpt_status checkpoint_check_place(const char *path, mpt_error *error);
/* Weights alone, or everything that a run needs to continue bit for bit. */
mpt_status checkpoint_save(const training *t, const char *path, bool weights_only,
                           mpt_error *error);
mpt_status checkpoint_load_weights(training *t, const char *path, mpt_error *error);
/* *found says whether there was one; it must be of the same run. */
mpt_status checkpoint_resume(training *t, const char *path, bool *found, mpt_error *error);

/* save_batches.c: all of the run's batches, in a file like a checkpoint. */
mpt_status train_save_batches(training *t, const char *path, mpt_error *error);

/* diagnose.c: runs the step again, on the same weights and batches, and says in result->failure and
 * result->report where the first value was not finite. */
mpt_status train_diagnose(training *t, const char *what, train_result *result, mpt_error *error);

/* trainer.c: fills the batch of a pass, and hands it to the network. */
mpt_status train_pass_begin(training *t, int64_t step, int64_t micro, mpt_error *error);

#endif
