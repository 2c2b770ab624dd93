/* Comma-separated numbers: one sample a line, one column of labels or targets. */
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "data/source.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_COLUMNS = 100000 };
#define SIZE_LIMIT ((size_t)4 << 30)

/* A file in memory and a place in it. */
typedef struct table {
  const char *path;
  char *text;
  size_t length;
  char **names; /* of the columns, from the header; NULL without */
  int name_count;
  int columns; /* fields of a line of numbers */
  int *taken;  /* columns that are features, in order */
  int taken_count;
  int label;
} table;

static void table_free(table *t) {
  for (int i = 0; i < t->name_count; i++)
    free(t->names[i]);
  free(t->names);
  free(t->taken);
  free(t->text);
}

static int field_count(const char *line) {
  int count = 1;
  for (; *line != '\0' && *line != '\n'; line++)
    count += *line == ',';
  return count;
}

static const char *next_line(const char *line) {
  line += strcspn(line, "\n");
  return *line == '\n' ? line + 1 : line;
}

static bool blank(const char *line) {
  line += strspn(line, " \t\r");
  return *line == '\n' || *line == '\0';
}

/* ---- the header and the choice of columns ---- */

static mpt_status read_names(table *t, mpt_error *error) {
  int count = field_count(t->text);
  if (count > MAX_COLUMNS)
    return mpt_fail_at(error, MPT_ERROR_SYNTAX, t->path, 1, 1, "%d columns; at most %d are read",
                       count, MAX_COLUMNS);
  t->names = calloc((size_t)count, sizeof *t->names);
  if (t->names == NULL)
    return mpt_fail_memory(error, "names of columns", (size_t)count * sizeof *t->names);
  const char *at = t->text;
  for (int i = 0; i < count; i++) {
    size_t length = strcspn(at, ",\r\n");
    const char *next = at + length + 1;
    if (length >= 2 && *at == '"' && at[length - 1] == '"')
      at++, length -= 2;
    if ((t->names[t->name_count++] = strndup(at, length)) == NULL)
      return mpt_fail_memory(error, "names of columns", length);
    at = next;
  }
  return MPT_OK;
}

/* The index of a column by number, or by name when the file has a header. */
static mpt_status find_column(const table *t, const char *word, int *index, mpt_error *error) {
  char *end;
  errno = 0;
  long number = strtol(word, &end, 10);
  if (end != word && *end == '\0') {
    if (errno != 0 || number < 0 || number >= t->columns)
      return mpt_fail_at(error, MPT_ERROR_NOT_FOUND, t->path, 0, 0,
                         "no column %s: there are %d, counted from 0", word, t->columns);
    *index = (int)number;
    return MPT_OK;
  }
  for (int i = 0; i < t->name_count && i < t->columns; i++)
    if (strcmp(t->names[i], word) == 0) {
      *index = i;
      return MPT_OK;
    }
  const char *near = mpt_nearest_word(word, (const char *const *)t->names, (size_t)t->name_count);
  return mpt_fail_at(error, MPT_ERROR_NOT_FOUND, t->path, 0, 0, "no column named '%s'%s%s%s", word,
                     near != NULL       ? "; did you mean '"
                     : t->names == NULL ? "; say 'header: true' if the first line has names"
                                        : "",
                     near != NULL ? near : "", near != NULL ? "'?" : "");
}

/* One item of `columns`: "7", "0-9", or a name. */
static mpt_status take_columns(table *t, const char *item, bool *taken, mpt_error *error) {
  int first = 0, last = 0;
  char low[24], high[24], beyond;
  if (sscanf(item, "%20[0-9]-%20[0-9]%c", low, high, &beyond) == 2) {
    MPT_RETURN_IF_FAILED(find_column(t, low, &first, error));
    MPT_RETURN_IF_FAILED(find_column(t, high, &last, error));
    if (first > last)
      return mpt_fail_at(error, MPT_ERROR_ARGUMENT, t->path, 0, 0,
                         "columns '%s' run backwards; write %s-%s", item, high, low);
  } else {
    MPT_RETURN_IF_FAILED(find_column(t, item, &first, error));
    last = first;
  }
  for (int i = first; i <= last; i++) {
    if (i == t->label)
      return mpt_fail_at(error, MPT_ERROR_ARGUMENT, t->path, 0, 0,
                         "column %d is the label and cannot be a feature; take it out of columns "
                         "'%s'",
                         i, item);
    if (taken[i])
      return mpt_fail_at(error, MPT_ERROR_ARGUMENT, t->path, 0, 0, "column %d is taken twice", i);
    taken[i] = true;
    t->taken[t->taken_count++] = i;
  }
  return MPT_OK;
}

