/* The kernels around the matrix product, without cuBLASLt's: so compute-sanitizer, which does not
 * survive some of those, sees ours alone. The checks that algorithms pass before they are used are
 * shown to see what is wrong. Needs a GPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#ifdef MPTUNE_CUDA
#include "kernels/cuda/gemm.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static cudaStream_t stream;

static void *device(const void *host, size_t bytes) {
  void *memory;
  assert_int_equal(cudaMalloc(&memory, bytes), cudaSuccess);
  if (host != NULL)
    assert_int_equal(cudaMemcpy(memory, host, bytes, cudaMemcpyHostToDevice), cudaSuccess);
  else
    assert_int_equal(cudaMemset(memory, 0xFF, bytes), cudaSuccess);
  return memory;
}

static void fetch(void *host, const void *memory, size_t bytes) {
  assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
  assert_int_equal(cudaMemcpy(host, memory, bytes, cudaMemcpyDeviceToHost), cudaSuccess);
}

/* Evenly spread from -2 to 2, the same in every run. */
static float next(void) {
  static uint32_t state = 1;
  state = state * 1664525u + 1013904223u;
  return (float)((int32_t)state >> 8) * 0x1p-22f;
}

static void packing_transposes_and_pads(void **state) {
  (void)state;
  enum { ROWS = 37, COLUMNS = 70, ROW = 75, MOST = 96 };
  uint8_t x[ROWS * ROW], y[MOST * MOST];
  for (int i = 0; i < ROWS * ROW; i++)
    x[i] = (uint8_t)(1 + i % 251);
  void *from = device(x, sizeof x);
  for (int transpose = 0; transpose < 2; transpose++) {
    int rows = transpose ? 80 : 48, columns = transpose ? 48 : 80;
    void *to = device(NULL, sizeof y);
    mpt_gemm_pack(stream, from, ROW, ROWS, COLUMNS, transpose, to, rows, columns);
    fetch(y, to, sizeof y);
    for (int i = 0; i < rows; i++)
      for (int j = 0; j < columns; j++) {
        int r = transpose ? j : i, c = transpose ? i : j;
        assert_int_equal(y[i * columns + j], r < ROWS && c < COLUMNS ? x[r * ROW + c] : 0);
      }
    assert_int_equal(y[rows * columns], 0xFF);
    cudaFree(to);
  }
  cudaFree(from);
}

static void finishing_rounds_once(void **state) {
  (void)state;
  enum { ROWS = 33, COLUMNS = 50, ROW = 64, OUT_ROW = 52 };
  float product[ROWS * ROW], bias[COLUMNS], scales[2] = {0.25f, 8.0f}, before[ROWS * OUT_ROW];
  for (int i = 0; i < ROWS * ROW; i++)
    product[i] = next();
  for (int i = 0; i < COLUMNS; i++)
    bias[i] = next();
  for (int i = 0; i < ROWS * OUT_ROW; i++)
    before[i] = mpt_format_round(MPT_FP8_E4M3, next(), true);
  float *p = device(product, sizeof product), *b = device(bias, sizeof bias);
  float *s = device(scales, sizeof scales), *wide = device(before, sizeof before), got;
  gemm_finish_args args = {.product = p,
                           .product_row = ROW,
                           .scale_a = s,
                           .scale_b = s + 1,
                           .bias = b,
                           .alpha = 0.5f,
                           .beta = -2.0f,
                           .out = wide,
                           .out_row = OUT_ROW,
                           .rows = ROWS,
                           .columns = COLUMNS};
  mpt_gemm_finish(stream, MPT_FP32, &args);
  float out[ROWS * OUT_ROW];
  fetch(out, wide, sizeof out);
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < OUT_ROW; j++) {
      double old = (double)before[i * OUT_ROW + j];
      if (j >= COLUMNS)
        assert_true(out[i * OUT_ROW + j] == before[i * OUT_ROW + j]);
      else
        assert_true(fabs((double)out[i * OUT_ROW + j] -
                         ((double)product[i * ROW + j] - 2 * old + (double)bias[j])) <= 4e-6);
    }
  uint16_t *narrow = device(NULL, ROWS * COLUMNS * sizeof *narrow), bits[ROWS * COLUMNS];
  gemm_finish_args plain = {.product = p,
                            .product_row = ROW,
                            .alpha = 1,
                            .out = narrow,
                            .out_row = COLUMNS,
                            .rows = ROWS,
                            .columns = COLUMNS};
  mpt_gemm_finish(stream, MPT_BF16, &plain);
  fetch(bits, narrow, sizeof bits);
  for (int i = 0; i < ROWS * COLUMNS; i++) {
    uint32_t word = (uint32_t)bits[i] << 16;
    memcpy(&got, &word, sizeof got);
    assert_true(got == mpt_format_round(MPT_BF16, product[i / COLUMNS * ROW + i % COLUMNS], true));
  }
  cudaFree(p), cudaFree(b), cudaFree(s), cudaFree(wide), cudaFree(narrow);
}

