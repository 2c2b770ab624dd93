/* Text as bytes: the vocabulary is the 256 values of a byte. Files stand behind each other. */
#include "base/error.h"
#include "data/source.h"
#include <stdlib.h>

#define MOST_BYTES ((int64_t)4 << 30) /* of all files together */
enum { PIECE = 1 << 16 };

static mpt_status append_piece(const uint8_t *piece, int64_t count, const char *path, dataset *data,
                               mpt_error *error) {
  size_t size = (size_t)(data->id_count + count) * sizeof *data->ids;
  uint16_t *ids = realloc(data->ids, size > 0 ? size : 1);
  if (ids == NULL)
    return mpt_fail_memory(error, path, size);
  data->ids = ids;
  for (int64_t i = 0; i < count; i++)
    ids[data->id_count + i] = piece[i];
  data->id_count += count;
  return MPT_OK;
}

/* With `samples` no byte beyond them is read, so that a file may have any size. */
static mpt_status append(const data_spec *spec, const char *path, dataset *data, mpt_error *error) {
  static const char remedy[] = " (of all files together); 'samples: N' takes the first N of them";
  int64_t left = (spec->samples > 0 ? spec->samples : MOST_BYTES) - data->id_count;
  data_stream s;
  stream_end end = spec->samples > 0 ? STREAM_PART : STREAM_WHOLE;
  MPT_RETURN_IF_FAILED(stream_open(path, end, left, remedy, &s, error));
  mpt_status status = MPT_OK;
  for (int64_t got = 1; got > 0 && status == MPT_OK;) {
    uint8_t piece[PIECE];
    got = stream_read(&s, piece, PIECE);
    status = stream_check(&s, error);
    if (status == MPT_OK)
      status = append_piece(piece, got, path, data, error);
  }
  return stream_close(&s, status, error);
}

mpt_status bytes_open(const data_spec *spec, dataset *data, mpt_error *error) {
  file_list files = {0};
  mpt_status status = MPT_OK;
  data->info.classes = 256;
  MPT_TRY(files_find(spec, spec->files[0], &files, error));
  for (int i = 0; i < files.count && (spec->samples == 0 || data->id_count < spec->samples); i++)
    MPT_TRY(append(spec, files.paths[i], data, error));
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
