/* g = clip grad / loss_scale + weight_decay w;  m = momentum m + g;  w -= learning_rate m */
#include "kernels/cpu/cpu.h"

typedef struct sgd_task {
  mpt_t weight, gradient, momentum_buffer;
  float gradient_scale, learning_rate, momentum, weight_decay;
  int tasks;
} sgd_task;

MPT_VECTOR_CLONES
static void sgd_momentum(const sgd_task *t, float *restrict w, const float *restrict grad,
                         float *restrict m, int64_t n) {
  const float scale = t->gradient_scale, rate = t->learning_rate;
  const float momentum = t->momentum, decay = t->weight_decay;
  for (int64_t i = 0; i < n; i++) {
    m[i] = momentum * m[i] + (scale * grad[i] + decay * w[i]);
    w[i] -= rate * m[i];
  }
}

MPT_VECTOR_CLONES
static void sgd_plain(const sgd_task *t, float *restrict w, const float *restrict grad, int64_t n) {
  const float scale = t->gradient_scale, rate = t->learning_rate, decay = t->weight_decay;
  for (int64_t i = 0; i < n; i++)
    w[i] -= rate * (scale * grad[i] + decay * w[i]);
}

static void sgd_part(void *context, int task) {
  const sgd_task *t = context;
  for (mpt_cpu_span s = mpt_cpu_span_first(t->weight, t->tasks, task); s.count > 0;
       mpt_cpu_span_next(&s)) {
    float *w = mpt_cpu_at(t->weight, &s);
    const float *grad = mpt_cpu_at(t->gradient, &s);
    if (t->momentum_buffer != NULL)
      sgd_momentum(t, w, grad, mpt_cpu_at(t->momentum_buffer, &s), s.count);
    else
      sgd_plain(t, w, grad, s.count);
  }
}

mpt_status mpt_cpu_sgd_step(mpt_queue *queue, mpt_t weight, mpt_t gradient, mpt_t momentum_buffer,
                            float learning_rate, const float *learning_rate_factor, float momentum,
                            float weight_decay, const mpt_step_state *state, mpt_error *error) {
  (void)error;
  if (state->overflow)
    return MPT_OK;
  sgd_task t = {.weight = weight,
                .gradient = gradient,
                .momentum_buffer = momentum_buffer,
                .gradient_scale = state->clip / state->loss_scale,
                .learning_rate = learning_rate_factor != NULL
                                     ? learning_rate * *learning_rate_factor
                                     : learning_rate,
                .momentum = momentum,
                .weight_decay = weight_decay,
                .tasks = mpt_cpu_tasks(queue, 2 * mpt_tensor_count(weight))};
  mpt_cpu_parallel(queue, t.tasks, sgd_part, &t);
  return MPT_OK;
}
