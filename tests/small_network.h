/* A network of train_model.h in fp32, with its data, ready to be opened for training. Included
 * after cmocka.h. */
#ifndef SMALL_NETWORK_H
#define SMALL_NETWORK_H

#include "train_model.h"

enum { SMALL_BATCH = 16, SMALL_STEPS = 60 };

static inline void require(mpt_status status, const mpt_error *error) {
  if (status != MPT_OK)
    fail_msg("%s", error->message);
}

typedef struct small_network {
  test_model m;
  graph *g;
  dataset *data;
  mpt_layer_policy assignment[TEST_MAX_LAYERS];
  train_options options;
} small_network;

/* Of the model in `f`, which has none of the rest. */
static inline void small_begin(small_network *f, int64_t samples) {
  mpt_error error = {0};
  require(test_data(&f->m, samples, &f->data, &error), &error);
  f->m.info = *dataset_get_info(f->data);
  require(test_graph(&f->m, SMALL_BATCH, &f->g, &error), &error);
  for (int i = 0; i < f->g->layer_count; i++)
    f->assignment[i] = mpt_layer_policy_of(MPT_PRECISION_FP32);
  f->options = train_options_default();
  f->options.workload = &f->m.w;
  f->options.graph = f->g;
  f->options.data = f->data;
  f->options.assignment = f->assignment;
  f->options.steps = f->m.w.steps = SMALL_STEPS;
}

static inline void small_end(small_network *f) {
  graph_free(f->g);
  dataset_close(f->data);
}

#endif
