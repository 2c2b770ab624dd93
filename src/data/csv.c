/* Comma-separated numbers: a sample a line, features and labels (or targets) by column. Only the
 * columns that are taken are read as numbers; the others may hold anything.
 *
 * Standardizing works on doubles: as a float, 1013250.03 is 1013250, and nothing of a pressure's
 * change would be left to divide by its deviation. */
#include "data/csv.h"
#include "base/error.h"
#include "base/number.h"
#include "base/shown.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A table on its way to a data set. */
typedef struct table {
  const data_spec *spec;
  const char *path;
  csv_scanner scanner;
  csv_columns columns;
  csv_record header, record;
  double *exact;      /* features before they are standardized, in place of data->features */
  int64_t room;       /* samples */
  int64_t first_line; /* of the samples */
} table;

static void table_free(table *t) {
  csv_columns_free(&t->columns);
  csv_record_free(&t->header);
  csv_record_free(&t->record);
  free(t->exact);
}

/* ---- numbers ---- */

static mpt_status read_number(const table *t, int column, double *value, mpt_error *error) {
  const csv_field *field = &t->record.fields[column];
  const char *text = csv_text(&t->record, column);
  if (mpt_number_read(text, field->length, value))
    return MPT_OK;
  if (field->length == 0)
    return csv_fail(t->path, field, error, "an empty field; every field that is taken is a number");
  return csv_fail(t->path, field, error, "'%.*s' is not a finite number%s",
                  (int)mpt_utf8_cut(text, 40), text,
                  field->line == t->first_line && !t->spec->header
                      ? "; say 'header: true' if the first line has names"
                      : "");
}

/* What training is given, unless it is standardized first. */
static mpt_status put_float(const table *t, int column, double value, float *out,
                            mpt_error *error) {
  *out = (float)value;
  if (isfinite(*out))
    return MPT_OK;
  return csv_fail(t->path, &t->record.fields[column], error, "%g is beyond the largest fp32 number",
                  value);
}

static mpt_status put_class(const table *t, int column, double value, int32_t *out,
                            mpt_error *error) {
  int64_t classes = t->spec->classes;
  if (value < 0 || value >= (double)classes || value != floor(value))
    return csv_fail(t->path, &t->record.fields[column], error,
                    "label %g is out of range: there are %lld classes, 0 to %lld", value,
                    (long long)classes, (long long)classes - 1);
  *out = (int32_t)value;
  return MPT_OK;
}

static mpt_status put_target(const table *t, int column, double value, float *out,
                             mpt_error *error) {
  if (t->spec->probabilities && (value < 0.0 || value > 1.0))
    return csv_fail(t->path, &t->record.fields[column], error,
                    "target %g is not in [0, 1]; binary_cross_entropy takes probabilities, and mse "
                    "any target",
                    value);
  return put_float(t, column, value, out, error);
}

/* ---- samples ---- */

static mpt_status resize(void **values, int64_t samples, int64_t width, size_t element,
                         mpt_error *error) {
  size_t bytes;
  void *grown = NULL;
  if (__builtin_mul_overflow((size_t)samples * element, (size_t)width, &bytes) ||
      (grown = realloc(*values, bytes)) == NULL)
    return mpt_fail_memory(error, "samples", bytes);
  *values = grown;
  return MPT_OK;
}

static mpt_status make_room(table *t, dataset *data, mpt_error *error) {
  if (data->samples < t->room)
    return MPT_OK;
  int64_t room = 2 * t->room + 64, width = data->sample_size;
  bool exact = t->spec->standardize, classes = t->spec->classes > 0;
  MPT_RETURN_IF_FAILED(resize(exact ? (void **)&t->exact : (void **)&data->features, room, width,
                              exact ? sizeof(double) : sizeof(float), error));
  MPT_RETURN_IF_FAILED(
      classes ? resize((void **)&data->labels, room, 1, sizeof(int32_t), error)
              : resize((void **)&data->targets, room, data->info.targets, sizeof(float), error));
  t->room = room;
  return MPT_OK;
}

static mpt_status add_sample(table *t, dataset *data, mpt_error *error) {
  const csv_columns *c = &t->columns;
  if (t->record.count != c->count)
    return csv_fail(t->path, &t->record.fields[0], error, "%d fields; the lines before have %d",
                    t->record.count, c->count);
  MPT_RETURN_IF_FAILED(make_room(t, data, error));
  int64_t sample = data->samples, at = sample * data->sample_size;
  double value = 0;
  for (int i = 0; i < c->feature_count; i++) {
    MPT_RETURN_IF_FAILED(read_number(t, c->features[i], &value, error));
    if (t->spec->standardize)
      t->exact[at + i] = value;
    else
      MPT_RETURN_IF_FAILED(put_float(t, c->features[i], value, &data->features[at + i], error));
  }
  for (int i = 0; i < c->label_count; i++) {
    MPT_RETURN_IF_FAILED(read_number(t, c->labels[i], &value, error));
    MPT_RETURN_IF_FAILED(t->spec->classes > 0
                             ? put_class(t, c->labels[i], value, &data->labels[sample], error)
                             : put_target(t, c->labels[i], value,
                                          &data->targets[sample * c->label_count + i], error));
  }
  data->samples++;
  return MPT_OK;
}

