/* The kernels of statistics and conversion on a GPU: bytes read and written, time, and bandwidth as
 * a share of what a plain device-to-device copy reaches in the same run. Tensors are larger than
 * twice the L2; data is normal. Times are medians, taken in turns with the copy's, and each of a
 * second run in a row: the first finds the cache full of what the other one wrote.
 *
 * bench_statistics [ROWS COLUMNS]; exits with 2 where there is no GPU. */
#include "base/random.h"
#include "mptune/ops.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef MPTUNE_CUDA
#include <cuda_runtime_api.h>

enum { TURNS = 21 };

typedef struct bench {
  mpt_queue *queue;
  cudaStream_t stream;
  cudaEvent_t begin, end;
  int64_t rows, columns;
  mpt_tensor x[MPT_FORMAT_COUNT]; /* [rows, columns], fp32, bf16 and fp16 */
  mpt_tensor y, y_transposed;     /* room for fp32 */
  void *statistics, *counts, *amax;
  mpt_scale *scale;
  double copy; /* bytes per ms */
} bench;

typedef mpt_status bench_call(bench *b, const mpt_tensor *x, mpt_format format, mpt_error *error);

static void check(mpt_status status, const mpt_error *error) {
  if (status == MPT_OK)
    return;
  fprintf(stderr, "bench_statistics: %s\n", error->message);
  exit(status == MPT_ERROR_UNSUPPORTED ? 2 : 1);
}

static void check_cuda(cudaError_t result) {
  if (result == cudaSuccess)
    return;
  fprintf(stderr, "bench_statistics: %s\n", cudaGetErrorString(result));
  exit(1);
}

static void *allocate(bench *b, size_t bytes) {
  mpt_error error;
  void *data = NULL;
  check(mpt_memory_allocate(b->queue, bytes, &data, &error), &error);
  return data;
}

static mpt_tensor tensor(bench *b, void *data, mpt_format format, bool transposed) {
  int64_t shape[] = {transposed ? b->columns : b->rows, transposed ? b->rows : b->columns};
  mpt_tensor t = mpt_tensor_of(data, format, 2, shape);
  t.device = mpt_queue_device(b->queue);
  return t;
}

/* Normal numbers, from a table since they are many. */
static void fill_inputs(bench *b) {
  enum { TABLE = 1 << 16 };
  static float table[TABLE];
  for (uint64_t i = 0; i < TABLE; i++) {
    uint32_t w[4];
    mpt_philox(1, i, 0, w);
    table[i] =
        (float)(sqrt(-2 * log(mpt_uniform(w[0]))) * cos(6.283185307179586 * mpt_uniform(w[1])));
  }
  int64_t n = b->rows * b->columns;
  float *host = malloc((size_t)n * sizeof *host);
  if (host == NULL)
    exit(1);
  uint64_t state = 1;
  for (int64_t i = 0; i < n; i++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    host[i] = table[state >> 48];
  }
  mpt_error error;
  for (mpt_format f = MPT_FP32; f <= MPT_FP16; f++) {
    if (f == MPT_TF32)
      continue;
    b->x[f] = tensor(b, NULL, f, false);
    b->x[f].data = allocate(b, mpt_tensor_bytes(&b->x[f]));
    check(mpt_tensor_upload(b->queue, host, &b->x[f], &error), &error);
  }
  free(host);
}

/* ---- what is timed ---- */
static mpt_status run_copy(bench *b, const mpt_tensor *x, mpt_format format, mpt_error *error) {
  (void)format, (void)error;
  check_cuda(cudaMemcpyAsync(b->y.data, x->data, mpt_tensor_bytes(x), cudaMemcpyDeviceToDevice,
                             b->stream));
  return MPT_OK;
}

static mpt_status run_amax(bench *b, const mpt_tensor *x, mpt_format format, mpt_error *error) {
  (void)format;
  return mpt_amax(b->queue, x, b->amax, error);
}

static mpt_status run_lite(bench *b, const mpt_tensor *x, mpt_format format, mpt_error *error) {
  (void)format;
  return mpt_collect_lite(b->queue, x, b->statistics, error); /* as sessions do */
}

