#include "runtime/plan.h"
#include "policy/legal.h"
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const size_t alignment = 256;

/* A GPU's fp8 products read mpt_scale.inverse, the first member, at addresses of 16 bytes. */
_Static_assert(offsetof(mpt_scale, inverse) == 0 && sizeof(mpt_scale) % 16 == 0,
               "scales of an array are aligned to 16 bytes");

/* Sizes of the GEMM. A convolution's weight is [out, ...], its input the lowered columns. */
static mpt_status layer_sizes(session_layer *layer, mpt_error *error) {
  const mpt_layer_info *info = &layer->given.info;
  if (info->rank < 2 || info->rank > 4)
    return mpt_fail(error, MPT_ERROR_SHAPE,
                    "layer '%s': its weight has %d dimensions, a %s has at least 2", info->name,
                    info->rank, info->kind);
  layer->rows = info->rows;
  layer->n = info->shape[0];
  layer->k = 1;
  bool fits = layer->rows > 0 && layer->n > 0;
  for (int i = 1; i < info->rank && fits; i++)
    fits = info->shape[i] > 0 && !__builtin_mul_overflow(layer->k, info->shape[i], &layer->k);
  int64_t area = 0;
  const int64_t limit = INT64_MAX / 64;
  fits = fits && !__builtin_mul_overflow(layer->rows, layer->n, &area) && area < limit &&
         !__builtin_mul_overflow(layer->rows, layer->k, &area) && area < limit &&
         !__builtin_mul_overflow(layer->n, layer->k, &area) && area < limit;
  if (!fits)
    return mpt_fail(error, MPT_ERROR_SHAPE,
                    "layer '%s': rows %lld and weight [%lld, %lld] are not sizes of a product",
                    info->name, (long long)layer->rows, (long long)layer->n, (long long)layer->k);
  return MPT_OK;
}

/* The operands of a GEMM multiply, and are what the precision says. */
static mpt_status check_policy(const session_layer *layer, mpt_error *error) {
  for (int gemm = 0; gemm < MPT_GEMM_COUNT; gemm++) {
    const mpt_gemm_policy *p = &layer->policy.gemm[gemm];
    const mpt_format_info *a = mpt_format_get(p->operand[0]), *b = mpt_format_get(p->operand[1]);
    mpt_precision precision;
    if (mpt_policy_operands_precision(p->operand, &precision, NULL) != MPT_OK ||
        precision != p->precision)
      return mpt_fail(error, MPT_ERROR_ARGUMENT, "layer '%s': %s cannot multiply %s by %s as %s",
                      layer->given.info.name, mpt_gemm_name((mpt_gemm_kind)gemm),
                      a ? a->name : "an unknown format", b ? b->name : "an unknown format",
                      (unsigned)p->precision < MPT_PRECISION_COUNT
                          ? mpt_precision_name(p->precision)
                          : "an unknown precision");
  }
  return mpt_policy_check_scaling(layer->given.info.name, &layer->policy.scaling, error);
}

static int add_source(mpt_session *session, mpt_operand operand, int layer, int64_t rows,
                      int64_t columns) {
  operand_source *source = &session->sources[session->source_count];
  source->operand = operand;
  source->layer = layer;
  source->rows = rows;
  source->columns = columns;
  return session->source_count++;
}

/* The input of a layer: that of an earlier layer with the same input name, or a new one. */
static mpt_status plan_input(mpt_session *session, int index, mpt_error *error) {
  session_layer *layer = &session->layers[index];
  for (int i = 0; i < index && layer->given.input_name[0] != '\0'; i++) {
    session_layer *other = &session->layers[i];
    if (!other->has_gemm || strcmp(other->given.input_name, layer->given.input_name) != 0)
      continue;
    if (other->k != layer->k || other->rows != layer->rows)
      return mpt_fail(error, MPT_ERROR_SHAPE,
                      "layers '%s' and '%s' read the same input '%s' as [%lld, %lld] and [%lld, "
                      "%lld]",
                      other->given.info.name, layer->given.info.name, layer->given.input_name,
                      (long long)other->rows, (long long)other->k, (long long)layer->rows,
                      (long long)layer->k);
    layer->sources[MPT_INPUT] = other->sources[MPT_INPUT];
    return MPT_OK;
  }
  layer->sources[MPT_INPUT] = add_source(session, MPT_INPUT, index, layer->rows, layer->k);
  return MPT_OK;
}

