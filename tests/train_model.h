/* Small models written in C, for tests of the graph and the trainer. */
#ifndef TRAIN_MODEL_H
#define TRAIN_MODEL_H

#include "train/trainer.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { TEST_MAX_LAYERS = 128 };

typedef struct test_model {
  layer_spec layers[TEST_MAX_LAYERS];
  model_spec model;
  workload w;
  dataset_info info;
} test_model;

static inline void test_model_begin(test_model *m, loss_kind loss) {
  memset(m, 0, sizeof *m);
  m->model.layers = m->layers;
  m->w.loss = loss;
  m->w.optimizer = (optimizer_spec){.kind = OPTIMIZER_SGD,
                                    .learning_rate = 0.1,
                                    .beta1 = 0.9,
                                    .beta2 = 0.999,
                                    .epsilon = 1e-8,
                                    .accumulate = 1};
  m->w.loss_scale = (mpt_loss_scale_policy){MPT_LOSS_SCALE_DYNAMIC, 65536.0f};
  m->w.threads = 1;
  strcpy(m->w.path, "test.yaml");
  strcpy(m->w.name, "test");
}

/* A layer of that kind; the names in `from`, up to a NULL, are what it reads. */
static inline layer_spec *test_layer(test_model *m, const char *kind, const char *name, ...) {
  layer_spec *layer = &m->layers[m->model.layer_count++];
  *layer = layer_spec_default();
  snprintf(layer->kind, sizeof layer->kind, "%s", kind);
  snprintf(layer->name, sizeof layer->name, "%s", name);
  va_list from;
  va_start(from, name);
  for (const char *input; (input = va_arg(from, const char *)) != NULL;)
    snprintf(layer->inputs[layer->input_count++], MPT_MAX_NAME, "%s", input);
  va_end(from);
  return layer;
}

static inline layer_spec *test_linear(test_model *m, const char *name, int64_t features) {
  layer_spec *layer = test_layer(m, "linear", name, NULL);
  layer->features = features;
  return layer;
}

static inline void test_mlp(test_model *m, int64_t inputs, int64_t hidden, int64_t classes) {
  test_model_begin(m, LOSS_CROSS_ENTROPY);
  m->info = (dataset_info){.rank = 1, .shape = {inputs}, .classes = classes};
  test_linear(m, "fc1", hidden);
  test_layer(m, "relu", "relu1", NULL);
  test_linear(m, "fc2", hidden);
  test_layer(m, "tanh", "tanh1", NULL);
  test_linear(m, "head", classes);
}

static inline void test_cnn(test_model *m, int64_t size, int64_t channels, int64_t classes) {
  test_model_begin(m, LOSS_CROSS_ENTROPY);
  m->info = (dataset_info){.rank = 3, .shape = {2, size, size}, .classes = classes};
  layer_spec *layer = test_layer(m, "conv2d", "conv1", NULL);
  layer->channels = channels, layer->kernel = 3, layer->padding = 1;
  test_layer(m, "relu", "relu1", NULL);
  test_layer(m, "maxpool", "pool1", NULL)->kernel = 2;
  layer = test_layer(m, "conv2d", "conv2", NULL);
  layer->channels = channels, layer->kernel = 3, layer->padding = 1, layer->stride = 2;
  test_layer(m, "gelu", "gelu1", NULL);
  test_layer(m, "flatten", "flatten", NULL);
  test_linear(m, "head", classes);
}

static inline void test_gpt(test_model *m, int64_t vocabulary, int64_t sequence, int64_t width,
                            int blocks, bool tied) {
  char name[8][MPT_MAX_NAME], stream[MPT_MAX_NAME] = "embed";
  test_model_begin(m, LOSS_CROSS_ENTROPY);
  m->info = (dataset_info){.tokens = true, .sequence = sequence, .classes = vocabulary};
  layer_spec *layer = test_layer(m, "embedding", "embed", NULL);
  layer->vocabulary = vocabulary, layer->features = width, layer->positions = sequence;
  for (int b = 0; b < blocks; b++) {
    static const char *const parts[] = {"ln1", "attn.qkv", "attn.core", "attn.proj",
                                        "add", "mlp.fc1",  "mlp.gelu",  "mlp.fc2"};
    for (int i = 0; i < 8; i++)
      snprintf(name[i], MPT_MAX_NAME, "blocks.%d.%s", b, parts[i]);
    test_layer(m, "layernorm", name[0], stream, NULL);
    test_linear(m, name[1], 3 * width);
    layer = test_layer(m, "attention", name[2], NULL);
    layer->heads = 2, layer->causal = true;
    test_linear(m, name[3], width)->initial_scale = 0.5;
    test_layer(m, "residual", name[4], stream, name[3], NULL);
    test_linear(m, name[5], 4 * width);
    test_layer(m, "gelu", name[6], NULL);
    test_linear(m, name[7], width)->initial_scale = 0.5;
    snprintf(stream, sizeof stream, "blocks.%d.out", b);
    test_layer(m, "residual", stream, name[4], name[7], NULL);
  }
  test_layer(m, "layernorm", "ln_f", NULL);
  layer = test_linear(m, "head", vocabulary);
  layer->no_bias = true;
  if (tied)
    strcpy(layer->tied_to, "embed");
}

static inline mpt_status test_graph(const test_model *m, int64_t batch, graph **g,
                                    mpt_error *error) {
  return graph_build(&m->w, &m->model, batch, m->info.sequence, &m->info, g, error);
}

/* Synthetic data that fits the model. */
static inline mpt_status test_data(test_model *m, int64_t samples, dataset **data,
                                   mpt_error *error) {
  data_spec spec = data_spec_default(DATA_SYNTHETIC);
  spec.samples = samples;
  spec.held_out = m->info.tokens ? 6 : samples < 4 ? 1 : samples / 4;
  spec.seed = 3;
  if (m->info.tokens) {
    spec.sequence = m->info.sequence;
    spec.vocabulary = m->info.classes;
  } else {
    spec.features = m->info.shape[0];
    for (int i = 0; i < 3 && m->info.rank == 3; i++)
      spec.shape[i] = m->info.shape[i];
    if (m->info.rank == 3)
      spec.features *= m->info.shape[1] * m->info.shape[2];
    spec.classes = m->info.classes;
    spec.targets = m->info.targets;
    spec.hidden = 4;
    spec.scale_low = spec.scale_high = 1.0;
  }
  return dataset_open(&spec, data, error);
}

#endif
