/* Saving checkpoints: a line of JSON, then raw numbers of this machine (little-endian).
 *
 *   {"schema": "mptune/checkpoint@2", "step": 100, "parameters": [{"name": ..., "shape": [...]},
 *    ...], "moments": 2, "losses": 100, "session": 512, "seconds": 1, "steps": 500, "seed": "1",
 *    "skipped": 0, "backend": "cpu", "numerics": 2, "training_hash": ..., "data_hash": ...,
 *    "origin": "batch=16\n..."}\n
 *   weights       fp32, parameter after parameter
 *   moments       fp32, as often as said, in the same order
 *   losses        fp64, of the steps done
 *   session       bytes of mpt_session_get_state: loss scale, histories of amax, steps applied
 *   seconds       fp64, how long that took: last, so that all before it repeats bit for bit
 *
 * A file of weights alone (train --save-init) has moments, losses, session and seconds 0, and no
 * keys from "skipped" on. Version 1 had neither those nor "seconds" in any file.
 */
#include "train/checkpoint.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int checkpoint_numerics(const char *backend) {
  return strcmp(backend, "cpu") == 0 ? MPTUNE_CPU_NUMERICS : MPTUNE_CUDA_NUMERICS;
}

size_t checkpoint_weight_count(const network *n) {
  size_t count = 0;
  for (int i = 0; i < n->parameter_count; i++)
    count += (size_t)n->parameters[i].count;
  return count;
}

mpt_status checkpoint_check_place(const char *path, mpt_error *error) {
  char folder[4096];
  struct stat place;
  snprintf(folder, sizeof folder, "%s", path);
  if (strlen(path) >= sizeof folder)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "the name of the checkpoint is too long");
  if (stat(path, &place) == 0 && S_ISDIR(place.st_mode))
    return mpt_fail(error, MPT_ERROR_IO, "cannot write checkpoint '%s': it is a directory", path);
  const bool device = stat(path, &place) == 0 && !S_ISREG(place.st_mode);
  if (access(device ? path : dirname(folder), W_OK) != 0)
    return mpt_fail(error, MPT_ERROR_IO, "cannot write checkpoint '%s': %s", path, strerror(errno));
  return MPT_OK;
}

/* What tells a run that may be continued from others. */
static void add_origin(const training *t, json_t **header) {
  const char *backend = mpt_queue_backend(t->net->queue);
  mpt_json_set(header, "skipped", json_integer(t->skipped));
  mpt_json_set(header, "backend", mpt_json_text(backend));
  mpt_json_set(header, "numerics", json_integer(checkpoint_numerics(backend)));
  mpt_json_set(header, "training_hash", mpt_json_text(t->training_hash));
  mpt_json_set(header, "data_hash", mpt_json_text(dataset_get_info(t->options->data)->hash));
  mpt_json_set(header, "origin", mpt_json_text(t->origin));
}

static mpt_status header_text(const training *t, bool weights_only, char **text, mpt_error *error) {
  const network *n = t->net;
  char seed[32];
  snprintf(seed, sizeof seed, "%" PRIu64, t->options->seed);
  json_t *parameters = json_array();
  for (int i = 0; i < n->parameter_count; i++) {
    const network_parameter *p = &n->parameters[i];
    json_t *shape = json_array();
    for (int d = 0; d < p->what.rank; d++)
      mpt_json_append(&shape, json_integer(p->what.shape[d]));
    mpt_json_append(&parameters, mpt_json_pack("{s:s, s:o}", "name", p->name, "shape", shape));
  }
  json_t *root = mpt_json_pack(
      "{s:s, s:I, s:o, s:i, s:I, s:I, s:i, s:I, s:s}", "schema", CHECKPOINT_SCHEMA, "step",
      (json_int_t)(weights_only ? 0 : t->step), "parameters", parameters, "moments",
      weights_only ? 0 : n->moments, "losses", (json_int_t)(weights_only ? 0 : t->step), "session",
      (json_int_t)(weights_only ? 0 : mpt_session_state_bytes(n->session)), "seconds",
      weights_only ? 0 : 1, "steps", (json_int_t)t->options->steps, "seed", seed);
  if (!weights_only)
    add_origin(t, &root);
  return mpt_json_dump(root, JSON_COMPACT, "a checkpoint", text, error);
}

static mpt_status save_row(const network *n, int row, char **at, mpt_error *error) {
  for (int i = 0; i < n->parameter_count; i++) {
    const network_parameter *p = &n->parameters[i];
    const mpt_tensor *from = row == 0 ? &p->weight : &p->moments[row - 1];
    float *values = malloc((size_t)p->count * sizeof *values);
    if (values == NULL)
      return mpt_fail_memory(error, p->name, (size_t)p->count * sizeof *values);
    mpt_status status = mpt_tensor_download(n->queue, from, values, error);
    memcpy(*at, values, (size_t)p->count * sizeof *values);
    free(values);
    MPT_RETURN_IF_FAILED(status);
    *at += (size_t)p->count * sizeof *values;
  }
  return MPT_OK;
}

mpt_status checkpoint_save(const training *t, const char *path, bool weights_only,
                           mpt_error *error) {
  const network *n = t->net;
  mpt_status status = MPT_OK;
  char *buffer = NULL, *header = NULL;
  MPT_RETURN_IF_FAILED(header_text(t, weights_only, &header, error));
  int rows = weights_only ? 1 : 1 + n->moments;
  size_t losses = weights_only ? 0 : (size_t)t->step * sizeof(double);
  size_t session = weights_only ? 0 : mpt_session_state_bytes(n->session);
  size_t line = strlen(header) + 1, seconds = weights_only ? 0 : sizeof(double);
  size_t size =
      line + (size_t)rows * checkpoint_weight_count(n) * sizeof(float) + losses + session + seconds;
  buffer = malloc(size);
  if (buffer == NULL) {
    status = mpt_fail_memory(error, "a checkpoint", size);
    goto fail;
  }
  char *at = buffer;
  memcpy(at, header, line);
  at[line - 1] = '\n';
  at += line;
  for (int row = 0; row < rows; row++)
    MPT_TRY(save_row(n, row, &at, error));
  if (losses > 0)
    memcpy(at, t->losses, losses);
  if (session > 0)
    MPT_TRY(mpt_session_get_state(n->session, at + losses, session, error));
  if (seconds > 0) {
    double so_far = training_seconds(t);
    memcpy(at + losses + session, &so_far, sizeof so_far);
  }
  MPT_TRY(mpt_file_write(path, buffer, size, error));
fail:
  free(buffer);
  free(header);
  return status;
}
