#include "runtime/plan.h"

void session_forget(mpt_session *session, int source) {
  operand_source *s = &session->sources[source];
  s->data = NULL;
  s->amax_known = false;
  for (int i = 0; i < session->copy_count; i++)
    if (session->copies[i].source == source)
      session->copies[i].valid = false;
}

static void forget_where(mpt_session *session, bool weights) {
  for (int i = 0; i < session->source_count; i++) {
    operand_source *s = &session->sources[i];
    if (s->operand == MPT_WEIGHT && !weights)
      continue;
    s->data = NULL;
    s->amax_known = false;
    s->collected_here = false;
  }
  for (int i = 0; i < session->copy_count; i++)
    if (weights || session->sources[session->copies[i].source].operand != MPT_WEIGHT)
      session->copies[i].valid = false;
  for (int i = 0; i < session->layer_count; i++)
    session->layers[i].progress = LAYER_IDLE;
}

void session_forget_activations(mpt_session *session) {
  forget_where(session, false);
}

void session_forget_all(mpt_session *session) {
  forget_where(session, true);
}

/* Whether memory of one format can be read as another without a copy. The CPU keeps every element
 * in 4 bytes, so there a wider format holds the values of a narrower one as they are. */
static bool readable_as(mpt_device_kind device, mpt_format stored, mpt_format operand) {
  if (stored == operand)
    return true;
  if (device != MPT_DEVICE_CPU)
    return false;
  switch (operand) {
  case MPT_FP32:
    return true;
  case MPT_TF32:
    return stored != MPT_FP32;
  case MPT_BF16:
  case MPT_FP16:
    return stored == MPT_FP8_E4M3 || stored == MPT_FP8_E5M2;
  default:
    return false;
  }
}

/* The tensor that a source's operands are made from must stay the same until it changes for all. */
static mpt_status check_same(mpt_session *session, int layer, operand_source *source,
                             const mpt_tensor *tensor, mpt_error *error) {
  if (source->data == NULL)
    source->data = tensor->data;
  if (source->data == tensor->data)
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_ARGUMENT,
                  "layer '%s': its %s is not the tensor that layer '%s' was given before in this "
                  "step",
                  session->layers[layer].given.info.name, mpt_operand_name(source->operand),
                  session->layers[source->layer].given.info.name);
}

static mpt_status make_copy(mpt_session *session, int index, const mpt_tensor *tensor,
                            const mpt_tensor *into, mpt_error *error) {
  operand_copy *copy = &session->copies[index];
  copy->exponent = 0;
  bool fp8 = copy->format == MPT_FP8_E4M3 || copy->format == MPT_FP8_E5M2;
  if (fp8)
    MPT_RETURN_IF_FAILED(session_scale_exponent(session, copy, tensor, &copy->exponent, error));
  mpt_cast_counts counts = {0};
  bool counted = session->mode == MPT_RUN_TRAIN && (fp8 || copy->format == MPT_FP16);
  MPT_RETURN_IF_FAILED(
      mpt_cast(session->queue, tensor, copy->exponent, into, counted ? &counts : NULL, error));
  if (session->mode == MPT_RUN_TRAIN) {
    copy->cast += (uint64_t)mpt_tensor_count(tensor);
    copy->saturated += counts.saturated;
    copy->vanished += counts.vanished;
  }
  if (!copy->own_memory) {
    int holder = session->scratch_holder[copy->area];
    if (holder >= 0)
      session->copies[holder].valid = false;
    session->scratch_holder[copy->area] = index;
  }
  copy->valid = true;
  return MPT_OK;
}

mpt_status session_operand(mpt_session *session, int layer, mpt_gemm_kind gemm, int index,
                           const mpt_tensor *tensor, mpt_tensor *operand, int *exponent,
                           mpt_error *error) {
  session_layer *l = &session->layers[layer];
  mpt_format format =
      session->mode == MPT_RUN_PLAIN ? MPT_FP32 : l->policy.gemm[gemm].operand[index];
  operand_source *source = &session->sources[l->sources[mpt_gemm_operand(gemm, index)]];
  MPT_RETURN_IF_FAILED(check_same(session, layer, source, tensor, error));
  *exponent = 0;
  if (readable_as(tensor->device.kind, tensor->format, format)) {
    *operand = *tensor;
    operand->format = format;
    return MPT_OK;
  }
  int index_of_copy = l->copies[gemm][index];
  operand_copy *copy = &session->copies[index_of_copy];
  mpt_tensor view = mpt_tensor_of(session->workspace + copy->offset, format, 2, tensor->shape);
  view.device = tensor->device;
  if (!copy->valid)
    MPT_RETURN_IF_FAILED(make_copy(session, index_of_copy, tensor, &view, error));
  *operand = view;
  *exponent = copy->exponent;
  return MPT_OK;
}
