/* What other tools decide without a search, to be compared with. */
#ifndef BASELINE_H
#define BASELINE_H

#include "tuner/space.h"

#define BASELINE_TORCHAO "torchao rule"

/* torchao's automatic filter for fp8 training with tensorwise scaling: by the shape of the weight
 * alone, a linear layer trains in fp8 when both its sizes are multiples of 16, unless it has at
 * most 4096 inputs and at most 1024 outputs; everything else in bf16. [graph layers] */
bool baseline_torchao_takes(const graph_layer *layer); /* whether the filter gives it fp8 */
void baseline_torchao(const space *s, mpt_layer_policy *assignment);

#endif
