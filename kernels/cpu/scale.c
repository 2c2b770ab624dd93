/* Scales of low-precision copies, copies under a scale, and the beginning of a step. */
#include "kernels/cpu/cpu.h"
#include "kernels/step_rules.h"

mpt_status mpt_cpu_scale_measure(mpt_queue *queue, mpt_t x, mpt_scale *scale, mpt_error *error) {
  uint32_t amax_bits;
  if (!rule_scale_is_own(scale))
    return MPT_OK;
  MPT_RETURN_IF_FAILED(mpt_cpu_amax(queue, x, &amax_bits, error));
  rule_scale_measured(scale, amax_bits);
  return MPT_OK;
}

mpt_status mpt_cpu_scale_from_lite(mpt_queue *queue, const mpt_lite *lite, mpt_scale *scale,
                                   mpt_error *error) {
  (void)queue, (void)error;
  rule_scale_measured(scale, lite->amax_bits);
  return MPT_OK;
}

typedef struct transpose_task {
  mpt_t from, to;
  int tasks;
} transpose_task;

static void transpose_part(void *context, int task) {
  const transpose_task *t = context;
  int64_t begin, end;
  mpt_cpu_part(t->to->shape[0], 1, t->tasks, task, &begin, &end);
  for (int64_t row = begin; row < end; row++) {
    float *to = mpt_cpu_row(t->to, row);
    const float *from = (const float *)t->from->data + row;
    for (int64_t column = 0; column < t->to->shape[1]; column++)
      to[column] = from[column * t->from->strides[0]];
  }
}

static void transpose(mpt_queue *queue, mpt_t from, mpt_t to) {
  transpose_task t = {from, to, mpt_cpu_tasks(queue, 4 * mpt_tensor_count(to))};
  mpt_cpu_parallel(queue, t.tasks, transpose_part, &t);
}

/* A transpose alone is made in place: transposed as it is, then rounded. */
mpt_status mpt_cpu_quantize(mpt_queue *queue, mpt_t x, mpt_scale *scale, unsigned flags, mpt_t y,
                            mpt_t y_transposed, mpt_error *error) {
  if (flags & MPT_QUANTIZE_AMAX) {
    uint32_t amax_bits;
    MPT_RETURN_IF_FAILED(mpt_cpu_amax(queue, x, &amax_bits, error));
    if (scale->amax_bits < amax_bits)
      scale->amax_bits = amax_bits;
  }
  int exponent = (int)(rule_float_bits(scale->scale) >> 23) - 127;
  mpt_cast_counts *counts = flags & MPT_QUANTIZE_COUNT ? &scale->counts : NULL;
  if (y != NULL) {
    MPT_RETURN_IF_FAILED(mpt_cpu_cast(queue, x, exponent, y, counts, error));
    if (y_transposed != NULL)
      transpose(queue, y, y_transposed);
    return MPT_OK;
  }
  transpose(queue, x, y_transposed);
  return mpt_cpu_cast(queue, y_transposed, exponent, y_transposed, counts, error);
}

mpt_status mpt_cpu_step_begin(mpt_queue *queue, mpt_step_state *state, mpt_scale *scales, int count,
                              mpt_error *error) {
  (void)queue, (void)error;
  int64_t step = state->first_step + state->steps;
  for (int i = 0; i < count; i++)
    rule_scale_step(&scales[i], step, state->pending != 0);
  rule_state_step(state);
  rule_state_begin(state);
  return MPT_OK;
}

mpt_status mpt_cpu_merge_statistics(mpt_queue *queue, mpt_statistics *into, mpt_statistics *from,
                                    mpt_error *error) {
  (void)queue, (void)error;
  mpt_statistics_merge(into, from);
  *from = (mpt_statistics){0};
  return MPT_OK;
}
