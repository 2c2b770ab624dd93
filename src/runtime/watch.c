/* Statistics of a step, and the first value that was not finite. */
#include "runtime/plan.h"

void watch_nonfinite(mpt_session *session, int layer, mpt_operand operand) {
  if (session->report.nonfinite_step >= 0 || session->mode != MPT_RUN_TRAIN)
    return;
  session->report.nonfinite_step = session->step;
  session->report.nonfinite_layer = layer;
  session->report.nonfinite_operand = operand;
}

/* Once for each tensor: an input that layers share counts for all of them, micro-batches of a step
 * are added up, a weight is the same in all. */
mpt_status watch_operand(mpt_session *session, int layer, mpt_operand operand,
                         const mpt_tensor *tensor, mpt_error *error) {
  operand_source *source = &session->sources[session->layers[layer].sources[operand]];
  if (!session->collecting || source->collected_here)
    return MPT_OK;
  mpt_statistics *seen = &session->scratch_statistics;
  bool full = session->statistics == MPT_STATISTICS_FULL;
  MPT_RETURN_IF_FAILED(mpt_collect(session->queue, tensor, full, seen, error));
  if (seen->nans > 0 || seen->infinities > 0)
    watch_nonfinite(session, layer, operand);
  if (source->collected)
    mpt_statistics_merge(&source->statistics, seen);
  else
    source->statistics = *seen;
  source->collected = source->collected_here = true;
  return MPT_OK;
}

void watch_deliver(mpt_session *session) {
  for (int layer = 0; layer < session->layer_count; layer++) {
    const session_layer *l = &session->layers[layer];
    for (int operand = 0; l->has_gemm && operand < MPT_OPERAND_COUNT; operand++) {
      const operand_source *source = &session->sources[l->sources[operand]];
      if (source->collected && session->on_statistics != NULL)
        session->on_statistics(session->context, session->step, layer, (mpt_operand)operand,
                               &source->statistics);
    }
  }
}
