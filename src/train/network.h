/* A graph in memory: parameters, activations and their gradients, and the forward and backward pass
 * over them under an assignment. Private to src/train. */
#ifndef NETWORK_H
#define NETWORK_H

#include "train/tensor_plan.h"

typedef struct network_parameter {
  char name[MPT_MAX_NAME + 16]; /* "blocks.0.attn.qkv.weight" */
  layer_parameter what;
  int64_t count;
  mpt_tensor weight, gradient, moments[2]; /* fp32; moments' data is NULL where there are none */
} network_parameter;

typedef struct network {
  const graph *graph;
  mpt_queue *queue;
  mpt_session *session;
  network_parameter *parameters;
  const mpt_tensor **gradients; /* [parameter_count], for mpt_session_step_end */
  mpt_adam_parameter *updates;  /* [parameter_count], for mpt_adam_steps */
  int parameter_count;
  int moments;                            /* of each parameter: 2 adam, 1 momentum, 0 */
  mpt_tensor all_gradients;               /* every gradient in one row, to clear them at once */
  mpt_tensor *tensors, *tensor_gradients; /* [graph->tensor_count], of the batch at hand */
  int *input_of;    /* [tensor_count] the layer whose input each tensor is, -1 */
  int *gradient_of; /* the layer whose grad_output is complete with each tensor's gradient, -1 */
  int64_t samples;  /* in the batch at hand */
  int32_t *ids;     /* in device memory, of a full batch; NULL when the data is no ids */
  tensor_plan training, forward; /* places in tensor_memory, in each mode */
  void *tensor_memory;
  layer_run *runs;   /* [layer_count] */
  void *side_memory; /* network_side.c: gradients of tensors, NULL where there is no room, ... */
  mpt_tensor side_gradients; /* ... those of all parameters in one row, as all_gradients, ... */
  bool aside;                /* ... and whether they are in use */
  size_t memory_bytes;       /* of everything on the device */
  void *blocks[24];          /* device memory, to free */
  int block_count;
} network;

/* Opens queue and session as the options say, and takes all memory. Weights are zero. */
mpt_status network_open(const train_options *options, network **out, mpt_error *error);
void network_close(network *n); /* NULL is allowed */

/* A block of the queue's memory that lives as long as the network; errors say what it is. */
mpt_status network_take(network *n, const char *what, size_t bytes, void **data, mpt_error *error);

/* The mode of the session, and the storage formats and places that go with it: values that a pass
 * left are gone. */
mpt_status network_set_mode(network *n, mpt_run_mode mode, mpt_error *error);
/* The batch at hand: at most graph->batch samples. Features and ids are copied to the device. */
mpt_status network_set_batch(network *n, const dataset_batch *batch, int64_t samples,
                             mpt_error *error);
/* Random numbers of the passes that follow; `pass` counts micro-batches. */
void network_set_randomness(network *n, uint64_t seed, uint64_t pass);

const mpt_tensor *network_output(const network *n);
mpt_tensor network_output_gradient(network *n); /* for the loss to write */
mpt_status network_forward(network *n, mpt_error *error);
mpt_status network_forward_layer(network *n, int index, mpt_error *error);
/* From the output's gradient; adds to the parameters' gradients. `probe` may be NULL. */
mpt_status network_backward(network *n, int64_t step, train_layer_probe *probe, void *context,
                            mpt_error *error);

/* network_side.c, with options->side_pass: sends a change of the gradient of layer `layer`'s input
 * through all layers below it, while a backward pass is under way and has not come to them (from a
 * layer's probe), or after it. `product` is what the layer's dgrad makes, [rows, k] in fp32; what
 * comes of it is in side_gradients, zero where the change does not reach. Leaves everything of the
 * pass under way as it is. */
mpt_status network_backward_aside(network *n, int layer, const mpt_tensor *product,
                                  mpt_error *error);
/* The backward pass of one layer; `network_backward` is all of them. */
mpt_status network_backward_layer(network *n, int index, mpt_error *error);

/* initial_weights.c: of a seed; keyed by the parameter's name and the element, so that a layer more
 * or less changes no other. */
mpt_status network_initialise(network *n, uint64_t seed, mpt_error *error);

#endif
