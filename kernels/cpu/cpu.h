/* What the CPU backend's kernels share: their declarations, the team of threads, and the walk over
 * a tensor's elements.
 *
 * The CPU emulates: elements are floats that hold values of their format. A kernel computes a
 * chunk in fp32 and rounds it to the output's format while it is in cache.
 *
 * Work is cut into tasks by shapes and the queue's thread count alone, and partial sums are added
 * in the order of tasks, so results repeat bit for bit.
 */
#ifndef MPT_CPU_H
#define MPT_CPU_H

#include "base/error.h"
#include "base/simd.h"
#include "kernels/kernels.h"

#define MPT_CPU_DECLARE(name, arguments) mpt_status mpt_cpu_##name arguments;
MPT_OPERATIONS(MPT_CPU_DECLARE)
#undef MPT_CPU_DECLARE

mpt_status mpt_cpu_device_count(int *count, mpt_error *error);
mpt_status mpt_cpu_device_describe(int index, mpt_device_info *info, mpt_error *error);

/* Address space for products in `threads` threads at one time: MPT_ERROR_MEMORY names the limit. */
mpt_status mpt_cpu_blas_room(int threads, mpt_error *error);

/* ---- the team ---- */
#define MPT_CPU_MAX_THREADS 256

typedef void mpt_cpu_task(void *context, int task);

/* Runs function(context, t) for every t in [0, tasks) and returns when all are done. Any thread may
 * run any task, so a result may depend on the task's number alone. One task, or a team of one,
 * costs a plain call. */
void mpt_cpu_parallel(mpt_queue *queue, int tasks, mpt_cpu_task *function, void *context);

/* The same for tasks that call CBLAS, each in its own thread. */
void mpt_cpu_parallel_products(mpt_queue *queue, int tasks, mpt_cpu_task *function, void *context);

/* How many tasks `work` element operations are worth, 1 to the queue's threads: handing work to a
 * thread takes about as long as some thousand of them. */
int mpt_cpu_tasks(const mpt_queue *queue, int64_t work);

/* The part [*begin, *end) of `count` items that is task's; borders are multiples of `grain`. */
static inline void mpt_cpu_part(int64_t count, int64_t grain, int tasks, int task, int64_t *begin,
                                int64_t *end) {
  int64_t grains = (count + grain - 1) / grain;
  *begin = grains * task / tasks * grain;
  *end = grains * (task + 1) / tasks * grain;
  if (*begin > count)
    *begin = count;
  if (*end > count)
    *end = count;
}

/* Memory for `count` tasks of `bytes` each: task t has *scratch + t * *stride, 64-byte aligned. It
 * is the queue's, holds anything, and is good until the next call; it grows when more is asked
 * for than ever before, so that a step allocates only the first time. */
mpt_status mpt_cpu_scratch(mpt_queue *queue, int count, size_t bytes, char **scratch,
                           size_t *stride, mpt_error *error);

/* ---- elements ---- */
#define MPT_CPU_CHUNK 4096 /* elements: 16 KiB, so that two operands stay in L1 */

/* A stretch of a matrix's elements, contiguous in memory. runtime/ops.c hands elementwise
 * operations matrices [rows, columns] with strides[1] == 1; contiguous tensors as a single row. */
typedef struct mpt_cpu_span {
  int64_t row, column, count;
  int64_t index; /* of its first element, in row-major order */
  int64_t end;   /* of the walk */
  int64_t columns;
} mpt_cpu_span;

static inline void mpt_cpu_span_next(mpt_cpu_span *s) {
  s->index += s->count;
  s->column += s->count;
  if (s->column == s->columns) {
    s->column = 0;
    s->row++;
  }
  int64_t left = s->end - s->index, row_left = s->columns - s->column;
  s->count = left < row_left ? left : row_left;
  if (s->count > MPT_CPU_CHUNK)
    s->count = MPT_CPU_CHUNK;
}

/* Walks over task's part of the elements, at most a chunk at a time; count is 0 at the end:
 * for (mpt_cpu_span s = mpt_cpu_span_first(x, tasks, task); s.count > 0; mpt_cpu_span_next(&s)) */
static inline mpt_cpu_span mpt_cpu_span_first(mpt_t x, int tasks, int task) {
  mpt_cpu_span s = {.columns = x->shape[1]};
  mpt_cpu_part(x->shape[0] * x->shape[1], 64, tasks, task, &s.index, &s.end);
  s.row = s.index / s.columns;
  s.column = s.index % s.columns;
  mpt_cpu_span_next(&s);
  return s;
}

static inline float *mpt_cpu_at(mpt_t x, const mpt_cpu_span *s) {
  return (float *)x->data + s->row * x->strides[0] + s->column;
}

static inline float *mpt_cpu_row(mpt_t x, int64_t row) {
  return (float *)x->data + row * x->strides[0];
}

/* Rounds what was just written to the tensor's format. */
static inline void mpt_cpu_round(mpt_t y, float *values, int64_t count) {
  if (y->format != MPT_FP32)
    mpt_format_round_array(y->format, values, 1.0f, values, (size_t)count);
}

/* ---- life cycle ---- */
typedef struct mpt_cpu_team mpt_cpu_team; /* the context of a CPU queue */
mpt_status mpt_cpu_team_open(int threads, const mpt_allocator *allocator, mpt_cpu_team **out,
                             mpt_error *error);
void mpt_cpu_team_close(mpt_cpu_team *team);
const mpt_allocator *mpt_cpu_team_allocator(const mpt_cpu_team *team);
char *mpt_cpu_team_fetch_slot(mpt_cpu_team *team, int slot); /* [MPT_FETCH_BYTES] */

#endif
