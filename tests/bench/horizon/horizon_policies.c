/* The policies that bench_horizon trains. */
#include "tests/bench/horizon/horizon.h"
#include <string.h>

const char *const horizon_policy_names[HORIZON_POLICIES] = {"bf16",
                                                            "fp8",
                                                            "fp8-but-head",
                                                            "fp8-head-backward-bf16",
                                                            "fp8-head-gradients-e4m3",
                                                            "fp8-head-wgrad-bf16",
                                                            "fp8-split-sums"};

int horizon_head(const graph *g) {
  for (int i = 0; i < g->layer_count; i++)
    if (strcmp(g->layers[i].info.name, "head") == 0)
      return i;
  return -1;
}

void horizon_assign(const workload *w, const graph *g, bool fast, int policy,
                    mpt_layer_policy *assignment) {
  mpt_layer_policy *head = &assignment[horizon_head(g)];
  graph_uniform(w, g, policy == HORIZON_REFERENCE ? MPT_PRECISION_BF16 : MPT_PRECISION_FP8, fast,
                assignment);
  switch (policy) {
  case 2: /* the embedding stores bf16 under fp8 anyway */
    *head = mpt_layer_policy_of(MPT_PRECISION_BF16);
    break;
  case 3:
    head->gemm[MPT_DGRAD] = mpt_gemm_policy_of(MPT_DGRAD, MPT_PRECISION_BF16);
    head->gemm[MPT_WGRAD] = mpt_gemm_policy_of(MPT_WGRAD, MPT_PRECISION_BF16);
    break;
  case 4:
    head->gemm[MPT_DGRAD].operand[0] = MPT_FP8_E4M3;
    head->gemm[MPT_WGRAD].operand[0] = MPT_FP8_E4M3;
    break;
  case 5:
    head->gemm[MPT_WGRAD] = mpt_gemm_policy_of(MPT_WGRAD, MPT_PRECISION_BF16);
    break;
  case 6: /* no fast sums in fprop; the backward products have none in any */
    graph_uniform(w, g, MPT_PRECISION_FP8, false, assignment);
    break;
  default:
    break;
  }
}
