/* y = exp(x - max) / sum over each row, and grad_x = y (grad_y - sum(y grad_y)). */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector_math.h"

typedef struct softmax_task {
  mpt_t x, y, grad_y, grad_x;
  int tasks;
} softmax_task;

MPT_VECTOR_CLONES
static void softmax_row(const float *restrict x, float *restrict y, int64_t n) {
  float largest = row_max(x, n);
  for (int64_t i = 0; i < n; i++)
    y[i] = vector_exp(x[i] - largest);
  float scale = 1.0f / row_sum(y, n);
  for (int64_t i = 0; i < n; i++)
    y[i] *= scale;
}

MPT_VECTOR_CLONES
static void softmax_row_backward(const float *restrict y, const float *restrict grad_y,
                                 float *restrict grad_x, int64_t n) {
  float mean = row_dot(y, grad_y, n);
  for (int64_t i = 0; i < n; i++)
    grad_x[i] = y[i] * (grad_y[i] - mean);
}

static void forward_part(void *context, int task) {
  const softmax_task *t = context;
  int64_t begin, end, n = t->x->shape[1];
  mpt_cpu_part(t->x->shape[0], 1, t->tasks, task, &begin, &end);
  for (int64_t r = begin; r < end; r++) {
    float *y = mpt_cpu_row(t->y, r);
    softmax_row(mpt_cpu_row(t->x, r), y, n);
    mpt_cpu_round(t->y, y, n);
  }
}

static void backward_part(void *context, int task) {
  const softmax_task *t = context;
  int64_t begin, end, n = t->y->shape[1];
  mpt_cpu_part(t->y->shape[0], 1, t->tasks, task, &begin, &end);
  for (int64_t r = begin; r < end; r++) {
    float *grad_x = mpt_cpu_row(t->grad_x, r);
    softmax_row_backward(mpt_cpu_row(t->y, r), mpt_cpu_row(t->grad_y, r), grad_x, n);
    mpt_cpu_round(t->grad_x, grad_x, n);
  }
}

mpt_status mpt_cpu_softmax_forward(mpt_queue *queue, mpt_t x, mpt_t y, mpt_error *error) {
  (void)error;
  softmax_task t = {.x = x, .y = y, .tasks = mpt_cpu_tasks(queue, 4 * mpt_tensor_count(x))};
  mpt_cpu_parallel(queue, t.tasks, forward_part, &t);
  return MPT_OK;
}

mpt_status mpt_cpu_softmax_backward(mpt_queue *queue, mpt_t y, mpt_t grad_y, mpt_t grad_x,
                                    mpt_error *error) {
  (void)error;
  softmax_task t = {.y = y, .grad_y = grad_y, .grad_x = grad_x};
  t.tasks = mpt_cpu_tasks(queue, 2 * mpt_tensor_count(y));
  mpt_cpu_parallel(queue, t.tasks, backward_part, &t);
  return MPT_OK;
}
