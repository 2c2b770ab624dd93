/* Which columns of a csv file are features and which are labels: the header compared with the
 * samples, and what the workload says by name or number.
 *
 * A header has a name for each field. Understood besides are R's write.table, whose header has no
 * name for the first column, the names of the rows; and scikit-learn's files, whose first line
 * gives the numbers of samples and features and the names of the classes, but no column's. */
#include "base/error.h"
#include "base/number.h"
#include "base/shown.h"
#include "base/text.h"
#include "data/csv.h"
#include <stdlib.h>
#include <string.h>

void csv_columns_free(csv_columns *c) {
  for (int i = 0; c->names != NULL && i < c->count; i++)
    free(c->names[i]);
  free(c->names);
  free(c->features);
  free(c->labels);
  *c = (csv_columns){0};
}

/* ---- the header ---- */

static bool is_number(const csv_record *r, int field) {
  double value;
  return !r->fields[field].quoted &&
         mpt_number_read(csv_text(r, field), r->fields[field].length, &value);
}

static bool all_numbers(const csv_record *r) {
  for (int i = 0; i < r->count; i++)
    if (!is_number(r, i))
      return false;
  return true;
}

/* scikit-learn's first line: "569,30,malignant,benign" before lines of 31 fields. */
static bool is_summary(const csv_record *header, int columns) {
  int64_t samples, features;
  return header->count >= 2 &&
         mpt_integer_read(csv_text(header, 0), header->fields[0].length, &samples) &&
         mpt_integer_read(csv_text(header, 1), header->fields[1].length, &features) &&
         samples > 0 && features == columns - 1;
}

static mpt_status read_header(const char *path, const csv_record *header, csv_columns *c,
                              mpt_error *error) {
  int missing = c->count - header->count;
  if (missing == 0 && all_numbers(header))
    return csv_fail(path, &header->fields[0], error,
                    "'header: true', but the first line holds numbers as the others do; leave "
                    "'header' out (names that are numbers must be quoted)");
  if (is_summary(header, c->count))
    return MPT_OK;
  if (missing < 0 || missing > 1)
    return csv_fail(path, &header->fields[0], error,
                    "the header has %d name%s and the lines have %d fields; name each column, and "
                    "quote names with commas",
                    header->count, header->count == 1 ? "" : "s", c->count);
  c->names = calloc((size_t)c->count, sizeof *c->names);
  if (c->names == NULL)
    return mpt_fail_memory(error, "names of columns", (size_t)c->count * sizeof *c->names);
  for (int i = 0; i < c->count; i++)
    if ((c->names[i] = strdup(i < missing ? "" : csv_text(header, i - missing))) == NULL)
      return mpt_fail_memory(error, "names of columns", 0);
  c->row_names = c->names[0][0] == '\0';
  return MPT_OK;
}

/* ---- columns by name and number ---- */

typedef struct chooser {
  const char *path;
  csv_columns *columns;
  bool *taken;
  mpt_error *error;
} chooser;

enum { NONE = -1, SEVERAL = -2 };

static int named(const csv_columns *c, const char *word) {
  int found = NONE;
  for (int i = 0; c->names != NULL && i < c->count; i++)
    if (strcmp(c->names[i], word) == 0)
      found = found == NONE ? i : SEVERAL;
  return found;
}

/* A word of digits is a column's name where the header has it, else its number. */
static mpt_status find_column(const chooser *ch, const char *word, int *index) {
  const csv_columns *c = ch->columns;
  int64_t number;
  int found = named(c, word), most = (int)mpt_utf8_cut(word, 100);
  bool digits = mpt_integer_read(word, strlen(word), &number);
  if (found == NONE && digits && number >= 0 && number < c->count)
    found = (int)number;
  *index = found;
  if (found >= 0)
    return MPT_OK;
  if (found == SEVERAL)
    return mpt_fail_at(ch->error, MPT_ERROR_ARGUMENT, ch->path, 0, 0,
                       "several columns are named '%.*s'; give the number, from 0 to %d", most,
                       word, c->count - 1);
  if (digits)
    return mpt_fail_at(ch->error, MPT_ERROR_NOT_FOUND, ch->path, 0, 0,
                       "no column %.*s: there are %d, counted from 0", most, word, c->count);
  if (c->names == NULL)
    return mpt_fail_at(ch->error, MPT_ERROR_NOT_FOUND, ch->path, 0, 0,
                       "no column named '%.*s'; say 'header: true' if the first line has names",
                       most, word);
  const char *near = mpt_nearest_word(word, (const char *const *)c->names, (size_t)c->count);
  return mpt_fail_at(ch->error, MPT_ERROR_NOT_FOUND, ch->path, 0, 0, "no column named '%.*s'%s%s%s",
                     most, word, near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                     near != NULL ? "'?" : "");
}

/* "3-7", which is no column's name: its two ends. */
static bool is_range(const csv_columns *c, const char *item, char first[24], char last[24]) {
  size_t low = strspn(item, "0123456789");
  if (low == 0 || low > 20 || item[low] != '-' || named(c, item) != NONE)
    return false;
  const char *behind = item + low + 1;
  size_t high = strspn(behind, "0123456789");
  if (high == 0 || high > 20 || behind[high] != '\0')
    return false;
  memcpy(first, item, low), first[low] = '\0';
  strcpy(last, behind);
  return true;
}

static bool is_label(const csv_columns *c, int index) {
  for (int i = 0; i < c->label_count; i++)
    if (c->labels[i] == index)
      return true;
  return false;
}

