/* Step time of the built-in trainer under uniform policies, and where it goes.
 *
 *   bench_step WORKLOAD STEPS PRECISION...    one line for each: precision, median step in ms
 *
 * bench_step.py beside it runs the same networks in PyTorch. The runs take turns, so that a machine
 * that slows down slows all of them. */
#include "train/trainer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 3, MAX_PRECISIONS = 8 };

static int fail(const mpt_error *error) {
  fprintf(stderr, "bench_step: %s\n", error->message);
  return 1;
}

static bool keep_going(void *context, const train_step *step) {
  return step->step + 1 < *(const int64_t *)context;
}

static mpt_status time_run(train_options *options, mpt_precision precision,
                           mpt_layer_policy *assignment, double *seconds, mpt_error *error) {
  train_result result;
  for (int i = 0; i < options->graph->layer_count; i++)
    assignment[i] = mpt_layer_policy_of(precision);
  mpt_status status = train_run(options, &result, error);
  if (status == MPT_OK) {
    *seconds = result.step_seconds;
    train_result_clear(&result);
  }
  return status;
}

int main(int argc, char **argv) {
  workload *w;
  dataset *data;
  graph *g;
  mpt_error error = {0};
  mpt_precision precisions[MAX_PRECISIONS];
  double best[MAX_PRECISIONS];
  int count = argc - 3;
  if (count < 1 || count > MAX_PRECISIONS) {
    fprintf(stderr, "usage: bench_step WORKLOAD STEPS PRECISION...\n");
    return 2;
  }
  int64_t steps = atoll(argv[2]);
  if (workload_load(argv[1], &w, &error) != MPT_OK ||
      dataset_open(&w->data, &data, &error) != MPT_OK ||
      graph_build(w, &w->model, w->batch, w->data.sequence, dataset_get_info(data), &g, &error) !=
          MPT_OK)
    return fail(&error);
  mpt_layer_policy *assignment = calloc((size_t)g->layer_count, sizeof *assignment);
  train_options options = train_options_default();
  options.workload = w;
  options.graph = g;
  options.data = data;
  options.assignment = assignment;
  options.steps = steps + 1; /* stopped one step early: no evaluation */
  options.threads = w->threads;
  options.on_step = keep_going;
  options.context = &steps;
  for (int round = 0; round < ROUNDS; round++)
    for (int i = 0; i < count; i++) {
      double seconds;
      if (mpt_precision_parse(argv[3 + i], &precisions[i], &error) != MPT_OK ||
          time_run(&options, precisions[i], assignment, &seconds, &error) != MPT_OK) {
        free(assignment);
        return fail(&error);
      }
      best[i] = round == 0 || seconds < best[i] ? seconds : best[i];
    }
  for (int i = 0; i < count; i++)
    printf("%s %.4f\n", mpt_precision_name(precisions[i]), 1e3 * best[i]);
  free(assignment);
  graph_free(g);
  dataset_close(data);
  workload_free(w);
  return 0;
}
