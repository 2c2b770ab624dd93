/* loss = mean of (x - t)^2, gradient 2 scale / count (x - t). */
#include "kernels/cpu/loss.h"

typedef struct mse_task {
  mpt_t outputs, targets, grad;
  float scale; /* of the gradient, 2 over count */
  int tasks;
  loss_part parts[MPT_CPU_MAX_THREADS];
} mse_task;

MPT_VECTOR_CLONES
static double squared_distance(const float *x, const float *t, int64_t n) {
  double lanes[8] = {0}, sum = 0;
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int l = 0; l < 8; l++) {
      double d = (double)x[i + l] - (double)t[i + l];
      lanes[l] += d * d;
    }
  for (; i < n; i++)
    sum += ((double)x[i] - (double)t[i]) * ((double)x[i] - (double)t[i]);
  for (int l = 0; l < 8; l++)
    sum += lanes[l];
  return sum;
}

MPT_VECTOR_CLONES
static void mse_gradient(const float *restrict x, const float *restrict t, float scale,
                         float *restrict grad, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    grad[i] = scale * (x[i] - t[i]);
}

static void mse_part(void *context, int task) {
  mse_task *t = context;
  loss_part part = {0, 0};
  for (mpt_cpu_span s = mpt_cpu_span_first(t->outputs, t->tasks, task); s.count > 0;
       mpt_cpu_span_next(&s)) {
    const float *x = mpt_cpu_at(t->outputs, &s), *target = mpt_cpu_at(t->targets, &s);
    part.loss += squared_distance(x, target, s.count);
    if (t->grad == NULL)
      continue;
    float *grad = mpt_cpu_at(t->grad, &s);
    mse_gradient(x, target, t->scale, grad, s.count);
    mpt_cpu_round(t->grad, grad, s.count);
  }
  t->parts[task] = part;
}

mpt_status mpt_cpu_mean_squared_error(mpt_queue *queue, mpt_t outputs, mpt_t targets, float scale,
                                      const mpt_step_state *state, double *loss, mpt_t grad_outputs,
                                      mpt_error *error) {
  (void)error;
  int64_t count = mpt_tensor_count(outputs);
  mse_task t = {.outputs = outputs,
                .targets = targets,
                .grad = grad_outputs,
                .scale = 2.0f * loss_gradient_scale(scale, state) / (float)count,
                .tasks = mpt_cpu_tasks(queue, 2 * count)};
  mpt_cpu_parallel(queue, t.tasks, mse_part, &t);
  loss_sum(t.parts, t.tasks, count, loss, NULL);
  return MPT_OK;
}
