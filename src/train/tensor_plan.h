/* Where the activations, their gradients and the layers' own memory lie in one block: each tensor's
 * memory is free for others before its first writer and after its last reader. Follows from the
 * graph, the formats and the kind of device alone, so it can be made without one. */
#ifndef TENSOR_PLAN_H
#define TENSOR_PLAN_H

#include "train/layer.h"

typedef struct tensor_plan_request {
  const graph *graph;
  const mpt_layer_policy *assignment; /* [layer_count] */
  mpt_device_kind device;
  int64_t samples; /* of the largest batch */
  bool training;   /* forward and backward; else forward alone, of which every tensor must fit in
                      fp32 too, whatever its format */
  bool apart;      /* nothing shares memory with what is in use at another time, and the
                      gradients lie together: a backward pass destroys nothing, and one from
                      any layer on may be run beside it (network_side.h) */
  const bool *keeps_input; /* [layer_count] layers whose backward pass needs no input, since the
                              session keeps a copy; NULL: none */
} tensor_plan_request;

#define TENSOR_PLAN_NONE SIZE_MAX /* an offset: no memory */

typedef struct layer_places {
  size_t saved[LAYER_MAX_SAVED], scratch[LAYER_MAX_SCRATCH];
  size_t sums[WORKLOAD_MAX_INPUTS]; /* fp32 gradients, to be added to another's or thrown away */
} layer_places;

typedef struct tensor_plan {
  size_t bytes;                          /* of the block */
  size_t in_use;                         /* of that at most at one time: no plan takes less */
  size_t *values, *gradients;            /* [tensor_count] offsets */
  size_t first_gradient, gradient_bytes; /* where the gradients lie together */
  layer_places *layers;                  /* [layer_count] offsets */
  int largest;                           /* tensor with the most bytes of its own */
} tensor_plan;

mpt_status tensor_plan_make(const tensor_plan_request *request, tensor_plan *plan,
                            mpt_error *error);
void tensor_plan_clear(tensor_plan *plan);

/* Whether the layer's backward pass is the first to write the gradient of that input. */
bool tensor_plan_writes_first(const graph *g, int layer, int input);
/* Whether the kind's backward pass writes gradients of inputs that need none. */
bool tensor_plan_writes_unwanted(const layer_kind *kind);

#endif
