/* relu, sigmoid, tanh, gelu, and their gradients: grad_x = grad_y f'(x), with f' taken from y where
 * that is simpler. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector_math.h"

typedef struct activation_task {
  mpt_activation kind;
  mpt_t x, y, grad_y, grad_x;
  int tasks;
} activation_task;

MPT_VECTOR_CLONES
static void relu(const float *x, float *y, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    y[i] = x[i] < 0.0f ? 0.0f : x[i]; /* NaN stays */
}

MPT_VECTOR_CLONES
static void sigmoid(const float *x, float *y, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    y[i] = vector_sigmoid(x[i]);
}

MPT_VECTOR_CLONES
static void hyperbolic_tangent(const float *x, float *y, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    y[i] = vector_tanh(x[i]);
}

MPT_VECTOR_CLONES
static void gelu(const float *x, float *y, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    y[i] = vector_gelu(x[i]);
}

MPT_VECTOR_CLONES
static void relu_backward(const float *y, const float *grad_y, float *grad_x, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    grad_x[i] = y[i] <= 0.0f ? 0.0f : grad_y[i];
}

MPT_VECTOR_CLONES
static void sigmoid_backward(const float *y, const float *grad_y, float *grad_x, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    grad_x[i] = grad_y[i] * (y[i] * (1.0f - y[i]));
}

MPT_VECTOR_CLONES
static void tanh_backward(const float *y, const float *grad_y, float *grad_x, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    grad_x[i] = grad_y[i] * (1.0f - y[i] * y[i]);
}

MPT_VECTOR_CLONES
static void gelu_backward(const float *x, const float *grad_y, float *grad_x, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    grad_x[i] = grad_y[i] * vector_gelu_slope(x[i]);
}

static void forward_part(void *context, int task) {
  static void (*const functions[])(const float *, float *, int64_t) = {
      [MPT_RELU] = relu,
      [MPT_SIGMOID] = sigmoid,
      [MPT_TANH] = hyperbolic_tangent,
      [MPT_GELU] = gelu,
  };
  const activation_task *t = context;
  for (mpt_cpu_span s = mpt_cpu_span_first(t->x, t->tasks, task); s.count > 0;
       mpt_cpu_span_next(&s)) {
    float *y = mpt_cpu_at(t->y, &s);
    functions[t->kind](mpt_cpu_at(t->x, &s), y, s.count);
    mpt_cpu_round(t->y, y, s.count);
  }
}

static void backward_part(void *context, int task) {
  static void (*const functions[])(const float *, const float *, float *, int64_t) = {
      [MPT_RELU] = relu_backward,
      [MPT_SIGMOID] = sigmoid_backward,
      [MPT_TANH] = tanh_backward,
      [MPT_GELU] = gelu_backward,
  };
  const activation_task *t = context;
  mpt_t from = t->kind == MPT_GELU ? t->x : t->y;
  for (mpt_cpu_span s = mpt_cpu_span_first(from, t->tasks, task); s.count > 0;
       mpt_cpu_span_next(&s)) {
    float *grad_x = mpt_cpu_at(t->grad_x, &s);
    functions[t->kind](mpt_cpu_at(from, &s), mpt_cpu_at(t->grad_y, &s), grad_x, s.count);
    mpt_cpu_round(t->grad_x, grad_x, s.count);
  }
}

/* Curves take some times longer than an addition. */
static int activation_tasks(const mpt_queue *queue, mpt_activation kind, mpt_t x) {
  return mpt_cpu_tasks(queue, mpt_tensor_count(x) * (kind == MPT_RELU ? 1 : 4));
}

mpt_status mpt_cpu_activation_forward(mpt_queue *queue, mpt_activation kind, mpt_t x, mpt_t y,
                                      mpt_error *error) {
  (void)error;
  activation_task t = {.kind = kind, .x = x, .y = y, .tasks = activation_tasks(queue, kind, x)};
  mpt_cpu_parallel(queue, t.tasks, forward_part, &t);
  return MPT_OK;
}

mpt_status mpt_cpu_activation_backward(mpt_queue *queue, mpt_activation kind, mpt_t x, mpt_t y,
                                       mpt_t grad_y, mpt_t grad_x, mpt_error *error) {
  (void)error;
  activation_task t = {kind, x, y, grad_y, grad_x, activation_tasks(queue, kind, x)};
  mpt_cpu_parallel(queue, t.tasks, backward_part, &t);
  return MPT_OK;
}
