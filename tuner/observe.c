/* Stage 2: one instrumented run of the reference. Full statistics of every layer and operand at
 * sampled steps, the last ones included, and at others the measurements that sensitivity scores are
 * made of. The run is the reference's first seed: instrumentation changes no result. */
#include "base/error.h"
#include "tuner/search.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OBSERVE_SAMPLES 8 /* steps with statistics, about */
#define PROBE_SAMPLES   6 /* steps with sensitivity measurements, about */

typedef struct observer {
  search *s;
  score_probe *probe;
  store_statistics *rows;
  int count, capacity;
  bool out_of_memory;
} observer;

static void on_statistics(void *context, int64_t step, int layer, mpt_operand operand,
                          const mpt_statistics *statistics) {
  observer *o = context;
  if (o->count == o->capacity) {
    const int capacity = 2 * o->capacity + 64;
    store_statistics *grown = realloc(o->rows, (size_t)capacity * sizeof *grown);
    if (grown == NULL) {
      o->out_of_memory = true;
      return;
    }
    o->rows = grown;
    o->capacity = capacity;
  }
  store_statistics *row = &o->rows[o->count++];
  row->step = step;
  row->operand = operand;
  row->statistics = *statistics;
  memcpy(row->layer, o->s->graph->layers[layer].info.name, sizeof row->layer);
}

static void on_layer(void *context, mpt_queue *queue, int64_t step, int layer,
                     const mpt_tensor *input, const mpt_tensor *weight,
                     const mpt_tensor *grad_output) {
  observer *o = context;
  score_probe_layer(o->probe, queue, step, layer, input, weight, grad_output);
}

static mpt_status on_done(void *context, const char *key, mpt_error *error) {
  observer *o = context;
  search *s = o->s;
  if (o->out_of_memory)
    return mpt_fail_memory(error, "statistics", 0);
  char *scores = NULL;
  MPT_RETURN_IF_FAILED(score_probe_json(o->probe, &scores, error));
  mpt_status status = store_begin(s->store, error);
  for (int i = 0; i < o->count && status == MPT_OK; i++) {
    const store_statistics *row = &o->rows[i];
    status = store_put_statistics(s->store, key, row->step, row->layer, row->operand,
                                  &row->statistics, error);
  }
  char own[80]; /* of this run: a later one, shorter or of another seed, does not replace them */
  snprintf(own, sizeof own, "scores %s", key);
  if (status == MPT_OK)
    status = store_set(s->store, own, scores, error);
  if (status == MPT_OK)
    status = store_end(s->store, error);
  free(scores);
  return status;
}

static mpt_status is_done(void *context, const char *key, bool *done, mpt_error *error) {
  const observer *o = context;
  char own[80];
  json_t *scores = NULL;
  snprintf(own, sizeof own, "scores %s", key);
  MPT_RETURN_IF_FAILED(store_read_note(o->s->store, own, &scores, error));
  *done = scores != NULL;
  json_decref(scores);
  return MPT_OK;
}

mpt_status observe_reference(search *s, store_evaluation *evaluation, mpt_error *error) {
  observer o = {.s = s};
  MPT_RETURN_IF_FAILED(score_probe_open(s->space, &s->w->loss_scale, &o.probe, error));
  run_hooks hooks = {
      .on_statistics = on_statistics, .on_layer = on_layer, .on_done = on_done, .is_done = is_done};
  hooks.context = &o;
  /* steps - 1 is a multiple of neither in general; the trainer samples its last step as well. */
  hooks.statistics_every = s->steps > OBSERVE_SAMPLES ? s->steps / OBSERVE_SAMPLES : 1;
  hooks.probe_every = s->steps > PROBE_SAMPLES ? s->steps / PROBE_SAMPLES : 1;
  mpt_status status =
      search_train(s, &s->reference, s->reference_seed[0], "reference", &hooks, evaluation, error);
  if (status == MPT_OK)
    memcpy(s->observed_key, evaluation->key, sizeof s->observed_key);
  score_probe_close(o.probe);
  free(o.rows);
  return status;
}
