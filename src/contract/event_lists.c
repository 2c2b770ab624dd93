#include "contract/event_lists.h"
#include "base/hash.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool fault(char why[EVENT_WHY_SIZE], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool fault(char why[EVENT_WHY_SIZE], const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(why, EVENT_WHY_SIZE, format, arguments);
  va_end(arguments);
  return false;
}

const char *event_value_name(const json_t *json) {
  switch (json_typeof(json)) {
  case JSON_OBJECT:
    return "an object";
  case JSON_ARRAY:
    return "a list";
  case JSON_STRING:
    return "a text";
  case JSON_INTEGER:
  case JSON_REAL:
    return "a number";
  case JSON_NULL:
    return "null";
  default:
    return "true or false";
  }
}

/* ---- values ---- */

/* A member that may be left out, or be null. */
static bool is_there(const json_t *json) {
  return json != NULL && !json_is_null(json);
}

bool event_read_integer(const json_t *json, double low, double high, int64_t *out) {
  const double value = json_number_value(json);
  if (!json_is_number(json) || !(value >= low && value <= high) || value != floor(value))
    return false;
  *out = json_is_integer(json) ? (int64_t)json_integer_value(json) : (int64_t)value;
  return true;
}

bool event_read_text(const json_t *json, char *out, size_t size, char why[EVENT_WHY_SIZE]) {
  const char *text = json_string_value(json);
  if (text == NULL)
    return fault(why, "is %s; write a text", event_value_name(json));
  const size_t length = json_string_length(json);
  if (length == 0 || length >= size)
    return fault(why, "has %zu bytes; write 1 to %zu", length, size - 1);
  if (strlen(text) != length)
    return fault(why, "holds a NUL character");
  memcpy(out, text, length + 1);
  return true;
}

bool event_read_histogram(const json_t *json, uint64_t *histogram, char why[EVENT_WHY_SIZE]) {
  if (!json_is_array(json) || json_array_size(json) != MPT_EXPONENT_BINS)
    return fault(why, "is no list of %d counts, one for each exponent of fp32", MPT_EXPONENT_BINS);
  for (size_t i = 0; i < MPT_EXPONENT_BINS; i++) {
    int64_t count;
    if (!event_read_integer(json_array_get(json, i), 0, 9007199254740992.0, &count))
      return fault(why, "[%zu] is no count", i);
    histogram[i] = (uint64_t)count;
  }
  return true;
}

/* ---- lists of things that have names ---- */

/* Every name once: a table of indices + 1 by the names' hashes. */
typedef struct name_table {
  int *slots;
  size_t size;
} name_table;

static bool table_open(name_table *t, size_t count) {
  t->size = 2 * count + 1;
  t->slots = calloc(t->size, sizeof *t->slots);
  return t->slots != NULL;
}

/* Whether it is new. `names` is the first of those with that stride. */
static bool table_add(name_table *t, const char *names, size_t stride, int index) {
  const char *name = names + (size_t)index * stride;
  size_t slot = mpt_hash_bytes(MPT_HASH_START, name, strlen(name)) % t->size;
  for (; t->slots[slot] != 0; slot = (slot + 1) % t->size)
    if (strcmp(names + (size_t)(t->slots[slot] - 1) * stride, name) == 0)
      return false;
  t->slots[slot] = index + 1;
  return true;
}

static bool check_list(const json_t *json, size_t most, char why[EVENT_WHY_SIZE]) {
  if (!json_is_array(json))
    return fault(why, "is %s; write a list", event_value_name(json));
  if (json_array_size(json) > most)
    return fault(why, "has %zu entries; the most are %zu", json_array_size(json), most);
  return true;
}

bool event_read_names(const json_t *json, event_names *out, char why[EVENT_WHY_SIZE]) {
  char wrong[EVENT_WHY_SIZE];
  if (!check_list(json, EVENT_MOST_NAMES, why))
    return false;
  const size_t count = json_array_size(json);
  out->names = calloc(count + 1, sizeof *out->names);
  if (out->names == NULL)
    return fault(why, "needs more memory than there is");
  for (size_t i = 0; i < count; i++) {
    if (!event_read_text(json_array_get(json, i), out->names[i], sizeof out->names[i], wrong))
      return fault(why, "[%zu] %s", i, wrong);
    out->count++;
  }
  return true;
}

typedef bool read_entry(const json_t *json, void *entry, char why[EVENT_WHY_SIZE]);

