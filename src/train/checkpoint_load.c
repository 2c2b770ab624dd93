/* Loading checkpoints (checkpoint.c has the layout), and what a run is continued from. What a file
 * says is not believed: it is checked before anything is computed from it. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "train/checkpoint.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t size_limit = (size_t)1 << 36;

typedef struct checkpoint_file {
  char *data;
  size_t length;
  json_t *header;
  bool old;            /* version 1: nothing is known of what it was trained on */
  const char *numbers; /* behind the header */
  size_t numbers_length;
  json_int_t step, steps, moments, losses, session, seconds;
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

static mpt_status check_schema(const char *path, checkpoint_file *file, mpt_error *error) {
  const char *found = json_string_value(json_object_get(file->header, "schema"));
  file->old = found != NULL && strcmp(found, CHECKPOINT_OLD_SCHEMA) == 0;
  if (file->old || (found != NULL && strcmp(found, CHECKPOINT_SCHEMA) == 0))
    return MPT_OK;
  if (found != NULL && strncmp(found, CHECKPOINT_SCHEMA, strlen(CHECKPOINT_SCHEMA) - 1) == 0)
    return mpt_fail(error, MPT_ERROR_VERSION, "checkpoint '%s' is %s, this program reads %s and %s",
                    path, found, CHECKPOINT_OLD_SCHEMA, CHECKPOINT_SCHEMA);
  return mpt_fail(error, MPT_ERROR_SYNTAX, "'%s' is not a checkpoint of mptune", path);
}

/* Takes what a part needs from what is left of the file, by division: what a header says may be any
 * number, and a product of it any size. */
static bool take(size_t *left, json_int_t count, size_t size) {
  if (count < 0 || size == 0 || (uint64_t)count > *left / size)
    return false;
  *left -= (size_t)count * size;
  return true;
}

static mpt_status check_length(const network *n, const char *path, const checkpoint_file *file,
                               mpt_error *error) {
  const size_t row = checkpoint_weight_count(n) * sizeof(float);
  size_t left = file->numbers_length;
  if (file->moments >= 0 && file->moments <= 2 && take(&left, 1 + file->moments, row) &&
      take(&left, file->losses, sizeof(double)) && take(&left, file->session, 1) &&
      file->seconds <= 1 && take(&left, file->seconds, sizeof(double)) && left == 0)
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_SYNTAX,
                  "checkpoint '%s' is damaged: its %zu bytes of numbers are not what its header "
                  "says",
                  path, file->numbers_length);
}

