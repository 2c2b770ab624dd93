/* Sums of (y - x)^2 and x^2, and over rows of <g, y - x> and its square, in double. */
#include "kernels/cpu/cpu.h"

typedef struct compare_task {
  mpt_t x, y, gradient;
  int tasks;
  mpt_comparison parts[MPT_CPU_MAX_THREADS];
} compare_task;

enum { LANES = 8 }; /* independent sums: element i of a row is added to i modulo LANES */

static double added(const double lanes[LANES]) {
  double sum = 0;
  for (int l = 0; l < LANES; l++)
    sum += lanes[l];
  return sum;
}

static void compare_row(const float *x, const float *y, const float *g, int64_t n,
                        mpt_comparison *sums) {
  double difference[LANES] = {0}, signal[LANES] = {0}, slope[LANES] = {0};
  for (int64_t i = 0; i < n; i++) {
    double d = (double)y[i] - (double)x[i];
    difference[i % LANES] += d * d;
    signal[i % LANES] += (double)x[i] * (double)x[i];
    if (g != NULL)
      slope[i % LANES] += (double)g[i] * d;
  }
  double of_row = added(slope);
  sums->difference_squared += added(difference);
  sums->signal_squared += added(signal);
  sums->slope += of_row;
  sums->slope_squared += of_row * of_row;
}

static void compare_part(void *context, int task) {
  compare_task *t = context;
  int64_t begin, end;
  mpt_cpu_part(t->x->shape[0], 1, t->tasks, task, &begin, &end);
  mpt_comparison sums = {0};
  for (int64_t row = begin; row < end; row++)
    compare_row(mpt_cpu_row(t->x, row), mpt_cpu_row(t->y, row),
                t->gradient != NULL ? mpt_cpu_row(t->gradient, row) : NULL, t->x->shape[1], &sums);
  t->parts[task] = sums;
}

mpt_status mpt_cpu_compare(mpt_queue *queue, mpt_t x, mpt_t y, mpt_t gradient,
                           mpt_comparison *result, mpt_error *error) {
  (void)error;
  compare_task t = {.x = x, .y = y, .gradient = gradient};
  t.tasks = mpt_cpu_tasks(queue, 4 * mpt_tensor_count(x));
  mpt_cpu_parallel(queue, t.tasks, compare_part, &t);
  *result = (mpt_comparison){0};
  for (int i = 0; i < t.tasks; i++) {
    result->difference_squared += t.parts[i].difference_squared;
    result->signal_squared += t.parts[i].signal_squared;
    result->slope += t.parts[i].slope;
    result->slope_squared += t.parts[i].slope_squared;
  }
  return MPT_OK;
}