static mpt_status choose_columns(const data_spec *spec, table *t, mpt_error *error) {
  bool *taken = calloc((size_t)t->columns, sizeof *taken);
  t->taken = calloc((size_t)t->columns, sizeof *t->taken);
  mpt_status status = MPT_OK;
  if (taken == NULL || t->taken == NULL) {
    status = mpt_fail_memory(error, "columns", (size_t)t->columns * sizeof *t->taken);
    goto fail;
  }
  t->label = t->columns - 1;
  if (spec->label[0] != '\0')
    MPT_TRY(find_column(t, spec->label, &t->label, error));
  char items[sizeof spec->columns], *rest = NULL;
  strcpy(items, spec->columns);
  for (char *item = strtok_r(items, ", ", &rest); item; item = strtok_r(NULL, ", ", &rest))
    MPT_TRY(take_columns(t, item, taken, error));
  if (spec->columns[0] == '\0')
    for (int i = 0; i < t->columns; i++)
      if (i != t->label)
        t->taken[t->taken_count++] = i;
  if (t->taken_count == 0)
    status = mpt_fail_at(error, MPT_ERROR_SYNTAX, t->path, 0, 0, "no column is left for features");
fail:
  free(taken);
  return status;
}

/* ---- numbers ---- */

static mpt_status read_number(const table *t, int line, const char *start, const char *at,
                              double *value, const char **next, mpt_error *error) {
  char *end;
  size_t length = strcspn(at, ",\r\n");
  int column = (int)(at - start) + 1;
  *value = strtod(at, &end);
  bool inside = end <= at + length; /* strtod skips line ends, so an empty field could run on */
  if (inside && end != at && strspn(end, " \t") >= (size_t)(at + length - end) &&
      isfinite((float)*value)) {
    *next = at + length + (at[length] == ',');
    return MPT_OK;
  }
  if (strspn(at, " \t") >= length)
    return mpt_fail_at(error, MPT_ERROR_SYNTAX, t->path, line, column,
                       "an empty field; every field is a number");
  const char *remedy = line == 1 ? "; say 'header: true' if the first line has names" : "";
  return mpt_fail_at(error, MPT_ERROR_SYNTAX, t->path, line, column,
                     "'%.*s' is not a finite number%s", (int)(length < 40 ? length : 40), at,
                     remedy);
}

static mpt_status put_label(const data_spec *spec, const table *t, int line, int column,
                            double value, dataset *data, int64_t sample, mpt_error *error) {
  if (spec->classes == 0) {
    data->targets[sample] = (float)value;
    return MPT_OK;
  }
  if (value < 0 || value >= (double)spec->classes || value != floor(value))
    return mpt_fail_at(error, MPT_ERROR_SYNTAX, t->path, line, column,
                       "label %g is out of range: there are %lld classes, 0 to %lld", value,
                       (long long)spec->classes, (long long)spec->classes - 1);
  data->labels[sample] = (int32_t)value;
  return MPT_OK;
}

/* `values` has room for a line. */
static mpt_status read_line(const data_spec *spec, const table *t, int line, const char *start,
                            double *values, dataset *data, int64_t sample, mpt_error *error) {
  int count = field_count(start);
  if (count != t->columns)
    return mpt_fail_at(error, MPT_ERROR_SYNTAX, t->path, line, 1,
                       "%d fields; the lines before have %d", count, t->columns);
  const char *at = start;
  int label_column = 0;
  for (int i = 0; i < count; i++) {
    if (i == t->label)
      label_column = (int)(at - start) + 1;
    MPT_RETURN_IF_FAILED(read_number(t, line, start, at, &values[i], &at, error));
  }
  for (int i = 0; i < t->taken_count; i++)
    data->features[sample * t->taken_count + i] = (float)values[t->taken[i]];
  return put_label(spec, t, line, label_column, values[t->label], data, sample, error);
}