static mpt_status open_file(const network *n, const char *path, checkpoint_file *file,
                            mpt_error *error) {
  mpt_status status = MPT_OK;
  *file = (checkpoint_file){0};
  MPT_RETURN_IF_FAILED(mpt_file_read(path, size_limit, &file->data, &file->length, error));
  const char *end = memchr(file->data, '\n', file->length);
  if (end == NULL) {
    status = mpt_fail(error, MPT_ERROR_SYNTAX, "'%s' is not a checkpoint of mptune", path);
    goto fail;
  }
  const size_t line = (size_t)(end - file->data);
  status = mpt_json_parse(file->data, line, path, &file->header, error);
  if (status == MPT_ERROR_MEMORY)
    goto fail;
  MPT_TRY(check_schema(path, file, error));
  file->numbers = file->data + line + 1;
  file->numbers_length = file->length - line - 1;
  if (json_unpack(file->header, "{s:I, s:I, s:I, s:I, s:I, s?I, s:s}", "step", &file->step, "steps",
                  &file->steps, "moments", &file->moments, "losses", &file->losses, "session",
                  &file->session, "seconds", &file->seconds, "seed", &file->seed) != 0) {
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

static mpt_status refuse(const char *path, const char *why, mpt_error *error) {
  return mpt_fail(error, MPT_ERROR_MISMATCH,
                  "checkpoint '%s' %s; remove it to start from the beginning", path, why);
}

/* An older checkpoint tells no more than this of its run. */
static mpt_status check_old_run(const training *t, const char *path, const checkpoint_file *file,
                                mpt_error *error) {
  char seed[32];
  snprintf(seed, sizeof seed, "%" PRIu64, t->options->seed);
  if (strcmp(seed, file->seed) != 0 && !t->options->force)
    return refuse(path, "is of another seed", error);
  if (file->steps != (json_int_t)t->options->steps && !t->options->force)
    return refuse(path, "is of a run of another length", error);
  mpt_log_warning("checkpoint '%s' is of an older mptune (%s): it does not say which model, data, "
                  "optimizer and batch it was trained with, so they are not checked; skipped steps "
                  "and seconds are counted from here on",
                  path, CHECKPOINT_OLD_SCHEMA);
  return MPT_OK;
}

static mpt_status check_origin(const training *t, const char *path, const checkpoint_file *file,
                               mpt_error *error) {
  const char *origin = json_string_value(json_object_get(file->header, "origin"));
  char *differences = NULL;
  if (origin == NULL)
    return refuse(path, "has a damaged header", error);
  if (strcmp(origin, t->origin) == 0)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(checkpoint_origin_differences(origin, t->origin, &differences, error));
  mpt_status status = MPT_OK;
  if (t->options->force)
    mpt_log_warning("checkpoint '%s' is of another training, and is continued all the same: %s",
                    path, differences);
  else
    status = mpt_fail(error, MPT_ERROR_MISMATCH,
                      "checkpoint '%s' is of another training: %s; remove it to start from the "
                      "beginning, or go on with it all the same (--force)",
                      path, differences);
  free(differences);
  return status;
}

/* Whether it is of this run; and whether it can be continued at all, whatever is forced. */
static mpt_status check_run(const training *t, const char *path, const checkpoint_file *file,
                            mpt_error *error) {
  if (file->session == 0)
    return refuse(path, "holds weights alone", error);
  if (file->step < 0 || file->step > file->steps || file->losses != file->step)
    return refuse(path, "is damaged", error);
  MPT_RETURN_IF_FAILED(file->old ? check_old_run(t, path, file, error)
                                 : check_origin(t, path, file, error));
  if (file->moments != t->net->moments)
    return refuse(path, "is of another optimizer, which keeps other state", error);
  if (file->step > (json_int_t)t->options->steps)
    return refuse(path, "has more steps than this run shall have", error);
  return MPT_OK;
}

static void warn_of_arithmetic(const training *t, const char *path, const checkpoint_file *file) {
  const char *here = mpt_queue_backend(t->net->queue);
  const char *there = json_string_value(json_object_get(file->header, "backend"));
  const json_int_t numerics = json_integer_value(json_object_get(file->header, "numerics"));
  if (there != NULL && (strcmp(here, there) != 0 || numerics != checkpoint_numerics(here)))
    mpt_log_warning(
        "checkpoint '%s' was trained on the %s backend, numerics %lld, and is continued "
        "on %s, numerics %d: not to the same bits",
        path, there, (long long)numerics, here, checkpoint_numerics(here));
}

/* Under --force another policy begins with scales of its own, but not with another count of
 * updates, by which Adam corrects its moments. */
static mpt_status set_session(training *t, const char *path, const char *at, size_t size,
                              mpt_error *error) {
  mpt_error local = {0};
  mpt_status status = mpt_session_set_state(t->net->session, at, size, &local);
  if (status == MPT_ERROR_MISMATCH && t->options->force) {
    mpt_log_warning("checkpoint '%s': the scales of fp8 begin anew, and a loss scale that it has "
                    "not: %s",
                    path, local.message);
    return mpt_session_adopt_state(t->net->session, at, size, error);
  }
  if (status != MPT_OK && error != NULL)
    *error = local;
  return status;
}

/* Weights and moments, and the losses of the steps done; *at becomes where the session's state is.
 */
static mpt_status load_training(training *t, const checkpoint_file *file, const char **at,
                                mpt_error *error) {
  *at = file->numbers;
  for (int row = 0; row <= t->net->moments; row++)
    MPT_RETURN_IF_FAILED(load_row(t->net, row, at, error));
  memcpy(t->losses, *at, (size_t)file->losses * sizeof(double));
  *at += (size_t)file->losses * sizeof(double);
  t->step = file->step;
  return MPT_OK;
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
  MPT_TRY(check_run(t, path, &file, error));
  warn_of_arithmetic(t, path, &file);
  const char *at;
  MPT_TRY(load_training(t, &file, &at, error));
  MPT_TRY(set_session(t, path, at, (size_t)file.session, error));
  if (file.seconds > 0)
    memcpy(&t->seconds_before, at + file.session, sizeof t->seconds_before);
  if (!(t->seconds_before >= 0 && t->seconds_before < 1e12))
    t->seconds_before = 0;
  t->skipped = json_integer_value(json_object_get(file.header, "skipped"));
  if (t->skipped < 0 || t->skipped > file.step) {
    status = refuse(path, "is damaged", error);
    goto fail;
  }
  *found = true;
fail:
  close_file(&file);
  return status;
}

/* ---- forks ---- */

static mpt_status refuse_fork(const char *path, const char *why, mpt_error *error) {
  return mpt_fail(error, MPT_ERROR_MISMATCH, "checkpoint '%s' %s: no fork begins there", path, why);
}

/* Whether it is of the trajectory that the options are of, whatever the policy. */
static mpt_status check_trajectory(const training *t, const char *path, const char *origin,
                                   mpt_error *error) {
  mpt_status status = MPT_OK;
  char *differences = NULL, *then = checkpoint_origin_of_any_policy(origin),
       *now = checkpoint_origin_of_any_policy(t->origin);
  if (then == NULL || now == NULL) {
    status = mpt_fail_memory(error, "what the checkpoint was trained on", strlen(origin));
    goto fail;
  }
  if (strcmp(then, now) == 0)
    goto fail;
  MPT_TRY(checkpoint_origin_differences(then, now, &differences, error));
  status = mpt_fail(error, MPT_ERROR_MISMATCH,
                    "checkpoint '%s' is of another trajectory: %s; a fork goes on with the same "
                    "training under another policy",
                    path, differences);
fail:
  free(differences);
  free(then);
  free(now);
  return status;
}

static mpt_status check_fork(const training *t, const char *path, const checkpoint_file *file,
                             mpt_error *error) {
  const char *here = mpt_queue_backend(t->net->queue);
  const char *there = json_string_value(json_object_get(file->header, "backend"));
  const char *origin = json_string_value(json_object_get(file->header, "origin"));
  if (file->old)
    return refuse_fork(path, "is of an older mptune and does not say what it was trained on",
                       error);
  if (file->session == 0)
    return refuse_fork(path, "holds weights alone", error);
  if (origin == NULL || file->step < 0 || file->losses != file->step)
    return refuse_fork(path, "is damaged", error);
  MPT_RETURN_IF_FAILED(check_trajectory(t, path, origin, error));
  if (file->moments != t->net->moments)
    return refuse_fork(path, "is damaged", error);
  if (file->step >= (json_int_t)t->until)
    return refuse_fork(path, "has all the steps that the fork shall have", error);
  if (there == NULL || strcmp(here, there) != 0 ||
      json_integer_value(json_object_get(file->header, "numerics")) != checkpoint_numerics(here))
    return refuse_fork(path,
                       "was trained with other arithmetic (another backend, or another "
                       "version of it)",
                       error);
  return MPT_OK;
}

mpt_status checkpoint_fork(training *t, const char *path, mpt_error *error) {
  checkpoint_file file;
  mpt_status status = MPT_OK;
  const char *at;
  MPT_RETURN_IF_FAILED(open_file(t->net, path, &file, error));
  MPT_TRY(check_fork(t, path, &file, error));
  MPT_TRY(load_training(t, &file, &at, error));
  const char *origin = json_string_value(json_object_get(file.header, "origin"));
  status = strcmp(origin, t->origin) == 0
               ? mpt_session_set_state(t->net->session, at, (size_t)file.session, error)
               : mpt_session_adopt_state(t->net->session, at, (size_t)file.session, error);
fail:
  close_file(&file);
  return status;
}
