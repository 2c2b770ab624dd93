/* The product and its bias, against sums in double. */
#include "contract.h"

typedef struct gemm_shape {
  int64_t m, n, k;
} gemm_shape;

static gemm_shape random_shape(contract *c, int which) {
  static const gemm_shape fixed[] = {{1, 1, 1},     {1, 7, 3},      {5, 1, 9},    {3, 5, 1},
                                     {130, 70, 65}, {257, 129, 33}, {40, 300, 20}};
  if (which < (int)(sizeof fixed / sizeof *fixed))
    return fixed[which];
  return (gemm_shape){c_integer(c, 1, 80), c_integer(c, 1, 80), c_integer(c, 1, 80)};
}

/* How far a sum of k products may be from the exact one, in units of the sum of magnitudes. On the
 * CPU an addition is off by at most half an ulp. The GPU's constants were fitted, and those of fp8
 * differ where products are of one sign, so that what is cut off adds up:
 * docs/benchmarks/gpu-gemm.md. */
static double sum_error(const contract *c, mpt_format format, int64_t k, bool fast, bool one_sign) {
  double fp32 = 0x1p-24 * (double)(k + 4);
  if (!c_on_gpu(c))
    return fp32;
  if (format != MPT_FP8_E4M3 && format != MPT_FP8_E5M2)
    return 0x1p-24 * 0.16 * (double)(k + 32);
  if (!one_sign)
    return 0x1p-13 * 3 + fp32;
  return 0x1p-13 * 0.16 * (double)((fast || k < 128 ? k : 128) + 32) + fp32;
}

/* Where op(x)[i][j] is, when x is stored with `columns` after transposition. */
static double at(const float *x, bool transpose, int64_t i, int64_t j, int64_t rows,
                 int64_t columns) {
  return (double)(transpose ? x[j * rows + i] : x[i * columns + j]);
}

static void check_gemm(contract *c, gemm_shape s, mpt_format a_format, mpt_format b_format,
                       bool transpose_a, bool transpose_b, float alpha, float beta, bool bias,
                       bool strided) {
  float *a = c_random_in(c, a_format, s.m * s.k), *b = c_random_in(c, b_format, s.k * s.n);
  float *bias_values = c_random(c, s.n);
  int64_t stride = strided ? s.n + 3 : s.n;
  float *before = beta == 0 ? NULL : c_random(c, s.m * stride);
  mpt_tensor ta =
      c_tensor(c, a_format, a, C_SHAPE(transpose_a ? s.k : s.m, transpose_a ? s.m : s.k));
  mpt_tensor tb =
      c_tensor(c, b_format, b, C_SHAPE(transpose_b ? s.n : s.k, transpose_b ? s.k : s.n));
  mpt_tensor whole = c_tensor(c, MPT_FP32, before, C_SHAPE(s.m, stride)), out = whole;
  out.shape[1] = s.n;
  mpt_tensor tbias = c_tensor(c, MPT_FP32, bias_values, C_SHAPE(s.n));
  mpt_gemm_args args = {.a = &ta,
                        .b = &tb,
                        .out = &out,
                        .bias = bias ? &tbias : NULL,
                        .transpose_a = transpose_a,
                        .transpose_b = transpose_b,
                        .alpha = alpha,
                        .beta = beta};
  C_RUN(mpt_gemm, c->queue, &args);
  float *got = c_read(c, &whole);
  for (int64_t i = 0; i < s.m; i++)
    for (int64_t j = 0; j < s.n; j++) {
      double sum = 0, magnitudes = 0;
      for (int64_t l = 0; l < s.k; l++) {
        double product = at(a, transpose_a, i, l, s.m, s.k) * at(b, transpose_b, l, j, s.k, s.n);
        sum += product;
        magnitudes += fabs(product);
      }
      double old = beta == 0 ? 0 : (double)beta * (double)before[i * stride + j];
      double extra = bias ? (double)bias_values[j] : 0;
      double expected = (double)alpha * sum + old + extra;
      double bound = sum_error(c, a_format, s.k, false, false) * fabs((double)alpha) * magnitudes +
                     4 * 6e-8 * (fabs(old) + fabs(extra));
      if (!(fabs((double)got[i * stride + j] - expected) <= bound))
        fail_msg("out[%lld, %lld] of %lld x %lld x %lld is %.9g, expected %.9g", (long long)i,
                 (long long)j, (long long)s.m, (long long)s.n, (long long)s.k,
                 (double)got[i * stride + j], expected);
    }
  for (int64_t i = 0; i < s.m; i++) /* between the rows nothing was written */
    for (int64_t j = s.n; j < stride; j++)
      assert_true(before ? got[i * stride + j] == before[i * stride + j]
                         : isnan(got[i * stride + j]));
}

