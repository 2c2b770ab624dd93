/* y[r,:] = table[ids[r],:] + position[r % T,:]. The gradient is shared among the team by columns:
 * two rows with one id meet in one task, in order. */
#include "kernels/cpu/cpu.h"
#include <string.h>

typedef struct embedding_task {
  const int32_t *ids;
  mpt_t rows, table, position;
  int tasks;
} embedding_task;

static mpt_status check_ids(const char *name, const int32_t *ids, int64_t rows, int64_t vocabulary,
                            mpt_error *error) {
  for (int64_t r = 0; r < rows; r++)
    if (ids[r] < 0 || ids[r] >= vocabulary)
      return mpt_fail(error, MPT_ERROR_ARGUMENT, "%s: ids[%lld] is %d, expected 0 to %lld", name,
                      (long long)r, ids[r], (long long)vocabulary - 1);
  return MPT_OK;
}

MPT_VECTOR_CLONES
static void sum_rows(const float *restrict a, const float *restrict b, float *restrict out,
                     int64_t n) {
  for (int64_t i = 0; i < n; i++)
    out[i] = a[i] + b[i];
}

MPT_VECTOR_CLONES
static void add_table_row(const float *restrict from, float *restrict into, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    into[i] += from[i];
}

static void forward_part(void *context, int task) {
  const embedding_task *t = context;
  int64_t begin, end, n = t->rows->shape[1];
  mpt_cpu_part(t->rows->shape[0], 1, t->tasks, task, &begin, &end);
  for (int64_t r = begin; r < end; r++) {
    float *y = mpt_cpu_row(t->rows, r);
    const float *word = mpt_cpu_row(t->table, t->ids[r]);
    if (t->position == NULL)
      memcpy(y, word, (size_t)n * sizeof(float));
    else
      sum_rows(word, mpt_cpu_row(t->position, r % t->position->shape[0]), y, n);
    mpt_cpu_round(t->rows, y, n);
  }
}

static void backward_part(void *context, int task) {
  const embedding_task *t = context;
  int64_t begin, end;
  mpt_cpu_part(t->rows->shape[1], 16, t->tasks, task, &begin, &end);
  if (begin == end)
    return;
  for (int64_t r = 0; r < t->rows->shape[0]; r++) {
    const float *grad = mpt_cpu_row(t->rows, r) + begin;
    add_table_row(grad, mpt_cpu_row(t->table, t->ids[r]) + begin, end - begin);
    if (t->position != NULL)
      add_table_row(grad, mpt_cpu_row(t->position, r % t->position->shape[0]) + begin, end - begin);
  }
}

mpt_status mpt_cpu_embedding_forward(mpt_queue *queue, const int32_t *ids, mpt_t table,
                                     mpt_t position, mpt_t y, mpt_error *error) {
  MPT_RETURN_IF_FAILED(check_ids("embedding_forward", ids, y->shape[0], table->shape[0], error));
  embedding_task t = {ids, y, table, position, mpt_cpu_tasks(queue, mpt_tensor_count(y))};
  mpt_cpu_parallel(queue, t.tasks, forward_part, &t);
  return MPT_OK;
}

mpt_status mpt_cpu_embedding_backward(mpt_queue *queue, const int32_t *ids, mpt_t grad_y,
                                      mpt_t grad_table, mpt_t grad_position, mpt_error *error) {
  MPT_RETURN_IF_FAILED(
      check_ids("embedding_backward", ids, grad_y->shape[0], grad_table->shape[0], error));
  embedding_task t = {ids, grad_y, grad_table, grad_position,
                      mpt_cpu_tasks(queue, mpt_tensor_count(grad_y))};
  mpt_cpu_parallel(queue, t.tasks, backward_part, &t);
  return MPT_OK;
}
