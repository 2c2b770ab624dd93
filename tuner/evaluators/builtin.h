/* The built-in trainer as an evaluator: one request at a time, in this process. */
#ifndef BUILTIN_H
#define BUILTIN_H

#include "train/graph.h"
#include "tuner/evaluators/evaluator.h"

typedef struct builtin_options {
  const workload *workload;
  const graph *graph;
  const dataset *data;
  const char *backend; /* "cpu", "cuda" */
  int device_index;
  const int *probed_layers; /* [probed_count]: those that an instrumented training probes */
  int probed_count;
  /* [layers]: the layer to blame for a value that is first not finite at this one, itself or the
   * one that it follows; -1: none. */
  const int *blamed;
} builtin_options;

/* What the options point to must outlive it. The caller closes *out with evaluator_close. */
mpt_status builtin_open(const builtin_options *options, evaluator **out, mpt_error *error);

#endif
