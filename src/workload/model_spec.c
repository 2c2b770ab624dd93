/* The `model` section: a preset with its sizes, or a list of layers. */
#include "base/error.h"
#include "workload/sections.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_LAYERS = 10000 };

#define SIZE(key)                                                                                  \
  { #key, MPT_FIELD_INTEGER, false, offsetof(layer_spec, key), 0, 1, WORKLOAD_MAX_SIZE, NULL }

const mpt_field layer_fields[] = {
    {"name", MPT_FIELD_TEXT, true, offsetof(layer_spec, name), MPT_MAX_NAME, 0, 0, NULL},
    {"kind", MPT_FIELD_TEXT, true, offsetof(layer_spec, kind), 24, 0, 0, NULL},
    {"from", MPT_FIELD_OTHER, false, 0, 0, 0, 0, NULL},
    SIZE(features),
    SIZE(channels),
    SIZE(kernel),
    SIZE(stride),
    {"padding", MPT_FIELD_INTEGER, false, offsetof(layer_spec, padding), 0, 0, 1e6, NULL},
    SIZE(vocabulary),
    SIZE(positions),
    SIZE(heads),
    {"probability", MPT_FIELD_BELOW, false, offsetof(layer_spec, probability), 0, 0, 1, NULL},
    {"epsilon", MPT_FIELD_ABOVE, false, offsetof(layer_spec, epsilon), 0, 0, 1, NULL},
    {"initial_scale", MPT_FIELD_ABOVE, false, offsetof(layer_spec, initial_scale), 0, 0, 1e30,
     NULL},
    {"output_scale", MPT_FIELD_ABOVE, false, offsetof(layer_spec, output_scale), 0, 0, 1e30, NULL},
    {"bias", MPT_FIELD_NOT, false, offsetof(layer_spec, no_bias), 0, 0, 0, NULL},
    {"causal", MPT_FIELD_BOOLEAN, false, offsetof(layer_spec, causal), 0, 0, 0, NULL},
    {"tied_to", MPT_FIELD_TEXT, false, offsetof(layer_spec, tied_to), MPT_MAX_NAME, 0, 0, NULL},
};
const size_t layer_field_count = MPT_FIELD_COUNT(layer_fields);
#undef SIZE
_Static_assert(MPT_FIELD_COUNT(layer_fields) == LAYER_KEY_COUNT, "a bit of its own for each key");

layer_spec layer_spec_default(void) {
  return (layer_spec){.initial_scale = 1.0, .output_scale = 1.0};
}

unsigned layer_spec_given(const layer_spec *layer) {
  const layer_spec none = layer_spec_default();
  return layer->given |
         (unsigned)mpt_fields_different(layer_fields, layer_field_count, layer, &none);
}

const char *layer_key_name(int key) {
  return layer_fields[key].key;
}

void model_free(model_spec *model) {
  if (model != NULL) {
    free(model->layers);
    model->layers = NULL;
    model->layer_count = 0;
  }
}

/* ---- a list of layers ---- */

static mpt_status check_name(const mpt_yaml_node *node, const char *name, mpt_error *error) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  if (name[strspn(name, allowed)] != '\0')
    return mpt_yaml_fail(node, error,
                         "layer name '%s' may hold letters, digits, '.', '_' and '-' only", name);
  if (strcmp(name, "input") == 0)
    return mpt_yaml_fail(node, error, "'input' stands for the data; give the layer another name");
  return MPT_OK;
}

static int find_layer(const layer_spec *layers, int count, const char *name) {
  for (int i = 0; i < count; i++)
    if (strcmp(layers[i].name, name) == 0)
      return i;
  return -1;
}

/* That `name` is a layer before layer `count`; a hint otherwise. */
static mpt_status check_earlier(const mpt_yaml_node *node, const layer_spec *layers, int count,
                                const char *name, mpt_error *error) {
  if (find_layer(layers, count, name) >= 0)
    return MPT_OK;
  const char **known = calloc((size_t)count + 1, sizeof *known);
  if (known == NULL)
    return mpt_fail_memory(error, "layer names", ((size_t)count + 1) * sizeof *known);
  for (int i = 0; i < count; i++)
    known[i] = layers[i].name;
  known[count] = "input";
  const char *near = mpt_nearest_word(name, known, (size_t)count + 1);
  mpt_status status = mpt_yaml_fail(
      node, error, "no layer '%s' stands before this one%s%s%s", name,
      near != NULL ? "; did you mean '" : "; a layer reads from 'input' or from earlier layers",
      near != NULL ? near : "", near != NULL ? "'?" : "");
  free(known);
  return status;
}

