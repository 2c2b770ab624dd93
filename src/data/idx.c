/* IDX files (the format of MNIST), plain or gzipped: two zero bytes, a type, the number of
 * dimensions, the dimensions as big-endian 32-bit numbers, the values. */
#include "base/error.h"
#include "data/source.h"
#include <stdlib.h>
#include <string.h>

enum {
  TYPE_BYTES = 8,
  MAX_DIMENSIONS = 4,
  FIRST_ROOM = 1 << 20,
  HEADER_ROOM = 4 + 4 * MAX_DIMENSIONS
};
#define MAX_VALUES ((int64_t)1 << 34)

typedef struct idx {
  int rank;
  int64_t shape[MAX_DIMENSIONS];
  int64_t items; /* in the file, of which shape[0] are read */
  int64_t count; /* of values that are read */
  uint8_t *values;
} idx;

static mpt_status fail_short(data_stream *file, const char *what, int64_t size, int64_t got,
                             mpt_error *error) {
  MPT_RETURN_IF_FAILED(stream_check(file, error));
  return mpt_fail_at(error, MPT_ERROR_SYNTAX, file->path, 0, 0,
                     "truncated: %s needs %lld bytes and has %lld; fetch the file again", what,
                     (long long)size, (long long)got);
}

static mpt_status read_header(data_stream *file, idx *out, mpt_error *error) {
  const char *path = file->path;
  uint8_t magic[4] = {0}, sizes[4 * MAX_DIMENSIONS] = {0};
  int64_t got = stream_read(file, magic, 4);
  if (got < 4)
    return fail_short(file, "the idx header", 4, got, error);
  if (magic[0] != 0 || magic[1] != 0)
    return mpt_fail_at(error, MPT_ERROR_SYNTAX, path, 0, 0,
                       "not an idx file: it begins with "
                       "%02x %02x, not 00 00",
                       magic[0], magic[1]);
  if (magic[2] != TYPE_BYTES)
    return mpt_fail_at(error, MPT_ERROR_UNSUPPORTED, path, 0, 0,
                       "idx values of type 0x%02x; bytes (0x08) are read", magic[2]);
  out->rank = magic[3];
  if (out->rank < 1 || out->rank > MAX_DIMENSIONS)
    return mpt_fail_at(error, MPT_ERROR_SYNTAX, path, 0, 0,
                       "idx file of %d dimensions; 1 to %d "
                       "are read",
                       out->rank, MAX_DIMENSIONS);
  got = stream_read(file, sizes, 4 * out->rank);
  if (got < 4 * out->rank)
    return fail_short(file, "the idx header", 4 + 4 * out->rank, 4 + got, error);
  out->count = 1;
  for (int d = 0; d < out->rank; d++) {
    const uint8_t *s = sizes + 4 * d;
    int64_t size = (int64_t)s[0] << 24 | s[1] << 16 | s[2] << 8 | s[3];
    if (size == 0)
      return mpt_fail_at(error, MPT_ERROR_SYNTAX, path, 0, 0, "empty: dimension %d of %d is 0",
                         d + 1, out->rank);
    if (size > MAX_VALUES / out->count)
      return mpt_fail_at(error, MPT_ERROR_SYNTAX, path, 0, 0,
                         "the idx header claims more than "
                         "%lld values; is it damaged?",
                         (long long)MAX_VALUES);
    out->shape[d] = size;
    out->count *= size;
  }
  out->items = out->shape[0];
  return MPT_OK;
}

/* No more than `most` items are wanted. */
static void take_part(idx *out, int64_t most) {
  if (most <= 0 || most >= out->items)
    return;
  out->count = out->count / out->items * most;
  out->shape[0] = most;
}

/* Room grows with what is read: a damaged header may claim any size. */
static mpt_status read_values(data_stream *file, idx *out, mpt_error *error) {
  const char *path = file->path;
  uint8_t beyond;
  for (int64_t got = 0, room = FIRST_ROOM; got < out->count; room *= 2) {
    room = room < out->count ? room : out->count;
    uint8_t *values = realloc(out->values, (size_t)room);
    if (values == NULL)
      return mpt_fail_memory(error, path, (size_t)room);
    out->values = values;
    got += stream_read(file, values + got, room - got);
    if (got < room)
      return fail_short(file, "the idx file", out->count, got, error);
  }
  if (out->shape[0] == out->items && stream_read(file, &beyond, 1) == 1)
    return mpt_fail_at(error, MPT_ERROR_SYNTAX, path, 0, 0,
                       "longer than the %lld values that its header says", (long long)out->count);
  return MPT_OK;
}

/* `most` items from the beginning, 0: all. */
static mpt_status idx_read(const data_spec *spec, const char *pattern, int64_t most, idx *out,
                           file_list *files, mpt_error *error) {
  MPT_RETURN_IF_FAILED(files_find(spec, pattern, files, error));
  const char *path = files->paths[0];
  if (files->count > 1)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "'%s' matches %d files; an idx file is one", pattern,
                    files->count);
  data_stream file;
  MPT_RETURN_IF_FAILED(stream_open(path, STREAM_WHOLE, MAX_VALUES + HEADER_ROOM,
                                   "; is it an idx file?", &file, error));
  mpt_status status = read_header(&file, out, error);
  take_part(out, most);
  if (status == MPT_OK)
    status = read_values(&file, out, error);
  return stream_close(&file, status, error);
}

