/* The GPTs of two workloads, whose steps bench_gpt has measured on an H200, under its policies. */
#ifndef PRICING_NETWORKS_H
#define PRICING_NETWORKS_H

#include "tuner/cost.h"
#include "tuner/recipes.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PRICING_CASES = 6 };
static const char *const pricing_cases[PRICING_CASES] = {"all-tf32", "all-bf16",        "all-fp16",
                                                         "all-fp8",  "all-fp8+delayed", "rule"};

typedef struct pricing_network {
  workload *w;
  graph *g;
} pricing_network;

static void pricing_check(mpt_status status, const mpt_error *error) {
  if (status == MPT_OK)
    return;
  fprintf(stderr, "error: %s\n", error->message);
  exit(1);
}

/* "gpt2-124m": FOLDER/profiles/workloads/gpt2-124m.yaml */
static pricing_network pricing_open(const char *folder, const char *name) {
  pricing_network n;
  char path[512];
  mpt_error error = {0};
  snprintf(path, sizeof path, "%s/profiles/workloads/%s.yaml", folder, name);
  pricing_check(workload_load(path, &n.w, &error), &error);
  const dataset_info info = {.tokens = true, .sequence = n.w->data.sequence, .classes = 50304};
  pricing_check(graph_build(n.w, &n.w->model, n.w->batch, n.w->data.sequence, &info, &n.g, &error),
                &error);
  return n;
}

static void pricing_close(pricing_network *n) {
  graph_free(n->g);
  workload_free(n->w);
}

/* As bench_gpt makes them: fp8 sums are fast in fprop; the rule is torchao's. */
static mpt_layer_policy pricing_policy(const graph_layer *layer, int which) {
  static const mpt_precision precisions[PRICING_CASES] = {MPT_PRECISION_TF32, MPT_PRECISION_BF16,
                                                          MPT_PRECISION_FP16, MPT_PRECISION_FP8,
                                                          MPT_PRECISION_FP8,  MPT_PRECISION_BF16};
  const bool rule = which == PRICING_CASES - 1 && recipe_torchao_takes(layer);
  mpt_layer_policy policy = mpt_layer_policy_of(rule ? MPT_PRECISION_FP8 : precisions[which]);
  if (policy.gemm[MPT_FPROP].precision == MPT_PRECISION_FP8)
    policy.gemm[MPT_FPROP].accumulate = MPT_ACCUMULATE_FAST;
  if (strstr(pricing_cases[which], "+delayed") != NULL)
    policy.scaling = (mpt_scaling){.mode = MPT_SCALING_DELAYED, .history = 16};
  return policy;
}

static cost_parts pricing_predict(const pricing_network *n, const profile *p, int which) {
  mpt_layer_policy *assignment = calloc((size_t)n->g->layer_count, sizeof *assignment);
  cost_parts parts;
  mpt_error error = {0};
  for (int i = 0; i < n->g->layer_count; i++)
    assignment[i] = pricing_policy(&n->g->layers[i], which);
  pricing_check(cost_predict(n->g, p, &n->w->optimizer, assignment, &parts, &error), &error);
  free(assignment);
  return parts;
}

#endif