/* Entries of `size` bytes that begin with their name, which no two share. */
static bool read_named(const json_t *json, size_t size, read_entry *read, void **out, int *count,
                       char why[EVENT_WHY_SIZE]) {
  char wrong[EVENT_WHY_SIZE] = "";
  name_table table = {0};
  if (!check_list(json, EVENT_MOST_LAYERS, why))
    return false;
  const size_t all = json_array_size(json);
  if (all == 0)
    return fault(why, "is empty; name every layer that has a format");
  char *entries = calloc(all, size);
  bool good = entries != NULL && table_open(&table, all);
  if (!good)
    fault(why, "needs more memory than there is");
  for (size_t i = 0; good && i < all; i++) {
    const json_t *each = json_array_get(json, i);
    char *entry = entries + i * size;
    good = json_is_object(each) ? read(each, entry, wrong)
                                : fault(wrong, "is %s; write an object", event_value_name(each));
    if (!good)
      fault(why, "[%zu]%s%.*s%s %.300s", i, *entry != '\0' ? " '" : "", 60, entry,
            *entry != '\0' ? "'" : "", wrong);
    else if (!(good = table_add(&table, entries, size, (int)i)))
      fault(why, "has '%.100s' twice", entry);
  }
  free(table.slots);
  if (!good) {
    free(entries);
    return false;
  }
  *out = entries;
  *count = (int)all;
  return true;
}

static bool read_name(const json_t *entry, char *name, char why[EVENT_WHY_SIZE]) {
  char wrong[EVENT_WHY_SIZE];
  const json_t *json = json_object_get(entry, "name");
  if (json == NULL)
    return fault(why, "has no 'name'");
  if (!event_read_text(json, name, MPT_MAX_NAME, wrong))
    return fault(why, "name %.300s", wrong);
  return true;
}

/* ---- layers ---- */

static bool read_shape(const json_t *json, mpt_layer_info *layer, char why[EVENT_WHY_SIZE]) {
  const size_t rank = json_array_size(json);
  if (!json_is_array(json) || rank < 1 || rank > 4)
    return fault(why, "has no 'shape' of 1 to 4 numbers: of a linear layer [out, in]");
  for (size_t i = 0; i < rank; i++)
    if (!event_read_integer(json_array_get(json, i), 1, 1e9, &layer->shape[i]))
      return fault(why, "shape[%zu] is no whole number from 1 to 1e9", i);
  layer->rank = (int)rank;
  return true;
}

static bool read_layer(const json_t *json, void *entry, char why[EVENT_WHY_SIZE]) {
  mpt_layer_info *layer = entry;
  char wrong[EVENT_WHY_SIZE];
  const json_t *kind = json_object_get(json, "kind"), *rows = json_object_get(json, "rows");
  if (!read_name(json, layer->name, why))
    return false;
  if (kind == NULL)
    return fault(why, "has no 'kind': linear, conv2d, or what else it is");
  if (!event_read_text(kind, layer->kind, sizeof layer->kind, wrong))
    return fault(why, "kind %.300s", wrong);
  if (!read_shape(json_object_get(json, "shape"), layer, why))
    return false;
  if (is_there(rows) && !event_read_integer(rows, 0, 1e15, &layer->rows))
    return fault(why, "rows is no whole number from 0 (not known) to 1e15");
  const int needed = strcmp(layer->kind, "linear") == 0 ? 2 : 4;
  if (mpt_layer_has_gemm(layer->kind) && layer->rank != needed)
    return fault(why, "has a shape of %d numbers; a %s layer's has %d: %s", layer->rank,
                 layer->kind, needed, needed == 2 ? "[out, in]" : "[out, in, height, width]");
  return true;
}

bool event_read_layers(const json_t *json, event_layers *out, char why[EVENT_WHY_SIZE]) {
  void *list = NULL;
  if (!read_named(json, sizeof *out->layers, read_layer, &list, &out->count, why))
    return false;
  out->layers = list;
  return true;
}

/* ---- formats ---- */

static bool read_precision(const json_t *json, mpt_precision *precision, const char *what,
                           char why[EVENT_WHY_SIZE]) {
  const char *text = json_string_value(json);
  if (text != NULL && mpt_precision_parse(text, precision, NULL) == MPT_OK)
    return true;
  return fault(why, "%s is %s%.40s%s; write fp32, tf32, bf16, fp16 or fp8", what,
               text != NULL ? "'" : "", text != NULL ? text : event_value_name(json),
               text != NULL ? "'" : "");
}

/* The formats of a product's operands: those of a precision. */
static bool precision_of_operands(mpt_gemm_policy *gemm) {
  for (int p = 0; p < MPT_PRECISION_FP8; p++) {
    const mpt_gemm_policy same = mpt_gemm_policy_of(MPT_FPROP, (mpt_precision)p);
    if (gemm->operand[0] == same.operand[0] && gemm->operand[1] == same.operand[0]) {
      gemm->precision = (mpt_precision)p;
      return true;
    }
  }
  gemm->precision = MPT_PRECISION_FP8;
  return mpt_format_is_fp8(gemm->operand[0]) && mpt_format_is_fp8(gemm->operand[1]);
}

