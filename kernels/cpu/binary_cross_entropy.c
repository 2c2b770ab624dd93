/* loss = mean of max(x, 0) - x t + log(1 + e^-|x|), gradient scale / count (sigmoid(x) - t). */
#include "kernels/cpu/loss.h"
#include "kernels/cpu/vector_math.h"

typedef struct bce_task {
  mpt_t logits, targets, grad;
  float scale; /* of the gradient, over count */
  int tasks;
  loss_part parts[MPT_CPU_MAX_THREADS];
} bce_task;

static double bce_sum(const float *x, const float *t, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) {
    double v = (double)x[i];
    sum += (v < 0 ? 0 : v) - v * (double)t[i] + log1p(exp(-fabs(v)));
  }
  return sum;
}

MPT_VECTOR_CLONES
static void bce_gradient(const float *restrict x, const float *restrict t, float scale,
                         float *restrict grad, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    grad[i] = scale * (vector_sigmoid(x[i]) - t[i]);
}

static void bce_part(void *context, int task) {
  bce_task *t = context;
  loss_part part = {0, 0};
  for (mpt_cpu_span s = mpt_cpu_span_first(t->logits, t->tasks, task); s.count > 0;
       mpt_cpu_span_next(&s)) {
    const float *x = mpt_cpu_at(t->logits, &s), *target = mpt_cpu_at(t->targets, &s);
    part.loss += bce_sum(x, target, s.count);
    if (t->grad == NULL)
      continue;
    float *grad = mpt_cpu_at(t->grad, &s);
    bce_gradient(x, target, t->scale, grad, s.count);
    mpt_cpu_round(t->grad, grad, s.count);
  }
  t->parts[task] = part;
}

mpt_status mpt_cpu_binary_cross_entropy(mpt_queue *queue, mpt_t logits, mpt_t targets, float scale,
                                        const mpt_step_state *state, double *loss,
                                        mpt_t grad_logits, mpt_error *error) {
  (void)error;
  int64_t count = mpt_tensor_count(logits);
  bce_task t = {.logits = logits,
                .targets = targets,
                .grad = grad_logits,
                .scale = loss_gradient_scale(scale, state) / (float)count,
                .tasks = mpt_cpu_tasks(queue, 32 * count)};
  mpt_cpu_parallel(queue, t.tasks, bce_part, &t);
  loss_sum(t.parts, t.tasks, count, loss, NULL);
  return MPT_OK;
}