static mpt_status read_lines(const data_spec *spec, const table *t, const char *first,
                             dataset *data, mpt_error *error) {
  double *values = calloc((size_t)t->columns, sizeof *values);
  mpt_status status = MPT_OK;
  int line = spec->header ? 2 : 1;
  int64_t sample = 0;
  if (values == NULL)
    return mpt_fail_memory(error, "a line", (size_t)t->columns * sizeof *values);
  for (const char *at = first; *at != '\0' && status == MPT_OK; at = next_line(at), line++)
    if (!blank(at))
      status = read_line(spec, t, line, at, values, data, sample++, error);
  free(values);
  return status;
}

static mpt_status make_room(const data_spec *spec, const table *t, const char *first, dataset *data,
                            mpt_error *error) {
  for (const char *at = first; *at != '\0'; at = next_line(at))
    data->samples += !blank(at);
  data->info.rank = 1;
  data->info.shape[0] = data->sample_size = t->taken_count;
  data->info.targets = spec->classes > 0 ? 0 : 1;
  size_t samples = (size_t)data->samples, size = samples * (size_t)t->taken_count;
  data->features = calloc(size, sizeof *data->features);
  if (spec->classes > 0)
    data->labels = calloc(samples, sizeof *data->labels);
  else
    data->targets = calloc(samples, sizeof *data->targets);
  if (data->features == NULL || (data->labels == NULL && data->targets == NULL))
    return mpt_fail_memory(error, t->path, size * sizeof *data->features);
  return MPT_OK;
}

/* By mean and deviation of the training part alone, so that nothing leaks from the held-out part.
 * A constant column becomes zero. */
static void standardize(dataset *data) {
  int64_t count = data->info.training, size = data->sample_size;
  for (int64_t column = 0; column < size; column++) {
    double sum = 0.0, squares = 0.0;
    for (int64_t i = 0; i < count; i++)
      sum += data->features[dataset_stored_index(data, i) * size + column];
    double mean = sum / (double)count;
    for (int64_t i = 0; i < count; i++) {
      double difference = data->features[dataset_stored_index(data, i) * size + column] - mean;
      squares += difference * difference;
    }
    double deviation = sqrt(squares / (double)count);
    for (int64_t i = 0; i < data->samples; i++) {
      float *x = &data->features[i * size + column];
      *x = deviation > 0.0 ? (float)((*x - mean) / deviation) : 0.0f;
    }
  }
}

static mpt_status read_table(const data_spec *spec, table *t, dataset *data, mpt_error *error) {
  const char *first = t->text;
  if (strlen(t->text) != t->length)
    return mpt_fail_at(error, MPT_ERROR_SYNTAX, t->path, 0, 0,
                       "holds a NUL byte; a csv file is text");
  if (spec->header) {
    MPT_RETURN_IF_FAILED(read_names(t, error));
    first = next_line(t->text);
  }
  while (blank(first) && *first != '\0')
    first = next_line(first);
  if (*first == '\0')
    return mpt_fail_at(error, MPT_ERROR_SYNTAX, t->path, 0, 0, "no samples: the file is empty");
  t->columns = field_count(first);
  if (t->columns < 2 || t->columns > MAX_COLUMNS)
    return mpt_fail_at(error, MPT_ERROR_SYNTAX, t->path, 0, 0,
                       "%d columns; 2 to %d are read, separated by commas", t->columns,
                       MAX_COLUMNS);
  MPT_RETURN_IF_FAILED(choose_columns(spec, t, error));
  MPT_RETURN_IF_FAILED(make_room(spec, t, first, data, error));
  MPT_RETURN_IF_FAILED(read_lines(spec, t, first, data, error));
  MPT_RETURN_IF_FAILED(dataset_split(spec, data, t->path, error));
  if (spec->standardize)
    standardize(data);
  return MPT_OK;
}

mpt_status csv_open(const data_spec *spec, dataset *data, mpt_error *error) {
  file_list files = {0};
  table t = {0};
  mpt_status status = files_find(spec, spec->files[0], &files, error);
  if (status == MPT_OK && files.count > 1)
    status = mpt_fail(error, MPT_ERROR_ARGUMENT, "'%s' matches %d files; csv data is one file",
                      spec->files[0], files.count);
  if (status == MPT_OK) {
    t.path = files.paths[0];
    status = mpt_file_read(t.path, SIZE_LIMIT, &t.text, &t.length, error);
  }
  if (status == MPT_OK)
    status = read_table(spec, &t, data, error);
  table_free(&t);
  files_free(&files);
  return status;
}