static mpt_status run_full(bench *b, const mpt_tensor *x, mpt_format format, mpt_error *error) {
  (void)format;
  return mpt_collect(b->queue, x, true, b->statistics, error);
}

static mpt_status run_cast(bench *b, const mpt_tensor *x, mpt_format format, mpt_error *error) {
  mpt_tensor y = tensor(b, b->y.data, format, false);
  return mpt_cast(b->queue, x, 3, &y, NULL, error);
}

static mpt_status run_cast_count(bench *b, const mpt_tensor *x, mpt_format format,
                                 mpt_error *error) {
  mpt_tensor y = tensor(b, b->y.data, format, false);
  return mpt_cast(b->queue, x, 3, &y, b->counts, error);
}

static mpt_status quantize(bench *b, const mpt_tensor *x, mpt_format format, bool both,
                           unsigned flags, mpt_error *error) {
  mpt_tensor y = tensor(b, b->y.data, format, false);
  mpt_tensor t = tensor(b, b->y_transposed.data, format, true);
  return mpt_quantize(b->queue, x, b->scale, flags, both ? &y : NULL, &t, error);
}

static mpt_status run_both(bench *b, const mpt_tensor *x, mpt_format format, mpt_error *error) {
  return quantize(b, x, format, true, 0, error);
}

static mpt_status run_both_count(bench *b, const mpt_tensor *x, mpt_format format,
                                 mpt_error *error) {
  return quantize(b, x, format, true, MPT_QUANTIZE_AMAX | MPT_QUANTIZE_COUNT, error);
}

static mpt_status run_transposed(bench *b, const mpt_tensor *x, mpt_format format,
                                 mpt_error *error) {
  return quantize(b, x, format, false, 0, error);
}

static mpt_status run_error(bench *b, const mpt_tensor *x, mpt_format format, mpt_error *error) {
  double *sums = b->statistics;
  return mpt_quantization_error(b->queue, x, format, 3, sums, sums + 1, error);
}

