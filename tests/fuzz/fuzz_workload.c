/* Workload files, and the network that they describe: its shapes, memory and passes. */
#include "fuzz.h"
#include "train/graph.h"
#include <string.h>

/* Data as the file says, which is not read: what a graph is built from. */
static dataset_info info_of(const workload *w) {
  const data_spec *d = &w->data;
  dataset_info info = {
      .rank = 1, .shape = {16, 1, 1}, .classes = d->classes, .training = 100, .held_out = 100};
  if (d->kind == DATA_IDX) {
    info.rank = 3;
    info.shape[0] = 1, info.shape[1] = info.shape[2] = 28;
  }
  if (d->kind == DATA_BYTES || d->kind == DATA_TOKENS || d->sequence > 0) {
    info.tokens = true;
    info.sequence = d->sequence;
    info.classes = d->kind == DATA_BYTES ? 256 : d->vocabulary;
  } else if (d->kind == DATA_SYNTHETIC && d->shape[0] > 0) {
    info.rank = 3;
    memcpy(info.shape, d->shape, sizeof info.shape);
  } else if (d->kind == DATA_SYNTHETIC)
    info.shape[0] = d->features;
  info.targets = info.classes > 0 ? 0 : d->targets > 0 ? d->targets : 1;
  return info;
}

static void try_graph(const workload *w, const model_spec *model, int64_t batch, int64_t sequence) {
  mpt_error error = {0};
  graph *g = NULL;
  const dataset_info info = info_of(w);
  if (!fuzz_succeeded(graph_build(w, model, batch, sequence, &info, &g, &error), &error))
    return;
  mpt_layer_policy *assignment = calloc((size_t)g->layer_count, sizeof *assignment);
  mpt_layer_info *layers = graph_layer_infos(g);
  if (assignment != NULL && layers != NULL) {
    graph_uniform(w, g, MPT_PRECISION_FP8, true, assignment);
    graph_pass passes[64];
    FUZZ_REQUIRE(graph_passes(g, assignment, passes, 64, &w->optimizer) >= 0);
  }
  free(layers);
  free(assignment);
  graph_free(g);
}

/* A program's, of which only the command is known. */
static void try_program(const char *path) {
  const workload_given given = {.command = "true", .metric = "m", .budget = "1%", .steps = 2};
  mpt_error error = {0};
  workload *w = NULL;
  char hex[65];
  if (!fuzz_succeeded(workload_load_program(path, &given, &w, &error), &error)) {
    FUZZ_REQUIRE(w == NULL);
    return;
  }
  FUZZ_REQUIRE(w->steps == 2 && strcmp(w->metric_name, "m") == 0);
  fuzz_must(workload_training_hash(w, hex, &error), &error);
  workload_free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  mpt_error error = {0};
  workload *w = NULL;
  const char *path = fuzz_file("workload.yaml", data, size);
  if (!fuzz_succeeded(workload_load(path, &w, &error), &error)) {
    FUZZ_REQUIRE(w == NULL);
    try_program(path);
    return 0;
  }
  char *text = NULL, hex[65];
  fuzz_must(workload_training_text(w, &text, &error), &error);
  fuzz_must(workload_training_hash(w, hex, &error), &error);
  free(text);
  try_graph(w, &w->model, w->batch, w->data.sequence);
  model_spec model = {.layers = NULL};
  int64_t batch, sequence;
  if (fuzz_succeeded(workload_priced_model(w, &model, &batch, &sequence, &error), &error))
    try_graph(w, &model, batch, sequence);
  model_free(&model);
  workload_free(w);
  return 0;
}
