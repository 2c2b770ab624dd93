/* out = a + b */
#include "kernels/cpu/cpu.h"

typedef struct add_task {
  mpt_t a, b, out;
  int tasks;
} add_task;

/* out may be a or b */
MPT_VECTOR_CLONES
static void add_chunk(const float *a, const float *b, float *out, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    out[i] = a[i] + b[i];
}

static void add_part(void *context, int task) {
  const add_task *t = context;
  for (mpt_cpu_span s = mpt_cpu_span_first(t->out, t->tasks, task); s.count > 0;
       mpt_cpu_span_next(&s)) {
    float *out = mpt_cpu_at(t->out, &s);
    add_chunk(mpt_cpu_at(t->a, &s), mpt_cpu_at(t->b, &s), out, s.count);
    mpt_cpu_round(t->out, out, s.count);
  }
}

mpt_status mpt_cpu_add(mpt_queue *queue, mpt_t a, mpt_t b, mpt_t out, mpt_error *error) {
  (void)error;
  add_task t = {a, b, out, mpt_cpu_tasks(queue, mpt_tensor_count(out))};
  mpt_cpu_parallel(queue, t.tasks, add_part, &t);
  return MPT_OK;
}

mpt_status mpt_cpu_accumulate_tensor(mpt_queue *queue, mpt_t x, mpt_t y, mpt_error *error) {
  return mpt_cpu_add(queue, x, y, y, error);
}
