/* The table of matrix products. */
#include "bench/measure_gemms.h"
#include "base/error.h"
#include "mptune/ops.h"
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

/* A column's product, as in a forward pass. */
static mpt_gemm_shape shape_of(int column, int64_t m, int64_t n, int64_t k) {
  const struct product *p = &products[column];
  return (mpt_gemm_shape){.m = m,
                          .n = n,
                          .k = k,
                          .a = p->a,
                          .b = p->b,
                          .out = p->out,
                          .transpose_b = true,
                          .fast = p->fast};
}

static bool has_formats(int column, uint32_t formats) {
  const uint32_t needs = 1u << products[column].a | 1u << products[column].b;
  return (formats & needs) == needs;
}

/* *seconds is NaN for what the device lacks and what does not fit into its memory. */
static mpt_status time_product(mpt_queue *queue, const mpt_gemm_shape *product, double *seconds,
                               mpt_error *error) {
  mpt_error why = {0};
  const mpt_status status = mpt_gemm_time(queue, product, seconds, &why);
  if (status == MPT_OK)
    return MPT_OK;
  *seconds = NAN;
  return status == MPT_ERROR_UNSUPPORTED || status == MPT_ERROR_DEVICE_MEMORY
             ? MPT_OK
             : mpt_fail(error, status, "%s", why.message);
}

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
    double seconds;
    if (!has_formats(c, formats) || least_seconds(g, row, c) > longest)
      continue;
    const mpt_gemm_shape product = shape_of(c, shape->m, shape->n, shape->k);
    MPT_RETURN_IF_FAILED(time_product(queue, &product, &seconds, error));
    if (!isnan(seconds))
      measured_add(&g->times[row][c], seconds);
  }
  return MPT_OK;
}

/* ---- products of a training step ---- */
/* The layers of a GPT of width 1280, as GPT-2 large is: outputs and inputs. Sizes that are no
 * powers of two, as most are, have other algorithms to choose from. */
enum { STEP_ROWS = 16384, LAYERS = 4 };
static const int64_t layers[LAYERS][2] = {{3840, 1280}, {1280, 1280}, {5120, 1280}, {1280, 5120}};

/* A product of a layer of `n` outputs and `k` inputs, as the table has it and as a step makes it:
 * fprop with a bias; of 16 and 32 bits dgrad and wgrad with operands as they are stored, fp8 ones
 * from transposed copies, so that dgrad is the table's; wgrad adding to an fp32 gradient. */
static void step_product(mpt_gemm_kind gemm, int column, int64_t n, int64_t k,
                         mpt_gemm_shape *plain, mpt_gemm_shape *real) {
  const bool stored = mpt_format_get(products[column].a)->bits > 8;
  *plain = gemm == MPT_FPROP   ? shape_of(column, STEP_ROWS, n, k)
           : gemm == MPT_DGRAD ? shape_of(column, STEP_ROWS, k, n)
                               : shape_of(column, n, k, STEP_ROWS);
  *real = *plain;
  real->bias = gemm == MPT_FPROP;
  real->transpose_b = gemm == MPT_FPROP || !stored;
  real->transpose_a = gemm == MPT_WGRAD && stored;
  real->accumulate = gemm == MPT_WGRAD;
  if (gemm == MPT_WGRAD)
    real->out = MPT_FP32;
}

static mpt_status measure_factor(mpt_queue *queue, mpt_gemm_kind gemm, int column, measured *factor,
                                 mpt_error *error) {
  double logarithms = 0.0;
  for (int i = 0; i < LAYERS; i++) {
    mpt_gemm_shape plain, real;
    double before, after;
    step_product(gemm, column, layers[i][0], layers[i][1], &plain, &real);
    MPT_RETURN_IF_FAILED(time_product(queue, &plain, &before, error));
    MPT_RETURN_IF_FAILED(time_product(queue, &real, &after, error));
    logarithms += log(after / before);
  }
  if (!isnan(logarithms))
    measured_add(factor, exp(logarithms / LAYERS));
  return MPT_OK;
}

mpt_status measure_gemm_factors(mpt_queue *queue, const measure_options *options, measure_gemms *g,
                                uint32_t formats, mpt_error *error) {
  for (int c = 0; c < GEMM_COLUMN_COUNT; c++)
    for (int gemm = 0; has_formats(c, formats) && gemm < MPT_GEMM_COUNT; gemm++) {
      MPT_RETURN_IF_FAILED(measure_go_on(options, "products of a step", c * MPT_GEMM_COUNT + gemm,
                                         GEMM_COLUMN_COUNT * MPT_GEMM_COUNT, error));
      if (gemm != MPT_DGRAD || mpt_format_get(products[c].a)->bits > 8)
        MPT_RETURN_IF_FAILED(
            measure_factor(queue, (mpt_gemm_kind)gemm, c, &g->factors[gemm][c], error));
    }
  return MPT_OK;
}
