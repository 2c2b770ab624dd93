#include "train/network.h"
#include "base/error.h"
#include "train/network_memory.h"
#include "train/network_watch.h"
#include <stdio.h>
#include <stdlib.h>

/* ---- opening ---- */

static mpt_status take_workspace(network *n, mpt_error *error) {
  void *workspace;
  char what[96];
  size_t bytes = mpt_session_workspace_bytes(n->session);
  snprintf(what, sizeof what, "copies in the policy's formats for a batch of %lld",
           (long long)n->graph->batch);
  MPT_RETURN_IF_FAILED(network_take(n, what, bytes, &workspace, error));
  return mpt_session_set_workspace(n->session, workspace, bytes, error);
}

mpt_status network_open(const train_options *options, network **out, mpt_error *error) {
  mpt_status status = MPT_OK;
  network *n = calloc(1, sizeof *n);
  if (n == NULL)
    return mpt_fail_memory(error, "the network", sizeof *n);
  n->graph = options->graph;
  mpt_queue_config config = mpt_queue_config_default();
  config.threads = options->threads;
  config.backend = options->backend;
  config.device_index = options->device_index;
  MPT_TRY(mpt_queue_open(&config, &n->queue, error));
  MPT_TRY(network_open_session(n, options, n->graph->batch, &n->session, error));
  MPT_TRY(network_take_parameters(n, &options->workload->optimizer, error));
  MPT_TRY(take_workspace(n, error));
  MPT_TRY(network_take_tensors(n, options, error));
  MPT_TRY(network_set_mode(n, MPT_RUN_TRAIN, error));
  network_plan_watch(n);
  *out = n;
  return MPT_OK;
fail:
  if ((status == MPT_ERROR_MEMORY || status == MPT_ERROR_DEVICE_MEMORY) && n->session != NULL &&
      error != NULL)
    network_advise(n, options, error);
  network_close(n);
  return status;
}

void network_close(network *n) {
  if (n == NULL)
    return;
  mpt_session_close(n->session);
  for (int i = 0; i < n->block_count; i++)
    mpt_memory_free(n->queue, n->blocks[i]);
  mpt_queue_close(n->queue);
  free(n->parameters);
  free(n->gradients);
  free(n->updates);
  free(n->tensors);
  free(n->tensor_gradients);
  free(n->input_of);
  free(n->gradient_of);
  free(n->runs);
  tensor_plan_clear(&n->training);
  tensor_plan_clear(&n->forward);
  free(n);
}
