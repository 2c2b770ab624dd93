/* The table of matrix products. */
#include "base/error.h"
#include "workload/measure.h"
#include <math.h>
#include <stdlib.h>

static const double longest = 0.1; /* seconds of one product: longer ones are left out */

/* Sizes four times apart: prices interpolate between them. */
static const int64_t sizes_m[] = {128, 512, 2048, 8192, 32768};
static const int64_t sizes_nk[] = {64, 256, 1024, 4096, 16384};

mpt_status measure_gemms_begin(measure_gemms *g, bool quick, mpt_error *error) {
  const int step = quick ? 2 : 1;
  *g =
      (measure_gemms){.rows = calloc(125, sizeof *g->rows), .times = calloc(125, sizeof *g->times)};
  if (g->rows == NULL || g->times == NULL) {
    measure_gemms_free(g);
    return mpt_fail_memory(error, "a table of matrix products", 125 * sizeof *g->times);
  }
  for (int i = 0; i < 5; i += step)
    for (int j = 0; j < 5; j += step)
      for (int l = 0; l < 5; l += step)
        if (i < 4 || j < 4 || l < 4) /* the largest of all takes long and is priced as its like */
          g->rows[g->count++] = (gemm_row){.m = sizes_m[i], .n = sizes_nk[j], .k = sizes_nk[l]};
  return MPT_OK;
}

void measure_gemms_free(measure_gemms *g) {
  free(g->rows);
  free(g->times);
  *g = (measure_gemms){.count = 0};
}

static const struct product {
  mpt_format a, b, out;
  bool fast;
} products[GEMM_COLUMN_COUNT] = {
    [GEMM_FP32] = {MPT_FP32, MPT_FP32, MPT_FP32, false},
    [GEMM_TF32] = {MPT_TF32, MPT_TF32, MPT_FP32, false},
    [GEMM_BF16] = {MPT_BF16, MPT_BF16, MPT_BF16, false},
    [GEMM_FP16] = {MPT_FP16, MPT_FP16, MPT_FP16, false},
    [GEMM_FP8_FAST] = {MPT_FP8_E4M3, MPT_FP8_E4M3, MPT_BF16, true},
    [GEMM_FP8_SPLIT] = {MPT_FP8_E4M3, MPT_FP8_E4M3, MPT_BF16, false},
    [GEMM_FP8_MIXED_SPLIT] = {MPT_FP8_E5M2, MPT_FP8_E4M3, MPT_BF16, false},
};

static double operations(const gemm_row *row) {
  return 2.0 * (double)row->m * (double)row->n * (double)row->k;
}

/* At the best rate that the column has shown so far. */
static double least_seconds(const measure_gemms *g, int row, int column) {
  double rate = 0.0;
  for (int i = 0; i < g->count; i++)
    if (g->times[i][column].count > 0)
      rate = fmax(rate, operations(&g->rows[i]) / measured_median(&g->times[i][column]));
  return rate > 0.0 ? operations(&g->rows[row]) / rate : 0.0;
}

mpt_status measure_gemm_row(mpt_queue *queue, measure_gemms *g, int row, uint32_t formats,
                            mpt_error *error) {
  const gemm_row *shape = &g->rows[row];
  for (int c = 0; c < GEMM_COLUMN_COUNT; c++) {
    const struct product *p = &products[c];
    const uint32_t needs = 1u << p->a | 1u << p->b;
    double seconds;
    mpt_error why = {0};
    if ((formats & needs) != needs || least_seconds(g, row, c) > longest)
      continue;
    mpt_status status = mpt_gemm_time(queue, shape->m, shape->n, shape->k, p->a, p->b, p->out,
                                      p->fast, &seconds, &why);
    if (status == MPT_OK)
      measured_add(&g->times[row][c], seconds);
    else if (status != MPT_ERROR_UNSUPPORTED && status != MPT_ERROR_MEMORY)
      return mpt_fail(error, status, "%s", why.message);
  }
  return MPT_OK;
}
