/* Checkpoints: a line of JSON, then raw numbers of this machine (little-endian).
 *
 *   {"schema": "mptune/checkpoint@1", "step": 100, "parameters": [{"name": ..., "shape": [...]},
 *    ...], "moments": 2, "losses": 100, "session": 512, "steps": 500, "seed": "1"}\n
 *   weights       fp32, parameter after parameter
 *   moments       fp32, as often as said, in the same order
 *   losses        fp64, of the steps done
 *   session       bytes of mpt_session_get_state: loss scale, histories of amax, steps applied
 *
 * A file of weights alone (train --save-init) has moments, losses and session 0.
 */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "train/training.h"
#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char schema[] = "mptune/checkpoint@1";
static const size_t size_limit = (size_t)1 << 36;

static size_t weight_count(const network *n) {
  size_t count = 0;
  for (int i = 0; i < n->parameter_count; i++)
    count += (size_t)n->parameters[i].count;
  return count;
}

/* ---- saving ---- */

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

static char *header_text(const training *t, bool weights_only) {
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
  json_t *root = mpt_json_pack("{s:s, s:I, s:o, s:i, s:I, s:I, s:I, s:s}", "schema", schema, "step",
                               (json_int_t)(weights_only ? 0 : t->step), "parameters", parameters,
                               "moments", weights_only ? 0 : n->moments, "losses",
                               (json_int_t)(weights_only ? 0 : t->step), "session",
                               (json_int_t)(weights_only ? 0 : mpt_session_state_bytes(n->session)),
                               "steps", (json_int_t)t->options->steps, "seed", seed);
  char *text = root != NULL ? json_dumps(root, JSON_COMPACT) : NULL;
  json_decref(root);
  return text;
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
  char *buffer = NULL, *header = header_text(t, weights_only);
  if (header == NULL)
    return mpt_fail_memory(error, "a checkpoint", 0);
  int rows = weights_only ? 1 : 1 + n->moments;
  size_t losses = weights_only ? 0 : (size_t)t->step * sizeof(double);
  size_t session = weights_only ? 0 : mpt_session_state_bytes(n->session);
  size_t line = strlen(header) + 1;
  size_t size = line + (size_t)rows * weight_count(n) * sizeof(float) + losses + session;
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
  MPT_TRY(mpt_file_write(path, buffer, size, error));
fail:
  free(buffer);
  free(header);
  return status;
}

/* ---- loading ---- */

typedef struct checkpoint_file {
  char *data;
  size_t length;
  json_t *header;
  const char *numbers; /* behind the header */
  size_t numbers_length;
  json_int_t step, steps, moments, losses, session;
  const char *seed;
} checkpoint_file;

static void close_file(checkpoint_file *file) {
  json_decref(file->header);
  free(file->data);
  *file = (checkpoint_file){0};
}

static mpt_status check_parameters(const network *n, const char *path, json_t *list,
                                   mpt_error *error) {
  if ((size_t)n->parameter_count != json_array_size(list))
    return mpt_fail(error, MPT_ERROR_MISMATCH,
                    "checkpoint '%s' has %zu parameters, the model has %d", path,
                    json_array_size(list), n->parameter_count);
  for (int i = 0; i < n->parameter_count; i++) {
    const network_parameter *p = &n->parameters[i];
    json_t *entry = json_array_get(list, (size_t)i), *shape = json_object_get(entry, "shape");
    const char *name = json_string_value(json_object_get(entry, "name"));
    if (name == NULL || strcmp(name, p->name) != 0)
      return mpt_fail(error, MPT_ERROR_MISMATCH,
                      "checkpoint '%s' has parameter '%s' where the model has '%s'", path,
                      name != NULL ? name : "", p->name);
    bool same = json_array_size(shape) == (size_t)p->what.rank;
    for (int d = 0; same && d < p->what.rank; d++)
      same = json_integer_value(json_array_get(shape, (size_t)d)) == p->what.shape[d];
    if (!same)
      return mpt_fail(error, MPT_ERROR_MISMATCH,
                      "checkpoint '%s': parameter '%s' has another shape than in the model", path,
                      name);
  }
  return MPT_OK;
}

static mpt_status check_schema(const char *path, json_t *header, mpt_error *error) {
  const char *found = json_string_value(json_object_get(header, "schema"));
  if (found != NULL && strcmp(found, schema) == 0)
    return MPT_OK;
  if (found != NULL && strncmp(found, schema, strlen(schema) - 1) == 0)
    return mpt_fail(error, MPT_ERROR_VERSION, "checkpoint '%s' is %s, this program reads %s", path,
                    found, schema);
  return mpt_fail(error, MPT_ERROR_SYNTAX, "'%s' is not a checkpoint of mptune", path);
}