static mpt_status read_from(const mpt_yaml_node *node, layer_spec *layers, int index,
                            mpt_error *error) {
  layer_spec *layer = &layers[index];
  bool list = node->kind == MPT_YAML_LIST;
  size_t count = list ? node->count : 1;
  if (count == 0 || count > WORKLOAD_MAX_INPUTS)
    return mpt_yaml_fail(node, error, "from has %zu layers; a layer reads 1 to %d", count,
                         WORKLOAD_MAX_INPUTS);
  for (size_t i = 0; i < count; i++) {
    const mpt_yaml_node *item = list ? node->items[i] : node;
    const char *name;
    MPT_RETURN_IF_FAILED(mpt_yaml_string(item, "from", &name, error));
    if (strcmp(name, "input") != 0)
      MPT_RETURN_IF_FAILED(check_earlier(item, layers, index, name, error));
    strcpy(layer->inputs[i], name);
  }
  layer->input_count = (int)count;
  return MPT_OK;
}

static mpt_status read_layer(const mpt_yaml_node *map, layer_spec *layers, int index,
                             mpt_error *error) {
  layer_spec *layer = &layers[index];
  *layer = layer_spec_default();
  layer->line = map->line, layer->column = map->column;
  MPT_RETURN_IF_FAILED(
      mpt_fields_read(map, "a layer", layer_fields, layer_field_count, layer, error));
  layer->given = (unsigned)mpt_fields_given(map, layer_fields, layer_field_count);
  const mpt_yaml_node *name = mpt_yaml_get(map, "name");
  MPT_RETURN_IF_FAILED(check_name(name, layer->name, error));
  int twin = find_layer(layers, index, layer->name);
  if (twin >= 0)
    return mpt_yaml_fail(name, error, "layer name '%s' is taken by the layer in line %d",
                         layer->name, layers[twin].line);
  const mpt_yaml_node *from = mpt_yaml_get(map, "from");
  if (from != NULL)
    MPT_RETURN_IF_FAILED(read_from(from, layers, index, error));
  const mpt_yaml_node *tied = mpt_yaml_get(map, "tied_to");
  return tied == NULL ? MPT_OK : check_earlier(tied, layers, index, layer->tied_to, error);
}

static mpt_status read_layers(const mpt_yaml_node *map, model_spec *model, mpt_error *error) {
  const char *const keys[] = {"layers"};
  MPT_RETURN_IF_FAILED(mpt_yaml_check_keys(map, "a model of layers", keys, 1, error));
  const mpt_yaml_node *list = mpt_yaml_get(map, "layers");
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(list, MPT_YAML_LIST, "layers", error));
  if (list->count == 0 || list->count > MAX_LAYERS)
    return mpt_yaml_fail(list, error, "a model has 1 to %d layers, not %zu", MAX_LAYERS,
                         list->count);
  model->layers = calloc(list->count, sizeof *model->layers);
  if (model->layers == NULL)
    return mpt_fail_memory(error, "layers", list->count * sizeof *model->layers);
  model->layer_count = (int)list->count;
  for (int i = 0; i < model->layer_count; i++)
    MPT_RETURN_IF_FAILED(read_layer(list->items[i], model->layers, i, error));
  return MPT_OK;
}

/* ---- presets ---- */

static mpt_status read_sizes(const mpt_yaml_node *map, const char *key, size_list *list,
                             mpt_error *error) {
  const mpt_yaml_node *node = mpt_yaml_get(map, key);
  if (node == NULL)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(node, MPT_YAML_LIST, key, error));
  if (node->count > WORKLOAD_MAX_WIDTHS)
    return mpt_yaml_fail(node, error, "%s has %zu sizes; at most %d are taken", key, node->count,
                         WORKLOAD_MAX_WIDTHS);
  for (size_t i = 0; i < node->count; i++)
    MPT_RETURN_IF_FAILED(mpt_yaml_integer(node->items[i], key, 1, (int64_t)WORKLOAD_MAX_SIZE,
                                          &list->sizes[i], error));
  list->count = (int)node->count;
  return MPT_OK;
}

static int64_t largest(const size_list *a, const size_list *b) {
  int64_t size = 0;
  for (int i = 0; i < a->count; i++)
    size = a->sizes[i] > size ? a->sizes[i] : size;
  for (int i = 0; i < b->count; i++)
    size = b->sizes[i] > size ? b->sizes[i] : size;
  return size;
}

