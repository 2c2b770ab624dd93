#include "runtime/plan.h"

static void forget_copy(operand_copy *copy) {
  copy->parts[PART_ROWS].valid = copy->parts[PART_TRANSPOSED].valid = false;
}

void mpt_session_forget(mpt_session *session, int source) {
  operand_source *s = &session->sources[source];
  s->data = NULL;
  for (int i = 0; i < session->copy_count; i++)
    if (session->copies[i].source == source)
      forget_copy(&session->copies[i]);
}

void mpt_session_forget_operands(mpt_session *session) {
  for (int i = 0; i < session->source_count; i++) {
    operand_source *s = &session->sources[i];
    if (s->operand == MPT_WEIGHT)
      continue;
    s->data = NULL;
    s->collected_here = false;
    s->generation = 0;
    s->passed = false;
  }
  for (int i = 0; i < session->copy_count; i++)
    if (session->sources[session->copies[i].source].operand != MPT_WEIGHT)
      forget_copy(&session->copies[i]);
}

/* The CPU keeps every element in 4 bytes, so there a wider format holds the values of a narrower
 * one as they are. A GPU's tf32 product rounds fp32 operands itself (to nearest even, measured on
 * an H200). */
bool mpt_session_readable_as(mpt_device_kind device, mpt_format stored, mpt_format operand) {
  if (stored == operand)
    return true;
  if (device != MPT_DEVICE_CPU)
    return stored == MPT_FP32 && operand == MPT_TF32;
  switch (operand) {
  case MPT_FP32:
    return true;
  case MPT_TF32:
    return stored != MPT_FP32;
  case MPT_BF16:
  case MPT_FP16:
    return mpt_format_is_fp8(stored);
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

static mpt_tensor part_view(const mpt_session *session, const operand_copy *copy, part_kind part,
                            const mpt_tensor *source) {
  int64_t shape[2] = {source->shape[0], source->shape[1]};
  if (part == PART_TRANSPOSED)
    shape[0] = source->shape[1], shape[1] = source->shape[0];
  mpt_tensor view =
      mpt_tensor_of(session->workspace + copy->parts[part].offset, copy->format, 2, shape);
  view.device = source->device;
  return view;
}

static void now_valid(mpt_session *session, copy_part *part) {
  if (!part->own_memory) {
    if (session->scratch_holder[part->area] != NULL)
      session->scratch_holder[part->area]->valid = false;
    session->scratch_holder[part->area] = part;
  }
  part->valid = true;
}

/* Makes a part, and in the same pass the other where it will be wanted: what fprop makes wgrad and
 * dgrad read transposed, what dgrad makes wgrad does. */
static mpt_status make_copy(mpt_session *session, operand_copy *copy, part_kind wanted,
                            const mpt_tensor *tensor, mpt_error *error) {
  bool train = session->mode == MPT_RUN_TRAIN;
  bool both = train && wanted == PART_ROWS && copy->parts[PART_TRANSPOSED].used_by != 0;
  mpt_tensor rows = part_view(session, copy, PART_ROWS, tensor);
  mpt_tensor transposed = part_view(session, copy, PART_TRANSPOSED, tensor);
  mpt_scale *scale = &session->scales[copy - session->copies];
  if (mpt_format_is_fp8(copy->format)) {
    unsigned flags;
    MPT_RETURN_IF_FAILED(mpt_session_scale(session, copy, tensor, &flags, error));
    MPT_RETURN_IF_FAILED(
        mpt_quantize(session->queue, tensor, scale, flags, wanted == PART_ROWS ? &rows : NULL,
                     both || wanted == PART_TRANSPOSED ? &transposed : NULL, error));
  } else {
    bool counted = train && copy->format == MPT_FP16;
    MPT_RETURN_IF_FAILED(
        mpt_cast(session->queue, tensor, 0, &rows, counted ? &scale->counts : NULL, error));
  }
  if (train) {
    copy->cast += (uint64_t)mpt_tensor_count(tensor);
    copy->cast_in_step += (uint64_t)mpt_tensor_count(tensor);
  }
  now_valid(session, &copy->parts[wanted]);
  if (both)
    now_valid(session, &copy->parts[PART_TRANSPOSED]);
  return MPT_OK;
}

static part_kind part_for(const operand_copy *copy, mpt_gemm_kind gemm) {
  return (copy->parts[PART_TRANSPOSED].used_by & 1u << gemm) != 0 ? PART_TRANSPOSED : PART_ROWS;
}

mpt_status mpt_session_operand(mpt_session *session, int layer, mpt_gemm_kind gemm, int index,
                               const mpt_tensor *tensor, mpt_tensor *operand, const float **scale,
                               bool *transposed, mpt_error *error) {
  session_layer *l = &session->layers[layer];
  mpt_format format =
      session->mode == MPT_RUN_PLAIN ? MPT_FP32 : l->policy.gemm[gemm].operand[index];
  operand_source *source = &session->sources[l->sources[mpt_gemm_operand(gemm, index)]];
  MPT_RETURN_IF_FAILED(check_same(session, layer, source, tensor, error));
  *scale = NULL;
  *transposed = false;
  if (mpt_session_readable_as(tensor->device.kind, tensor->format, format)) {
    *operand = *tensor;
    operand->format = format;
    return MPT_OK;
  }
  operand_copy *copy = &session->copies[l->copies[gemm][index]];
  if (l->copies[gemm][index] < 0 || copy->format != format) /* MPT_RUN_PLAIN */
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "layer '%s': its %s is %s, and the product reads %s as it is",
                    l->given.info.name, mpt_operand_name(mpt_gemm_operand(gemm, index)),
                    mpt_format_get(tensor->format)->name, mpt_format_get(format)->name);
  part_kind part = part_for(copy, gemm);
  if (!copy->parts[part].valid)
    MPT_RETURN_IF_FAILED(make_copy(session, copy, part, tensor, error));
  *operand = part_view(session, copy, part, tensor);
  *transposed = part == PART_TRANSPOSED;
  if (mpt_format_is_fp8(format))
    *scale = &session->scales[copy - session->copies].inverse;
  return MPT_OK;
}
