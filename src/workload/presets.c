/* The presets' layers, and a model at the size it is priced at. The names are part of the
 * contract: policies and pins match them. */
#include "base/error.h"
#include "workload/sections.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const activation_words[] = {"relu", "sigmoid", "tanh", "gelu", NULL};

/* A growing list; a failed allocation is remembered and the layers after it dropped. */
typedef struct layer_list {
  layer_spec *layers;
  int count, capacity;
  layer_spec lost;
  bool failed;
} layer_list;

static layer_spec *add(layer_list *list, const char *kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static layer_spec *add(layer_list *list, const char *kind, const char *format, ...) {
  if (list->count == list->capacity) {
    int capacity = list->capacity > 0 ? 2 * list->capacity : 32;
    layer_spec *layers = realloc(list->layers, (size_t)capacity * sizeof *layers);
    if (layers == NULL) {
      list->failed = true;
      return &list->lost;
    }
    list->layers = layers;
    list->capacity = capacity;
  }
  layer_spec *layer = &list->layers[list->count++];
  *layer = layer_spec_default();
  snprintf(layer->kind, sizeof layer->kind, "%s", kind);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(layer->name, sizeof layer->name, format, arguments);
  va_end(arguments);
  return layer;
}

static void add_hidden(layer_list *list, const model_spec *model, int activations) {
  const char *activation = activation_words[model->activation];
  for (int i = 0; i < model->widths.count; i++) {
    add(list, "linear", "fc%d", i + 1)->features = model->widths.sizes[i];
    add(list, activation, "%s%d", activation, activations + i + 1);
  }
  add(list, "linear", "head")->features = model->outputs;
}

static void add_mlp(layer_list *list, const model_spec *model) {
  if (model->flatten)
    add(list, "flatten", "flatten");
  add_hidden(list, model, 0);
}

static void add_cnn(layer_list *list, const model_spec *model) {
  const char *activation = activation_words[model->activation];
  for (int i = 0; i < model->channels.count; i++) {
    layer_spec *conv = add(list, "conv2d", "conv%d", i + 1);
    conv->channels = model->channels.sizes[i];
    conv->kernel = model->kernel;
    conv->stride = 1;
    conv->padding = model->kernel / 2;
    add(list, activation, "%s%d", activation, i + 1);
    layer_spec *pool = add(list, "maxpool", "pool%d", i + 1);
    pool->kernel = pool->stride = 2;
  }
  add(list, "flatten", "flatten");
  add_hidden(list, model, model->channels.count);
}

/* One pre-norm block; `stream` is the layer whose output it reads and adds to. */
static void add_block(layer_list *list, const model_spec *model, int block, const char *stream) {
  /* GPT-2: what adds into the residual stream starts smaller, so that the variance of the stream
   * does not grow with the depth. */
  double residual_scale = 1.0 / sqrt(2.0 * (double)model->depth);
  char middle[MPT_MAX_NAME];

  layer_spec *layer = add(list, "layernorm", "blocks.%d.ln1", block);
  layer->input_count = 1;
  strcpy(layer->inputs[0], stream);
  add(list, "linear", "blocks.%d.attn.qkv", block)->features = 3 * model->width;
  layer = add(list, "attention", "blocks.%d.attn.core", block);
  layer->heads = model->heads;
  layer->causal = true;
  layer = add(list, "linear", "blocks.%d.attn.proj", block);
  layer->features = model->width;
  layer->initial_scale = residual_scale;
  layer = add(list, "residual", "blocks.%d.residual1", block);
  layer->input_count = 2;
  strcpy(layer->inputs[0], stream);
  snprintf(layer->inputs[1], MPT_MAX_NAME, "blocks.%d.attn.proj", block);
  strcpy(middle, layer->name);

  add(list, "layernorm", "blocks.%d.ln2", block);
  add(list, "linear", "blocks.%d.mlp.fc1", block)->features = 4 * model->width;
  add(list, "gelu", "blocks.%d.mlp.gelu", block);
  layer = add(list, "linear", "blocks.%d.mlp.fc2", block);
  layer->features = model->width;
  layer->initial_scale = residual_scale;
  layer = add(list, "residual", "blocks.%d.residual2", block);
  layer->input_count = 2;
  strcpy(layer->inputs[0], middle);
  snprintf(layer->inputs[1], MPT_MAX_NAME, "blocks.%d.mlp.fc2", block);
}

static void add_gpt(layer_list *list, const model_spec *model) {
  layer_spec *embed = add(list, "embedding", "embed");
  embed->vocabulary = model->vocabulary;
  embed->features = model->width;
  embed->positions = model->sequence;
  char stream[MPT_MAX_NAME] = "embed";
  for (int block = 0; block < model->depth; block++) {
    add_block(list, model, block, stream);
    snprintf(stream, sizeof stream, "blocks.%d.residual2", block);
  }
  add(list, "layernorm", "ln_f");
  layer_spec *head = add(list, "linear", "head");
  head->features = model->vocabulary;
  head->no_bias = true;
  if (model->tied)
    strcpy(head->tied_to, "embed");
}

mpt_status preset_build(model_spec *model, mpt_error *error) {
  layer_list list = {0};
  if (strcmp(model->preset, "mlp") == 0)
    add_mlp(&list, model);
  else if (strcmp(model->preset, "cnn") == 0)
    add_cnn(&list, model);
  else
    add_gpt(&list, model);
  if (list.failed) {
    free(list.layers);
    return mpt_fail_memory(error, "layers", (size_t)list.capacity * 2 * sizeof *list.layers);
  }
  model->layers = list.layers;
  model->layer_count = list.count;
  return MPT_OK;
}

/* ---- priced_as ---- */

static void scale_sizes(size_list *list, int64_t to, int64_t from) {
  for (int i = 0; i < list->count; i++) {
    double size = (double)list->sizes[i] * (double)to / (double)from;
    list->sizes[i] = size < 1.0 ? 1 : llround(size);
  }
}

static mpt_status copy_layers(const workload *w, int64_t sequence, model_spec *model,
                              mpt_error *error) {
  size_t size = (size_t)w->model.layer_count * sizeof *model->layers;
  model->layers = malloc(size);
  if (model->layers == NULL)
    return mpt_fail_memory(error, "layers", size);
  memcpy(model->layers, w->model.layers, size);
  for (int i = 0; i < model->layer_count; i++)
    if (model->layers[i].positions > 0 && model->layers[i].positions < sequence)
      model->layers[i].positions = sequence;
  return MPT_OK;
}

mpt_status workload_priced_model(const workload *w, model_spec *model, int64_t *batch,
                                 int64_t *sequence, mpt_error *error) {
  const priced_spec *priced = &w->priced;
  model_spec made = w->model;
  made.layers = NULL;
  int64_t length = priced->sequence > 0 ? priced->sequence : w->data.sequence;
  bool gpt = strcmp(made.preset, "gpt") == 0;
  if (priced->width > 0 && !gpt && made.width > 0) {
    scale_sizes(&made.widths, priced->width, w->model.width);
    scale_sizes(&made.channels, priced->width, w->model.width);
  }
  if (priced->width > 0)
    made.width = priced->width;
  if (priced->heads > 0)
    made.heads = priced->heads;
  if (priced->vocabulary > 0)
    made.vocabulary = priced->vocabulary;
  if (gpt)
    made.sequence = length;
  if (made.preset[0] != '\0')
    MPT_RETURN_IF_FAILED(preset_build(&made, error));
  else
    MPT_RETURN_IF_FAILED(copy_layers(w, length, &made, error));
  *model = made;
  *batch = priced->batch > 0 ? priced->batch : w->batch;
  *sequence = length;
  return MPT_OK;
}
