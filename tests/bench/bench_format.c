/* Conversions: ns for each element from cache, the array function beside a plain scalar loop; and
 * the passes over tensors, in GB/s of input read, beside memcpy. One thread. Each figure is the
 * best of many repetitions, taken in turns with the others. */
#include "base/clock.h"
#include "format/rounding.h"
#include "mptune/ops.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { CACHED = 2048, LARGE = 1 << 24, TURNS = 60, LARGE_TURNS = 9 };

static void keep_less(double *best, double value) {
  if (value < *best)
    *best = value;
}

/* Normal numbers over some binades: in every format some are rounded, subnormal and saturated. */
static float *numbers(size_t count) {
  float *x = aligned_alloc(64, count * sizeof *x);
  if (x == NULL)
    exit(1);
  for (size_t i = 0; i < count; i++)
    x[i] = ldexpf((float)rand() / (float)RAND_MAX - 0.5f, rand() % 32 - 16);
  return x;
}

static double time_array(mpt_vectors v, mpt_format f, const float *in, float *out) {
  enum { PASSES = 20 };
  double start = mpt_clock_seconds();
  for (int pass = 0; pass < PASSES; pass++)
    mpt_format_round_array_with(v, f, in, 1.0f, out, CACHED);
  return 1e9 * (mpt_clock_seconds() - start) / PASSES / CACHED;
}

static double time_scalar(mpt_format f, const float *in, float *out) {
  double start = mpt_clock_seconds();
  for (size_t i = 0; i < CACHED; i++)
    out[i] = mpt_format_round(f, in[i], true);
  return 1e9 * (mpt_clock_seconds() - start) / CACHED;
}

static void bench_cached(void) {
  static const char *const names[] = {"baseline", "avx2", "avx512"};
  float *in = numbers(CACHED), *out = numbers(CACHED);
  const mpt_vectors widest = mpt_vectors_widest();
  printf("ns per element, %d elements in cache\n%-10s", CACHED, "format");
  for (mpt_vectors v = 0; v <= widest && v <= MPT_VECTORS_AVX512; v++)
    printf(" %9s", names[v]);
  printf(" %9s %9s %9s\n", "in place", "scalar", "ratio");
  for (mpt_format f = 0; f < MPT_FORMAT_COUNT; f++) {
    double array[3] = {1e9, 1e9, 1e9}, in_place = 1e9, scalar = 1e9;
    for (int turn = 0; turn < TURNS; turn++) {
      for (mpt_vectors v = 0; v <= widest && v <= MPT_VECTORS_AVX512; v++)
        keep_less(&array[v], time_array(v, f, in, out));
      keep_less(&scalar, time_scalar(f, in, out));
      keep_less(&in_place, time_array(widest, f, out, out));
    }
    printf("%-10s", mpt_format_get(f)->name);
    for (mpt_vectors v = 0; v <= widest; v++)
      printf(" %9.3f", array[v]);
    printf(" %9.3f %9.3f %8.1fx\n", in_place, scalar, scalar / array[widest]);
  }
  free(in);
  free(out);
}

typedef struct passes {
  mpt_queue *queue;
  mpt_tensor x, y; /* y's format is set by the pass */
} passes;

static void check(mpt_status status, const mpt_error *error) {
  if (status == MPT_OK)
    return;
  fprintf(stderr, "error: %s\n", error->message);
  exit(1);
}

static void run_memcpy(passes *p, mpt_error *e) {
  (void)e;
  memcpy(p->y.data, p->x.data, mpt_tensor_bytes(&p->x));
}

static void run_cast(passes *p, mpt_format format, bool counted, mpt_error *e) {
  mpt_cast_counts counts;
  p->y.format = format;
  check(mpt_cast(p->queue, &p->x, 2, &p->y, counted ? &counts : NULL, e), e);
}

static void run_cast_e4m3(passes *p, mpt_error *e) {
  run_cast(p, MPT_FP8_E4M3, true, e);
}
static void run_cast_bf16(passes *p, mpt_error *e) {
  run_cast(p, MPT_BF16, true, e);
}

static void run_copy_bf16(passes *p, mpt_error *e) {
  p->y.format = MPT_BF16;
  check(mpt_copy(p->queue, &p->x, &p->y, e), e);
}

static void run_amax(passes *p, mpt_error *e) {
  uint32_t bits;
  check(mpt_amax(p->queue, &p->x, &bits, e), e);
}

static void run_collect(passes *p, mpt_error *e, bool full) {
  static mpt_statistics s;
  check(mpt_collect(p->queue, &p->x, full, &s, e), e);
}

static void run_lite(passes *p, mpt_error *e) {
  run_collect(p, e, false);
}
static void run_full(passes *p, mpt_error *e) {
  run_collect(p, e, true);
}

static void run_error(passes *p, mpt_error *e) {
  double error, signal;
  check(mpt_quantization_error(p->queue, &p->x, MPT_FP8_E4M3, 2, &error, &signal, e), e);
}

static const struct {
  const char *name;
  void (*run)(passes *, mpt_error *);
} kinds[] = {{"memcpy", run_memcpy},
             {"copy to bf16", run_copy_bf16},
             {"cast to bf16, counted", run_cast_bf16},
             {"cast to fp8_e4m3, counted", run_cast_e4m3},
             {"amax", run_amax},
             {"collect lite", run_lite},
             {"collect full", run_full},
             {"quantization error", run_error}};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static void bench_passes(const char *where, int64_t count, int turns, int repeats) {
  mpt_error e;
  passes p = {0};
  mpt_queue_config config = mpt_queue_config_default();
  config.threads = 1;
  check(mpt_queue_open(&config, &p.queue, &e), &e);
  p.x = mpt_tensor_of(numbers((size_t)count), MPT_FP32, 1, &count);
  p.y = mpt_tensor_of(numbers((size_t)count), MPT_FP32, 1, &count);
  double best[KINDS];
  for (int k = 0; k < KINDS; k++)
    best[k] = 1e300;
  for (int turn = 0; turn < turns; turn++)
    for (int k = 0; k < KINDS; k++) {
      double start = mpt_clock_seconds();
      for (int r = 0; r < repeats; r++)
        kinds[k].run(&p, &e);
      keep_less(&best[k], 1e9 * (mpt_clock_seconds() - start) / repeats);
    }
  printf("\n%lld elements, %s\n%-28s %9s %9s\n", (long long)count, where, "pass", "GB/s read",
         "ns/elem");
  for (int k = 0; k < KINDS; k++)
    printf("%-28s %9.1f %9.3f\n", kinds[k].name, 4.0 * (double)count / best[k],
           best[k] / (double)count);
  free(p.x.data);
  free(p.y.data);
  mpt_queue_close(p.queue);
}

int main(void) {
  bench_cached();
  bench_passes("in cache", CACHED, TURNS, 20);
  bench_passes("in memory", LARGE, LARGE_TURNS, 1);
}
