/* Token files: the ids of a text, behind a header or alone (token_layout.c). Files stand behind
 * each other. */
#include "base/error.h"
#include "data/source.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BYTES ((int64_t)16 << 30)
enum { NARROW = 1 << 16 }; /* the largest vocabulary whose ids 16 bits hold */

/* A file under way. */
typedef struct token_file {
  data_stream stream;
  token_layout layout;
  int64_t bytes; /* of ids, so far */
  int64_t taken; /* ids */
} token_file;

static int64_t id_value(const uint8_t *bytes, const token_layout *layout) {
  const int size = token_bytes(layout->type);
  uint64_t value = 0;
  for (int i = 0; i < size; i++)
    value |= (uint64_t)bytes[layout->big_endian ? size - 1 - i : i] << 8 * i;
  const int unused = 64 - 8 * size;
  return layout->type >= ID_INT8 ? (int64_t)(value << unused) >> unused : (int64_t)value;
}

static mpt_status fail_range(const data_spec *spec, const token_file *f, int64_t id, int64_t place,
                             mpt_error *error) {
  char text[24];
  if (f->layout.type == ID_UINT64)
    snprintf(text, sizeof text, "%llu", (unsigned long long)id);
  else
    snprintf(text, sizeof text, "%lld", (long long)id);
  return mpt_fail_at(error, MPT_ERROR_SYNTAX, f->stream.path, 0, 0,
                     "id %s at place %lld is out of range: the vocabulary has %lld", text,
                     (long long)place, (long long)spec->vocabulary);
}

static mpt_status make_room(const data_spec *spec, const char *path, int64_t count, dataset *data,
                            mpt_error *error) {
  const bool wide = spec->vocabulary > NARROW;
  const size_t size = (size_t)count * (wide ? sizeof *data->wide_ids : sizeof *data->ids);
  void *ids = realloc(wide ? (void *)data->wide_ids : (void *)data->ids, size > 0 ? size : 1);
  if (ids == NULL)
    return mpt_fail_memory(error, path, size);
  if (wide)
    data->wide_ids = ids;
  else
    data->ids = ids;
  return MPT_OK;
}

/* Whole ids from `bytes`, at most as many as are still wanted. */
static mpt_status take_ids(const data_spec *spec, token_file *f, const uint8_t *bytes,
                           int64_t count, dataset *data, mpt_error *error) {
  const int size = token_bytes(f->layout.type);
  MPT_RETURN_IF_FAILED(make_room(spec, f->stream.path, data->id_count + count, data, error));
  for (int64_t i = 0; i < count; i++) {
    const int64_t id = id_value(bytes + i * size, &f->layout);
    if (id < 0 || id >= spec->vocabulary)
      return fail_range(spec, f, id, f->taken + i, error);
    if (data->wide_ids != NULL)
      data->wide_ids[data->id_count + i] = (uint32_t)id;
    else
      data->ids[data->id_count + i] = (uint16_t)id;
  }
  f->taken += count;
  data->id_count += count;
  return MPT_OK;
}

/* The whole file was read: f->bytes of ids are in it. */
static mpt_status check_length(const token_file *f, mpt_error *error) {
  const int size = token_bytes(f->layout.type);
  const int64_t there = f->bytes / size, wanted = f->layout.count;
  const bool part = f->bytes % size != 0;
  if (wanted < 0 && part)
    return mpt_fail_at(error, MPT_ERROR_SYNTAX, f->stream.path, 0, 0,
                       "%lld bytes: not a whole number of %d-bit ids; is it truncated?",
                       (long long)f->bytes, 8 * size);
  if (wanted < 0 || (there == wanted && !part))
    return MPT_OK;
  return mpt_fail_at(error, MPT_ERROR_SYNTAX, f->stream.path, 0, 0,
                     "%s: the header says %lld ids of %d bits, and %lld%s are there",
                     there < wanted ? "truncated" : "too long", (long long)wanted, 8 * size,
                     (long long)there, part ? " and a part of one" : "");
}

/* Ids from a piece of the file that begins with one. What the workload has no use for is not read;
 * what the header does not speak of is counted alone. */
static mpt_status take_piece(const data_spec *spec, token_file *f, const uint8_t *piece,
                             int64_t length, dataset *data, bool *enough, mpt_error *error) {
  int64_t count = length / token_bytes(f->layout.type);
  if (f->layout.count >= 0 && count > f->layout.count - f->taken)
    count = f->layout.count - f->taken;
  if (spec->samples > 0 && count > spec->samples - data->id_count)
    count = spec->samples - data->id_count;
  f->bytes += length;
  MPT_RETURN_IF_FAILED(take_ids(spec, f, piece, count, data, error));
  *enough = spec->samples > 0 && data->id_count == spec->samples;
  return MPT_OK;
}

static mpt_status read_file(const data_spec *spec, token_file *f, uint8_t *piece, dataset *data,
                            mpt_error *error) {
  int64_t got = stream_read(&f->stream, piece, TOKEN_HEAD);
  bool enough = false;
  MPT_RETURN_IF_FAILED(stream_check(&f->stream, error));
  MPT_RETURN_IF_FAILED(token_layout_find(spec, f->stream.path, piece, got, &f->layout, error));
  int64_t length = got - f->layout.start;
  memmove(piece, piece + f->layout.start, (size_t)length);
  for (;;) {
    MPT_RETURN_IF_FAILED(take_piece(spec, f, piece, length, data, &enough, error));
    if (enough)
      return MPT_OK;
    const int64_t rest = length % token_bytes(f->layout.type); /* the beginning of an id */
    memmove(piece, piece + length - rest, (size_t)rest);
    got = stream_read(&f->stream, piece + rest, TOKEN_HEAD - rest);
    MPT_RETURN_IF_FAILED(stream_check(&f->stream, error));
    if (got == 0)
      return check_length(f, error);
    f->bytes -= rest;
    length = rest + got;
  }
}

static mpt_status append(const data_spec *spec, const char *path, uint8_t *piece, dataset *data,
                         mpt_error *error) {
  static const char remedy[] = "; 'samples: N' takes the first N ids of them";
  token_file f = {0};
  const bool part = spec->samples > 0;
  MPT_RETURN_IF_FAILED(stream_open(path, part ? STREAM_PART : STREAM_WHOLE,
                                   part ? INT64_MAX - 1 : MOST_BYTES, remedy, &f.stream, error));
  mpt_status status = read_file(spec, &f, piece, data, error);
  return stream_close(&f.stream, status, error);
}

mpt_status tokens_open(const data_spec *spec, dataset *data, mpt_error *error) {
  file_list files = {0};
  mpt_status status = MPT_OK;
  uint8_t *piece = malloc(TOKEN_HEAD);
  if (piece == NULL)
    return mpt_fail_memory(error, "a token file", TOKEN_HEAD);
  data->info.classes = spec->vocabulary;
  MPT_TRY(files_find(spec, spec->files[0], &files, error));
  for (int i = 0; i < files.count && (spec->samples == 0 || data->id_count < spec->samples); i++)
    MPT_TRY(append(spec, files.paths[i], piece, data, error));
  if (data->id_count == 0)
    status =
        mpt_fail_at(error, MPT_ERROR_SYNTAX, files.paths[0], 0, 0, "no ids: the file is empty");
  else
    status = dataset_split_ids(spec, data, files.paths[0], error);
fail:
  free(piece);
  files_free(&files);
  return status;
}
