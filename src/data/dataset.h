/* Data sets: a training part and a held-out part, and batches of them. */
#ifndef DATASET_H
#define DATASET_H

#include "workload/workload.h"

typedef struct dataset dataset;

/* Features are floats [samples, features] or token ids; labels are class ids or float targets. */
typedef struct dataset_info {
  bool tokens; /* inputs are int32 ids, [batch, sequence] */
  int rank;    /* of one sample's shape: 1 features, 3 channels, height, width */
  int64_t shape[3];
  int64_t sequence;           /* tokens */
  int64_t classes;            /* labels in [0, classes); 0: float targets */
  int64_t targets;            /* float targets a sample */
  int64_t training, held_out; /* samples; for tokens, possible windows and held-out windows */
  char hash[65];              /* SHA-256 of the content as used, hex */
} dataset_info;

/* A batch; buffers belong to the caller of dataset_batch_make. For tokens, labels are the next
 * token at each position: batch * sequence of them. */
typedef struct dataset_batch {
  int64_t samples;
  float *features; /* [samples, shape...], NULL for tokens */
  int32_t *ids;    /* [samples, sequence], NULL otherwise */
  int32_t *labels; /* [samples] or [samples, sequence], NULL for float targets */
  float *targets;  /* [samples, targets], NULL otherwise */
} dataset_batch;

mpt_status dataset_open(const data_spec *spec, dataset **out, mpt_error *error);
void dataset_close(dataset *data);
const dataset_info *dataset_get_info(const dataset *data);

mpt_status dataset_batch_make(const dataset *data, int64_t samples, dataset_batch *batch,
                              mpt_error *error);
void dataset_batch_free(dataset_batch *batch);

/* Batch `step` of `seed`: a function of (seed, step) alone. Epochs are shuffled without
 * replacement; tokens are windows drawn at random. Fills batch->samples samples. */
mpt_status dataset_training_batch(const dataset *data, uint64_t seed, int64_t step,
                                  dataset_batch *batch, mpt_error *error);
/* Held-out samples from `first` on, in order; *filled may be less than batch->samples at the end.
 */
mpt_status dataset_held_out_batch(const dataset *data, int64_t first, dataset_batch *batch,
                                  int64_t *filled, mpt_error *error);

#endif
