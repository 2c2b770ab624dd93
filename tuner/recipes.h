/* What people train in without a search: rules that other tools go by, and common recipes. Each is
 * a candidate like any other, and what a search is compared with. */
#ifndef RECIPES_H
#define RECIPES_H

#include "tuner/space.h"

typedef enum recipe {
  /* torchao's automatic filter for fp8 training with tensorwise scaling: by the shape of the weight
   * alone, a linear layer trains in fp8 when both its sizes are multiples of 16, unless it has at
   * most 4096 inputs and at most 1024 outputs; everything else in bf16. */
  RECIPE_TORCHAO,
  /* fp8 everywhere but in the layer that makes the output, which is bf16 as everything else. */
  RECIPE_FP8_BUT_HEAD,
  /* The same, but the head's fprop is fp8 too: only its gradients are bf16. */
  RECIPE_FP8_BUT_HEAD_GRADIENTS,
  /* fp8, but the last 15% of the layers with GEMMs, at least one, in bf16. */
  RECIPE_FP8_BUT_LAST,
  /* fprop in bf16, dgrad and wgrad in fp8. */
  RECIPE_FP8_BACKWARD,
  RECIPE_COUNT
} recipe;

const char *recipe_label(recipe r); /* "torchao rule" */
/* What it says for the network [graph layers], whatever the workload pins and excludes. */
void recipe_assignment(const space *s, recipe r, mpt_layer_policy *assignment);
/* Whether torchao's filter gives the layer fp8. */
bool recipe_torchao_takes(const graph_layer *layer);

#endif
