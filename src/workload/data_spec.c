/* The `data` section: one kind of data, and the keys that this kind takes. */
#include "base/error.h"
#include "workload/sections.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const id_words[] = {"uint8", "uint16", "uint32", "uint64", "int8",
                                       "int16", "int32",  "int64",  NULL};
static const char *const kind_words[] = {"idx", "csv", "bytes", "tokens", "synthetic", NULL};

#define SIZE(key, low)                                                                             \
  { #key, MPT_FIELD_INTEGER, false, offsetof(data_spec, key), 0, low, WORKLOAD_MAX_SIZE, NULL }
#define FILE_NAME(key, index)                                                                      \
  { key, MPT_FIELD_TEXT, false, offsetof(data_spec, files[index]), 512, 0, 0, NULL }

/* Every key of every kind. What training sees is in the canonical text; where the files are is
 * not, since the data's hash stands for their content. */
const mpt_field data_fields[] = {
    {"kind", MPT_FIELD_WORD, true, offsetof(data_spec, kind), 0, 0, 0, kind_words},
    SIZE(sequence, 1),
    SIZE(classes, 2),
    {"samples", MPT_FIELD_INTEGER, false, offsetof(data_spec, samples), 0, 1, 1e12, NULL},
    SIZE(held_out, 1),
    {"label", MPT_FIELD_WORDS, false, offsetof(data_spec, label), 0, 0, 0, NULL},
    {"columns", MPT_FIELD_WORDS, false, offsetof(data_spec, columns), 0, 0, 0, NULL},
    {"header", MPT_FIELD_BOOLEAN, false, offsetof(data_spec, header), 0, 0, 0, NULL},
    {"standardize", MPT_FIELD_BOOLEAN, false, offsetof(data_spec, standardize), 0, 0, 0, NULL},
    {"vocabulary", MPT_FIELD_INTEGER, false, offsetof(data_spec, vocabulary), 0, 2,
     WORKLOAD_MAX_SIZE, NULL},
    SIZE(features, 1),
    SIZE(targets, 1),
    SIZE(hidden, 1),
    {"scale_low", MPT_FIELD_NUMBER, false, offsetof(data_spec, scale_low), 0, 1e-30, 1e30, NULL},
    {"scale_high", MPT_FIELD_NUMBER, false, offsetof(data_spec, scale_high), 0, 1e-30, 1e30, NULL},
    {"noise", MPT_FIELD_NUMBER, false, offsetof(data_spec, noise), 0, 0, 1e30, NULL},
    {"outliers", MPT_FIELD_NUMBER, false, offsetof(data_spec, outliers), 0, 0, 1, NULL},
    {"outlier_scale", MPT_FIELD_ABOVE, false, offsetof(data_spec, outlier_scale), 0, 0, 1e30, NULL},
    {"blank", MPT_FIELD_NUMBER, false, offsetof(data_spec, blank), 0, 0, 1, NULL},
    {"seed", MPT_FIELD_INTEGER, false, offsetof(data_spec, seed), 0, 0, 1e15, NULL},
};
const size_t data_field_count = MPT_FIELD_COUNT(data_fields);

/* Where the data is, and how it is written. */
static const mpt_field place_fields[] = {
    {"package", MPT_FIELD_TEXT, false, offsetof(data_spec, package), 64, 0, 0, NULL},
    FILE_NAME("images", 0),
    FILE_NAME("labels", 1),
    FILE_NAME("held_out_images", 2),
    FILE_NAME("held_out_labels", 3),
    FILE_NAME("file", 0),
    {"dtype", MPT_FIELD_WORD, false, offsetof(data_spec, dtype), 0, 0, 0, id_words},
};

static const mpt_field shape_field = {"shape", MPT_FIELD_OTHER, false, 0, 0, 0, 0, NULL};

#define MAX_VALUES 4e9 /* of synthetic data, which is held in memory */

/* Which keys each kind takes; a `!` marks the required ones. */
static const char *const idx_keys[] = {
    "!kind",           "package",  "!images", "!labels",  "held_out_images",
    "held_out_labels", "!classes", "samples", "held_out", NULL};
static const char *const csv_keys[] = {"!kind",   "package",     "!file", "classes",
                                       "samples", "held_out",    "label", "columns",
                                       "header",  "standardize", NULL};
static const char *const bytes_keys[] = {"!kind",   "package",  "!file", "!sequence",
                                         "samples", "held_out", NULL};
static const char *const tokens_keys[] = {
    "!kind", "package", "!file", "dtype", "!sequence", "!vocabulary", "samples", "held_out", NULL};
static const char *const features_keys[] = {"!kind",    "!samples",      "held_out",   "features",
                                            "shape",    "classes",       "targets",    "hidden",
                                            "noise",    "scale_low",     "scale_high", "blank",
                                            "outliers", "outlier_scale", "seed",       NULL};
static const char *const chain_keys[] = {"!kind",       "!samples", "held_out", "!sequence",
                                         "!vocabulary", "seed",     NULL};

data_spec data_spec_default(data_kind kind) {
  return (data_spec){.kind = kind,
                     .dtype = ID_NOT_GIVEN,
                     .scale_low = 1.0,
                     .scale_high = 1.0,
                     .outlier_scale = 1.0};
}

const char *id_type_name(id_type type) {
  return type < 0 ? "" : id_words[type];
}

void data_spec_free(data_spec *data) {
  mpt_word_list_free(&data->label);
  mpt_word_list_free(&data->columns);
}

static mpt_status read_shape(const mpt_yaml_node *map, data_spec *data, mpt_error *error) {
  const mpt_yaml_node *node = mpt_yaml_get(map, "shape");
  if (node == NULL)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(node, MPT_YAML_LIST, "shape", error));
  if (node->count != 3)
    return mpt_yaml_fail(node, error, "shape is [channels, height, width], not %zu sizes",
                         node->count);
  for (int i = 0; i < 3; i++)
    MPT_RETURN_IF_FAILED(
        mpt_yaml_integer(node->items[i], "shape", 1, 100000, &data->shape[i], error));
  return MPT_OK;
}