static void product_is_right_on_any_shape(contract *c) {
  for (int i = 0; i < 20; i++)
    check_gemm(c, random_shape(c, i), MPT_FP32, MPT_FP32, c_bits(c) & 1, c_bits(c) & 1, 1, 0,
               c_bits(c) & 1, c_bits(c) & 1);
}

static void transposes_scales_and_bias_combine(contract *c) {
  for (int i = 0; i < 32; i++)
    check_gemm(c, (gemm_shape){19, 34, 27}, MPT_FP32, MPT_FP32, i & 1, i & 2, i & 4 ? 0.37f : 1.0f,
               i & 8 ? -1.5f : 0.0f, i & 16, i & 1);
}

static void operands_of_every_format_multiply(contract *c) {
  for (int format = 0; format < MPT_FORMAT_COUNT; format++)
    if (format != MPT_FP8_E5M2)
      check_gemm(c, (gemm_shape){33, 17, 64}, (mpt_format)format, (mpt_format)format, false, true,
                 1, 0, true, false);
  check_gemm(c, (gemm_shape){33, 17, 64}, MPT_FP8_E5M2, MPT_FP8_E4M3, false, false, 1, 0, false,
             false);
  check_gemm(c, (gemm_shape){33, 17, 64}, MPT_FP8_E4M3, MPT_FP8_E5M2, true, false, 1, 0, false,
             false);
}

/* An output of 0.5 k exactly: every format holds the sum, so nothing is lost on the way. */
/* Factors that lie on the device, as sessions give them: the first member of a scale. */
static void scales_multiply_the_product(contract *c) {
  static const mpt_format pairs[][2] = {
      {MPT_FP8_E4M3, MPT_FP8_E4M3}, {MPT_FP8_E5M2, MPT_FP8_E4M3}, {MPT_BF16, MPT_BF16}};
  for (int i = 0; i < 6; i++) {
    mpt_format a_format = pairs[i / 2][0], b_format = pairs[i / 2][1];
    int64_t m = i % 2 ? 48 : 33, n = i % 2 ? 32 : 17, k = 64;
    float *a = c_random_in(c, a_format, m * k), *b = c_random_in(c, b_format, n * k);
    mpt_scale scales[2] = {{.inverse = 0.25f, .scale = 4.0f}, {.inverse = 8.0f, .scale = 0.125f}};
    const mpt_scale *device = c_upload_bits(c, scales, sizeof scales);
    mpt_tensor ta = c_tensor(c, a_format, a, C_SHAPE(m, k));
    mpt_tensor tb = c_tensor(c, b_format, b, C_SHAPE(n, k));
    mpt_tensor out = c_tensor(c, MPT_FP32, NULL, C_SHAPE(m, n));
    mpt_gemm_args args = {.a = &ta,
                          .b = &tb,
                          .out = &out,
                          .transpose_b = true,
                          .fast = i % 2,
                          .alpha = 1,
                          .scale_a = &device[0].inverse,
                          .scale_b = &device[1].inverse};
    C_RUN(mpt_gemm, c->queue, &args);
    float *got = c_read(c, &out);
    for (int64_t r = 0; r < m; r++)
      for (int64_t q = 0; q < n; q++) {
        double sum = 0, magnitudes = 0;
        for (int64_t l = 0; l < k; l++) {
          double product = (double)a[r * k + l] * (double)b[q * k + l];
          sum += product;
          magnitudes += fabs(product);
        }
        double bound = 2 * sum_error(c, a_format, k, i % 2, false) * magnitudes;
        if (!(fabs((double)got[r * n + q] - 2 * sum) <= bound))
          fail_msg("out[%lld, %lld] is %.9g, expected %.9g", (long long)r, (long long)q,
                   (double)got[r * n + q], 2 * sum);
      }
  }
}