/* One item of `columns`: a name, a number, or a range of numbers. */
static mpt_status take(const chooser *ch, const char *item) {
  csv_columns *c = ch->columns;
  int first, last;
  char low[24], high[24];
  if (is_range(c, item, low, high)) {
    MPT_RETURN_IF_FAILED(find_column(ch, low, &first));
    MPT_RETURN_IF_FAILED(find_column(ch, high, &last));
    if (first > last)
      return mpt_fail_at(ch->error, MPT_ERROR_ARGUMENT, ch->path, 0, 0,
                         "columns '%s' run backwards; write %s-%s", item, high, low);
  } else {
    MPT_RETURN_IF_FAILED(find_column(ch, item, &first));
    last = first;
  }
  for (int i = first; i <= last; i++) {
    if (is_label(c, i))
      return mpt_fail_at(ch->error, MPT_ERROR_ARGUMENT, ch->path, 0, 0,
                         "column %d is the label and cannot be a feature; take it out of columns "
                         "'%.*s'",
                         i, (int)mpt_utf8_cut(item, 100), item);
    if (ch->taken[i])
      return mpt_fail_at(ch->error, MPT_ERROR_ARGUMENT, ch->path, 0, 0, "column %d is taken twice",
                         i);
    ch->taken[i] = true;
    c->features[c->feature_count++] = i;
  }
  return MPT_OK;
}

static bool is_item(const csv_columns *c, const char *word) {
  char low[24], high[24];
  int64_t number;
  return named(c, word) != NONE || is_range(c, word, low, high) ||
         mpt_integer_read(word, strlen(word), &number);
}

/* What stands between two commas: one name, which may have blanks, or several without. */
static mpt_status take_words(const chooser *ch, char *words) {
  const csv_columns *c = ch->columns;
  char *rest = NULL;
  if (is_item(c, words) || strpbrk(words, " \t") == NULL ||
      (c->names != NULL &&
       mpt_nearest_word(words, (const char *const *)c->names, (size_t)c->count) != NULL))
    return take(ch, words);
  for (char *word = strtok_r(words, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest))
    MPT_RETURN_IF_FAILED(take(ch, word));
  return MPT_OK;
}

static mpt_status take_text(const chooser *ch, const char *text) {
  char *copy = strdup(text), *rest = NULL;
  mpt_status status = MPT_OK;
  if (copy == NULL)
    return mpt_fail_memory(ch->error, "columns", strlen(text));
  for (char *item = strtok_r(copy, ",\n", &rest); item != NULL && status == MPT_OK;
       item = strtok_r(NULL, ",\n", &rest)) {
    item += strspn(item, " \t");
    size_t length = strlen(item);
    while (length > 0 && (item[length - 1] == ' ' || item[length - 1] == '\t'))
      item[--length] = '\0';
    if (length > 0)
      status = take_words(ch, item);
  }
  free(copy);
  return status;
}

/* ---- the choice ---- */

static mpt_status choose_labels(const data_spec *spec, const chooser *ch) {
  csv_columns *c = ch->columns;
  if (spec->label.count == 0)
    c->labels[c->label_count++] = c->count - 1;
  for (int i = 0; i < spec->label.count; i++) {
    int index;
    if (c->label_count == c->count)
      return mpt_fail_at(ch->error, MPT_ERROR_ARGUMENT, ch->path, 0, 0, "%d labels, but %d columns",
                         spec->label.count, c->count);
    MPT_RETURN_IF_FAILED(find_column(ch, spec->label.words[i], &index));
    if (is_label(c, index))
      return mpt_fail_at(ch->error, MPT_ERROR_ARGUMENT, ch->path, 0, 0,
                         "column %d is a label twice", index);
    c->labels[c->label_count++] = index;
  }
  return MPT_OK;
}

static mpt_status choose_features(const data_spec *spec, const chooser *ch) {
  csv_columns *c = ch->columns;
  const mpt_word_list *list = &spec->columns;
  if (list->count == 0) {
    for (int i = c->row_names; i < c->count; i++)
      if (!is_label(c, i))
        c->features[c->feature_count++] = i;
  } else if (list->one_text) {
    MPT_RETURN_IF_FAILED(take_text(ch, list->words[0]));
  } else {
    for (int i = 0; i < list->count; i++)
      MPT_RETURN_IF_FAILED(take(ch, list->words[i]));
  }
  if (c->feature_count == 0)
    return mpt_fail_at(ch->error, MPT_ERROR_SYNTAX, ch->path, 0, 0,
                       "no column is left for features");
  return MPT_OK;
}

mpt_status csv_columns_read(const data_spec *spec, const char *path, const csv_record *header,
                            const csv_record *first, csv_columns *c, mpt_error *error) {
  c->count = first->count;
  if (c->count < 2)
    return csv_fail(path, &first->fields[0], error,
                    "one column; 2 to %d are read, separated by commas", CSV_MAX_COLUMNS);
  if (header != NULL)
    MPT_RETURN_IF_FAILED(read_header(path, header, c, error));
  size_t count = (size_t)c->count;
  chooser ch = {path, c, calloc(count, sizeof *ch.taken), error};
  c->features = calloc(count, sizeof *c->features);
  c->labels = calloc(count, sizeof *c->labels);
  mpt_status status = MPT_OK;
  if (ch.taken == NULL || c->features == NULL || c->labels == NULL)
    status = mpt_fail_memory(error, "columns", count * sizeof *c->features);
  if (status == MPT_OK)
    status = choose_labels(spec, &ch);
  if (status == MPT_OK)
    status = choose_features(spec, &ch);
  free(ch.taken);
  return status;
}