/* ---- standardizing ---- */

/* Sums over the training part: first differences from its first sample, then deviations from the
 * mean with what rounding left of their sum, so that a large mean costs no digits of a small
 * deviation. `mean` is relative to that first sample. */
static void measure(const table *t, const dataset *data, double *mean, double *deviation,
                    double *rest) {
  int64_t count = data->info.training, size = data->sample_size;
  const double *base = t->exact + dataset_stored_index(data, 0) * size;
  for (int64_t i = 0; i < count; i++) {
    const double *x = t->exact + dataset_stored_index(data, i) * size;
    for (int64_t c = 0; c < size; c++)
      mean[c] += x[c] - base[c];
  }
  for (int64_t c = 0; c < size; c++)
    mean[c] /= (double)count;
  for (int64_t i = 0; i < count; i++) {
    const double *x = t->exact + dataset_stored_index(data, i) * size;
    for (int64_t c = 0; c < size; c++) {
      double difference = x[c] - base[c] - mean[c];
      rest[c] += difference;
      deviation[c] += difference * difference;
    }
  }
  for (int64_t c = 0; c < size; c++) {
    double variance = (deviation[c] - rest[c] * rest[c] / (double)count) / (double)count;
    deviation[c] = variance < 0.0 ? 0.0 : sqrt(variance); /* below 0 by rounding alone */
  }
}

/* By mean and deviation of the training part alone, so that nothing leaks from the held-out part.
 * A constant column becomes zero. */
static mpt_status standardize(table *t, dataset *data, mpt_error *error) {
  int64_t size = data->sample_size;
  double *mean = calloc(3 * (size_t)size, sizeof *mean);
  if (mean == NULL)
    return mpt_fail_memory(error, "means and deviations", 3 * (size_t)size * sizeof *mean);
  mpt_status status = resize((void **)&data->features, data->samples, size, sizeof(float), error);
  if (status != MPT_OK)
    goto done;
  double *deviation = mean + size;
  measure(t, data, mean, deviation, deviation + size);
  const double *base = t->exact + dataset_stored_index(data, 0) * size;
  for (int64_t i = 0; i < data->samples; i++)
    for (int64_t c = 0; c < size; c++) {
      double from_mean = t->exact[i * size + c] - base[c] - mean[c];
      float x = deviation[c] == 0.0 ? 0.0f : (float)(from_mean / deviation[c]);
      data->features[i * size + c] = x;
      if (!isfinite(x) || !isfinite(deviation[c])) {
        status = mpt_fail_at(error, MPT_ERROR_ARGUMENT, t->path, 0, 0,
                             "column %d cannot be standardized: its values lie too far apart",
                             t->columns.features[c]);
        goto done;
      }
    }
done:
  free(mean);
  return status;
}

/* ---- the file ---- */

/* The header and the first sample, by which the columns are chosen. */
static mpt_status read_head(table *t, dataset *data, mpt_error *error) {
  const data_spec *spec = t->spec;
  if (spec->header)
    MPT_RETURN_IF_FAILED(csv_scan_next(&t->scanner, &t->header));
  if (!spec->header || t->header.count > 0)
    MPT_RETURN_IF_FAILED(csv_scan_next(&t->scanner, &t->record));
  if (t->record.count == 0)
    return mpt_fail_at(error, MPT_ERROR_SYNTAX, t->path, 0, 0, "no samples: the file %s",
                       t->header.count > 0 ? "has nothing but its header" : "is empty");
  MPT_RETURN_IF_FAILED(csv_columns_read(spec, t->path, spec->header ? &t->header : NULL, &t->record,
                                        &t->columns, error));
  t->first_line = t->record.fields[0].line;
  data->info.rank = 1;
  data->info.shape[0] = data->sample_size = t->columns.feature_count;
  data->info.targets = spec->classes > 0 ? 0 : t->columns.label_count;
  return MPT_OK;
}

static mpt_status read_table(table *t, dataset *data, mpt_error *error) {
  MPT_RETURN_IF_FAILED(read_head(t, data, error));
  while (t->record.count > 0) {
    MPT_RETURN_IF_FAILED(add_sample(t, data, error));
    MPT_RETURN_IF_FAILED(csv_scan_next(&t->scanner, &t->record));
  }
  MPT_RETURN_IF_FAILED(dataset_split(t->spec, data, t->path, error));
  return t->spec->standardize ? standardize(t, data, error) : MPT_OK;
}

mpt_status csv_open(const data_spec *spec, dataset *data, mpt_error *error) {
  file_list files = {0};
  table *t = calloc(1, sizeof *t);
  if (t == NULL)
    return mpt_fail_memory(error, "a table", sizeof *t);
  t->spec = spec;
  mpt_status status = files_find(spec, spec->files[0], &files, error);
  if (status == MPT_OK && files.count > 1)
    status = mpt_fail(error, MPT_ERROR_ARGUMENT, "'%s' matches %d files; csv data is one file",
                      spec->files[0], files.count);
  if (status == MPT_OK) {
    t->path = files.paths[0];
    status = csv_scan_open(&t->scanner, t->path, error);
    if (status == MPT_OK)
      status = csv_scan_close(&t->scanner, read_table(t, data, error));
  }
  table_free(t);
  free(t);
  files_free(&files);
  return status;
}
