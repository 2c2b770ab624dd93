/* Where a network's parameters, tensors and gradients lie, and what that takes. */
#ifndef NETWORK_MEMORY_H
#define NETWORK_MEMORY_H

#include "train/network.h"

int network_moments(const optimizer_spec *optimizer); /* of each parameter */
size_t network_parameter_bytes(const graph *g);       /* of a row: all weights */
mpt_status network_take_parameters(network *n, const optimizer_spec *optimizer, mpt_error *error);

/* "1.53 GiB": three digits */
void network_bytes_text(double bytes, char *text, size_t size);

/* Plans for batches of at most `samples` and a session for them; the caller clears both. */
mpt_status network_plan_tensors(const network *n, const train_options *options,
                                const mpt_session *session, int64_t samples, tensor_plan *training,
                                tensor_plan *forward, mpt_error *error);
mpt_status network_take_tensors(network *n, const train_options *options, mpt_error *error);
/* Points tensors, gradients and the layers' own memory to where the plan puts them. */
void network_place_tensors(network *n, const tensor_plan *plan);

/* network_session.c: the session of the graph's layers, for batches of at most `samples`. */
mpt_status network_open_session(const network *n, const train_options *options, int64_t samples,
                                mpt_session **session, mpt_error *error);

/* network_needs.c: what a network takes in all for batches of at most `samples`, before it is
 * taken. */
mpt_status network_needs(const network *n, const train_options *options, int64_t samples,
                         size_t *bytes, mpt_error *error);
/* Adds to the message of a network that found too little memory what to do. */
void network_advise(const network *n, const train_options *options, mpt_error *error);

#endif