/* One part: images and their labels. */
typedef struct part {
  idx images, labels;
  file_list image_files, label_files;
} part;

static void part_free(part *p) {
  free(p->images.values);
  free(p->labels.values);
  files_free(&p->image_files);
  files_free(&p->label_files);
}

static mpt_status part_read(const data_spec *spec, int first_file, int64_t most, part *p,
                            mpt_error *error) {
  MPT_RETURN_IF_FAILED(
      idx_read(spec, spec->files[first_file], most, &p->images, &p->image_files, error));
  MPT_RETURN_IF_FAILED(
      idx_read(spec, spec->files[first_file + 1], most, &p->labels, &p->label_files, error));
  const char *images = p->image_files.paths[0], *labels = p->label_files.paths[0];
  if (p->images.rank < 2)
    return mpt_fail_at(error, MPT_ERROR_SHAPE, images, 0, 0,
                       "one dimension: these are labels, not images; are the two swapped?");
  if (p->labels.rank != 1)
    return mpt_fail_at(error, MPT_ERROR_SHAPE, labels, 0, 0,
                       "%d dimensions: these are images, not labels; are the two swapped?",
                       p->labels.rank);
  if (p->images.items != p->labels.items)
    return mpt_fail_at(error, MPT_ERROR_SHAPE, labels, 0, 0, "%lld labels for %lld images",
                       (long long)p->labels.items, (long long)p->images.items);
  for (int64_t i = 0; i < p->labels.count; i++)
    if (p->labels.values[i] >= spec->classes)
      return mpt_fail_at(error, MPT_ERROR_SYNTAX, labels, 0, 0,
                         "label %d of sample %lld is out of range: there are %lld classes, 0 to "
                         "%lld",
                         p->labels.values[i], (long long)i, (long long)spec->classes,
                         (long long)spec->classes - 1);
  return MPT_OK;
}

static void set_shape(dataset *data, const idx *images) {
  /* Images come as [H, W] or [C, H, W]; a row of features has one dimension. */
  data->info.rank = images->rank == 2 ? 1 : 3;
  data->info.shape[0] = images->rank == 3 ? 1 : images->shape[1];
  if (data->info.rank == 3) {
    data->info.shape[1] = images->shape[images->rank - 2];
    data->info.shape[2] = images->shape[images->rank - 1];
  }
  data->sample_size = images->count / images->shape[0];
}

/* Puts the two parts behind each other; takes over the training images' memory. */
static mpt_status join(dataset *data, part *training, const part *held_out, mpt_error *error) {
  int64_t first = training->images.shape[0], second = held_out->images.shape[0];
  size_t size = (size_t)((first + second) * data->sample_size);
  uint8_t *bytes = realloc(training->images.values, size);
  data->labels = malloc((size_t)(first + second) * sizeof *data->labels);
  if (bytes != NULL)
    training->images.values = bytes;
  if (bytes == NULL || data->labels == NULL)
    return mpt_fail_memory(error, "images", size);
  training->images.values = NULL;
  data->bytes = bytes;
  data->samples = first + second;
  if (second > 0)
    memcpy(bytes + first * data->sample_size, held_out->images.values,
           (size_t)(second * data->sample_size));
  for (int64_t i = 0; i < first + second; i++)
    data->labels[i] = i < first ? training->labels.values[i] : held_out->labels.values[i - first];
  return MPT_OK;
}

/* The held-out part is that of its own files, from their beginning, as many as asked for. */
static mpt_status set_parts(const data_spec *spec, dataset *data, int64_t training,
                            int64_t held_out, const char *file, mpt_error *error) {
  data->separate = true;
  if (spec->held_out > held_out)
    return mpt_fail_at(error, MPT_ERROR_ARGUMENT, file, 0, 0,
                       "held_out is %lld, but there are %lld samples", (long long)spec->held_out,
                       (long long)held_out);
  data->info.held_out = held_out;
  data->info.training = training;
  return MPT_OK;
}

mpt_status idx_open(const data_spec *spec, dataset *data, mpt_error *error) {
  part training = {0}, held_out = {0};
  mpt_status status = MPT_OK;
  bool separate = spec->files[2][0] != '\0';
  /* Which samples are held out of a single file, only all of them tell. */
  MPT_TRY(part_read(spec, 0, separate ? spec->samples : 0, &training, error));
  if (separate)
    MPT_TRY(part_read(spec, 2, spec->held_out, &held_out, error));
  set_shape(data, &training.images);
  if (separate && (held_out.images.rank != training.images.rank ||
                   held_out.images.count / held_out.images.shape[0] != data->sample_size)) {
    status = mpt_fail_at(error, MPT_ERROR_SHAPE, held_out.image_files.paths[0], 0, 0,
                         "held-out images have another size than the training images");
    goto fail;
  }
  int64_t counts[] = {training.images.shape[0], separate ? held_out.images.shape[0] : 0};
  MPT_TRY(join(data, &training, &held_out, error));
  if (separate)
    MPT_TRY(set_parts(spec, data, counts[0], counts[1], held_out.image_files.paths[0], error));
  else
    MPT_TRY(dataset_split(spec, data, training.image_files.paths[0], error));
fail:
  part_free(&training);
  part_free(&held_out);
  return status;
}
