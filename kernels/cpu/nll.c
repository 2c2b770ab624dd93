/* Cross-entropy of probabilities: loss = mean over rows of -log max(p[label], 2^-126). Its gradient
 * is -scale / (rows p[label]) at the label, and zero elsewhere and below 2^-126. */
#include "kernels/cpu/loss.h"
#include <math.h>
#include <string.h>

#define NLL_FLOOR 0x1p-126f

typedef struct nll_task {
  mpt_t probabilities, grad;
  const int32_t *labels;
  float scale; /* of the gradient, over rows */
  int tasks;
  loss_part parts[MPT_CPU_MAX_THREADS];
} nll_task;

static void nll_part(void *context, int task) {
  nll_task *t = context;
  int64_t begin, end, n = t->probabilities->shape[1];
  mpt_cpu_part(t->probabilities->shape[0], 1, t->tasks, task, &begin, &end);
  loss_part part = {0, 0};
  for (int64_t r = begin; r < end; r++) {
    const float *p = mpt_cpu_row(t->probabilities, r);
    int32_t label = t->labels[r];
    part.loss -= log((double)(p[label] < NLL_FLOOR ? NLL_FLOOR : p[label]));
    part.correct += loss_is_largest(p, n, label);
    if (t->grad == NULL)
      continue;
    float *grad = mpt_cpu_row(t->grad, r);
    memset(grad, 0, (size_t)n * sizeof(float));
    grad[label] = p[label] < NLL_FLOOR ? 0.0f : -t->scale / p[label];
    mpt_cpu_round(t->grad, grad + label, 1);
  }
  t->parts[task] = part;
}

mpt_status mpt_cpu_nll(mpt_queue *queue, mpt_t probabilities, const int32_t *labels, float scale,
                       const mpt_step_state *state, double *loss, int64_t *correct,
                       mpt_t grad_probabilities, mpt_error *error) {
  int64_t rows = probabilities->shape[0], n = probabilities->shape[1];
  MPT_RETURN_IF_FAILED(loss_check_labels("nll", labels, rows, n, error));
  nll_task t = {.probabilities = probabilities,
                .grad = grad_probabilities,
                .labels = labels,
                .scale = loss_gradient_scale(scale, state) / (float)rows,
                .tasks = mpt_cpu_tasks(queue, rows * n)};
  mpt_cpu_parallel(queue, t.tasks, nll_part, &t);
  loss_sum(t.parts, t.tasks, rows, loss, correct);
  return MPT_OK;
}
