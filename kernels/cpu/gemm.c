/* out = alpha op(a) op(b) + beta out + bias: cblas_sgemm on the rounded operands, accumulated in
 * fp32, the output shared among the team by rows or columns. A block of the output gets its bias
 * and its rounding while it is in cache. */
#include "kernels/cpu/cpu.h"
#include <cblas.h>

enum {
  TASK_PRODUCTS = 1 << 17, /* multiplications that are worth a task */
  BLOCK_ELEMENTS = 1 << 18 /* of the output, when there is something to do to it afterwards */
};

typedef struct gemm_task {
  const mpt_gemm_args *args;
  int64_t m, n, k;
  float alpha;
  int tasks;
  bool by_rows;
} gemm_task;

static int leading(mpt_t t) {
  return (int)(t->strides[0] < t->shape[1] ? t->shape[1] : t->strides[0]);
}

/* Where op(t)[row, column] is. */
static const float *element(mpt_t t, bool transpose, int64_t row, int64_t column) {
  return (const float *)t->data +
         (transpose ? column * (int64_t)leading(t) + row : row * (int64_t)leading(t) + column);
}

MPT_VECTOR_CLONES
static void add_bias(float *restrict row, const float *restrict bias, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    row[i] += bias[i];
}

static void multiply_block(const gemm_task *g, int64_t row, int64_t rows, int64_t column,
                           int64_t columns) {
  const mpt_gemm_args *args = g->args;
  mpt_t out = args->out;
  int64_t stride = leading(out);
  float *block = (float *)out->data + row * stride + column;
  cblas_sgemm(CblasRowMajor, args->transpose_a ? CblasTrans : CblasNoTrans,
              args->transpose_b ? CblasTrans : CblasNoTrans, (int)rows, (int)columns, (int)g->k,
              g->alpha, element(args->a, args->transpose_a, row, 0), leading(args->a),
              element(args->b, args->transpose_b, 0, column), leading(args->b), args->beta, block,
              (int)stride);
  if (args->bias != NULL)
    for (int64_t r = 0; r < rows; r++)
      add_bias(block + r * stride, (const float *)args->bias->data + column, columns);
  if (columns == stride)
    mpt_cpu_round(out, block, rows * columns);
  else
    for (int64_t r = 0; r < rows; r++)
      mpt_cpu_round(out, block + r * stride, columns);
}

static void gemm_part(void *context, int task) {
  const gemm_task *g = context;
  int64_t row = 0, row_end = g->m, column = 0, column_end = g->n;
  mpt_cpu_part(g->by_rows ? g->m : g->n, 16, g->tasks, task, g->by_rows ? &row : &column,
               g->by_rows ? &row_end : &column_end);
  int64_t columns = column_end - column;
  if (columns == 0)
    return;
  int64_t block = row_end - row;
  if (g->args->bias != NULL || g->args->out->format != MPT_FP32) {
    int64_t fits = BLOCK_ELEMENTS / columns / 16 * 16;
    block = fits < 16 ? 16 : fits;
  }
  for (; row < row_end; row += block)
    multiply_block(g, row, row_end - row < block ? row_end - row : block, column, columns);
}

mpt_status mpt_cpu_gemm(mpt_queue *queue, const mpt_gemm_args *args, mpt_error *error) {
  (void)error;
  gemm_task g = {.args = args,
                 .m = args->out->shape[0],
                 .n = args->out->shape[1],
                 .k = args->a->shape[!args->transpose_a],
                 .alpha = args->alpha * (args->scale_a != NULL ? *args->scale_a : 1.0f) *
                          (args->scale_b != NULL ? *args->scale_b : 1.0f)};
  g.by_rows = g.m >= g.n;
  double products = (double)g.m * (double)g.n * (double)g.k;
  int64_t grains = ((g.by_rows ? g.m : g.n) + 15) / 16;
  int64_t most = queue->threads < grains ? queue->threads : grains;
  double worth = products / TASK_PRODUCTS;
  g.tasks = worth < 1 ? 1 : worth < (double)most ? (int)worth : (int)most;
  mpt_cpu_parallel_products(queue, g.tasks, gemm_part, &g);
  return MPT_OK;
}