/* Long sums, of both signs and of one, where what is cut off adds up. */
static void long_sums_stay_within_their_bound(contract *c) {
  static const struct {
    mpt_format a, b;
    bool fast;
  } kinds[] = {{MPT_FP32, MPT_FP32, false},         {MPT_TF32, MPT_TF32, false},
               {MPT_BF16, MPT_BF16, false},         {MPT_FP16, MPT_FP16, false},
               {MPT_FP8_E4M3, MPT_FP8_E4M3, false}, {MPT_FP8_E5M2, MPT_FP8_E4M3, false},
               {MPT_FP8_E4M3, MPT_FP8_E4M3, true},  {MPT_FP8_E5M2, MPT_FP8_E4M3, true}};
  int64_t m = 16, n = 32;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    for (int64_t k = 128; k <= 2048; k *= 4)
      for (int one_sign = 0; one_sign < 2; one_sign++) {
        float *a = c_random_in(c, kinds[i].a, m * k), *b = c_random_in(c, kinds[i].b, n * k);
        for (int64_t l = 0; one_sign && l < m * k; l++)
          a[l] = fabsf(a[l]);
        for (int64_t l = 0; one_sign && l < n * k; l++)
          b[l] = fabsf(b[l]);
        mpt_tensor ta = c_tensor(c, kinds[i].a, a, C_SHAPE(m, k));
        mpt_tensor tb = c_tensor(c, kinds[i].b, b, C_SHAPE(n, k));
        mpt_tensor out = c_tensor(c, MPT_FP32, NULL, C_SHAPE(m, n));
        mpt_gemm_args args = {.a = &ta,
                              .b = &tb,
                              .out = &out,
                              .transpose_b = true,
                              .fast = kinds[i].fast,
                              .alpha = 1};
        C_RUN(mpt_gemm, c->queue, &args);
        float *got = c_read(c, &out);
        for (int64_t e = 0; e < m * n; e++) {
          double sum = 0, magnitudes = 0;
          for (int64_t l = 0; l < k; l++) {
            double product = (double)a[e / n * k + l] * (double)b[e % n * k + l];
            sum += product;
            magnitudes += fabs(product);
          }
          double bound = sum_error(c, kinds[i].a, k, kinds[i].fast, one_sign) * magnitudes;
          if (!(fabs((double)got[e] - sum) <= bound))
            fail_msg("%s%s, k = %lld: %.9g, expected %.9g within %.3g",
                     mpt_format_get(kinds[i].a)->name, kinds[i].fast ? " fast" : "", (long long)k,
                     (double)got[e], sum, bound);
        }
      }
}

static void ones_count_every_element_of_k(contract *c) {
  int64_t m = 70, n = 50, k = 16;
  float *ones = c_floats(c, m * k), *halves = c_floats(c, k * n);
  for (int64_t i = 0; i < m * k; i++)
    ones[i] = 1;
  for (int64_t i = 0; i < k * n; i++)
    halves[i] = 0.5f;
  for (int format = 0; format < MPT_FORMAT_COUNT; format++) {
    mpt_tensor a = c_tensor(c, MPT_FP8_E4M3, ones, C_SHAPE(m, k));
    mpt_tensor b = c_tensor(c, MPT_FP8_E4M3, halves, C_SHAPE(k, n));
    mpt_tensor out = c_tensor(c, (mpt_format)format, NULL, C_SHAPE(m, n));
    C_RUN(mpt_gemm, c->queue, &((mpt_gemm_args){.a = &a, .b = &b, .out = &out, .alpha = 1}));
    float *got = c_read(c, &out);
    for (int64_t i = 0; i < m * n; i++)
      assert_true(got[i] == 8.0f);
  }
}

/* Large enough to be cut into blocks for the rounding. */
static void output_is_of_its_format(contract *c) {
  int64_t m = 600, n = 300, k = 8;
  float *a = c_random(c, m * k), *b = c_random(c, k * n), *bias = c_random(c, n);
  mpt_tensor ta = c_tensor(c, MPT_FP32, a, C_SHAPE(m, k));
  mpt_tensor tb = c_tensor(c, MPT_FP32, b, C_SHAPE(k, n));
  mpt_tensor tbias = c_tensor(c, MPT_FP32, bias, C_SHAPE(n));
  for (int format = 0; format < MPT_FORMAT_COUNT; format++) {
    const mpt_format_info *info = mpt_format_get((mpt_format)format);
    mpt_tensor out = c_tensor(c, (mpt_format)format, NULL, C_SHAPE(m, n));
    C_RUN(mpt_gemm, c->queue,
          &((mpt_gemm_args){.a = &ta, .b = &tb, .out = &out, .bias = &tbias, .alpha = 1}));
    float *got = c_read(c, &out);
    for (int64_t i = 0; i < m * n; i++) {
      double sum = (double)bias[i % n];
      for (int64_t l = 0; l < k; l++)
        sum += (double)a[i / n * k + l] * (double)b[l * n + i % n];
      float again = mpt_format_round((mpt_format)format, got[i], true);
      assert_memory_equal(&again, &got[i], sizeof again);
      double ulp = ldexp(fabs(sum), -info->mantissa_bits - 1) + (double)info->min_subnormal / 2;
      if (!(fabs((double)got[i] - sum) <= 1.001 * ulp + 1e-5))
        fail_msg("%s: %g, expected %g", info->name, (double)got[i], sum);
    }
  }
}

