/* The records of bench_horizon. */
#include "base/error.h"
#include "base/file.h"
#include "tests/bench/horizon/horizon.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_BYTES = 16 << 20 }; /* so that it can be carried from machine to machine */

static mpt_status keep(horizon_store *s, json_t *record, mpt_error *error) {
  if (s->count == s->capacity) {
    int capacity = s->capacity > 0 ? 2 * s->capacity : 64;
    json_t **records = realloc(s->records, (size_t)capacity * sizeof(json_t *));
    if (records == NULL) {
      json_decref(record);
      return mpt_fail_memory(error, "the records", (size_t)capacity * sizeof(json_t *));
    }
    s->records = records;
    s->capacity = capacity;
  }
  s->records[s->count++] = record;
  return MPT_OK;
}

static mpt_status read_lines(horizon_store *s, const char *text, mpt_error *error) {
  for (const char *end; (end = strchr(text, '\n')) != NULL; text = end + 1) {
    json_t *record = NULL;
    MPT_RETURN_IF_FAILED(mpt_json_parse(text, (size_t)(end - text), s->path, &record, error));
    MPT_RETURN_IF_FAILED(keep(s, record, error));
  }
  return MPT_OK;
}

mpt_status horizon_store_open(horizon_store *s, const char *directory, mpt_error *error) {
  char *text = NULL;
  size_t length;
  mpt_error local = {0};
  *s = (horizon_store){0};
  MPT_RETURN_IF_FAILED(mpt_directory_make(directory, error));
  snprintf(s->path, sizeof s->path, "%s/horizon.jsonl", directory);
  mpt_status status = mpt_file_read(s->path, MOST_BYTES, &text, &length, &local);
  if (status == MPT_ERROR_NOT_FOUND)
    return MPT_OK;
  if (status == MPT_OK) {
    const char *last = memrchr(text, '\n', length);
    const size_t whole = last != NULL ? (size_t)(last - text) + 1 : 0;
    if (whole < length && truncate(s->path, (off_t)whole) != 0)
      status = mpt_fail(&local, MPT_ERROR_IO, "cannot shorten '%s': %s", s->path, strerror(errno));
    text[whole] = '\0';
  }
  if (status == MPT_OK)
    status = read_lines(s, text, &local);
  free(text);
  if (status != MPT_OK)
    *error = local;
  return status;
}

void horizon_store_close(horizon_store *s) {
  for (int i = 0; i < s->count; i++)
    json_decref(s->records[i]);
  free(s->records);
  *s = (horizon_store){0};
}

static mpt_status append(const char *path, const char *line, size_t length, mpt_error *error) {
  int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  bool good = file >= 0 && write(file, line, length) == (ssize_t)length && fsync(file) == 0;
  if (file >= 0)
    close(file);
  return good ? MPT_OK
              : mpt_fail(error, MPT_ERROR_IO, "cannot add to '%s': %s", path, strerror(errno));
}

mpt_status horizon_store_add(horizon_store *s, json_t *record, mpt_error *error) {
  char *text = NULL;
  json_t *copy = json_incref(record);
  mpt_status status = mpt_json_dump(record, JSON_COMPACT, "a record", &text, error);
  if (status != MPT_OK) {
    json_decref(copy);
    return status;
  }
  const size_t length = strlen(text);
  text[length] = '\n'; /* in place of the NUL */
  status = append(s->path, text, length + 1, error);
  free(text);
  if (status == MPT_OK)
    return keep(s, copy, error);
  json_decref(copy);
  return status;
}

const json_t *horizon_find(const horizon_store *s, const char *kind, const char *policy,
                           int64_t seed, int64_t step) {
  for (int i = 0; i < s->count; i++) {
    const json_t *r = s->records[i];
    const char *of = json_string_value(json_object_get(r, "policy"));
    if (strcmp(json_string_value(json_object_get(r, "kind")), kind) == 0 &&
        (policy == NULL || (of != NULL && strcmp(of, policy) == 0)) &&
        (seed < 0 || horizon_integer(r, "seed") == seed) &&
        (step < 0 || horizon_integer(r, "step") == step))
      return r;
  }
  return NULL;
}

int64_t horizon_integer(const json_t *record, const char *name) {
  return json_integer_value(json_object_get(record, name));
}

static double value_of(const json_t *number) {
  return json_is_number(number) ? json_number_value(number) : NAN;
}

double horizon_real(const json_t *record, const char *name) {
  return value_of(json_object_get(record, name));
}

double horizon_number(const json_t *record, const char *list, int64_t i) {
  return value_of(json_array_get(json_object_get(record, list), (size_t)i));
}

int64_t horizon_length(const json_t *record, const char *list) {
  return (int64_t)json_array_size(json_object_get(record, list));
}
