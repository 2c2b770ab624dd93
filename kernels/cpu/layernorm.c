/* y = gamma xhat + beta with xhat = (x - mean) rstd over each row, and its gradient: with
 * h = gamma grad_y,  grad_x = rstd (h - mean(h) - xhat mean(h xhat)),
 * grad_gamma += sum over rows of grad_y xhat,  grad_beta += sum over rows of grad_y. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector_math.h"

typedef struct layernorm_task {
  mpt_t x, y, grad_y, grad_x;
  const float *gamma, *beta;
  float *mean, *rstd;
  float epsilon;
  bool accumulate; /* into grad_x */
  int tasks;
  char *scratch; /* of the backward pass, for each task: grad_gamma[n], grad_beta[n] */
  size_t stride;
} layernorm_task;

MPT_VECTOR_CLONES
static void normalize_row(const layernorm_task *t, const float *restrict x, float *restrict y,
                          float *mean_out, float *rstd_out, int64_t n) {
  const float *restrict gamma = t->gamma, *restrict beta = t->beta;
  float mean = row_sum(x, n) / (float)n;
  float rstd = 1.0f / sqrtf(row_spread(x, mean, n) / (float)n + t->epsilon);
  for (int64_t i = 0; i < n; i++)
    y[i] = (x[i] - mean) * rstd * gamma[i] + beta[i];
  *mean_out = mean;
  *rstd_out = rstd;
}

/* sum of h and of h xhat */
MPT_INLINE void row_moments(const float *g, const float *x, const float *gamma, float mean,
                            float rstd, int64_t n, float *h_sum, float *hx_sum) {
  lanes16 h_lanes = {0}, hx_lanes = {0};
  float h_total = 0, hx_total = 0;
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    lanes16 h = LANES_AT(g + i) * LANES_AT(gamma + i);
    h_lanes += h;
    hx_lanes += h * ((LANES_AT(x + i) - mean) * rstd);
  }
  for (; i < n; i++) {
    h_total += g[i] * gamma[i];
    hx_total += g[i] * gamma[i] * ((x[i] - mean) * rstd);
  }
  LANES_SUM(h_lanes, h_total);
  LANES_SUM(hx_lanes, hx_total);
  *h_sum = h_total;
  *hx_sum = hx_total;
}

MPT_VECTOR_CLONES
static void row_backward(const float *restrict g, const float *restrict x,
                         const float *restrict gamma, float mean, float rstd,
                         float *restrict grad_x, bool accumulate, float *restrict grad_gamma,
                         float *restrict grad_beta, int64_t n) {
  float h_mean, hx_mean;
  row_moments(g, x, gamma, mean, rstd, n, &h_mean, &hx_mean);
  h_mean /= (float)n;
  hx_mean /= (float)n;
  for (int64_t i = 0; i < n; i++) {
    float xhat = (x[i] - mean) * rstd;
    float h = rstd * (g[i] * gamma[i] - h_mean - xhat * hx_mean);
    grad_x[i] = accumulate ? grad_x[i] + h : h;
    grad_gamma[i] += g[i] * xhat;
    grad_beta[i] += g[i];
  }
}

static void forward_part(void *context, int task) {
  const layernorm_task *t = context;
  int64_t begin, end, n = t->x->shape[1];
  mpt_cpu_part(t->x->shape[0], 1, t->tasks, task, &begin, &end);
  for (int64_t r = begin; r < end; r++) {
    float *y = mpt_cpu_row(t->y, r);
    normalize_row(t, mpt_cpu_row(t->x, r), y, &t->mean[r], &t->rstd[r], n);
    mpt_cpu_round(t->y, y, n);
  }
}

static void backward_part(void *context, int task) {
  const layernorm_task *t = context;
  int64_t begin, end, n = t->x->shape[1];
  mpt_cpu_part(t->x->shape[0], 1, t->tasks, task, &begin, &end);
  float *grad_gamma = (float *)(t->scratch + (size_t)task * t->stride), *grad_beta = grad_gamma + n;
  memset(grad_gamma, 0, 2 * (size_t)n * sizeof(float));
  for (int64_t r = begin; r < end; r++) {
    float *grad_x = mpt_cpu_row(t->grad_x, r);
    row_backward(mpt_cpu_row(t->grad_y, r), mpt_cpu_row(t->x, r), t->gamma, t->mean[r], t->rstd[r],
                 grad_x, t->accumulate, grad_gamma, grad_beta, n);
    mpt_cpu_round(t->grad_x, grad_x, n);
  }
}

mpt_status mpt_cpu_layernorm_forward(mpt_queue *queue, mpt_t x, mpt_t gamma, mpt_t beta,
                                     float epsilon, mpt_t y, mpt_t mean, mpt_t rstd,
                                     mpt_error *error) {
  (void)error;
  layernorm_task t = {.x = x,
                      .y = y,
                      .gamma = gamma->data,
                      .beta = beta->data,
                      .mean = mean->data,
                      .rstd = rstd->data,
                      .epsilon = epsilon,
                      .tasks = mpt_cpu_tasks(queue, 2 * mpt_tensor_count(x))};
  mpt_cpu_parallel(queue, t.tasks, forward_part, &t);
  return MPT_OK;
}

mpt_status mpt_cpu_layernorm_backward(mpt_queue *queue, mpt_t grad_y, mpt_t x, mpt_t gamma,
                                      mpt_t mean, mpt_t rstd, mpt_t grad_x, bool accumulate,
                                      mpt_t grad_gamma, mpt_t grad_beta, mpt_error *error) {
  int64_t n = x->shape[1];
  layernorm_task t = {.x = x,
                      .grad_y = grad_y,
                      .grad_x = grad_x,
                      .accumulate = accumulate,
                      .gamma = gamma->data,
                      .mean = mean->data,
                      .rstd = rstd->data,
                      .tasks = mpt_cpu_tasks(queue, 4 * mpt_tensor_count(x))};
  MPT_RETURN_IF_FAILED(
      mpt_cpu_scratch(queue, t.tasks, 2 * (size_t)n * sizeof(float), &t.scratch, &t.stride, error));
  mpt_cpu_parallel(queue, t.tasks, backward_part, &t);
  float *gamma_out = grad_gamma->data, *beta_out = grad_beta->data;
  for (int task = 0; task < t.tasks; task++) {
    const float *sums = (float *)(t.scratch + (size_t)task * t.stride);
    for (int64_t i = 0; i < n; i++) {
      gamma_out[i] += sums[i];
      beta_out[i] += sums[n + i];
    }
  }
  return MPT_OK;
}
