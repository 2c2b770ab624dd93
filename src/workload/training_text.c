/* The canonical text of what decides a training run's outcome. */
#include "base/error.h"
#include "base/file.h"
#include "base/sha256.h"
#include "workload/sections.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void layer_text(mpt_text *text, const layer_spec *layer, const layer_spec *previous) {
  mpt_fields_text(text, "layer ", layer_fields, layer_field_count, layer);
  mpt_text_add(text, "layer from=");
  if (layer->input_count == 0) /* written out, so that both ways to say it are one */
    mpt_text_add(text, previous != NULL ? previous->name : "input");
  for (int i = 0; i < layer->input_count; i++)
    mpt_text_addf(text, "%s%s", i > 0 ? "," : "", layer->inputs[i]);
  mpt_text_add(text, "\n");
}

/* The checkpoint counts by its content: another path with the same weights is the same start. */
static mpt_status checkpoint_text(mpt_text *text, const char *path, mpt_error *error) {
  char buffer[1 << 16], hex[65];
  size_t length;
  mpt_sha256 hash;
  FILE *file = fopen(path, "rb");
  if (file == NULL)
    return mpt_fail(error, MPT_ERROR_NOT_FOUND,
                    "cannot read checkpoint '%s'; make one with mptune train", path);
  mpt_sha256_begin(&hash);
  while ((length = fread(buffer, 1, sizeof buffer, file)) > 0)
    mpt_sha256_add(&hash, buffer, length);
  bool failed = ferror(file) != 0;
  fclose(file);
  if (failed)
    return mpt_fail(error, MPT_ERROR_IO, "cannot read checkpoint '%s'", path);
  mpt_sha256_end(&hash, hex);
  mpt_text_addf(text, "checkpoint=%s\n", hex);
  return MPT_OK;
}

/* Of a program its command counts, and not its source, which may be many files: what else results
 * hang on it says itself (hello's versions). */
static mpt_status program_text(const workload *w, char **out, mpt_error *error) {
  mpt_text text = {0};
  mpt_text_addf(&text, "command=%s\nmetric=%s:%s\nsteps=%lld\nloss_scale=%d,%.9g\n", w->command,
                w->metric_name, w->metric_larger ? "max" : "min", (long long)w->steps,
                (int)w->loss_scale.mode, (double)w->loss_scale.initial);
  *out = text.data;
  return text.failed ? mpt_fail_memory(error, "the training text", text.length) : MPT_OK;
}

mpt_status workload_training_text(const workload *w, char **out, mpt_error *error) {
  mpt_text text = {0};
  mpt_status status = MPT_OK;
  if (w->command[0] != '\0')
    return program_text(w, out, error);
  for (int i = 0; i < w->model.layer_count; i++)
    layer_text(&text, &w->model.layers[i], i > 0 ? &w->model.layers[i - 1] : NULL);
  mpt_fields_text(&text, "data ", data_fields, data_field_count, &w->data);
  mpt_text_addf(&text, "data shape=%lld,%lld,%lld\n", (long long)w->data.shape[0],
                (long long)w->data.shape[1], (long long)w->data.shape[2]);
  mpt_text_addf(&text, "loss=%s\nmetric=%s\n", loss_words[w->loss], metric_words[w->metric]);
  mpt_fields_text(&text, "optimizer ", optimizer_fields, optimizer_field_count, &w->optimizer);
  mpt_fields_text(&text, "schedule ", schedule_fields, schedule_field_count, &w->optimizer);
  mpt_text_addf(&text, "batch=%lld\nsteps=%lld\n", (long long)w->batch, (long long)w->steps);
  mpt_text_addf(&text, "loss_scale=%d,%.9g\n", (int)w->loss_scale.mode,
                (double)w->loss_scale.initial);
  if (w->checkpoint[0] != '\0')
    MPT_TRY(checkpoint_text(&text, w->checkpoint, error));
  if (text.failed) {
    status = mpt_fail_memory(error, "the training text", text.length);
    goto fail;
  }
  *out = text.data;
  return MPT_OK;
fail:
  mpt_text_free(&text);
  return status;
}

mpt_status workload_training_hash(const workload *w, char hex[65], mpt_error *error) {
  char *text = NULL;
  MPT_RETURN_IF_FAILED(workload_training_text(w, &text, error));
  mpt_sha256_hex(text, strlen(text), hex);
  free(text);
  return MPT_OK;
}