#define PRESET_SIZE(key, required)                                                                 \
  { #key, MPT_FIELD_INTEGER, required, offsetof(model_spec, key), 0, 1, WORKLOAD_MAX_SIZE, NULL }
#define PRESET_WORD                                                                                \
  { "preset", MPT_FIELD_OTHER, true, 0, 0, 0, 0, NULL }
#define ACTIVATION                                                                                 \
  {                                                                                                \
    "activation", MPT_FIELD_WORD, false, offsetof(model_spec, activation), 0, 0, 0,                \
        activation_words                                                                           \
  }

static mpt_status read_mlp(const mpt_yaml_node *map, const data_spec *data, model_spec *model,
                           mpt_error *error) {
  static const mpt_field fields[] = {
      PRESET_WORD,
      PRESET_SIZE(outputs, true),
      ACTIVATION,
      {"widths", MPT_FIELD_OTHER, true, 0, 0, 0, 0, NULL},
  };
  MPT_RETURN_IF_FAILED(
      mpt_fields_read(map, "the mlp preset", fields, MPT_FIELD_COUNT(fields), model, error));
  MPT_RETURN_IF_FAILED(read_sizes(map, "widths", &model->widths, error));
  model->flatten = data->kind == DATA_IDX || data->shape[0] > 0;
  model->depth = model->widths.count;
  model->width = largest(&model->widths, &model->channels);
  return MPT_OK;
}

static mpt_status read_cnn(const mpt_yaml_node *map, model_spec *model, mpt_error *error) {
  static const mpt_field fields[] = {
      PRESET_WORD,
      PRESET_SIZE(outputs, true),
      ACTIVATION,
      {"kernel", MPT_FIELD_INTEGER, false, offsetof(model_spec, kernel), 0, 1, 99, NULL},
      {"channels", MPT_FIELD_OTHER, true, 0, 0, 0, 0, NULL},
      {"widths", MPT_FIELD_OTHER, false, 0, 0, 0, 0, NULL},
  };
  model->kernel = 3;
  MPT_RETURN_IF_FAILED(
      mpt_fields_read(map, "the cnn preset", fields, MPT_FIELD_COUNT(fields), model, error));
  MPT_RETURN_IF_FAILED(read_sizes(map, "channels", &model->channels, error));
  MPT_RETURN_IF_FAILED(read_sizes(map, "widths", &model->widths, error));
  if (model->kernel % 2 == 0)
    return mpt_yaml_fail(mpt_yaml_get(map, "kernel"), error,
                         "kernel is %lld; the preset pads by kernel/2 and needs an odd one",
                         (long long)model->kernel);
  model->depth = model->channels.count + model->widths.count;
  model->width = largest(&model->widths, &model->channels);
  return MPT_OK;
}

static mpt_status read_gpt(const mpt_yaml_node *map, const data_spec *data, model_spec *model,
                           mpt_error *error) {
  static const mpt_field fields[] = {
      PRESET_WORD,
      PRESET_SIZE(width, true),
      {"blocks", MPT_FIELD_INTEGER, true, offsetof(model_spec, depth), 0, 1, 1000, NULL},
      PRESET_SIZE(heads, true),
      PRESET_SIZE(vocabulary, false),
      {"tied", MPT_FIELD_BOOLEAN, false, offsetof(model_spec, tied), 0, 0, 0, NULL},
  };
  model->vocabulary = data->kind == DATA_BYTES ? 256 : data->vocabulary;
  MPT_RETURN_IF_FAILED(
      mpt_fields_read(map, "the gpt preset", fields, MPT_FIELD_COUNT(fields), model, error));
  model->sequence = data->sequence;
  if (model->sequence == 0)
    return mpt_yaml_fail(map, error, "the gpt preset needs text; use data of kind bytes or tokens");
  if (model->vocabulary == 0)
    return mpt_yaml_fail(map, error, "the gpt preset has no 'vocabulary', and neither has data");
  if (model->width % model->heads != 0)
    return mpt_yaml_fail(mpt_yaml_get(map, "heads"), error,
                         "width %lld is not a multiple of heads %lld", (long long)model->width,
                         (long long)model->heads);
  return MPT_OK;
}

mpt_status model_spec_read(const mpt_yaml_node *map, const data_spec *data, model_spec *model,
                           mpt_error *error) {
  static const char *const presets[] = {"mlp", "cnn", "gpt", NULL};
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(map, MPT_YAML_MAP, "model", error));
  const mpt_yaml_node *preset = mpt_yaml_get(map, "preset");
  if (preset == NULL && mpt_yaml_get(map, "layers") == NULL)
    return mpt_yaml_fail(map, error, "model has neither 'preset' nor 'layers'; give one of them");
  if (preset == NULL)
    return read_layers(map, model, error);
  int index;
  MPT_RETURN_IF_FAILED(mpt_fields_word(preset, "preset", presets, &index, error));
  strcpy(model->preset, presets[index]);
  switch (index) {
  case 0:
    MPT_RETURN_IF_FAILED(read_mlp(map, data, model, error));
    break;
  case 1:
    MPT_RETURN_IF_FAILED(read_cnn(map, model, error));
    break;
  default:
    MPT_RETURN_IF_FAILED(read_gpt(map, data, model, error));
  }
  return preset_build(model, error);
}
