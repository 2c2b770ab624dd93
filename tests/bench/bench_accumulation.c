/* The error of sums of products on the GPU, against sums in double.
 *
 *   bench_accumulation
 *
 * For each format, fp8 split and fast, and inner dimensions K: some elements of a product of 2048
 * rows and columns (enough to fill the device without cutting K), of normal operands and of their
 * magnitudes; operands rounded to the format, so that only the sum errs. Errors are in units of the
 * sum of magnitudes of the products. c is the constant of the bound c k u: u is 2^-24, fp8's 2^-13,
 * and k counts what is added with that u: K, but at most 128 of fp8 split. Exits 1 where c is more
 * than docs/benchmarks/gpu-gemm.md states, 2 without a GPU.
 */
#ifndef MPTUNE_CUDA
#include <stdio.h>

int main(void) {
  fprintf(stderr, "bench_accumulation: built without the cuda backend\n");
  return 2;
}

#else
#include "gpu_bench.h"
#include "mptune/ops.h"
#include <math.h>
#include <string.h>

enum { SIZE = 2048, BLOCK = 4000037, ROWS = 32, COLUMNS = 32, LEAST_K = 64, MOST_K = 65536 };

static const double stated = 0.16;

typedef struct kind {
  const char *name;
  mpt_format a, b;
  bool fast;
} kind;

static const kind kinds[] = {{"fp32", MPT_FP32, MPT_FP32, false},
                             {"tf32", MPT_TF32, MPT_TF32, false},
                             {"bf16", MPT_BF16, MPT_BF16, false},
                             {"fp16", MPT_FP16, MPT_FP16, false},
                             {"fp8 e4m3 e4m3 split", MPT_FP8_E4M3, MPT_FP8_E4M3, false},
                             {"fp8 e5m2 e4m3 split", MPT_FP8_E5M2, MPT_FP8_E4M3, false},
                             {"fp8 e4m3 e4m3 fast", MPT_FP8_E4M3, MPT_FP8_E4M3, true},
                             {"fp8 e5m2 e4m3 fast", MPT_FP8_E5M2, MPT_FP8_E4M3, true}};

/* An operand [SIZE, K] on the device: `values` again and again. */
typedef struct operand {
  float *normals, *values; /* [BLOCK]; values are rounded */
  void *block, *data;
  mpt_format format;
} operand;

static operand a, b;
static void *product; /* [SIZE, SIZE] fp32 */

static double normal(void) {
  double radius = sqrt(-2 * log((rand() + 1.0) / (RAND_MAX + 2.0)));
  return radius * cos(6.283185307179586 * rand() / RAND_MAX);
}

static void draw(operand *x, mpt_format format, bool one_sign) {
  x->format = format;
  for (int i = 0; i < BLOCK; i++) {
    float value = one_sign ? fabsf(x->normals[i]) : x->normals[i];
    x->values[i] = mpt_format_round(format, value, true);
  }
  mpt_tensor block = mpt_tensor_of(x->block, format, 1, (int64_t[]){BLOCK});
  block.device = mpt_queue_device(queue);
  check(mpt_tensor_upload(queue, x->values, &block, &error));
  check(mpt_queue_synchronize(queue, &error));
}

static mpt_tensor lay_out(const operand *x, int64_t k) {
  mpt_tensor t = mpt_tensor_of(x->data, x->format, 2, (int64_t[]){SIZE, k});
  t.device = mpt_queue_device(queue);
  size_t bytes = mpt_tensor_bytes(&t), step = BLOCK * (mpt_format_get(x->format)->bits / 8u);
  for (size_t at = 0; at < bytes; at += step)
    check_cuda(cudaMemcpyAsync((char *)x->data + at, x->block,
                               bytes - at < step ? bytes - at : step, cudaMemcpyDeviceToDevice,
                               stream));
  return t;
}

typedef struct errors {
  double most, squares, bias; /* of sum|a b| */
  int count;
} errors;

