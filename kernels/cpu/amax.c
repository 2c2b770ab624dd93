/* The integer maximum over magnitude bits: unlike a maximum of floats it cannot lose a NaN. */
#include "format/rounding.h"
#include "kernels/cpu/cpu.h"

typedef struct amax_task {
  mpt_t x;
  int tasks;
  char *scratch; /* an int32_t for each task */
  size_t stride;
} amax_task;

MPT_VECTOR_CLONES
static int32_t amax_chunk(const float *x, int64_t count) {
  int32_t amax = 0;
  for (int64_t i = 0; i < count; i++) {
    int32_t magnitude = (int32_t)(mpt_float_bits(x[i]) & MPT_FP32_MAGNITUDE);
    amax = magnitude > amax ? magnitude : amax;
  }
  return amax;
}

static void amax_part(void *context, int task) {
  const amax_task *t = context;
  int32_t amax = 0;
  for (mpt_cpu_span s = mpt_cpu_span_first(t->x, t->tasks, task); s.count > 0;
       mpt_cpu_span_next(&s)) {
    int32_t of_chunk = amax_chunk(mpt_cpu_at(t->x, &s), s.count);
    amax = of_chunk > amax ? of_chunk : amax;
  }
  *(int32_t *)(t->scratch + (size_t)task * t->stride) = amax;
}

mpt_status mpt_cpu_amax(mpt_queue *queue, mpt_t x, uint32_t *amax_bits, mpt_error *error) {
  amax_task t = {.x = x, .tasks = mpt_cpu_tasks(queue, mpt_tensor_count(x))};
  MPT_RETURN_IF_FAILED(
      mpt_cpu_scratch(queue, t.tasks, sizeof(int32_t), &t.scratch, &t.stride, error));
  mpt_cpu_parallel(queue, t.tasks, amax_part, &t);
  int32_t amax = 0;
  for (int task = 0; task < t.tasks; task++) {
    int32_t of_task = *(int32_t *)(t.scratch + (size_t)task * t.stride);
    amax = of_task > amax ? of_task : amax;
  }
  *amax_bits = (uint32_t)amax;
  return MPT_OK;
}
