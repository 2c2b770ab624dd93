/* What scores are held against: the loss of some batches when a layer really is in a format, and
 * the output that the layer has then. By forward passes of whole networks, which share nothing with
 * the scores but the layers. */
#ifndef SCORE_TRUTH_H
#define SCORE_TRUTH_H

#include "train/training.h"
#include <stdlib.h>
#include <string.h>

/* Called with the network after the forward pass of each batch. */
typedef void truth_look(void *context, training *t, int batch);

/* The mean loss of the batches of `first_step` and those behind it, at the weights that options
 * lead to, in `assignment`. */
static inline mpt_status truth_loss(const train_options *options,
                                    const mpt_layer_policy *assignment, int64_t first_step,
                                    int batches, truth_look *look, void *context, double *loss,
                                    mpt_error *error) {
  training t = {0};
  train_options o = *options;
  o.assignment = assignment;
  o.side_pass = true; /* values stay where they are */
  *loss = 0;
  mpt_status status = training_open(&t, &o, error);
  if (status == MPT_OK)
    status = mpt_session_step_begin(t.net->session, 0, error);
  for (int b = 0; b < batches && status == MPT_OK; b++) {
    double of_batch = 0;
    status = train_pass_begin(&t, first_step, b, error);
    if (status == MPT_OK)
      status = network_forward(t.net, error);
    if (status == MPT_OK && look != NULL)
      look(context, &t, b);
    if (status == MPT_OK)
      status = train_loss(&t, 0.0f, t.device_losses, error);
    if (status == MPT_OK)
      status = train_read_loss(&t, t.device_losses, &of_batch, error);
    *loss += of_batch / batches;
  }
  training_close(&t);
  return status;
}

/* `reference`, but for fprop of one layer. */
static inline void truth_assign(const graph *g, const mpt_layer_policy *reference, int layer,
                                mpt_precision precision, mpt_layer_policy *assignment) {
  memcpy(assignment, reference, (size_t)g->layer_count * sizeof *assignment);
  assignment[layer].gemm[MPT_FPROP] = mpt_gemm_policy_of(MPT_FPROP, precision);
}

#endif
