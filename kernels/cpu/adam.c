/* m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
 * w -= learning_rate / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + epsilon)
 * with weight decay in g, or, decoupled, w *= 1 - learning_rate weight_decay beforehand. */
#include "kernels/cpu/cpu.h"
#include "kernels/step_rules.h"
#include <math.h>

typedef struct adam_task {
  mpt_t weight, gradient, first, second;
  float gradient_scale, decay_gradient, keep_weight;
  float beta1, beta2, complement1, complement2; /* 1 - beta, from double */
  float rate, inverse_root, epsilon;            /* rate / (1 - b1^t), 1 / sqrt(1 - b2^t) */
  int tasks;
} adam_task;

MPT_VECTOR_CLONES
static void adam_chunk(const adam_task *task, float *restrict w, const float *restrict grad,
                       float *restrict m, float *restrict v, int64_t n) {
  const adam_task t = *task;
  for (int64_t i = 0; i < n; i++) {
    float g = t.gradient_scale * grad[i] + t.decay_gradient * w[i];
    float first = t.beta1 * m[i] + t.complement1 * g;
    float second = t.beta2 * v[i] + t.complement2 * (g * g);
    m[i] = first;
    v[i] = second;
    w[i] = w[i] * t.keep_weight - t.rate * (first / (sqrtf(second) * t.inverse_root + t.epsilon));
  }
}

static void adam_part(void *context, int task) {
  const adam_task *t = context;
  for (mpt_cpu_span s = mpt_cpu_span_first(t->weight, t->tasks, task); s.count > 0;
       mpt_cpu_span_next(&s))
    adam_chunk(t, mpt_cpu_at(t->weight, &s), mpt_cpu_at(t->gradient, &s), mpt_cpu_at(t->first, &s),
               mpt_cpu_at(t->second, &s), s.count);
}

mpt_status mpt_cpu_adam_step(mpt_queue *queue, mpt_t weight, mpt_t gradient, mpt_t first_moment,
                             mpt_t second_moment, const mpt_adam_args *args,
                             const mpt_step_state *state, mpt_error *error) {
  (void)error;
  if (state->overflow)
    return MPT_OK;
  double b1 = (double)args->beta1, b2 = (double)args->beta2, t = (double)state->applied + 1;
  double rate = (double)args->learning_rate *
                (args->learning_rate_factor != NULL ? (double)*args->learning_rate_factor : 1.0);
  double decay = (double)args->weight_decay;
  adam_task task = {.weight = weight,
                    .gradient = gradient,
                    .first = first_moment,
                    .second = second_moment,
                    .gradient_scale = state->clip / state->loss_scale,
                    .decay_gradient = args->decoupled ? 0.0f : args->weight_decay,
                    .keep_weight = args->decoupled ? (float)(1 - rate * decay) : 1.0f,
                    .beta1 = args->beta1,
                    .beta2 = args->beta2,
                    .complement1 = (float)(1 - b1),
                    .complement2 = (float)(1 - b2),
                    .rate = (float)(rate / (1 - pow(b1, t))),
                    .inverse_root = (float)(1 / sqrt(1 - pow(b2, t))),
                    .epsilon = args->epsilon,
                    .tasks = mpt_cpu_tasks(queue, 4 * mpt_tensor_count(weight))};
  mpt_cpu_parallel(queue, task.tasks, adam_part, &task);
  return MPT_OK;
}

/* A contiguous tensor as one row, as operations on elements get them. */
static mpt_tensor one_row(mpt_t t) {
  int64_t count = mpt_tensor_count(t);
  mpt_tensor row = mpt_tensor_of(t->data, t->format, 2, (int64_t[]){1, count});
  row.device = t->device;
  return row;
}

/* A contiguous tensor as the matrix whose rows are its first dimension. */
static mpt_tensor as_rows(mpt_t t) {
  int64_t shape[2] = {t->shape[0], mpt_tensor_count(t) / t->shape[0]};
  mpt_tensor rows = mpt_tensor_of(t->data, t->format, 2, shape);
  rows.device = t->device;
  return rows;
}

/* Under the scale that the next step will have; its amax belongs to that step. */
static mpt_status copy_weight(mpt_queue *queue, mpt_t weight, const mpt_weight_copy *copy,
                              mpt_error *error) {
  mpt_scale *scale = copy->scale, next = {.scale = 1.0f};
  mpt_tensor from = as_rows(weight), rows = {0};
  uint32_t amax_bits = 0;
  if (scale != NULL) {
    next.scale = rule_scale_coming(scale, rule_history_largest(scale, scale->amax_bits));
    next.counts = scale->counts;
  }
  if (copy->tensor != NULL)
    rows = as_rows(copy->tensor);
  if (copy->tensor != NULL || copy->transposed != NULL)
    MPT_RETURN_IF_FAILED(mpt_cpu_quantize(queue, &from, &next, copy->flags & MPT_QUANTIZE_COUNT,
                                          copy->tensor != NULL ? &rows : NULL, copy->transposed,
                                          error));
  if (scale == NULL)
    return MPT_OK;
  scale->counts = next.counts;
  if ((copy->flags & MPT_QUANTIZE_AMAX) == 0)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(mpt_cpu_amax(queue, &from, &amax_bits, error));
  if (scale->coming_bits < amax_bits)
    scale->coming_bits = amax_bits;
  scale->comes = 1;
  return MPT_OK;
}

mpt_status mpt_cpu_adam_steps(mpt_queue *queue, const mpt_adam_parameter *parameters, int count,
                              const mpt_adam_args *args, const mpt_step_state *state,
                              mpt_error *error) {
  mpt_adam_args own = *args;
  for (int i = 0; i < count; i++) {
    const mpt_adam_parameter *p = &parameters[i];
    mpt_tensor weight = one_row(p->weight), gradient = one_row(p->gradient);
    mpt_tensor first = one_row(p->first_moment), second = one_row(p->second_moment);
    own.weight_decay = p->weight_decay;
    MPT_RETURN_IF_FAILED(
        mpt_cpu_adam_step(queue, &weight, &gradient, &first, &second, &own, state, error));
    for (int k = 0; k < 2; k++)
      MPT_RETURN_IF_FAILED(copy_weight(queue, p->weight, &p->copies[k], error));
    if (p->lite != NULL)
      MPT_RETURN_IF_FAILED(mpt_cpu_collect_lite(queue, &weight, p->lite, error));
  }
  return MPT_OK;
}
