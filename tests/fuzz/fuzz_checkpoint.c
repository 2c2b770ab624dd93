/* Checkpoints: weights to start from, and runs to continue, of a small network in fp8 (whose
 * session has histories of amax to bring back). */
#include "fuzz.h"
#include "train/training.h"
#include <string.h>

static const char workload_text[] =
    "schema: mptune/workload@1\n"
    "name: checkpoints\n"
    "model:\n"
    "  layers:\n"
    "    - {name: fc1, kind: linear, features: 10}\n"
    "    - {name: fc2, kind: linear, features: 2}\n"
    "    - {name: softmax, kind: softmax}\n"
    "data: {kind: synthetic, samples: 40, held_out: 10, features: 10, classes: 2}\n"
    "loss: nll\n"
    "optimizer: {kind: adam, learning_rate: 1.0e-03}\n"
    "batch: 5\n"
    "steps: 20\n"
    "budget: {worse_by: 2%}\n"
    "target: synthetic-bits\n";

typedef struct context {
  workload *w;
  dataset *data;
  graph *g;
  mpt_layer_policy *assignment;
  train_options options;
  training t;
} context;

static void context_close(void);
static context c;

static void context_open(void) {
  mpt_error error = {0};
  const char *path = fuzz_file("workload.yaml", workload_text, sizeof workload_text - 1);
  fuzz_must(workload_load(path, &c.w, &error), &error);
  fuzz_must(dataset_open(&c.w->data, &c.data, &error), &error);
  fuzz_must(graph_build(c.w, &c.w->model, c.w->batch, 0, dataset_get_info(c.data), &c.g, &error),
            &error);
  c.assignment = calloc((size_t)c.g->layer_count, sizeof *c.assignment);
  FUZZ_REQUIRE(c.assignment != NULL);
  graph_uniform(c.w, c.g, MPT_PRECISION_FP8, false, c.assignment);
  c.options = train_options_default();
  c.options.workload = c.w;
  c.options.graph = c.g;
  c.options.data = c.data;
  c.options.assignment = c.assignment;
  c.options.steps = c.w->steps;
  c.t = (training){.options = &c.options, .w = c.w, .g = c.g};
  fuzz_must(network_open(&c.options, &c.t.net, &error), &error);
  c.t.losses = calloc((size_t)c.options.steps, sizeof *c.t.losses);
  c.t.seconds = calloc((size_t)c.options.steps, sizeof *c.t.seconds);
  FUZZ_REQUIRE(c.t.losses != NULL && c.t.seconds != NULL);
  fuzz_must(checkpoint_origin(&c.t, &error), &error);
  atexit(context_close);
  /* What it saves, it goes on from: what else is refused is not refused for the target's sake. */
  bool found = false;
  path = fuzz_file("own.ckpt", "", 0);
  fuzz_must(checkpoint_save(&c.t, path, false, &error), &error);
  fuzz_must(checkpoint_resume(&c.t, path, &found, &error), &error);
  FUZZ_REQUIRE(found);
}

static void context_close(void) {
  free(c.t.losses);
  free(c.t.seconds);
  free(c.t.origin);
  network_close(c.t.net);
  free(c.assignment);
  graph_free(c.g);
  dataset_close(c.data);
  workload_free(c.w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  mpt_error error = {0};
  bool found = false;
  if (c.w == NULL)
    context_open();
  const char *path = fuzz_file("input.ckpt", data, size);
  fuzz_succeeded(checkpoint_load_weights(&c.t, path, &error), &error);
  if (fuzz_succeeded(checkpoint_resume(&c.t, path, &found, &error), &error))
    FUZZ_REQUIRE(found && c.t.step >= 0 && c.t.step <= c.options.steps);
  return 0;
}
