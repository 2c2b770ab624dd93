/* Token files: 16-bit little-endian ids, as nanoGPT writes them; or with the header of 256 32-bit
 * numbers that llm.c puts before them: 20240520, the version 1, the count of ids. */
#include "base/error.h"
#include "base/file.h"
#include "data/source.h"
#include <stdlib.h>
#include <string.h>

#define SIZE_LIMIT ((size_t)16 << 30)
#define MAGIC      20240520u
enum { HEADER_BYTES = 1024 };

static uint32_t word(const uint8_t *bytes, int index) {
  const uint8_t *b = bytes + 4 * (size_t)index;
  return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

/* Where the ids begin. */
static mpt_status check_header(const char *path, const uint8_t *bytes, size_t length, size_t *start,
                               mpt_error *error) {
  *start = 0;
  if (length % 2 != 0)
    return mpt_fail_at(error, MPT_ERROR_SYNTAX, path, 0, 0,
                       "%zu bytes: not a whole number of 16-bit ids; is it truncated?", length);
  if (length < 4 || word(bytes, 0) != MAGIC)
    return MPT_OK;
  if (length < HEADER_BYTES)
    return mpt_fail_at(error, MPT_ERROR_SYNTAX, path, 0, 0, "truncated in its header");
  if (word(bytes, 1) != 1)
    return mpt_fail_at(error, MPT_ERROR_VERSION, path, 0, 0,
                       "token file of version %u; version 1 is read (16-bit ids)", word(bytes, 1));
  size_t count = (length - HEADER_BYTES) / 2;
  if (word(bytes, 2) != count)
    return mpt_fail_at(error, MPT_ERROR_SYNTAX, path, 0, 0,
                       "truncated: the header says %u ids and %zu are there", word(bytes, 2),
                       count);
  *start = HEADER_BYTES;
  return MPT_OK;
}

static mpt_status append(const data_spec *spec, const char *path, dataset *data, mpt_error *error) {
  char *text = NULL;
  size_t length, start = 0;
  mpt_status status = mpt_file_read(path, SIZE_LIMIT, &text, &length, error);
  const uint8_t *bytes = (const uint8_t *)text;
  if (status == MPT_OK)
    status = check_header(path, bytes, length, &start, error);
  if (status != MPT_OK)
    goto done;
  int64_t count = (int64_t)((length - start) / 2);
  if (spec->samples > 0 && count > spec->samples - data->id_count)
    count = spec->samples - data->id_count;
  size_t size = (size_t)(data->id_count + count) * sizeof *data->ids;
  uint16_t *ids = realloc(data->ids, size > 0 ? size : 1);
  if (ids == NULL) {
    status = mpt_fail_memory(error, path, size);
    goto done;
  }
  data->ids = ids;
  for (int64_t i = 0; i < count; i++) {
    const uint8_t *b = bytes + start + 2 * i;
    uint16_t id = (uint16_t)(b[0] | b[1] << 8);
    if (id >= spec->vocabulary) {
      status = mpt_fail_at(error, MPT_ERROR_SYNTAX, path, 0, 0,
                           "id %u at place %lld is out of range: the vocabulary has %lld", id,
                           (long long)i, (long long)spec->vocabulary);
      goto done;
    }
    ids[data->id_count + i] = id;
  }
  data->id_count += count;
done:
  free(text);
  return status;
}

mpt_status tokens_open(const data_spec *spec, dataset *data, mpt_error *error) {
  file_list files = {0};
  mpt_status status = MPT_OK;
  data->info.classes = spec->vocabulary;
  MPT_TRY(files_find(spec, spec->files[0], &files, error));
  for (int i = 0; i < files.count && (spec->samples == 0 || data->id_count < spec->samples); i++)
    MPT_TRY(append(spec, files.paths[i], data, error));
  if (data->id_count == 0)
    status =
        mpt_fail_at(error, MPT_ERROR_SYNTAX, files.paths[0], 0, 0, "no ids: the file is empty");
  else
    status = dataset_split_ids(spec, data, files.paths[0], error);
fail:
  files_free(&files);
  return status;
}
