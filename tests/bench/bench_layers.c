/* The layers between the products of two GPTs, 16384 tokens a step at widths 768 and 2048:
 * addition, layernorm, GELU, embedding, bias gradients, forward and backward. Prints for each its
 * time, the bytes that it must move, and their rate as a share of a plain device-to-device copy's
 * in the same run. Tensors take turns, so that the cache of the device holds none of them.
 *   bench_layers [bf16|fp16|fp32: the format of activations]
 * Exits 2 where there is no GPU. */
#include "mptune/ops.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef MPTUNE_CUDA
int main(void) {
  fprintf(stderr, "error: bench_layers needs a GPU, and this build has no CUDA backend\n");
  return 2;
}
#else
#include "gpu_bench.h"

static double copy_rate; /* bytes a second, read and written, of a plain copy */

enum { TOKENS = 16384, VOCABULARY = 50304, SETS = 4, CALLS = 20, REPEATS = 11 };

static mpt_format format = MPT_BF16;

/* ---- tensors: a stretch of random numbers, over and over ---- */
static mpt_tensor make(mpt_format of, int rank, const int64_t *shape) {
  enum { STRETCH = 1 << 20 };
  static float values[STRETCH];
  if (values[0] == 0.0f)
    for (int i = 0; i < STRETCH; i++)
      values[i] = (float)(rand() + 1) / (float)RAND_MAX * 4.0f - 2.0f;
  mpt_tensor t = mpt_tensor_of(NULL, of, rank, shape);
  t.device = mpt_queue_device(queue);
  check(mpt_memory_allocate(queue, mpt_tensor_bytes(&t), &t.data, &error));
  int64_t n = mpt_tensor_count(&t);
  size_t bytes = (size_t)mpt_format_get(of)->bits / 8;
  for (int64_t at = 0; at < n; at += STRETCH) {
    int64_t count = n - at < STRETCH ? n - at : STRETCH;
    mpt_tensor part = mpt_tensor_of((char *)t.data + (size_t)at * bytes, of, 1, &count);
    part.device = t.device;
    if (at == 0)
      check(mpt_tensor_upload(queue, values, &part, &error));
    else
      check_cuda(cudaMemcpyAsync(part.data, t.data, (size_t)count * bytes, cudaMemcpyDeviceToDevice,
                                 stream));
  }
  return t;
}
#define MAKE(of, ...)                                                                              \
  make(of, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})

/* What an operation works on: three activations that take turns, and what stays. */
typedef struct layer_rig {
  mpt_tensor a[SETS], b[SETS], out[SETS];
  mpt_tensor gamma, beta, grad_gamma, grad_beta, mean, rstd; /* of the width; of rows */
  mpt_tensor table, position;
  int32_t *ids;
} layer_rig;

static void make_activations(layer_rig *r, int64_t width) {
  for (int i = 0; i < SETS; i++) {
    r->a[i] = MAKE(format, TOKENS, width);
    r->b[i] = MAKE(format, TOKENS, width);
    r->out[i] = MAKE(format, TOKENS, width);
  }
  r->gamma = MAKE(MPT_FP32, width);
  r->beta = MAKE(MPT_FP32, width);
  r->grad_gamma = MAKE(MPT_FP32, width);
  r->grad_beta = MAKE(MPT_FP32, width);
  r->mean = MAKE(MPT_FP32, TOKENS);
  r->rstd = MAKE(MPT_FP32, TOKENS);
}

static void free_activations(layer_rig *r) {
  for (int i = 0; i < SETS; i++) {
    mpt_memory_free(queue, r->a[i].data);
    mpt_memory_free(queue, r->b[i].data);
    mpt_memory_free(queue, r->out[i].data);
  }
  mpt_tensor *small[] = {&r->gamma, &r->beta, &r->grad_gamma, &r->grad_beta, &r->mean, &r->rstd};
  for (size_t i = 0; i < sizeof small / sizeof *small; i++)
    mpt_memory_free(queue, small[i]->data);
}

