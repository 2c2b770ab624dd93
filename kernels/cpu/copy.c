/* y = x, rounded to y's format */
#include "kernels/cpu/cpu.h"

typedef struct copy_task {
  mpt_t x, y;
  int tasks;
} copy_task;

static void copy_part(void *context, int task) {
  const copy_task *t = context;
  for (mpt_cpu_span s = mpt_cpu_span_first(t->y, t->tasks, task); s.count > 0;
       mpt_cpu_span_next(&s))
    mpt_format_round_array(t->y->format, mpt_cpu_at(t->x, &s), 1.0f, mpt_cpu_at(t->y, &s),
                           (size_t)s.count);
}

mpt_status mpt_cpu_copy(mpt_queue *queue, mpt_t x, mpt_t y, mpt_error *error) {
  (void)error;
  copy_task t = {x, y, mpt_cpu_tasks(queue, mpt_tensor_count(y))};
  mpt_cpu_parallel(queue, t.tasks, copy_part, &t);
  return MPT_OK;
}
