#include "tuner/baseline.h"
#include <string.h>

bool baseline_torchao_takes(const graph_layer *layer) {
  const int64_t outputs = layer->gemm.n, inputs = layer->gemm.k;
  return strcmp(layer->info.kind, "linear") == 0 && inputs % 16 == 0 && outputs % 16 == 0 &&
         !(inputs <= 4096 && outputs <= 1024);
}

void baseline_torchao(const space *s, mpt_layer_policy *assignment) {
  bool permitted;
  space_uniform(s, MPT_PRECISION_BF16, assignment, &permitted);
  for (int i = 0; i < s->graph->layer_count; i++)
    if (baseline_torchao_takes(&s->graph->layers[i]))
      assignment[i] = space_policy_of(s, MPT_PRECISION_FP8);
}