/* ---- timing: the median of REPEATS runs of CALLS calls ---- */
typedef void work(layer_rig *r, int set);

static int compare(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static double time_of(work *run, layer_rig *r) {
  float ms[REPEATS];
  cudaEvent_t start, end;
  check_cuda(cudaEventCreate(&start));
  check_cuda(cudaEventCreate(&end));
  for (int i = -1; i < REPEATS; i++) {
    check_cuda(cudaEventRecord(start, stream));
    for (int call = 0; call < CALLS; call++)
      run(r, call % SETS);
    check_cuda(cudaEventRecord(end, stream));
    check_cuda(cudaEventSynchronize(end));
    if (i >= 0)
      check_cuda(cudaEventElapsedTime(&ms[i], start, end));
  }
  check_cuda(cudaEventDestroy(start));
  check_cuda(cudaEventDestroy(end));
  qsort(ms, REPEATS, sizeof *ms, compare);
  return (double)ms[REPEATS / 2] * 1e-3 / CALLS;
}

static void report(const char *name, int64_t width, double seconds, double bytes) {
  printf("%-20s %5lld  %9.1f us %8.1f MB %7.3f TB/s %5.1f%%\n", name, (long long)width,
         seconds * 1e6, bytes * 1e-6, bytes / seconds * 1e-12, 100 * bytes / seconds / copy_rate);
}

/* ---- the operations ---- */
enum { COPY_BYTES = 1 << 29 };

static void run_large_copy(layer_rig *r, int set) {
  (void)set;
  check_cuda(
      cudaMemcpyAsync(r->a[0].data, r->b[0].data, COPY_BYTES, cudaMemcpyDeviceToDevice, stream));
}

static void run_copy(layer_rig *r, int set) {
  check_cuda(cudaMemcpyAsync(r->out[set].data, r->a[set].data, mpt_tensor_bytes(&r->a[set]),
                             cudaMemcpyDeviceToDevice, stream));
}

static void run_add(layer_rig *r, int set) {
  check(mpt_add(queue, &r->a[set], &r->b[set], &r->out[set], &error));
}

static void run_accumulate(layer_rig *r, int set) {
  check(mpt_accumulate_tensor(queue, &r->a[set], &r->out[set], &error));
}

static void run_layernorm(layer_rig *r, int set) {
  check(mpt_layernorm_forward(queue, &r->a[set], &r->gamma, &r->beta, 1e-5f, &r->out[set], &r->mean,
                              &r->rstd, &error));
}

static void run_layernorm_backward(layer_rig *r, int set) {
  check(mpt_layernorm_backward(queue, &r->b[set], &r->a[set], &r->gamma, &r->mean, &r->rstd,
                               &r->out[set], false, &r->grad_gamma, &r->grad_beta, &error));
}

/* As in a residual branch, whose gradient is there already. */
static void run_layernorm_backward_added(layer_rig *r, int set) {
  check(mpt_layernorm_backward(queue, &r->b[set], &r->a[set], &r->gamma, &r->mean, &r->rstd,
                               &r->out[set], true, &r->grad_gamma, &r->grad_beta, &error));
}

static void run_gelu(layer_rig *r, int set) {
  check(mpt_activation_forward(queue, MPT_GELU, &r->a[set], &r->out[set], &error));
}

static void run_gelu_backward(layer_rig *r, int set) {
  check(mpt_activation_backward(queue, MPT_GELU, &r->a[set], &r->a[set], &r->b[set], &r->out[set],
                                &error));
}

static void run_bias(layer_rig *r, int set) {
  check(mpt_bias_backward(queue, &r->a[set], &r->grad_beta, true, &error));
}

static void run_embedding(layer_rig *r, int set) {
  check(mpt_embedding_forward(queue, r->ids, &r->table, &r->position, &r->out[set], &error));
}

static void run_embedding_backward(layer_rig *r, int set) {
  check(mpt_embedding_backward(queue, r->ids, &r->a[set], &r->table, &r->position, &error));
}

/* ---- the table ---- */
static void bench_embedding(layer_rig *r, int64_t width, bool alike) {
  int32_t *ids = malloc(TOKENS * sizeof *ids);
  if (ids == NULL)
    exit(1);
  int64_t distinct = 0;
  char *seen = calloc(VOCABULARY, 1);
  for (int i = 0; seen != NULL && i < TOKENS; i++) {
    double u = (double)rand() / RAND_MAX; /* words of a text: their counts fall like 1 / rank */
    ids[i] = alike ? (int32_t)(__builtin_pow(VOCABULARY, u) - 1) : rand() % VOCABULARY;
    distinct += !seen[ids[i]];
    seen[ids[i]] = 1;
  }
  free(seen);
  check(mpt_memory_upload(queue, ids, TOKENS * sizeof *ids, r->ids, &error));
  free(ids);
  double element = mpt_format_get(format)->bits / 8.0, n = (double)TOKENS * (double)width;
  double words = 4.0 * (double)distinct * (double)width;
  double places = 4.0 * (double)r->position.shape[0] * (double)width;
  printf("%lld of %d ids are distinct:\n", (long long)distinct, TOKENS);
  report("embedding forward", width, time_of(run_embedding, r), element * n + words + places);
  report("embedding backward", width, time_of(run_embedding_backward, r),
         element * n + 2 * words + 2 * places);
}

static void bench_width(int64_t width, int64_t sequence) {
  layer_rig r;
  double element = mpt_format_get(format)->bits / 8.0, n = element * TOKENS * (double)width;
  make_activations(&r, width);
  report("copy", width, time_of(run_copy, &r), 2 * n);
  report("add", width, time_of(run_add, &r), 3 * n);
  report("accumulate", width, time_of(run_accumulate, &r), 3 * n);
  report("layernorm forward", width, time_of(run_layernorm, &r), 2 * n);
  report("layernorm backward", width, time_of(run_layernorm_backward, &r), 3 * n);
  report("layernorm backward, added", width, time_of(run_layernorm_backward_added, &r), 4 * n);
  r.ids = NULL;
  void *ids;
  check(mpt_memory_allocate(queue, TOKENS * sizeof(int32_t), &ids, &error));
  r.ids = ids;
  r.table = MAKE(MPT_FP32, VOCABULARY, width);
  r.position = MAKE(MPT_FP32, sequence, width);
  bench_embedding(&r, width, false);
  bench_embedding(&r, width, true);
  mpt_memory_free(queue, r.ids);
  mpt_memory_free(queue, r.table.data);
  mpt_memory_free(queue, r.position.data);
  report("bias gradient", width, time_of(run_bias, &r), n);
  free_activations(&r);
  for (int64_t factor = 3; factor <= 4; factor++) { /* query, key, value; the MLP */
    make_activations(&r, factor * width);
    report("bias gradient", factor * width, time_of(run_bias, &r), (double)factor * n);
    if (factor == 4) {
      report("gelu forward", 4 * width, time_of(run_gelu, &r), 8 * n);
      report("gelu backward", 4 * width, time_of(run_gelu_backward, &r), 12 * n);
    }
    free_activations(&r);
  }
}

static void bench_copy(void) {
  layer_rig r;
  r.a[0] = MAKE(MPT_FP32, COPY_BYTES / 4);
  r.b[0] = MAKE(MPT_FP32, COPY_BYTES / 4);
  double seconds = time_of(run_large_copy, &r);
  copy_rate = 2.0 * COPY_BYTES / seconds;
  report("copy of 512 MiB", 0, seconds, 2.0 * COPY_BYTES);
  mpt_memory_free(queue, r.a[0].data);
  mpt_memory_free(queue, r.b[0].data);
}

int main(int argc, char **argv) {
  if (argc > 1)
    check(mpt_format_parse(argv[1], &format, &error));
  struct cudaDeviceProp p = gpu_open("bench_layers");
  printf("%s, %d rows in %s\n", p.name, TOKENS, mpt_format_get(format)->name);
  bench_copy();
  bench_width(768, 1024);
  bench_width(2048, 2048);
  gpu_close();
  return 0;
}
#endif