/* The copy of a source in a format and scaling: one that is planned already, or a new one. */
static int plan_copy(mpt_session *session, int source, mpt_format format, mpt_scaling scaling,
                     mpt_gemm_kind gemm, part_kind part) {
  if (!mpt_format_is_fp8(format) || scaling.mode == MPT_SCALING_CURRENT)
    scaling = (mpt_scaling){.mode = MPT_SCALING_CURRENT};
  for (int i = 0; i < session->copy_count; i++) {
    operand_copy *copy = &session->copies[i];
    if (copy->source == source && copy->format == format && copy->scaling.mode == scaling.mode &&
        copy->scaling.history == scaling.history && copy->scaling.margin == scaling.margin) {
      copy->parts[part].used_by |= 1u << gemm;
      return i;
    }
  }
  operand_copy *copy = &session->copies[session->copy_count];
  *copy = (operand_copy){.source = source, .format = format, .scaling = scaling};
  if (mpt_format_is_fp8(format) && scaling.mode == MPT_SCALING_CURRENT)
    session->sources[source].scaled = true;
  copy->parts[part].used_by = 1u << gemm;
  return session->copy_count++;
}

/* Which part of an fp8 copy a GEMM reads: the contracted dimension runs along rows of the inputs
 * and weights that fprop reads and of dgrad's grad_output, and along columns of the others. */
static part_kind part_of(const mpt_session *session, mpt_format format, mpt_gemm_kind gemm,
                         int index) {
  if (!mpt_format_is_fp8(format) || !mpt_gemm_wants_rows_of_k(session->queue))
    return PART_ROWS;
  return gemm == MPT_WGRAD || (gemm == MPT_DGRAD && index == 1) ? PART_TRANSPOSED : PART_ROWS;
}

/* How weights are stored is said, how inputs and gradients will be may be not known yet: any
 * format. The CPU reads all of them as fp32. */
static bool needs_copy(const mpt_session *session, const mpt_session_layer *given,
                       mpt_operand operand, mpt_format format) {
  const mpt_format stored[MPT_OPERAND_COUNT] = {[MPT_INPUT] = given->input_format,
                                                [MPT_WEIGHT] = given->weight_format,
                                                [MPT_GRAD_OUTPUT] = given->grad_output_format};
  const mpt_device_kind device = mpt_queue_device(session->queue).kind;
  if (operand != MPT_WEIGHT && !given->formats_known)
    return format != MPT_FP32 || device != MPT_DEVICE_CPU;
  return !mpt_session_readable_as(device, stored[operand], format);
}

static void plan_copies(mpt_session *session, session_layer *layer) {
  for (int gemm = 0; gemm < MPT_GEMM_COUNT; gemm++)
    for (int i = 0; i < 2; i++) {
      mpt_gemm_kind kind = (mpt_gemm_kind)gemm;
      mpt_format format = layer->policy.gemm[gemm].operand[i];
      mpt_operand operand = mpt_gemm_operand(kind, i);
      layer->copies[gemm][i] =
          needs_copy(session, &layer->given, operand, format)
              ? plan_copy(session, layer->sources[operand], format, layer->policy.scaling, kind,
                          part_of(session, format, kind, i))
              : -1;
    }
}

static size_t take(size_t *bytes, size_t size) {
  size_t offset = *bytes;
  *bytes += (size + alignment - 1) / alignment * alignment;
  return offset;
}

static void plan_part(const operand_source *source, const operand_copy *copy, copy_part *part) {
  /* What fprop makes and wgrad reads lives from one to the other. */
  unsigned of_copy = copy->parts[PART_ROWS].used_by | copy->parts[PART_TRANSPOSED].used_by;
  bool kept = (of_copy & 1u << MPT_FPROP) != 0 && (part->used_by & 1u << MPT_WGRAD) != 0;
  part->own_memory = source->operand == MPT_WEIGHT || (source->operand == MPT_INPUT && kept);
  part->area = source->operand == MPT_INPUT             ? SCRATCH_INPUT
               : (part->used_by & 1u << MPT_DGRAD) != 0 ? SCRATCH_DGRAD
                                                        : SCRATCH_WGRAD;
}

static void plan_memory(mpt_session *session) {
  size_t bytes = 0, scratch[SCRATCH_COUNT] = {0}, scratch_offset[SCRATCH_COUNT];
  size_t copies = (size_t)session->copy_count, sources = (size_t)session->source_count;
  take(&bytes, sizeof(mpt_step_state));
  session->scales_offset = take(&bytes, copies * sizeof(mpt_scale));
  session->statistics_offset = take(&bytes, (sources + 1) * sizeof(mpt_statistics));
  session->lite_offset = take(&bytes, sources * sizeof(mpt_lite));
  session->coming_lite_offset = take(&bytes, sources * sizeof(mpt_lite));
  session->ring_length = mpt_queue_device(session->queue).kind == MPT_DEVICE_CPU ? 1 : SESSION_RING;
  if (session->ring_length > 1)
    session->ring_offset =
        take(&bytes, (size_t)session->ring_length * sources * sizeof(mpt_statistics));
  session->overflows_offset = take(&bytes, (size_t)session->gradient_capacity * sizeof(int64_t));
  for (int i = 0; i < session->copy_count; i++) {
    operand_copy *copy = &session->copies[i];
    const operand_source *source = &session->sources[copy->source];
    if (copy->scaling.mode == MPT_SCALING_DELAYED)
      copy->history = take(&bytes, (size_t)copy->scaling.history * sizeof(uint32_t));
    size_t size = (size_t)source->rows * (size_t)source->columns *
                  mpt_element_bytes(mpt_queue_device(session->queue).kind, copy->format);
    for (int p = 0; p < PART_COUNT; p++) {
      copy_part *part = &copy->parts[p];
      if (part->used_by == 0)
        continue;
      plan_part(source, copy, part);
      if (part->own_memory)
        part->offset = take(&bytes, size);
      else if (scratch[part->area] < size)
        scratch[part->area] = size;
    }
  }
  for (int area = 0; area < SCRATCH_COUNT; area++)
    scratch_offset[area] = take(&bytes, scratch[area]);
  for (int i = 0; i < session->copy_count * PART_COUNT; i++) {
    copy_part *part = &session->copies[i / PART_COUNT].parts[i % PART_COUNT];
    if (part->used_by != 0 && !part->own_memory)
      part->offset = scratch_offset[part->area];
  }
  session->workspace_bytes = bytes;
}

