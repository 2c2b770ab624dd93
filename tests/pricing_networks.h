/* Two GPTs whose steps were measured on an H200, and the formats they were measured in. */
#ifndef PRICING_NETWORKS_H
#define PRICING_NETWORKS_H

#include "tuner/cost.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PRICING_CASES = 4 };
static const char *const pricing_cases[PRICING_CASES] = {"bf16", "fp8 in all linears but the head",
                                                         "fp8 in MLP", "fp8 in MLP and QKV"};

static const optimizer_spec pricing_adamw = {.kind = OPTIMIZER_ADAMW, .accumulate = 1};

static void pricing_check(mpt_status status, const mpt_error *error) {
  if (status == MPT_OK)
    return;
  fprintf(stderr, "error: %s\n", error->message);
  exit(1);
}

/* 12 layers without biases, untied head, vocabulary 50304. */
static graph *pricing_gpt(int64_t width, int64_t heads, int64_t sequence, int64_t batch) {
  workload w = {.loss = LOSS_CROSS_ENTROPY, .optimizer = pricing_adamw, .batch = batch};
  const dataset_info info = {.tokens = true, .sequence = sequence, .classes = 50304};
  model_spec model;
  graph *g;
  mpt_error error;
  w.model = (model_spec){.width = width, .depth = 12, .heads = heads, .vocabulary = 50304};
  strcpy(w.model.preset, "gpt");
  w.data.sequence = sequence;
  pricing_check(workload_priced_model(&w, &model, &batch, &sequence, &error), &error);
  for (int i = 0; i < model.layer_count; i++)
    model.layers[i].no_bias = strcmp(model.layers[i].kind, "linear") == 0;
  pricing_check(graph_build(&w, &model, batch, sequence, &info, &g, &error), &error);
  model_free(&model);
  return g;
}

static bool pricing_is_fp8(const char *name, int which) {
  const bool mlp = strstr(name, ".mlp.fc") != NULL, qkv = strstr(name, ".attn.qkv") != NULL;
  const bool projection = strstr(name, ".attn.proj") != NULL;
  switch (which) {
  case 0:
    return false;
  case 1:
    return mlp || qkv || projection;
  case 2:
    return mlp;
  default:
    return mlp || qkv;
  }
}

/* As measured: fp8 with current scaling, fast accumulation in fprop, bf16 elsewhere. */
static cost_parts pricing_predict(const graph *g, const profile *p, int which) {
  mpt_layer_policy *assignment = calloc((size_t)g->layer_count, sizeof *assignment);
  cost_parts parts;
  mpt_error error;
  for (int i = 0; i < g->layer_count; i++) {
    const bool fp8 = pricing_is_fp8(g->layers[i].info.name, which);
    assignment[i] = mpt_layer_policy_of(fp8 ? MPT_PRECISION_FP8 : MPT_PRECISION_BF16);
    if (fp8)
      assignment[i].gemm[MPT_FPROP].accumulate = MPT_ACCUMULATE_FAST;
  }
  pricing_check(cost_predict(g, p, &pricing_adamw, assignment, &parts, &error), &error);
  free(assignment);
  return parts;
}

#endif
