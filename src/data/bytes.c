/* Text as bytes: the vocabulary is the 256 values of a byte. Files stand behind each other. */
#include "base/error.h"
#include "base/file.h"
#include "data/source.h"
#include <stdlib.h>

#define SIZE_LIMIT ((size_t)4 << 30)

static mpt_status append(const char *path, int64_t limit, dataset *data, mpt_error *error) {
  char *text;
  size_t length;
  MPT_RETURN_IF_FAILED(mpt_file_read(path, SIZE_LIMIT, &text, &length, error));
  if (limit > 0 && (int64_t)length > limit - data->id_count)
    length = (size_t)(limit - data->id_count);
  size_t size = ((size_t)data->id_count + length) * sizeof *data->ids;
  uint16_t *ids = realloc(data->ids, size > 0 ? size : 1);
  if (ids == NULL) {
    free(text);
    return mpt_fail_memory(error, path, size);
  }
  data->ids = ids;
  for (size_t i = 0; i < length; i++)
    ids[(size_t)data->id_count + i] = (uint8_t)text[i];
  data->id_count += (int64_t)length;
  free(text);
  return MPT_OK;
}

mpt_status bytes_open(const data_spec *spec, dataset *data, mpt_error *error) {
  file_list files = {0};
  mpt_status status = MPT_OK;
  data->info.classes = 256;
  MPT_TRY(files_find(spec, spec->files[0], &files, error));
  for (int i = 0; i < files.count && (spec->samples == 0 || data->id_count < spec->samples); i++)
    MPT_TRY(append(files.paths[i], spec->samples, data, error));
  if (data->id_count == 0)
    status =
        mpt_fail_at(error, MPT_ERROR_SYNTAX, files.paths[0], 0, 0,
                    files.count > 1 ? "empty, and so are the other files" : "the file is empty");
  else
    status = dataset_split_ids(spec, data, files.paths[0], error);
fail:
  files_free(&files);
  return status;
}