/* Adds the error of out[i][j]. */
static void compare(errors *e, int64_t i, int64_t j, int64_t k, float got) {
  double sum = 0, magnitude = 0;
  int64_t at_a = i * k % BLOCK, at_b = j * k % BLOCK;
  for (int64_t l = 0; l < k; l++) {
    double term = (double)a.values[at_a] * (double)b.values[at_b];
    sum += term;
    magnitude += fabs(term);
    at_a = at_a + 1 == BLOCK ? 0 : at_a + 1;
    at_b = at_b + 1 == BLOCK ? 0 : at_b + 1;
  }
  double relative = ((double)got - sum) / magnitude;
  e->most = fmax(e->most, fabs(relative));
  e->squares += relative * relative;
  e->bias += sum < 0 ? -relative : relative;
  e->count++;
}

static errors measure(const kind *which, int64_t k, float *host) {
  errors e = {0};
  mpt_tensor x = lay_out(&a, k), y = lay_out(&b, k);
  mpt_tensor out = mpt_tensor_of(product, MPT_FP32, 2, (int64_t[]){SIZE, SIZE});
  out.device = mpt_queue_device(queue);
  mpt_gemm_args args = {
      .a = &x, .b = &y, .out = &out, .transpose_b = true, .fast = which->fast, .alpha = 1};
  check(mpt_gemm(queue, &args, &error));
  check(mpt_queue_synchronize(queue, &error));
  check(mpt_tensor_download(queue, &out, host, &error));
  for (int64_t i = 0; i < ROWS; i++)
    for (int64_t j = 0; j < COLUMNS; j++) {
      int64_t row = i * (SIZE - 1) / (ROWS - 1), column = j * (SIZE - 1) / (COLUMNS - 1);
      compare(&e, row, column, k, host[row * SIZE + column]);
    }
  return e;
}

/* c of the bound c k u. */
static double constant(const kind *which, int64_t k, double most) {
  bool fp8 = which->a == MPT_FP8_E4M3 || which->a == MPT_FP8_E5M2;
  int64_t added = fp8 && !which->fast && k > 128 ? 128 : k;
  return most / (double)added / (fp8 ? 0x1p-13 : 0x1p-24);
}

static void open_operand(operand *x) {
  x->values = malloc(BLOCK * sizeof *x->values);
  x->normals = malloc(BLOCK * sizeof *x->normals);
  if (x->values == NULL || x->normals == NULL)
    exit(1);
  for (int i = 0; i < BLOCK; i++)
    x->normals[i] = (float)normal();
  check_cuda(cudaMalloc(&x->block, BLOCK * sizeof(float)));
  check_cuda(cudaMalloc(&x->data, (size_t)SIZE * MOST_K * sizeof(float)));
}

int main(void) {
  struct cudaDeviceProp device = gpu_open("bench_accumulation");
  float *host = malloc((size_t)SIZE * SIZE * sizeof *host);
  open_operand(&a);
  open_operand(&b);
  check_cuda(cudaMalloc(&product, (size_t)SIZE * SIZE * sizeof(float)));
  double largest = 0;
  printf("%s\n%-20s %-9s %6s %12s %12s %12s %8s\n", device.name, "operands", "signs", "K",
         "largest", "rms", "mean", "c");
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    for (int one_sign = 0; one_sign < 2; one_sign++) {
      draw(&a, kinds[i].a, one_sign);
      draw(&b, kinds[i].b, one_sign);
      for (int64_t k = LEAST_K; k <= MOST_K; k *= 2) {
        errors e = measure(&kinds[i], k, host);
        double c = constant(&kinds[i], k, e.most);
        largest = fmax(largest, c);
        printf("%-20s %-9s %6lld %12.3e %12.3e %12.3e %8.4f\n", kinds[i].name,
               one_sign ? "one" : "both", (long long)k, e.most, sqrt(e.squares / e.count),
               e.bias / e.count, c);
        fflush(stdout);
      }
    }
  printf("the largest c is %.4f; the bound stated is %.2f\n", largest, stated);
  free(host);
  gpu_close();
  return largest <= stated ? 0 : 1;
}

#endif