static void signs_sum_to_what_is_said(void **state) {
  (void)state;
  enum { N = 20, K = 133 };
  static const int runs[][2] = {{K, 1}, {K / 2, 1}, {1, 1}, {K, 3}, {7, 2}};
  float b[N * K];
  for (int i = 0; i < 10; i++) {
    bool transpose = i % 2;
    float *memory = device(NULL, sizeof b);
    int64_t sum = mpt_gemm_fill_signs(stream, MPT_FP32, memory, transpose ? K : N, N, K, transpose,
                                      runs[i / 2][0], runs[i / 2][1]);
    fetch(b, memory, sizeof b);
    for (int j = 0; j < N; j++) {
      double column = 0;
      for (int l = 0; l < K; l++)
        column += (double)(transpose ? b[j * K + l] : b[l * N + j]);
      assert_true(column == (double)sum);
      assert_true((transpose ? b[j * K + K - 1] : b[(K - 1) * N + j]) != 0);
    }
    cudaFree(memory);
  }
}

static uint32_t wrong_in(const gemm_key *key, const float *a, const float *b, const float *out,
                         bool samples) {
  uint32_t wrong = 0, *count = device(&wrong, sizeof wrong);
  size_t a_bytes = (size_t)(key->m * key->k) * sizeof *a;
  size_t b_bytes = (size_t)(key->k * key->n) * sizeof *b;
  void *da = device(a, a_bytes), *db = device(b, b_bytes);
  void *to = device(out, (size_t)(key->m * key->row_out) * sizeof *out);
  if (samples)
    mpt_gemm_check_samples(stream, key, da, db, to, 0x1p-20f, count);
  else
    mpt_gemm_check_constant(stream, key, to, out[0], count);
  fetch(&wrong, count, sizeof wrong);
  cudaFree(count), cudaFree(da), cudaFree(db), cudaFree(to);
  return wrong;
}

static void wrong_elements_are_seen(void **state) {
  (void)state;
  enum { M = 40, N = 24, K = 300, ROW = 30 };
  static float a[M * K], b[N * K], out[M * ROW];
  gemm_key key = {.m = M,
                  .n = N,
                  .k = K,
                  .row_a = K,
                  .row_b = K,
                  .row_out = ROW,
                  .format_a = MPT_FP32,
                  .format_b = MPT_FP32,
                  .format_out = MPT_FP32,
                  .transpose_b = 1};
  for (int i = 0; i < M * K; i++)
    a[i] = next();
  for (int i = 0; i < N * K; i++)
    b[i] = next();
  for (int i = 0; i < M; i++)
    for (int j = 0; j < N; j++) {
      double sum = 0;
      for (int l = 0; l < K; l++)
        sum += (double)a[i * K + l] * (double)b[j * K + l];
      out[i * ROW + j] = (float)sum;
    }
  assert_int_equal(wrong_in(&key, a, b, out, true), 0);
  float last = out[(M - 1) * ROW + N - 1];
  out[(M - 1) * ROW + N - 1] += 0.01f; /* a corner */
  assert_true(wrong_in(&key, a, b, out, true) >= 1);
  out[(M - 1) * ROW + N - 1] = NAN;
  assert_true(wrong_in(&key, a, b, out, true) >= 1);
  out[(M - 1) * ROW + N - 1] = last;
  b[(N - 1) * K + K - 1] += 1.0f; /* the last of k counts */
  assert_true(wrong_in(&key, a, b, out, true) >= 2);

  for (int i = 0; i < M; i++)
    for (int j = 0; j < ROW; j++)
      out[i * ROW + j] = j < N ? 3.5f : NAN;
  assert_int_equal(wrong_in(&key, a, b, out, false), 0);
  out[5 * ROW + 7] = 3.25f;
  out[(M - 1) * ROW + N - 1] = NAN;
  assert_int_equal(wrong_in(&key, a, b, out, false), 2);
}

/* Sums of squares and of products with the neighbour: nearly normal, and no number repeats. */
static void random_numbers_are_like_normal_ones(void **state) {
  (void)state;
  enum { COUNT = 100000 };
  static float x[COUNT];
  float *memory = device(NULL, sizeof x);
  mpt_gemm_fill_random(stream, MPT_FP32, memory, COUNT, 3);
  fetch(x, memory, sizeof x);
  double mean = 0, square = 0, neighbours = 0;
  for (int i = 0; i < COUNT; i++) {
    mean += (double)x[i] / COUNT;
    square += (double)x[i] * (double)x[i] / COUNT;
    neighbours += i == 0 ? 0 : (double)x[i] * (double)x[i - 1] / COUNT;
  }
  assert_true(fabs(mean) < 0.02 && fabs(square - 1) < 0.03 && fabs(neighbours) < 0.02);
  cudaFree(memory);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(packing_transposes_and_pads),
      cmocka_unit_test(finishing_rounds_once),
      cmocka_unit_test(signs_sum_to_what_is_said),
      cmocka_unit_test(wrong_elements_are_seen),
      cmocka_unit_test(random_numbers_are_like_normal_ones),
  };
  if (cudaStreamCreate(&stream) != cudaSuccess) {
    print_message("skipped: no GPU was found\n");
    return 0;
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void) {
  print_message("skipped: this build has no cuda backend\n");
  return 0;
}
#endif
