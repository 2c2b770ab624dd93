/* Scales of fp8 copies: powers of two, so that scaling itself loses no precision. */
#include "runtime/plan.h"

static const uint32_t infinity_bits = 0x7f800000u;

static uint32_t largest(const amax_history *history) {
  uint32_t bits = 0;
  for (int i = 0; i < history->filled; i++)
    if (bits < history->bits[i])
      bits = history->bits[i];
  return bits;
}

static mpt_status source_amax(mpt_session *session, operand_source *source,
                              const mpt_tensor *tensor, mpt_error *error) {
  if (source->amax_known)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(mpt_amax(session->queue, tensor, &source->amax_bits, error));
  source->amax_known = true;
  if (source->amax_bits >= infinity_bits)
    watch_nonfinite(session, source->layer, source->operand);
  return MPT_OK;
}

/* Current scaling takes the tensor's own amax. Delayed takes the largest of the steps before; with
 * none yet, the tensor's own. An amax that is not finite says nothing about the scale that the next
 * steps need and stays out of the history. */
mpt_status session_scale_exponent(mpt_session *session, operand_copy *copy,
                                  const mpt_tensor *tensor, int *exponent, mpt_error *error) {
  operand_source *source = &session->sources[copy->source];
  amax_history *history = &copy->history;
  bool delayed = copy->scaling.mode == MPT_SCALING_DELAYED;
  bool frozen = delayed && session->mode == MPT_RUN_EVALUATE && history->filled > 0;
  if (!frozen)
    MPT_RETURN_IF_FAILED(source_amax(session, source, tensor, error));
  uint32_t bits = delayed && history->filled > 0 ? largest(history) : source->amax_bits;
  *exponent = mpt_scale_exponent(copy->format, bits, delayed ? copy->scaling.margin : 0);
  if (delayed && session->mode == MPT_RUN_TRAIN && source->amax_bits < infinity_bits) {
    if (!history->seen || history->step < source->amax_bits)
      history->step = source->amax_bits;
    history->seen = true;
  }
  return MPT_OK;
}

void session_scales_step_end(mpt_session *session) {
  for (int i = 0; i < session->copy_count; i++) {
    amax_history *history = &session->copies[i].history;
    if (!history->seen)
      continue;
    history->bits[history->next] = history->step;
    history->next = (history->next + 1) % history->length;
    if (history->filled < history->length)
      history->filled++;
    history->seen = false;
  }
}