static bool read_operands(const json_t *json, mpt_gemm_kind kind, applied_layer *layer,
                          char why[EVENT_WHY_SIZE]) {
  mpt_gemm_policy *gemm = &layer->formats.gemm[kind];
  const json_t *accumulate = json_object_get(json, "accumulate");
  for (int i = 0; i < 2; i++) {
    const char *operand = mpt_operand_name(mpt_gemm_operand(kind, i));
    const char *text = json_string_value(json_object_get(json, operand));
    if (text == NULL || mpt_format_parse(text, &gemm->operand[i], NULL) != MPT_OK)
      return fault(why,
                   "%s has no format of its '%s': one of fp32 tf32 bf16 fp16 fp8_e4m3 fp8_e5m2",
                   mpt_gemm_name(kind), operand);
  }
  if (!precision_of_operands(gemm))
    return fault(why, "%s has operands of two formats; both are the same, or both fp8",
                 mpt_gemm_name(kind));
  if (!is_there(accumulate))
    return true;
  const char *text = json_string_value(accumulate);
  if (text == NULL || (strcmp(text, "fast") != 0 && strcmp(text, "split") != 0))
    return fault(why, "%s: accumulate is fast or split", mpt_gemm_name(kind));
  gemm->accumulate = strcmp(text, "fast") == 0 ? MPT_ACCUMULATE_FAST : MPT_ACCUMULATE_SPLIT;
  layer->accumulate_given[kind] = true;
  return true;
}

static bool read_gemm(const json_t *json, mpt_gemm_kind kind, applied_layer *layer,
                      char why[EVENT_WHY_SIZE]) {
  mpt_precision precision = MPT_PRECISION_FP32;
  if (json_is_object(json))
    return read_operands(json, kind, layer, why);
  if (!read_precision(json, &precision, mpt_gemm_name(kind), why))
    return false;
  layer->formats.gemm[kind] = mpt_gemm_policy_of(kind, precision);
  return true;
}

static bool read_scaling(const json_t *json, applied_layer *layer, char why[EVENT_WHY_SIZE]) {
  const char *mode = json_string_value(json_object_get(json, "mode"));
  mpt_scaling *scaling = &layer->formats.scaling;
  int64_t history, margin;
  layer->scaling_given = true;
  if (mode != NULL && strcmp(mode, "current") == 0) {
    scaling->mode = MPT_SCALING_CURRENT;
    return true;
  }
  if (mode == NULL || strcmp(mode, "delayed") != 0)
    return fault(why, "scaling has no 'mode': current, or delayed with history and margin");
  if (!event_read_integer(json_object_get(json, "history"), 1, 1024, &history) ||
      !event_read_integer(json_object_get(json, "margin"), 0, 16, &margin))
    return fault(why, "scaling has no 'history' from 1 to 1024 and 'margin' from 0 to 16");
  *scaling = (mpt_scaling){MPT_SCALING_DELAYED, (int)history, (int)margin};
  return true;
}

/* A precision, or what `mptune policy resolve` prints for a layer, which says sums and scaling. */
static bool read_format(const json_t *json, applied_layer *layer, char why[EVENT_WHY_SIZE]) {
  const char *text = json_string_value(json);
  if (text == NULL)
    return fault(why, "format is %s; write fp32, tf32, bf16, fp16 or fp8", event_value_name(json));
  if (mpt_layer_policy_parse(text, &layer->formats, NULL) != MPT_OK)
    return fault(why, "format is '%.100s'; write fp32, tf32, bf16, fp16 or fp8", text);
  for (int g = 0; g < MPT_GEMM_COUNT; g++)
    layer->accumulate_given[g] = strchr(text, '=') != NULL;
  layer->scaling_given = strchr(text, ':') != NULL;
  return true;
}

static bool read_applied(const json_t *json, void *entry, char why[EVENT_WHY_SIZE]) {
  applied_layer *layer = entry;
  const json_t *format = json_object_get(json, "format"),
               *scaling = json_object_get(json, "scaling");
  int gemms = 0;
  if (!read_name(json, layer->name, why))
    return false;
  layer->formats = mpt_layer_policy_of(MPT_PRECISION_FP32);
  if (is_there(format) && !read_format(format, layer, why))
    return false;
  for (int g = 0; g < MPT_GEMM_COUNT; g++) {
    const json_t *gemm = json_object_get(json, mpt_gemm_name((mpt_gemm_kind)g));
    if (!is_there(gemm))
      continue;
    gemms++;
    if (!read_gemm(gemm, (mpt_gemm_kind)g, layer, why))
      return false;
  }
  if (!is_there(format) && gemms != MPT_GEMM_COUNT)
    return fault(why, "has neither a 'format' nor all of fprop, dgrad and wgrad; of a product that "
                      "is not run, name the format that was asked");
  return !is_there(scaling) || read_scaling(scaling, layer, why);
}

bool event_read_formats(const json_t *json, event_applied *out, char why[EVENT_WHY_SIZE]) {
  void *list = NULL;
  if (!read_named(json, sizeof *out->layers, read_applied, &list, &out->count, why))
    return false;
  out->layers = list;
  return true;
}
