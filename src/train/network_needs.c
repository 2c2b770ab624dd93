/* What a network takes of a device's memory, and what to do where that is too much. */
#include "base/error.h"
#include "mptune/device.h"
#include "train/network_memory.h"
#include <stdio.h>
#include <string.h>

mpt_status network_needs(const network *n, const train_options *options, int64_t samples,
                         size_t *bytes, mpt_error *error) {
  const graph *g = n->graph;
  tensor_plan training, forward;
  mpt_session *session;
  MPT_RETURN_IF_FAILED(network_open_session(n, options, samples, &session, error));
  size_t copies = mpt_session_workspace_bytes(session);
  mpt_status status =
      network_plan_tensors(n, options, session, samples, &training, &forward, error);
  mpt_session_close(session);
  if (status != MPT_OK)
    return status;
  size_t tensors = training.bytes > forward.bytes ? training.bytes : forward.bytes;
  tensor_plan_clear(&training);
  tensor_plan_clear(&forward);
  int rows = 2 + network_moments(&options->workload->optimizer);
  int64_t ids = g->tensors[0].ids ? g->tensors[0].count / g->batch * samples : 0;
  *bytes =
      (size_t)rows * network_parameter_bytes(g) + copies + tensors + (size_t)ids * sizeof *n->ids;
  return MPT_OK;
}

/* The largest of half the batch, a quarter and so on that the device could hold if it were free;
 * 0 when there is none. */
static int64_t batch_that_fits(const network *n, const train_options *options, size_t memory,
                               size_t *bytes) {
  int64_t samples = n->graph->batch;
  do
    samples /= 2;
  while (samples > 0 &&
         (network_needs(n, options, samples, bytes, NULL) != MPT_OK || *bytes > memory));
  return samples;
}

/* 0: not known */
static size_t device_memory(const network *n, const train_options *options) {
  mpt_device_info info = {0};
  const mpt_status status =
      mpt_device_describe(mpt_queue_backend(n->queue), options->device_index, &info, NULL);
  return status == MPT_OK && info.memory_bytes > 0 ? (size_t)info.memory_bytes : 0;
}

void network_advise(const network *n, const train_options *options, mpt_error *error) {
  char whole[32], smaller[32], device[32];
  const size_t memory = device_memory(n, options);
  const double rows = 2 + network_moments(&options->workload->optimizer);
  const double parameters = rows * (double)network_parameter_bytes(n->graph);
  size_t bytes = 0, length = strlen(error->message), left = sizeof error->message - length;
  const long long batch = n->graph->batch;
  if (memory > 0 && parameters > (double)memory) { /* known without a plan of all tensors */
    network_bytes_text(parameters, whole, sizeof whole);
    network_bytes_text((double)memory, device, sizeof device);
    snprintf(error->message + length, left,
             "; weights, gradients and moments take %s of %s that the device has, whatever the "
             "batch: the network is too large for this device",
             whole, device);
    return;
  }
  if (network_needs(n, options, batch, &bytes, NULL) != MPT_OK)
    return;
  network_bytes_text((double)bytes, whole, sizeof whole);
  network_bytes_text((double)memory, device, sizeof device);
  if (bytes < memory) { /* a smaller batch might not fit into what is left either */
    snprintf(error->message + length, left,
             "; a batch of %lld takes %s in all, of %s that the device has: other programs hold "
             "the rest; end them, take another device, or make the batch smaller",
             batch, whole, device);
    return;
  }
  const long long fits = batch_that_fits(n, options, memory > 0 ? memory : SIZE_MAX, &bytes);
  network_bytes_text((double)bytes, smaller, sizeof smaller);
  if (fits > 0)
    snprintf(error->message + length, left,
             "; a batch of %lld takes %s in all, one of %lld takes %s: make the batch smaller, and "
             "accumulate %lld of them for the same step",
             batch, whole, fits, smaller, (batch + fits - 1) / fits);
  else
    snprintf(error->message + length, left,
             "; even a batch of 1 takes %s in all: the network is too large for this device",
             batch > 1 ? smaller : whole);
}