static mpt_status check_length(const network *n, const char *path, const checkpoint_file *file,
                               mpt_error *error) {
  const json_int_t most = (json_int_t)1 << 40;
  bool sane = file->moments >= 0 && file->moments <= 2 && file->losses >= 0 &&
              file->losses < most && file->session >= 0 && file->session < most;
  size_t expected = (size_t)(1 + file->moments) * weight_count(n) * sizeof(float) +
                    (size_t)file->losses * sizeof(double) + (size_t)file->session;
  if (sane && expected == file->numbers_length)
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_SYNTAX,
                  "checkpoint '%s' is damaged: %zu bytes of numbers where %zu belong", path,
                  file->numbers_length, sane ? expected : 0);
}

static mpt_status open_file(const network *n, const char *path, checkpoint_file *file,
                            mpt_error *error) {
  mpt_status status = MPT_OK;
  *file = (checkpoint_file){0};
  MPT_RETURN_IF_FAILED(mpt_file_read(path, size_limit, &file->data, &file->length, error));
  const char *end = memchr(file->data, '\n', file->length);
  size_t line = end != NULL ? (size_t)(end - file->data) : 0;
  file->header = json_loadb(file->data, line, 0, NULL);
  MPT_TRY(check_schema(path, file->header, error));
  file->numbers = file->data + line + 1;
  file->numbers_length = file->length - line - 1;
  if (json_unpack(file->header, "{s:I, s:I, s:I, s:I, s:I, s:s}", "step", &file->step, "steps",
                  &file->steps, "moments", &file->moments, "losses", &file->losses, "session",
                  &file->session, "seed", &file->seed) != 0) {
    status = mpt_fail(error, MPT_ERROR_SYNTAX, "checkpoint '%s' has a damaged header", path);
    goto fail;
  }
  MPT_TRY(check_parameters(n, path, json_object_get(file->header, "parameters"), error));
  MPT_TRY(check_length(n, path, file, error));
  return MPT_OK;
fail:
  close_file(file);
  return status;
}

static mpt_status load_row(network *n, int row, const char **at, mpt_error *error) {
  for (int i = 0; i < n->parameter_count; i++) {
    const network_parameter *p = &n->parameters[i];
    size_t bytes = (size_t)p->count * sizeof(float);
    float *values = malloc(bytes);
    if (values == NULL)
      return mpt_fail_memory(error, p->name, bytes);
    memcpy(values, *at, bytes);
    mpt_status status =
        mpt_tensor_upload(n->queue, values, row == 0 ? &p->weight : &p->moments[row - 1], error);
    free(values);
    MPT_RETURN_IF_FAILED(status);
    *at += bytes;
  }
  return MPT_OK;
}

mpt_status checkpoint_load_weights(training *t, const char *path, mpt_error *error) {
  checkpoint_file file;
  MPT_RETURN_IF_FAILED(open_file(t->net, path, &file, error));
  const char *at = file.numbers;
  mpt_status status = load_row(t->net, 0, &at, error);
  close_file(&file);
  return status;
}

static mpt_status check_same_run(const training *t, const char *path, const checkpoint_file *file,
                                 mpt_error *error) {
  char seed[32];
  snprintf(seed, sizeof seed, "%" PRIu64, t->options->seed);
  const char *what =
      file->session == 0                             ? "holds weights alone"
      : strcmp(seed, file->seed) != 0                ? "is of another seed"
      : file->steps != (json_int_t)t->options->steps ? "is of a run of another length"
      : file->moments != t->net->moments             ? "is of another optimizer"
      : file->step < 0 || file->step > file->steps || file->losses != file->step ? "is damaged"
                                                                                 : NULL;
  if (what == NULL)
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_MISMATCH,
                  "checkpoint '%s' %s; remove it to start from the beginning", path, what);
}

mpt_status checkpoint_resume(training *t, const char *path, bool *found, mpt_error *error) {
  checkpoint_file file;
  mpt_error local = {0};
  *found = false;
  mpt_status status = open_file(t->net, path, &file, &local);
  if (status == MPT_ERROR_NOT_FOUND)
    return MPT_OK;
  if (status != MPT_OK) {
    if (error != NULL)
      *error = local;
    return status;
  }
  MPT_TRY(check_same_run(t, path, &file, error));
  const char *at = file.numbers;
  for (int row = 0; row <= t->net->moments; row++)
    MPT_TRY(load_row(t->net, row, &at, error));
  memcpy(t->losses, at, (size_t)file.losses * sizeof(double));
  at += (size_t)file.losses * sizeof(double);
  MPT_TRY(mpt_session_set_state(t->net->session, at, (size_t)file.session, error));
  t->step = file.step;
  *found = true;
fail:
  close_file(&file);
  return status;
}
