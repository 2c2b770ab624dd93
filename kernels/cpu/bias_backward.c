/* grad_bias[n] = sum of grad[m, n] over its rows.
 *
 * Each task sums its rows, and within them a run of rows at a time: short fp32 sums keep the
 * rounding error near that of a pairwise sum. */
#include "kernels/cpu/cpu.h"
#include <string.h>

enum { RUN = 32 };

typedef struct bias_task {
  mpt_t grad;
  int tasks;
  char *scratch; /* for each task: sums[n], run[n] */
  size_t stride;
} bias_task;

MPT_VECTOR_CLONES
static void add_row(float *restrict sums, const float *restrict row, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    sums[i] += row[i];
}

static void sum_part(void *context, int task) {
  const bias_task *t = context;
  int64_t n = t->grad->shape[1], begin, end;
  mpt_cpu_part(t->grad->shape[0], 1, t->tasks, task, &begin, &end);
  float *sums = (float *)(t->scratch + (size_t)task * t->stride), *run = sums + n;
  memset(sums, 0, (size_t)n * sizeof(float));
  for (int64_t first = begin; first < end; first += RUN) {
    memcpy(run, mpt_cpu_row(t->grad, first), (size_t)n * sizeof(float));
    for (int64_t r = first + 1; r < end && r < first + RUN; r++)
      add_row(run, mpt_cpu_row(t->grad, r), n);
    add_row(sums, run, n);
  }
}

mpt_status mpt_cpu_bias_backward(mpt_queue *queue, mpt_t grad, mpt_t grad_bias, bool accumulate,
                                 mpt_error *error) {
  int64_t n = grad->shape[1];
  bias_task t = {.grad = grad, .tasks = mpt_cpu_tasks(queue, mpt_tensor_count(grad))};
  MPT_RETURN_IF_FAILED(
      mpt_cpu_scratch(queue, t.tasks, 2 * (size_t)n * sizeof(float), &t.scratch, &t.stride, error));
  mpt_cpu_parallel(queue, t.tasks, sum_part, &t);
  float *out = grad_bias->data;
  if (!accumulate)
    memset(out, 0, (size_t)n * sizeof(float));
  for (int task = 0; task < t.tasks; task++)
    add_row(out, (float *)(t.scratch + (size_t)task * t.stride), n);
  return MPT_OK;
}
