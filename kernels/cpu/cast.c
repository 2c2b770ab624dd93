/* y = round(x * 2^e), and how many values saturated and vanished: counted in the same pass, from
 * the rounded magnitude before it is held against the format's largest. */
#include "format/rounding.h"
#include "kernels/cpu/cpu.h"
#include <math.h>

typedef struct cast_task {
  mpt_t x, y;
  mpt_rounding rounding;
  float scale;
  int tasks;
  char *scratch; /* an mpt_cast_counts for each task */
  size_t stride;
} cast_task;

/* y may be x. count <= MPT_CPU_CHUNK, so that 32-bit counters do. */
MPT_VECTOR_CLONES
static void cast_chunk(const mpt_rounding *rounding, const float *x, float scale, float *y,
                       int64_t count, mpt_cast_counts *counts) {
  const mpt_rounding r = *rounding;
  int32_t saturated = 0, vanished = 0;
  MPT_INDEPENDENT
  for (int64_t i = 0; i < count; i++) {
    uint32_t original = mpt_float_bits(x[i]) & MPT_FP32_MAGNITUDE;
    uint32_t bits = mpt_float_bits(x[i] * scale);
    int32_t rounded = mpt_round_magnitude(&r, bits);
    saturated += (rounded > r.max) & (original <= MPT_FP32_INFINITY);
    vanished += (rounded == 0) & (original != 0);
    y[i] = mpt_bits_float(mpt_round_finish(&r, bits, rounded));
  }
  counts->count += (uint64_t)count;
  counts->saturated += (uint64_t)saturated;
  counts->vanished += (uint64_t)vanished;
}

static void cast_part(void *context, int task) {
  const cast_task *t = context;
  mpt_cast_counts counts = {0};
  for (mpt_cpu_span s = mpt_cpu_span_first(t->y, t->tasks, task); s.count > 0;
       mpt_cpu_span_next(&s))
    cast_chunk(&t->rounding, mpt_cpu_at(t->x, &s), t->scale, mpt_cpu_at(t->y, &s), s.count,
               &counts);
  *(mpt_cast_counts *)(t->scratch + (size_t)task * t->stride) = counts;
}

mpt_status mpt_cpu_cast(mpt_queue *queue, mpt_t x, int scale_exponent, mpt_t y,
                        mpt_cast_counts *counts, mpt_error *error) {
  cast_task t = {.x = x,
                 .y = y,
                 .rounding = mpt_rounding_of(y->format, true),
                 .scale = ldexpf(1.0f, scale_exponent),
                 .tasks = mpt_cpu_tasks(queue, mpt_tensor_count(y))};
  MPT_RETURN_IF_FAILED(
      mpt_cpu_scratch(queue, t.tasks, sizeof(mpt_cast_counts), &t.scratch, &t.stride, error));
  mpt_cpu_parallel(queue, t.tasks, cast_part, &t);
  if (counts == NULL)
    return MPT_OK;
  for (int task = 0; task < t.tasks; task++) {
    const mpt_cast_counts *part = (mpt_cast_counts *)(t.scratch + (size_t)task * t.stride);
    counts->count += part->count;
    counts->saturated += part->saturated;
    counts->vanished += part->vanished;
  }
  return MPT_OK;
}
