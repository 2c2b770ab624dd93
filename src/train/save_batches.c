/* The batches that a run trains on, for programs that are compared with it: a line of JSON, then
 * raw fp32, as in a checkpoint.
 *
 *   {"schema": "mptune/batches@1", "seed": "1", "tensors": [{"name": "features",
 *    "shape": [passes, batch, ...]}, {"name": "labels", "shape": [passes, batch]}]}\n
 *
 * A pass is a step, or a micro-batch of one. Token data has "ids" and "labels" of [passes, batch,
 * sequence], data with float targets "targets" instead of labels. Ids and labels are whole numbers.
 */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "train/training.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct batch_sizes {
  int64_t passes, inputs, outputs; /* numbers of a batch */
} batch_sizes;

static json_t *tensor_entry(const char *name, int rank, const int64_t *shape) {
  json_t *sizes = json_array();
  for (int i = 0; i < rank; i++)
    mpt_json_append(&sizes, json_integer(shape[i]));
  return mpt_json_pack("{s:s, s:o}", "name", name, "shape", sizes);
}

static char *header_text(const training *t, batch_sizes *sizes) {
  const dataset_info *info = dataset_get_info(t->options->data);
  int64_t shape[2 + 3] = {sizes->passes, t->batch.samples};
  int rank = 2;
  if (info->tokens)
    shape[rank++] = info->sequence;
  for (int i = 0; i < info->rank && !info->tokens; i++)
    shape[rank++] = info->shape[i];
  sizes->inputs = 1;
  for (int i = 1; i < rank; i++)
    sizes->inputs *= shape[i];
  json_t *inputs = tensor_entry(info->tokens ? "ids" : "features", rank, shape);
  rank = info->tokens ? 3 : 2;
  if (t->batch.targets != NULL)
    shape[rank++] = info->targets;
  sizes->outputs = 1;
  for (int i = 1; i < rank; i++)
    sizes->outputs *= shape[i];
  json_t *outputs = tensor_entry(t->batch.targets != NULL ? "targets" : "labels", rank, shape);
  char seed[32];
  snprintf(seed, sizeof seed, "%" PRIu64, t->options->seed);
  json_t *root = mpt_json_pack("{s:s, s:s, s:[o, o]}", "schema", "mptune/batches@1", "seed", seed,
                               "tensors", inputs, outputs);
  char *text = NULL;
  return mpt_json_dump(root, JSON_COMPACT, "batches", &text, NULL) == MPT_OK ? text : NULL;
}

static void put_numbers(const float *floats, const int32_t *integers, int64_t count, float *to) {
  for (int64_t i = 0; i < count; i++)
    to[i] = floats != NULL ? floats[i] : (float)integers[i];
}

mpt_status train_save_batches(training *t, const char *path, mpt_error *error) {
  batch_sizes sizes = {.passes = t->options->steps * t->w->optimizer.accumulate};
  mpt_status status = MPT_OK;
  char *buffer = NULL, *header = header_text(t, &sizes);
  if (header == NULL)
    return mpt_fail_memory(error, "batches", 0);
  size_t line = strlen(header) + 1;
  size_t numbers = (size_t)sizes.passes * (size_t)(sizes.inputs + sizes.outputs);
  float *values = calloc(numbers, sizeof *values);
  buffer = malloc(line + numbers * sizeof *values);
  if (values == NULL || buffer == NULL) {
    status = mpt_fail_memory(error, "batches", line + numbers * sizeof *values);
    goto fail;
  }
  for (int64_t pass = 0; pass < sizes.passes; pass++) {
    const dataset_batch *b = &t->batch;
    MPT_TRY(dataset_training_batch(t->options->data, t->options->seed, pass, &t->batch, error));
    put_numbers(b->features, b->ids, sizes.inputs, values + pass * sizes.inputs);
    put_numbers(b->targets, b->labels, sizes.outputs,
                values + sizes.passes * sizes.inputs + pass * sizes.outputs);
  }
  memcpy(buffer, header, line);
  buffer[line - 1] = '\n';
  memcpy(buffer + line, values, numbers * sizeof *values);
  MPT_TRY(mpt_file_write(path, buffer, line + numbers * sizeof *values, error));
fail:
  free(buffer);
  free(values);
  free(header);
  return status;
}
