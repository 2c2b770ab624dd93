/* loss = mean over rows of log(sum exp(x - max)) - (x[label] - max), and its gradient
 * scale / rows (softmax(x) - onehot(label)). */
#include "kernels/cpu/loss.h"
#include "kernels/cpu/vector_math.h"

typedef struct cross_entropy_task {
  mpt_t logits, grad;
  const int32_t *labels;
  float scale; /* of the gradient, over rows */
  int tasks;
  char *scratch; /* for each task: exp(x - max) of a row, when there is no gradient to hold it */
  size_t stride;
  loss_part parts[MPT_CPU_MAX_THREADS];
} cross_entropy_task;

/* exps = exp(x - max); returns their sum. */
MPT_VECTOR_CLONES
static float exponentials(const float *restrict x, float *restrict exps, float largest, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    exps[i] = vector_exp(x[i] - largest);
  return row_sum(exps, n);
}

MPT_VECTOR_CLONES
static float largest_of(const float *x, int64_t n) {
  return row_max(x, n);
}

MPT_VECTOR_CLONES
static void multiply(float *x, float factor, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    x[i] *= factor;
}

static void cross_entropy_part(void *context, int task) {
  cross_entropy_task *t = context;
  int64_t begin, end, n = t->logits->shape[1];
  mpt_cpu_part(t->logits->shape[0], 1, t->tasks, task, &begin, &end);
  loss_part part = {0, 0};
  for (int64_t r = begin; r < end; r++) {
    const float *x = mpt_cpu_row(t->logits, r);
    float *exps = t->grad != NULL ? mpt_cpu_row(t->grad, r)
                                  : (float *)(t->scratch + (size_t)task * t->stride);
    float x_label = x[t->labels[r]], largest = largest_of(x, n);
    part.correct += x_label == largest && loss_is_largest(x, n, t->labels[r]);
    float sum = exponentials(x, exps, largest, n);
    part.loss += log((double)sum) - ((double)x_label - (double)largest);
    if (t->grad == NULL)
      continue;
    multiply(exps, t->scale / sum, n);
    exps[t->labels[r]] -= t->scale;
    mpt_cpu_round(t->grad, exps, n);
  }
  t->parts[task] = part;
}

mpt_status mpt_cpu_cross_entropy(mpt_queue *queue, mpt_t logits, const int32_t *labels, float scale,
                                 const mpt_step_state *state, double *loss, int64_t *correct,
                                 mpt_t grad_logits, mpt_error *error) {
  int64_t rows = logits->shape[0], n = logits->shape[1];
  MPT_RETURN_IF_FAILED(loss_check_labels("cross_entropy", labels, rows, n, error));
  cross_entropy_task t = {.logits = logits,
                          .grad = grad_logits,
                          .labels = labels,
                          .scale = loss_gradient_scale(scale, state) / (float)rows,
                          .tasks = mpt_cpu_tasks(queue, 4 * rows * n)};
  MPT_RETURN_IF_FAILED(
      mpt_cpu_scratch(queue, t.tasks, (size_t)n * sizeof(float), &t.scratch, &t.stride, error));
  mpt_cpu_parallel(queue, t.tasks, cross_entropy_part, &t);
  loss_sum(t.parts, t.tasks, rows, loss, correct);
  return MPT_OK;
}
