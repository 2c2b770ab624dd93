/* x = value, rounded to x's format */
#include "kernels/cpu/cpu.h"

typedef struct fill_task {
  mpt_t x;
  float value;
  int tasks;
} fill_task;

static void fill_part(void *context, int task) {
  const fill_task *t = context;
  for (mpt_cpu_span s = mpt_cpu_span_first(t->x, t->tasks, task); s.count > 0;
       mpt_cpu_span_next(&s)) {
    float *x = mpt_cpu_at(t->x, &s);
    for (int64_t i = 0; i < s.count; i++)
      x[i] = t->value;
  }
}

mpt_status mpt_cpu_fill(mpt_queue *queue, mpt_t x, float value, mpt_error *error) {
  (void)error;
  fill_task t = {x, mpt_format_round(x->format, value, true),
                 mpt_cpu_tasks(queue, mpt_tensor_count(x))};
  mpt_cpu_parallel(queue, t.tasks, fill_part, &t);
  return MPT_OK;
}
