/* Opening a data set, its two parts, and batches of them. */
#include "base/error.h"
#include "base/random.h"
#include "base/sha256.h"
#include "data/source.h"
#include <stdlib.h>
#include <string.h>

/* Which samples are held out must not depend on the seed of a run. */
#define SPLIT_KEY 0x6d7074756e65ull
enum { HELD_OUT_WINDOWS = 64 };

static mpt_status (*const openers[])(const data_spec *, dataset *, mpt_error *) = {
    [DATA_IDX] = idx_open,
    [DATA_CSV] = csv_open,
    [DATA_BYTES] = bytes_open,
    [DATA_TOKENS] = tokens_open,
    [DATA_SYNTHETIC] = synthetic_open,
};

/* ---- content ---- */

static void hash_content(dataset *data) {
  mpt_sha256 hash;
  size_t samples = (size_t)data->samples, values = samples * (size_t)data->sample_size;
  int64_t numbers[] = {data->info.rank,     data->info.shape[0],
                       data->info.shape[1], data->info.shape[2],
                       data->info.classes,  data->info.targets,
                       data->samples,       data->info.held_out * data->separate};
  mpt_sha256_begin(&hash);
  mpt_sha256_add(&hash, numbers, sizeof numbers);
  if (data->features != NULL)
    mpt_sha256_add(&hash, data->features, values * sizeof *data->features);
  if (data->bytes != NULL)
    mpt_sha256_add(&hash, data->bytes, values);
  if (data->labels != NULL)
    mpt_sha256_add(&hash, data->labels, samples * sizeof *data->labels);
  if (data->targets != NULL)
    mpt_sha256_add(&hash, data->targets,
                   samples * (size_t)data->info.targets * sizeof *data->targets);
  if (data->ids != NULL)
    mpt_sha256_add(&hash, data->ids, (size_t)data->id_count * sizeof *data->ids);
  if (data->wide_ids != NULL)
    mpt_sha256_add(&hash, data->wide_ids, (size_t)data->id_count * sizeof *data->wide_ids);
  mpt_sha256_end(&hash, data->info.hash);
}

mpt_status dataset_open(const data_spec *spec, dataset **out, mpt_error *error) {
  dataset *data = calloc(1, sizeof *data);
  if (data == NULL)
    return mpt_fail_memory(error, "a data set", sizeof *data);
  data->info.classes = spec->classes;
  mpt_status status = openers[spec->kind](spec, data, error);
  if (status != MPT_OK) {
    dataset_close(data);
    return status;
  }
  hash_content(data);
  *out = data;
  return MPT_OK;
}

void dataset_close(dataset *data) {
  if (data == NULL)
    return;
  free(data->features);
  free(data->bytes);
  free(data->labels);
  free(data->targets);
  free(data->ids);
  free(data->wide_ids);
  free(data);
}

const dataset_info *dataset_get_info(const dataset *data) {
  return &data->info;
}

/* ---- the two parts ---- */

int64_t dataset_stored_index(const dataset *data, int64_t index) {
  /* Held-out samples stand last, behind training samples that a limit may leave unused. */
  if (index >= data->info.training)
    index += data->samples - data->info.held_out - data->info.training;
  return data->separate ? index : shuffle_index(SPLIT_KEY, 0, data->samples, index);
}

mpt_status dataset_split(const data_spec *spec, dataset *data, const char *file, mpt_error *error) {
  int64_t held_out = spec->held_out > 0 ? spec->held_out : data->samples / 5;
  held_out = held_out > 0 ? held_out : 1;
  if (held_out >= data->samples)
    return mpt_fail_at(error, MPT_ERROR_ARGUMENT, file, 0, 0,
                       "%lld samples leave none to train on when %lld are held out",
                       (long long)data->samples, (long long)held_out);
  data->info.held_out = held_out;
  data->info.training = data->samples - held_out;
  bool limited = spec->kind != DATA_SYNTHETIC && spec->samples > 0;
  if (limited && spec->samples < data->info.training)
    data->info.training = spec->samples;
  return MPT_OK;
}

mpt_status dataset_split_ids(const data_spec *spec, dataset *data, const char *file,
                             mpt_error *error) {
  int64_t sequence = spec->sequence, windows = spec->held_out;
  if (windows == 0) {
    windows = data->id_count / (10 * sequence);
    windows = windows < 1 ? 1 : windows > HELD_OUT_WINDOWS ? HELD_OUT_WINDOWS : windows;
  }
  /* Windows of T ids need T + 1: the labels are the next ids. Held-out windows stand side by side
   * and share their borders; training windows start anywhere and end before them. */
  int64_t held_out_ids = windows * sequence + 1;
  int64_t training = data->id_count - held_out_ids - sequence;
  if (training < 1)
    return mpt_fail_at(error, MPT_ERROR_ARGUMENT, file, 0, 0,
                       "%lld ids are too few for %lld held-out windows and one to train on, of "
                       "%lld ids each; take a shorter sequence or more text",
                       (long long)data->id_count, (long long)windows, (long long)sequence);
  data->info.tokens = true;
  data->info.sequence = sequence;
  data->info.training = training;
  data->info.held_out = windows;
  return MPT_OK;
}