/* ---- timing ---- */
static int ascending(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static float once(bench *b, bench_call *call, const mpt_tensor *x, mpt_format format) {
  mpt_error error = {0};
  float ms = 0;
  check_cuda(cudaEventRecord(b->begin, b->stream));
  check(call(b, x, format, &error), &error);
  check_cuda(cudaEventRecord(b->end, b->stream));
  check_cuda(cudaEventSynchronize(b->end));
  check_cuda(cudaEventElapsedTime(&ms, b->begin, b->end));
  return ms;
}

/* Median ms of a call, and of the copy of the largest input in turns with it: bytes per ms. */
static float measure(bench *b, bench_call *call, const mpt_tensor *x, mpt_format format) {
  float ms[TURNS], copy[TURNS];
  for (int i = 0; i < TURNS; i++) {
    for (int again = 0; again < 2; again++)
      copy[i] = once(b, run_copy, &b->x[MPT_FP32], MPT_FP32);
    for (int again = 0; again < 2; again++)
      ms[i] = once(b, call, x, format);
  }
  qsort(ms, TURNS, sizeof *ms, ascending);
  qsort(copy, TURNS, sizeof *copy, ascending);
  b->copy = 2 * (double)mpt_tensor_bytes(&b->x[MPT_FP32]) / (double)copy[TURNS / 2];
  return ms[TURNS / 2];
}

/* `outputs`: how many tensors of `format` are written. */
static void row(bench *b, const char *name, bench_call *call, mpt_format from, mpt_format format,
                int outputs) {
  const mpt_tensor *x = &b->x[from];
  double elements = (double)(b->rows * b->columns);
  double bytes =
      elements * (mpt_format_get(from)->bits + outputs * mpt_format_get(format)->bits) / 8;
  if (call == run_both_count) { /* a scale that holds for what is counted */
    mpt_error error;
    check(mpt_scale_measure(b->queue, x, b->scale, &error), &error);
  }
  float ms = measure(b, call, x, format);
  double rate = bytes / (double)ms;
  printf("%-28s %-5s %-9s %9.1f %9.1f %7.2f %6.1f%%\n", name, mpt_format_get(from)->name,
         outputs > 0 || call == run_error ? mpt_format_get(format)->name : "", bytes / 1e6,
         1e3 * (double)ms, rate / 1e9, 100 * rate / b->copy);
  fflush(stdout);
}

static void table(bench *b) {
  static const mpt_format inputs[] = {MPT_FP32, MPT_BF16, MPT_FP16};
  static const mpt_format targets[] = {MPT_FP8_E4M3, MPT_FP8_E5M2, MPT_BF16, MPT_FP16};
  printf("%-28s %-5s %-9s %9s %9s %7s %7s\n", "kernel", "from", "to", "MB", "us", "TB/s",
         "of copy");
  row(b, "copy (cudaMemcpyAsync)", run_copy, MPT_FP32, MPT_FP32, 1);
  row(b, "copy (cudaMemcpyAsync)", run_copy, MPT_BF16, MPT_BF16, 1);
  for (int i = 0; i < 3; i++) {
    row(b, "amax", run_amax, inputs[i], MPT_FP32, 0);
    row(b, "lite", run_lite, inputs[i], MPT_FP32, 0);
    row(b, "full", run_full, inputs[i], MPT_FP32, 0);
    for (int j = 0; j < 4; j++) {
      if (targets[j] == inputs[i])
        continue;
      row(b, "cast", run_cast, inputs[i], targets[j], 1);
      row(b, "cast, counted", run_cast_count, inputs[i], targets[j], 1);
      row(b, "cast+transpose", run_both, inputs[i], targets[j], 2);
      row(b, "cast+transpose, amax, counts", run_both_count, inputs[i], targets[j], 2);
      row(b, "transpose alone", run_transposed, inputs[i], targets[j], 1);
    }
    row(b, "quantization error", run_error, inputs[i], MPT_FP8_E4M3, 0);
  }
}

int main(int argc, char **argv) {
  bench b = {.rows = argc > 2 ? atoll(argv[1]) : 16384,
             .columns = argc > 2 ? atoll(argv[2]) : 8192};
  if (b.rows < 1 || b.columns < 1) {
    fprintf(stderr, "usage: bench_statistics [ROWS COLUMNS]\n");
    return 2;
  }
  mpt_queue_config config = mpt_queue_config_default();
  mpt_error error;
  config.backend = "cuda";
  check(mpt_queue_open(&config, &b.queue, &error), &error);
  mpt_queue_close(b.queue); /* there is a GPU: now with a stream of our own */
  check_cuda(cudaStreamCreate(&b.stream));
  config.stream = b.stream;
  config.owns_stream = false;
  check(mpt_queue_open(&config, &b.queue, &error), &error);
  check_cuda(cudaEventCreate(&b.begin));
  check_cuda(cudaEventCreate(&b.end));
  size_t bytes = (size_t)(b.rows * b.columns) * sizeof(float);
  b.y = tensor(&b, allocate(&b, bytes), MPT_FP32, false);
  b.y_transposed = tensor(&b, allocate(&b, bytes), MPT_FP32, true);
  b.statistics = allocate(&b, sizeof(mpt_statistics));
  b.counts = allocate(&b, sizeof(mpt_cast_counts));
  b.amax = allocate(&b, sizeof(uint32_t));
  b.scale = allocate(&b, sizeof(mpt_scale));
  mpt_scale scale = {.scale = 8, .inverse = 0.125f, .format = MPT_FP8_E4M3, .max_finite = 448};
  check(mpt_memory_upload(b.queue, &scale, sizeof scale, b.scale, &error), &error);
  struct cudaDeviceProp properties;
  check_cuda(cudaGetDeviceProperties(&properties, 0));
  printf("%s, CUDA %d.%d, [%lld, %lld]\n", properties.name, CUDART_VERSION / 1000,
         CUDART_VERSION % 1000 / 10, (long long)b.rows, (long long)b.columns);
  fill_inputs(&b);
  table(&b);
  mpt_queue_close(b.queue);
  return 0;
}

#else

int main(void) {
  fprintf(stderr, "bench_statistics: built without the cuda backend\n");
  return 2;
}

#endif