static void bias_gradient_sums_rows(contract *c) {
  for (int i = 0; i < 12; i++) {
    int64_t m = i == 0 ? 1 : i == 1 ? 5000 : c_integer(c, 1, 300), n = c_integer(c, 1, 70);
    float *grad = c_random(c, m * n), *before = c_random(c, n);
    mpt_tensor tgrad = c_tensor(c, MPT_FP32, grad, C_SHAPE(m, n));
    double *sums = c_doubles(c, n);
    for (int64_t r = 0; r < m * n; r++)
      sums[r % n] += (double)grad[r];
    mpt_tensor written = c_tensor(c, MPT_FP32, NULL, C_SHAPE(n));
    C_RUN(mpt_bias_backward, c->queue, &tgrad, &written, false);
    c_close("grad_bias", c_read(c, &written), sums, n, 1e-6);
    mpt_tensor added = c_tensor(c, MPT_FP32, before, C_SHAPE(n));
    C_RUN(mpt_bias_backward, c->queue, &tgrad, &added, true);
    for (int64_t j = 0; j < n; j++)
      sums[j] += (double)before[j];
    c_close("grad_bias", c_read(c, &added), sums, n, 1e-6);
  }
}

/* A product of a step takes some time, whatever it adds; the CPU's is not measured. */
static void products_are_timed(contract *c) {
  const mpt_gemm_shape plain = {.m = 64,
                                .n = 48,
                                .k = 32,
                                .a = MPT_BF16,
                                .b = MPT_BF16,
                                .out = MPT_BF16,
                                .transpose_b = true};
  mpt_gemm_shape biased = plain, dgrad = plain, wgrad = plain, none = plain;
  biased.bias = true;
  dgrad.transpose_b = false;
  wgrad.transpose_a = wgrad.accumulate = true;
  wgrad.transpose_b = false;
  wgrad.out = MPT_FP32;
  const mpt_gemm_shape *shapes[] = {&plain, &biased, &dgrad, &wgrad};
  double seconds = 0.0;
  for (int i = 0; i < 4; i++) {
    const mpt_status status = mpt_gemm_time(c->queue, shapes[i], &seconds, NULL);
    if (!c_on_gpu(c))
      assert_int_equal(status, MPT_ERROR_UNSUPPORTED);
    else if (status != MPT_OK || !(seconds > 0.0 && seconds < 1.0))
      fail_msg("product %d: %s, %g s", i, mpt_status_name(status), seconds);
  }
  none.k = 0;
  if (c_on_gpu(c)) {
    assert_int_equal(mpt_gemm_time(c->queue, &none, &seconds, NULL), MPT_ERROR_ARGUMENT);
    assert_int_equal(mpt_gemm_time(c->queue, NULL, &seconds, NULL), MPT_ERROR_ARGUMENT);
    assert_int_equal(mpt_gemm_time(c->queue, &plain, NULL, NULL), MPT_ERROR_ARGUMENT);
  }
}

CONTRACT_MAIN(CONTRACT_TEST(product_is_right_on_any_shape),
              CONTRACT_TEST(transposes_scales_and_bias_combine),
              CONTRACT_TEST(operands_of_every_format_multiply),
              CONTRACT_TEST(scales_multiply_the_product),
              CONTRACT_TEST(long_sums_stay_within_their_bound),
              CONTRACT_TEST(ones_count_every_element_of_k), CONTRACT_TEST(output_is_of_its_format),
              CONTRACT_TEST(bias_gradient_sums_rows), CONTRACT_TEST(products_are_timed))
