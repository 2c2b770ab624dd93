/* The norm of all gradients together, in double, where squares of floats can't overflow: the sum
 * is finite exactly when every gradient is. */
#include "kernels/cpu/cpu.h"
#include <math.h>

typedef struct norm_task {
  mpt_t const *gradients;
  int count, tasks;
  double parts[MPT_CPU_MAX_THREADS];
} norm_task;

MPT_VECTOR_CLONES
static double sum_of_squares(const float *x, int64_t n) {
  double lanes[16] = {0}, sum = 0;
  int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (int l = 0; l < 16; l++)
      lanes[l] += (double)x[i + l] * (double)x[i + l];
  for (; i < n; i++)
    sum += (double)x[i] * (double)x[i];
  for (int l = 0; l < 16; l++)
    sum += lanes[l];
  return sum;
}

static void norm_part(void *context, int task) {
  norm_task *t = context;
  double sum = 0;
  for (int i = 0; i < t->count; i++) {
    int64_t begin, end;
    mpt_cpu_part(mpt_tensor_count(t->gradients[i]), 64, t->tasks, task, &begin, &end);
    sum += sum_of_squares((const float *)t->gradients[i]->data + begin, end - begin);
  }
  t->parts[task] = sum;
}

mpt_status mpt_cpu_gradient_check(mpt_queue *queue, mpt_t const *gradients, int count,
                                  float max_norm, mpt_step_state *state, int64_t *overflows,
                                  mpt_error *error) {
  (void)error;
  int64_t elements = 0;
  for (int i = 0; i < count; i++)
    elements += mpt_tensor_count(gradients[i]);
  norm_task t = {.gradients = gradients, .count = count, .tasks = mpt_cpu_tasks(queue, elements)};
  mpt_cpu_parallel(queue, t.tasks, norm_part, &t);
  double sum = 0;
  for (int i = 0; i < t.tasks; i++)
    sum += t.parts[i];
  double norm = sqrt(sum) / (double)state->loss_scale;
  state->overflow = !isfinite(sum);
  state->pending = 1;
  for (int i = 0; overflows != NULL && state->overflow && i < count; i++)
    if (!isfinite(sum_of_squares(gradients[i]->data, mpt_tensor_count(gradients[i]))))
      overflows[i] = state->steps + 1;
  state->gradient_norm = (float)norm;
  state->clip = max_norm > 0 && norm > (double)max_norm ? (float)((double)max_norm / norm) : 1.0f;
  return MPT_OK;
}