/* ---- batches ---- */

mpt_status dataset_batch_make(const dataset *data, int64_t samples, dataset_batch *batch,
                              mpt_error *error) {
  const dataset_info *info = &data->info;
  if (samples < 1)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "a batch of %lld samples", (long long)samples);
  if (samples > info->training)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "a batch of %lld samples is more than the %lld there are to train on; make the "
                    "batch smaller",
                    (long long)samples, (long long)info->training);
  size_t count = (size_t)samples, rows = count * (size_t)(info->tokens ? info->sequence : 1);
  size_t values = count * (size_t)data->sample_size;
  *batch = (dataset_batch){.samples = samples};
  bool labelled = info->classes > 0;
  if (info->tokens)
    batch->ids = calloc(rows, sizeof *batch->ids);
  else
    batch->features = calloc(values, sizeof *batch->features);
  if (labelled)
    batch->labels = calloc(rows, sizeof *batch->labels);
  else
    batch->targets = calloc(count * (size_t)info->targets, sizeof *batch->targets);
  if ((info->tokens ? (void *)batch->ids : (void *)batch->features) == NULL ||
      (labelled ? (void *)batch->labels : (void *)batch->targets) == NULL) {
    dataset_batch_free(batch);
    return mpt_fail_memory(error, "a batch", (rows + values) * sizeof(float));
  }
  return MPT_OK;
}

void dataset_batch_free(dataset_batch *batch) {
  free(batch->features);
  free(batch->ids);
  free(batch->labels);
  free(batch->targets);
  *batch = (dataset_batch){0};
}

static int32_t id_at(const dataset *data, int64_t place) {
  return data->wide_ids != NULL ? (int32_t)data->wide_ids[place] : data->ids[place];
}

/* Writes the window that starts at id `start` to row `row`. */
static void put_window(const dataset *data, int64_t start, int64_t row, dataset_batch *batch) {
  int64_t sequence = data->info.sequence;
  for (int64_t t = 0; t < sequence; t++) {
    batch->ids[row * sequence + t] = id_at(data, start + t);
    batch->labels[row * sequence + t] = id_at(data, start + t + 1);
  }
}

/* Writes sample `stored` to row `row`. */
static void put_sample(const dataset *data, int64_t stored, int64_t row, dataset_batch *batch) {
  int64_t size = data->sample_size, targets = data->info.targets;
  float *features = batch->features + row * size;
  if (data->features != NULL)
    memcpy(features, data->features + stored * size, (size_t)size * sizeof *features);
  else
    for (int64_t i = 0; i < size; i++)
      features[i] = (float)data->bytes[stored * size + i] / 255.0f;
  if (batch->labels != NULL)
    batch->labels[row] = data->labels[stored];
  else
    memcpy(batch->targets + row * targets, data->targets + stored * targets,
           (size_t)targets * sizeof *batch->targets);
}

mpt_status dataset_training_batch(const dataset *data, uint64_t seed, int64_t step,
                                  dataset_batch *batch, mpt_error *error) {
  const dataset_info *info = &data->info;
  if (step < 0 || batch->samples < 1)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "batch %lld of %lld samples", (long long)step,
                    (long long)batch->samples);
  for (int64_t row = 0; row < batch->samples; row++) {
    if (info->tokens) {
      uint32_t random[4];
      mpt_philox(seed, (uint64_t)step, (uint64_t)row, random);
      uint64_t draw = (uint64_t)random[0] << 32 | random[1];
      put_window(data, (int64_t)(draw % (uint64_t)info->training), row, batch);
    } else {
      int64_t drawn = step * batch->samples + row;
      int64_t index = shuffle_index(seed, (uint64_t)(drawn / info->training), info->training,
                                    drawn % info->training);
      put_sample(data, dataset_stored_index(data, index), row, batch);
    }
  }
  return MPT_OK;
}

mpt_status dataset_held_out_batch(const dataset *data, int64_t first, dataset_batch *batch,
                                  int64_t *filled, mpt_error *error) {
  const dataset_info *info = &data->info;
  if (first < 0 || first > info->held_out)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "held-out sample %lld of %lld", (long long)first,
                    (long long)info->held_out);
  int64_t count = info->held_out - first;
  count = count < batch->samples ? count : batch->samples;
  int64_t held_out_ids = info->held_out * info->sequence + 1;
  for (int64_t row = 0; row < count; row++) {
    if (info->tokens)
      put_window(data, data->id_count - held_out_ids + (first + row) * info->sequence, row, batch);
    else
      put_sample(data, dataset_stored_index(data, info->training + first + row), row, batch);
  }
  *filled = count;
  return MPT_OK;
}
