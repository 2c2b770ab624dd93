#include "tuner/recipes.h"
#include <string.h>

const char *recipe_label(recipe r) {
  static const char *const labels[RECIPE_COUNT] = {[RECIPE_TORCHAO] = "torchao rule",
                                                   [RECIPE_FP8_BUT_HEAD] = "fp8 but head",
                                                   [RECIPE_FP8_BUT_HEAD_GRADIENTS] =
                                                       "fp8 but head's gradients",
                                                   [RECIPE_FP8_BUT_LAST] = "fp8 but last 15%",
                                                   [RECIPE_FP8_BACKWARD] = "bf16, fp8 backward"};
  return labels[r];
}

bool recipe_torchao_takes(const graph_layer *layer) {
  const int64_t outputs = layer->gemm.n, inputs = layer->gemm.k;
  return strcmp(layer->info.kind, "linear") == 0 && inputs % 16 == 0 && outputs % 16 == 0 &&
         !(inputs <= 4096 && outputs <= 1024);
}

/* The last layer with GEMMs; -1 where there is none. */
static int head_of(const graph *g) {
  int head = -1;
  for (int i = 0; i < g->layer_count; i++)
    head = g->layers[i].has_gemm ? i : head;
  return head;
}

/* How many layers with GEMMs there are from layer `from` on. */
static int gemm_layers(const graph *g, int from) {
  int count = 0;
  for (int i = from; i < g->layer_count; i++)
    count += g->layers[i].has_gemm;
  return count;
}

static mpt_layer_policy with_gradients(mpt_layer_policy formats, mpt_precision precision) {
  formats.gemm[MPT_DGRAD] = mpt_gemm_policy_of(MPT_DGRAD, precision);
  formats.gemm[MPT_WGRAD] = mpt_gemm_policy_of(MPT_WGRAD, precision);
  return formats;
}

static mpt_layer_policy formats_of(const space *s, recipe r, int layer) {
  const graph *g = s->graph;
  const mpt_layer_policy bf16 = space_policy_of(s, MPT_PRECISION_BF16),
                         fp8 = space_policy_of(s, MPT_PRECISION_FP8);
  switch (r) {
  case RECIPE_TORCHAO:
    return recipe_torchao_takes(&g->layers[layer]) ? fp8 : bf16;
  case RECIPE_FP8_BUT_HEAD:
    return layer == head_of(g) ? bf16 : fp8;
  case RECIPE_FP8_BUT_HEAD_GRADIENTS:
    return layer == head_of(g) ? with_gradients(fp8, MPT_PRECISION_BF16) : fp8;
  case RECIPE_FP8_BUT_LAST:
    return 20 * (gemm_layers(g, layer) - 1) < 3 * gemm_layers(g, 0) ? bf16 : fp8;
  default:
    return with_gradients(bf16, MPT_PRECISION_FP8);
  }
}

void recipe_assignment(const space *s, recipe r, mpt_layer_policy *assignment) {
  bool permitted;
  space_uniform(s, MPT_PRECISION_BF16, assignment, &permitted);
  for (int i = 0; i < s->graph->layer_count; i++)
    if (s->graph->layers[i].has_gemm)
      assignment[i] = formats_of(s, r, i);
  for (int i = 0; i < s->graph->layer_count; i++)
    if (s->graph->layers[i].has_gemm && !graph_makes_dgrad(s->graph, i))
      assignment[i].gemm[MPT_DGRAD] =
          mpt_gemm_policy_of(MPT_DGRAD, assignment[i].gemm[MPT_FPROP].precision);
}
