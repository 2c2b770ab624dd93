/* A data set opened as the spec says: where that succeeds every sample can be had. */
#ifndef FUZZ_DATA_H
#define FUZZ_DATA_H

#include "data/dataset.h"
#include "fuzz.h"
#include <math.h>
#include <string.h>

static inline void fuzz_check_batch(const dataset_info *info, const dataset_batch *batch,
                                    int64_t samples) {
  for (int64_t i = 0; batch->labels != NULL && i < samples * (info->tokens ? info->sequence : 1);
       i++)
    FUZZ_REQUIRE(batch->labels[i] >= 0 && batch->labels[i] < info->classes);
  for (int64_t i = 0; batch->ids != NULL && i < samples * info->sequence; i++)
    FUZZ_REQUIRE(batch->ids[i] >= 0 && batch->ids[i] < info->classes);
  int64_t size = 1;
  for (int i = 0; i < info->rank; i++)
    size *= info->shape[i];
  for (int64_t i = 0; batch->features != NULL && i < samples * size; i++)
    FUZZ_REQUIRE(isfinite(batch->features[i]));
  for (int64_t i = 0; batch->targets != NULL && i < samples * info->targets; i++)
    FUZZ_REQUIRE(isfinite(batch->targets[i]));
}

static inline void fuzz_data(const data_spec *spec) {
  dataset *data = NULL;
  mpt_error error = {0};
  if (!fuzz_succeeded(dataset_open(spec, &data, &error), &error)) {
    FUZZ_REQUIRE(data == NULL);
    return;
  }
  const dataset_info *info = dataset_get_info(data);
  FUZZ_REQUIRE(info->training > 0 && info->held_out > 0 && strlen(info->hash) == 64);
  dataset_batch batch;
  int64_t filled = 0;
  fuzz_must(dataset_batch_make(data, 1, &batch, &error), &error);
  for (int64_t step = 0; step < 4; step++) {
    fuzz_must(dataset_training_batch(data, 1, step, &batch, &error), &error);
    fuzz_check_batch(info, &batch, 1);
  }
  for (int64_t first = 0; first < info->held_out && first < 4; first++) {
    fuzz_must(dataset_held_out_batch(data, first, &batch, &filled, &error), &error);
    fuzz_check_batch(info, &batch, filled);
  }
  dataset_batch_free(&batch);
  dataset_close(data);
}

#endif
