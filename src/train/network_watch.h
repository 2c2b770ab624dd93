/* Which layer's operand each tensor of a network is. */
#ifndef NETWORK_WATCH_H
#define NETWORK_WATCH_H

#include "train/network.h"

/* Fills input_of and gradient_of; where gradients share memory must be settled. */
void network_plan_watch(network *n);
/* Whether that layer, by that input, is the last of a backward pass to write the tensor's gradient.
 */
bool network_writes_last(const network *n, int layer, int input);

#endif
