/* The policy all-FORMAT of a network. */
#include "train/graph.h"
#include <string.h>

static bool is_pinned(const workload *w, const char *name) {
  for (int i = 0; i < w->pin_count; i++)
    if (mpt_glob_match(w->pins[i].layers, name))
      return true;
  return false;
}

bool graph_is_chosen(const workload *w, const graph *g, int layer) {
  const mpt_layer_info *info = &g->layers[layer].info;
  return g->layers[layer].has_gemm || strcmp(info->kind, "attention") == 0 ||
         strcmp(info->kind, "embedding") == 0 || is_pinned(w, info->name);
}

/* Whether nothing that has a format of its own stands between the data and the layer. */
static bool follows_data(const workload *w, const graph *g, int layer) {
  while (layer >= 0 && !graph_is_chosen(w, g, layer))
    layer = g->tensors[g->layers[layer].inputs[0]].producer;
  return layer < 0;
}

void graph_uniform(const workload *w, const graph *g, mpt_precision precision, bool fast,
                   mpt_layer_policy *assignment) {
  const mpt_layer_policy data = mpt_layer_policy_of(MPT_PRECISION_FP32),
                         formats = mpt_layer_policy_of(precision);
  for (int i = 0; i < g->layer_count; i++) {
    assignment[i] =
        follows_data(w, g, i) ? data : mpt_layer_policy_for(g->layers[i].info.kind, &formats);
    if (fast && g->layers[i].has_gemm && precision == MPT_PRECISION_FP8)
      assignment[i].gemm[MPT_FPROP].accumulate = MPT_ACCUMULATE_FAST;
  }
}