static size_t count_calls(mpt_session *session) {
  size_t calls = 0;
  for (int i = 0; i < session->layer_count; i++) {
    session_layer *layer = &session->layers[i];
    layer->call_count = layer->given.calls > 0 ? layer->given.calls : 1;
    calls += (size_t)layer->call_count;
  }
  return calls;
}

mpt_status mpt_session_plan(mpt_session *session, mpt_error *error) {
  size_t count = (size_t)session->layer_count;
  session->gradient_capacity = 4 * session->layer_count + 64;
  size_t gradients = (size_t)session->gradient_capacity;
  session->sources = calloc(count * MPT_OPERAND_COUNT, sizeof *session->sources);
  session->copies = calloc(count * MPT_GEMM_COUNT * 2, sizeof *session->copies);
  session->backward_order = calloc(count, sizeof *session->backward_order);
  session->gradient_data = calloc(gradients, sizeof *session->gradient_data);
  session->gradient_layer = calloc(gradients, sizeof *session->gradient_layer);
  session->collections = calloc(count, sizeof *session->collections);
  session->calls = calloc(count_calls(session), sizeof *session->calls);
  if (session->sources == NULL || session->copies == NULL || session->backward_order == NULL ||
      session->gradient_data == NULL || session->gradient_layer == NULL ||
      session->collections == NULL || session->calls == NULL)
    return mpt_fail_memory(error, "the session's plan", count * sizeof *session->sources);

  layer_call *calls = session->calls;
  for (int i = 0; i < session->layer_count; i++) {
    session_layer *layer = &session->layers[i];
    const char *kind = layer->given.info.kind;
    layer->calls = calls;
    calls += layer->call_count;
    layer->has_gemm = kind[0] != '\0' && mpt_layer_has_gemm(kind);
    if ((unsigned)layer->policy.gemm[MPT_FPROP].precision >= MPT_PRECISION_COUNT)
      return mpt_fail(error, MPT_ERROR_ARGUMENT, "layer '%s' has an unknown precision",
                      layer->given.info.name);
    if (!layer->has_gemm)
      continue;
    MPT_RETURN_IF_FAILED(layer_sizes(layer, error));
    MPT_RETURN_IF_FAILED(check_policy(layer, error));
    MPT_RETURN_IF_FAILED(plan_input(session, i, error));
    layer->sources[MPT_WEIGHT] = add_source(session, MPT_WEIGHT, i, layer->n, layer->k);
    layer->sources[MPT_GRAD_OUTPUT] =
        add_source(session, MPT_GRAD_OUTPUT, i, layer->rows, layer->n);
    plan_copies(session, layer);
  }
  plan_memory(session);
  size_t statistics = (size_t)session->ring_length * (size_t)session->source_count + 1;
  session->delivered = calloc(statistics, sizeof(mpt_statistics));
  session->scales_read = calloc((size_t)session->copy_count + 1, sizeof *session->scales_read);
  return session->delivered != NULL && session->scales_read != NULL
             ? MPT_OK
             : mpt_fail_memory(error, "statistics", statistics * sizeof(mpt_statistics));
}

/* Where fprop and wgrad read one copy of the input, what fprop makes lives until then (plan_part),
 * unless another pass comes in between. */
bool mpt_session_keeps_input(const mpt_session *session, int layer) {
  const session_layer *l = &session->layers[layer];
  return l->has_gemm && !mpt_session_runs_again(session, l->sources[MPT_INPUT]) &&
         l->copies[MPT_WGRAD][1] >= 0 && l->copies[MPT_WGRAD][1] == l->copies[MPT_FPROP][0];
}

void mpt_session_release(mpt_session *session) {
  free(session->copies);
  free(session->sources);
  free(session->backward_order);
  free(session->gradient_data);
  free(session->gradient_layer);
  free(session->collections);
  free(session->delivered);
  free(session->calls);
  free(session->scales_read);
  free(session->prepared_rows);
  free(session->layers);
  free(session);
}
