/* Copies of weights that the optimizer makes for the next step, in the pass that writes the weights
 * (mpt_adam_steps): what this step's products read, the next step's will read. It finds their
 * counts and extremes too where every step collects lite statistics.
 *
 * A delayed scale of the next step is known before that step begins, since it follows from amaxes
 * that this step has seen; so such copies are made whole. A current scale follows from the new
 * weights themselves, as a delayed one does while its history is empty (of weights that began as
 * zero): their amax is known when all are written. Then that is what the optimizer leaves, and the
 * step that begins reads them for the cast alone. */
#include "kernels/kernels.h"
#include "runtime/plan.h"
#include <stddef.h>

_Static_assert(offsetof(mpt_scale, comes) == offsetof(mpt_scale, coming_bits) + sizeof(uint32_t),
               "what comes of a scale is forgotten in one piece");

/* Whether the optimizer measures the weight and leaves the copy to the step: with current scaling,
 * and with delayed while the history may be empty. A recorded step ends as it began, whatever is
 * learned meanwhile: it is what comes before itself. */
static bool is_measured(const mpt_session *session, const operand_copy *copy) {
  return mpt_format_is_fp8(copy->format) &&
         (!copy->will_have_history || (copy->measured && session->queue->recording));
}

/* A part that this step made, as the optimizer writes it: shaped as the weight, or [k, n]. */
static const mpt_tensor *offered_part(mpt_session *session, operand_copy *copy, part_kind part,
                                      const mpt_tensor *weight) {
  if (!copy->parts[part].valid)
    return NULL;
  int64_t n = session->sources[copy->source].rows, k = session->sources[copy->source].columns;
  mpt_tensor *view = &copy->offered[part];
  char *data = session->workspace + copy->parts[part].offset;
  *view = part == PART_ROWS ? mpt_tensor_of(data, copy->format, weight->rank, weight->shape)
                            : mpt_tensor_of(data, copy->format, 2, (int64_t[]){k, n});
  view->device = weight->device;
  return view;
}

static mpt_weight_copy offer(mpt_session *session, operand_copy *copy, const mpt_tensor *weight) {
  mpt_scale *scale = &session->scales[copy - session->copies];
  uint64_t elements = (uint64_t)mpt_tensor_count(weight);
  copy->comes = session->sources[copy->source].comes = true;
  copy->comes_measured = is_measured(session, copy);
  if (copy->comes_measured)
    return (mpt_weight_copy){.scale = scale, .flags = MPT_QUANTIZE_AMAX};
  copy->cast += elements;
  copy->cast_in_step += elements;
  mpt_weight_copy offered = {.tensor = offered_part(session, copy, PART_ROWS, weight),
                             .transposed = offered_part(session, copy, PART_TRANSPOSED, weight)};
  if (mpt_format_is_fp8(copy->format)) {
    offered.scale = scale;
    offered.flags = MPT_QUANTIZE_AMAX | MPT_QUANTIZE_COUNT;
  } else if (copy->format == MPT_FP16) {
    offered.scale = scale;
    offered.flags = MPT_QUANTIZE_COUNT;
  }
  return offered;
}

static void offer_parameter(mpt_session *session, mpt_adam_parameter *parameter) {
  const mpt_tensor *weight = parameter->weight;
  parameter->lite = mpt_watch_lite_of_new_weight(session, weight);
  int used = 0, room = (int)(sizeof parameter->copies / sizeof parameter->copies[0]);
  for (int i = 0; i < session->copy_count && used < room; i++) {
    operand_copy *copy = &session->copies[i];
    const operand_source *source = &session->sources[copy->source];
    bool made = copy->parts[PART_ROWS].valid || copy->parts[PART_TRANSPOSED].valid;
    if (source->operand == MPT_WEIGHT && source->data == weight->data && made && !copy->comes &&
        source->rows * source->columns == mpt_tensor_count(weight))
      parameter->copies[used++] = offer(session, copy, weight);
  }
}

mpt_status mpt_session_offer_copies(mpt_session *session, mpt_adam_parameter *parameters, int count,
                                    mpt_error *error) {
  if (parameters == NULL || count < 1)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "there are no parameters to copy");
  if (session->in_step || !session->pending || session->mode != MPT_RUN_TRAIN)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "the optimizer makes copies of weights after a training step: call "
                    "mpt_session_step_end first");
  for (int i = 0; i < count; i++)
    offer_parameter(session, &parameters[i]);
  return MPT_OK;
}

void mpt_session_weights_begin(mpt_session *session) {
  session->began_with_copies = mpt_session_weights_come(session);
  for (int i = 0; i < session->source_count; i++) {
    operand_source *source = &session->sources[i];
    if (source->operand != MPT_WEIGHT)
      continue;
    if (!source->comes)
      source->data = NULL;
    source->comes = source->collected_here = false;
  }
  for (int i = 0; i < session->copy_count; i++) {
    operand_copy *copy = &session->copies[i];
    if (session->sources[copy->source].operand != MPT_WEIGHT)
      continue;
    copy->measured = copy->comes && copy->comes_measured;
    if (!copy->comes || copy->measured)
      copy->parts[PART_ROWS].valid = copy->parts[PART_TRANSPOSED].valid = false;
    copy->comes = false;
  }
}

bool mpt_session_weights_come(const mpt_session *session) {
  for (int i = 0; i < session->source_count; i++)
    if (session->sources[i].comes)
      return true;
  return false;
}

/* The step that begins next forgets what does not come. An amax that has come to the device would
 * be taken for that of other weights. */
mpt_status mpt_session_forget_weights(mpt_session *session, mpt_error *error) {
  const uint32_t none[2] = {0}; /* coming_bits, comes */
  if (session->in_step)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "weights change between steps only");
  MPT_RETURN_IF_FAILED(mpt_watch_forget_new_weights(session, error));
  for (int i = 0; i < session->source_count; i++)
    session->sources[i].comes = false;
  for (int i = 0; i < session->copy_count; i++) {
    operand_copy *copy = &session->copies[i];
    bool came = copy->comes;
    copy->comes = copy->measured = false;
    if (came && mpt_format_is_fp8(copy->format))
      MPT_RETURN_IF_FAILED(mpt_memory_upload(session->queue, none, sizeof none,
                                             &session->scales[i].coming_bits, error));
  }
  return MPT_OK;
}
