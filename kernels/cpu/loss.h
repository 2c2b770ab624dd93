/* What the losses share: the partial sums of the team, added in the order of tasks. */
#ifndef MPT_CPU_LOSS_H
#define MPT_CPU_LOSS_H

#include "kernels/cpu/cpu.h"

typedef struct loss_part {
  double loss;
  int64_t correct;
} loss_part;

static inline void loss_sum(const loss_part *parts, int tasks, int64_t count, double *loss,
                            int64_t *correct) {
  loss_part total = {0, 0};
  for (int i = 0; i < tasks; i++) {
    total.loss += parts[i].loss;
    total.correct += parts[i].correct;
  }
  if (loss != NULL)
    *loss = total.loss / (double)count;
  if (correct != NULL)
    *correct = total.correct;
}

static inline float loss_gradient_scale(float scale, const mpt_step_state *state) {
  return state != NULL ? scale * state->loss_scale : scale;
}

static inline mpt_status loss_check_labels(const char *name, const int32_t *labels, int64_t rows,
                                           int64_t classes, mpt_error *error) {
  for (int64_t r = 0; r < rows; r++)
    if (labels[r] < 0 || labels[r] >= classes)
      return mpt_fail(error, MPT_ERROR_ARGUMENT, "%s: labels[%lld] is %d, expected 0 to %lld", name,
                      (long long)r, labels[r], (long long)classes - 1);
  return MPT_OK;
}

/* Whether x[label] is the first of the row's largest values. */
static inline bool loss_is_largest(const float *x, int64_t n, int32_t label) {
  for (int64_t i = 0; i < n; i++)
    if (x[i] > x[label] || (i < label && x[i] == x[label]))
      return false;
  return x[label] == x[label];
}

#endif
