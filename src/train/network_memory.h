/* Where a network's parameters, tensors and gradients lie. */
#ifndef NETWORK_MEMORY_H
#define NETWORK_MEMORY_H

#include "train/network.h"

mpt_status network_take_parameters(network *n, const optimizer_spec *optimizer, mpt_error *error);
mpt_status network_take_tensors(network *n, mpt_error *error);
/* Whether the kind's backward pass writes gradients of inputs that need none. */
bool network_writes_unwanted(const layer_kind *kind);

#endif
