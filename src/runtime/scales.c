/* Scales of fp8 copies: powers of two, so that scaling itself loses no precision. Delayed scaling
 * as in Micikevicius et al. 2022, "FP8 formats for deep learning", and NVIDIA's Transformer Engine.
 * The rules by which they move are in kernels/step_rules.h. */
#include "kernels/step_rules.h"
#include "runtime/plan.h"
#include <stdlib.h>

static mpt_scale first_scale(const mpt_session *session, const operand_copy *copy) {
  bool delayed = copy->scaling.mode == MPT_SCALING_DELAYED;
  return (mpt_scale){.scale = 1.0f,
                     .inverse = 1.0f,
                     .format = (int32_t)copy->format,
                     .max_finite = mpt_format_get(copy->format)->max_finite,
                     .delayed = delayed,
                     .margin = delayed ? copy->scaling.margin : 0,
                     .length = delayed ? copy->scaling.history : 0,
                     .history = delayed ? (uint32_t *)(session->workspace + copy->history) : NULL};
}

mpt_status mpt_session_scales_start(mpt_session *session, mpt_error *error) {
  size_t bytes = (size_t)session->copy_count * sizeof(mpt_scale);
  if (bytes == 0)
    return MPT_OK;
  mpt_scale *scales = malloc(bytes);
  if (scales == NULL)
    return mpt_fail_memory(error, "the session's scales", bytes);
  for (int i = 0; i < session->copy_count; i++)
    scales[i] = first_scale(session, &session->copies[i]);
  mpt_status status = mpt_memory_upload(session->queue, scales, bytes, session->scales, error);
  free(scales);
  return status;
}

/* Whether whoever wrote the tensor has looked at it, and at nothing else since it was cleared. */
static bool is_seen(const mpt_session *session, const operand_copy *copy,
                    const mpt_tensor *tensor) {
  return session->lite_is_of_microbatch && tensor->lite == &session->source_lite[copy->source];
}

/* Current scaling takes the tensor's own amax. Delayed takes the largest of the steps before, and
 * sees this one's in the same pass as the cast; with none yet, the tensor's own. Which of the two
 * it is, the device decides in what is run here, and the host leaves that out once it knows. */
mpt_status mpt_session_scale(mpt_session *session, operand_copy *copy, const mpt_tensor *tensor,
                             unsigned *flags, mpt_error *error) {
  bool delayed = copy->scaling.mode == MPT_SCALING_DELAYED;
  mpt_scale *scale = &session->scales[copy - session->copies];
  *flags = 0;
  if (session->mode == MPT_RUN_TRAIN)
    *flags = delayed ? MPT_QUANTIZE_COUNT | MPT_QUANTIZE_AMAX : MPT_QUANTIZE_COUNT;
  if (copy->measured || copy->has_history)
    return MPT_OK;
  return is_seen(session, copy, tensor)
             ? mpt_scale_from_lite(session->queue, tensor->lite, scale, error)
             : mpt_scale_measure(session->queue, tensor, scale, error);
}

void mpt_session_scales_step_begin(mpt_session *session) {
  for (int i = 0; i < session->copy_count; i++)
    session->copies[i].has_history = session->copies[i].will_have_history;
}

void mpt_session_scales_learn(mpt_session *session, const mpt_scale *scales) {
  bool ended = session->pending && !session->in_step;
  for (int i = 0; i < session->copy_count; i++)
    if (session->copies[i].scaling.mode == MPT_SCALING_DELAYED &&
        (scales[i].filled > 0 || (ended && rule_scale_moves(&scales[i], scales[i].amax_bits))))
      session->copies[i].will_have_history = true;
}

static bool all_is_known(const mpt_session *session) {
  for (int i = 0; i < session->copy_count; i++)
    if (session->copies[i].scaling.mode == MPT_SCALING_DELAYED &&
        !session->copies[i].will_have_history)
      return false;
  return true;
}

mpt_status mpt_session_scales_read(mpt_session *session, mpt_error *error) {
  size_t bytes = (size_t)session->copy_count * sizeof(mpt_scale);
  if (session->workspace == NULL || all_is_known(session))
    return MPT_OK;
  MPT_RETURN_IF_FAILED(
      mpt_memory_download(session->queue, session->scales, bytes, session->scales_read, error));
  mpt_session_scales_learn(session, session->scales_read);
  return MPT_OK;
}