static bool given(const mpt_yaml_node *map, const char *key) {
  return mpt_yaml_get(map, key) != NULL;
}

/* Synthetic data is a chain of ids, or features with labels or targets. */
static bool is_chain(const mpt_yaml_node *map) {
  return given(map, "sequence") || given(map, "vocabulary");
}

static mpt_status check_chain(const mpt_yaml_node *map, const data_spec *data, mpt_error *error) {
  if (data->vocabulary > 65536)
    return mpt_yaml_fail(mpt_yaml_get(map, "vocabulary"), error,
                         "synthetic tokens have a vocabulary of at most 65536, not %lld",
                         (long long)data->vocabulary);
  return MPT_OK;
}

static mpt_status check_features(const mpt_yaml_node *map, data_spec *data, mpt_error *error) {
  if (given(map, "features") == given(map, "shape"))
    return mpt_yaml_fail(map, error, "synthetic data needs one of 'features' and 'shape'");
  if (given(map, "classes") == given(map, "targets"))
    return mpt_yaml_fail(map, error, "synthetic data needs one of 'classes' and 'targets'");
  if (data->shape[0] > 0)
    data->features = data->shape[0] * data->shape[1] * data->shape[2];
  /* a normal number of a few million is below 8 */
  if (8.0 * fmax(data->scale_low, data->scale_high) * data->outlier_scale > FLT_MAX)
    return mpt_yaml_fail(map, error,
                         "a scale of %g times outlier_scale %g is beyond the largest fp32 number",
                         fmax(data->scale_low, data->scale_high), data->outlier_scale);
  double values = (double)data->samples * (double)(data->features + data->targets + 1);
  double weights = (double)data->features * (double)(data->hidden + data->classes + data->targets);
  if (values > MAX_VALUES || weights > MAX_VALUES)
    return mpt_yaml_fail(map, error, "synthetic data of more than %g values; make it smaller",
                         MAX_VALUES);
  return MPT_OK;
}

static bool has_step_up(const char *path) {
  for (; *path != '\0'; path += strcspn(path, "/"), path += *path == '/')
    if (strcspn(path, "/") == 2 && strncmp(path, "..", 2) == 0)
      return true;
  return false;
}

/* What a pattern finds is compared with the root once more where it is looked for (files.c). */
static mpt_status check_package(const mpt_yaml_node *map, const data_spec *data, mpt_error *error) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789.+-";
  if (data->package[0] == '\0')
    return MPT_OK;
  if (data->package[strspn(data->package, allowed)] != '\0' || data->package[0] == '-' ||
      data->package[0] == '.')
    return mpt_yaml_fail(mpt_yaml_get(map, "package"), error, "'%s' is not the name of a package",
                         data->package);
  for (int i = 0; i < 4; i++)
    if (data->files[i][0] == '/' || has_step_up(data->files[i]))
      return mpt_yaml_fail(map, error,
                           "'%s' must be relative to the root of package %s: no leading '/', no "
                           "'..'",
                           data->files[i], data->package);
  return MPT_OK;
}

/* The keys of the kind, and how a message calls it. */
static const char *const *keys_of(const mpt_yaml_node *map, data_kind kind, char what[40]) {
  static const char *const *const keys[] = {[DATA_IDX] = idx_keys,
                                            [DATA_CSV] = csv_keys,
                                            [DATA_BYTES] = bytes_keys,
                                            [DATA_TOKENS] = tokens_keys,
                                            [DATA_SYNTHETIC] = features_keys};
  snprintf(what, 40, "data of kind %s", kind_words[kind]);
  if (kind != DATA_SYNTHETIC || !is_chain(map))
    return keys[kind];
  strcpy(what, "synthetic data of tokens");
  return chain_keys;
}

mpt_status data_spec_read(const mpt_yaml_node *map, data_spec *data, mpt_error *error) {
  int kind;
  char what[40];
  MPT_RETURN_IF_FAILED(mpt_fields_kind(map, "data", kind_words, &kind, error));
  *data = data_spec_default((data_kind)kind);
  data->line = map->line, data->column = map->column;
  mpt_field fields[MPT_FIELD_COUNT(data_fields) + MPT_FIELD_COUNT(place_fields) + 1];
  memcpy(fields, data_fields, sizeof data_fields);
  memcpy(fields + MPT_FIELD_COUNT(data_fields), place_fields, sizeof place_fields);
  fields[MPT_FIELD_COUNT(fields) - 1] = shape_field;
  const char *const *keys = keys_of(map, data->kind, what);
  MPT_RETURN_IF_FAILED(
      mpt_fields_read_kind(map, what, fields, MPT_FIELD_COUNT(fields), keys, data, error));
  MPT_RETURN_IF_FAILED(read_shape(map, data, error));
  MPT_RETURN_IF_FAILED(check_package(map, data, error));
  if (given(map, "held_out_images") != given(map, "held_out_labels"))
    return mpt_yaml_fail(map, error, "held_out_images and held_out_labels go together");
  if (data->label.count > 1 && data->classes > 0)
    return mpt_yaml_fail(mpt_yaml_get(map, "label"), error,
                         "%d columns as the label of classes; one column has a sample's class, "
                         "several are targets without 'classes'",
                         data->label.count);
  if (kind != DATA_SYNTHETIC)
    return MPT_OK;
  return is_chain(map) ? check_chain(map, data, error) : check_features(map, data, error);
}
