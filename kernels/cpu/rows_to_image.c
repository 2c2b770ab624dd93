/* [B*H*W, C] rows to [B, C, H, W] images and back: a transposition for each image, in tiles that
 * stay in L1. */
#include "kernels/cpu/cpu.h"

enum { TILE = 16 };

typedef struct transpose_task {
  mpt_t from, to;
  int64_t batch, rows, columns; /* of a matrix before */
  int tasks;
} transpose_task;

MPT_VECTOR_CLONES
static void transpose_tile(const float *restrict from, int64_t rows, int64_t columns,
                           int64_t from_stride, float *restrict to, int64_t to_stride) {
  for (int64_t c = 0; c < columns; c++)
    for (int64_t r = 0; r < rows; r++)
      to[c * to_stride + r] = from[r * from_stride + c];
}

/* Of a strip: TILE columns before, TILE rows after. */
static void transpose_part(void *context, int task) {
  const transpose_task *t = context;
  int64_t strips = (t->columns + TILE - 1) / TILE, begin, end;
  mpt_cpu_part(t->batch * strips, 1, t->tasks, task, &begin, &end);
  for (int64_t i = begin; i < end; i++) {
    int64_t matrix = i / strips * t->rows * t->columns, column = i % strips * TILE;
    int64_t columns = t->columns - column < TILE ? t->columns - column : TILE;
    const float *from = (const float *)t->from->data + matrix + column;
    float *to = (float *)t->to->data + matrix + column * t->rows;
    for (int64_t row = 0; row < t->rows; row += TILE)
      transpose_tile(from + row * t->columns, t->rows - row < TILE ? t->rows - row : TILE, columns,
                     t->columns, to + row, t->rows);
    if (t->to->format != t->from->format)
      mpt_cpu_round(t->to, to, columns * t->rows);
  }
}

static mpt_status transpose(mpt_queue *queue, mpt_t from, mpt_t to, int64_t batch, int64_t rows,
                            int64_t columns) {
  transpose_task t = {from, to,      batch,
                      rows, columns, mpt_cpu_tasks(queue, 2 * batch * rows * columns)};
  mpt_cpu_parallel(queue, t.tasks, transpose_part, &t);
  return MPT_OK;
}

mpt_status mpt_cpu_rows_to_image(mpt_queue *queue, mpt_t rows, mpt_t image, mpt_error *error) {
  (void)error;
  return transpose(queue, rows, image, image->shape[0], image->shape[2] * image->shape[3],
                   image->shape[1]);
}

mpt_status mpt_cpu_image_to_rows(mpt_queue *queue, mpt_t image, mpt_t rows, mpt_error *error) {
  (void)error;
  return transpose(queue, image, rows, image->shape[0], image->shape[1],
                   image->shape[2] * image->shape[3]);
}
