/* Causal attention, forward and backward: first the error of every case against the definition in
 * double, at heads of 32, 64 and 128 channels, then the times at the sizes of two GPTs. Queries,
 * keys and values are views of one packed tensor, as a training step has them.
 *   bench_attention [FORMAT...: fp32, tf32, bf16, fp16; all of them]
 *   python3 tests/bench/pytorch_attention.py build/release/tests/bench_attention
 * puts PyTorch's times beside these. Rates count two products forward and five backward, half of
 * each for being causal. Exits 1 when an error is past its limit or a second run gives other bits,
 * 2 where there is no GPU. */
#include "mptune/ops.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef MPTUNE_CUDA
int main(void) {
  fprintf(stderr, "error: bench_attention needs a GPU, and this build has no CUDA backend\n");
  return 2;
}
#else
#include "gpu_bench.h"

enum { REPEATS = 11, CALLS = 5, CHECKED = 387, OUTPUTS = 5 };

typedef struct attention_size {
  int64_t batch, heads, length, depth;
} attention_size;

static const attention_size timed[] = {{16, 12, 1024, 64}, {8, 16, 2048, 128}};
static const int64_t depths[] = {32, 64, 128};

/* Packed [B, T, 3C] tensors of queries, keys, values and of their gradients; the rest [B, T, C]. */
typedef struct attention_rig {
  attention_size size;
  mpt_format format;
  mpt_tensor packed, grad_packed, y, grad_y, lse;
  mpt_tensor view[3], grad_view[3];
  mpt_attention_args args;
} attention_rig;

static mpt_tensor make(mpt_format format, int64_t a, int64_t b, int64_t c) {
  mpt_tensor t = mpt_tensor_of(NULL, format, 3, (int64_t[]){a, b, c});
  t.device = mpt_queue_device(queue);
  check(mpt_memory_allocate(queue, mpt_tensor_bytes(&t), &t.data, &error));
  return t;
}

static void *allocate(size_t count, size_t bytes) {
  void *memory = calloc(count, bytes);
  if (memory == NULL) {
    fprintf(stderr, "error: out of memory\n");
    exit(1);
  }
  return memory;
}

static float *read_back(const mpt_tensor *t) {
  float *values = allocate((size_t)mpt_tensor_count(t), sizeof *values);
  check(mpt_tensor_download(queue, t, values, &error));
  return values;
}

/* Nearly normal numbers: a stretch of them, over and over. */
static void randomize(const mpt_tensor *t) {
  enum { STRETCH = 1000003 };
  static float stretch[STRETCH];
  int64_t count = mpt_tensor_count(t);
  float *values = allocate((size_t)count, sizeof *values);
  for (int i = 0; stretch[STRETCH - 1] == 0.0f && i < STRETCH; i++)
    for (int k = 0; k < 12; k++)
      stretch[i] += (float)rand() / (float)RAND_MAX - 0.5f;
  for (int64_t i = 0, at = rand() % STRETCH; i < count; i++, at = (at + 1) % STRETCH)
    values[i] = stretch[at];
  check(mpt_tensor_upload(queue, values, t, &error));
  free(values);
}

/* tf32 is stored as fp32, as in a step. */
static void rig_open(attention_rig *r, attention_size s, mpt_format format, bool causal) {
  int64_t width = s.heads * s.depth;
  mpt_format stored = format == MPT_TF32 ? MPT_FP32 : format;
  r->size = s;
  r->format = format;
  r->packed = make(stored, s.batch, s.length, 3 * width);
  r->grad_packed = make(stored, s.batch, s.length, 3 * width);
  r->y = make(stored, s.batch, s.length, width);
  r->grad_y = make(stored, s.batch, s.length, width);
  r->lse = make(MPT_FP32, s.batch, s.heads, s.length);
  randomize(&r->packed);
  randomize(&r->grad_y);
  size_t element = (size_t)mpt_format_get(stored)->bits / 8;
  for (int i = 0; i < 3; i++) {
    r->view[i] = r->packed;
    r->grad_view[i] = r->grad_packed;
    r->view[i].shape[2] = r->grad_view[i].shape[2] = width;
    r->view[i].data = (char *)r->packed.data + (size_t)(i * width) * element;
    r->grad_view[i].data = (char *)r->grad_packed.data + (size_t)(i * width) * element;
  }
  r->args = (mpt_attention_args){&r->view[0], &r->view[1],  &r->view[2], &r->y,
                                 &r->lse,     (int)s.heads, causal,      format};
}

static void rig_close(attention_rig *r) {
  mpt_tensor *all[] = {&r->packed, &r->grad_packed, &r->y, &r->grad_y, &r->lse};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    mpt_memory_free(queue, all[i]->data);
}

static void run_forward(attention_rig *r) {
  check(mpt_attention_forward(queue, &r->args, &error));
}

static void run_backward(attention_rig *r) {
  check(mpt_attention_backward(queue, &r->args, &r->grad_y, &r->grad_view[0], &r->grad_view[1],
                               &r->grad_view[2], &error));
}

/* ---- the definition, one head of one batch element ---- */
typedef struct head {
  double *q, *k, *v, *dy;         /* [T, D] */
  double *y, *lse, *dq, *dk, *dv; /* [T, D], lse [T] */
  double *p, *dp;                 /* [T] */
} head;

static double dot(const double *a, const double *b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++)
    sum += a[i] * b[i];
  return sum;
}

static void add_scaled(double *to, double scale, const double *x, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    to[i] += scale * x[i];
}

static void head_row(head *h, int64_t i, int64_t keys, int64_t d) {
  double scale = 1 / sqrt((double)d), largest = -INFINITY, sum = 0, mean = 0;
  for (int64_t j = 0; j < keys; j++) {
    h->p[j] = scale * dot(h->q + i * d, h->k + j * d, d);
    largest = fmax(largest, h->p[j]);
  }
  for (int64_t j = 0; j < keys; j++)
    sum += h->p[j] = exp(h->p[j] - largest);
  h->lse[i] = largest + log(sum);
  for (int64_t j = 0; j < keys; j++) {
    h->p[j] /= sum;
    add_scaled(h->y + i * d, h->p[j], h->v + j * d, d);
    h->dp[j] = dot(h->dy + i * d, h->v + j * d, d);
    mean += h->p[j] * h->dp[j];
  }
  for (int64_t j = 0; j < keys; j++) {
    double ds = scale * h->p[j] * (h->dp[j] - mean);
    add_scaled(h->dv + j * d, h->p[j], h->dy + i * d, d);
    add_scaled(h->dq + i * d, ds, h->k + j * d, d);
    add_scaled(h->dk + j * d, ds, h->q + i * d, d);
  }
}

/* Columns from `column` of rows of `width` floats, rounded as they enter products. */
static void pick(const float *x, int64_t width, int64_t column, int64_t rows, int64_t d,
                 mpt_format format, double *out) {
  for (int64_t i = 0; i < rows * d; i++)
    out[i] = mpt_format_round(format, x[i / d * width + column + i % d], false);
}

static double relative(const float *got, int64_t width, int64_t column, const double *expected,
                       int64_t rows, int64_t d) {
  double error_square = 0, square = 0;
  for (int64_t i = 0; i < rows * d; i++) {
    double difference = got[i / d * width + column + i % d] - expected[i];
    error_square += difference * difference;
    square += expected[i] * expected[i];
  }
  return sqrt(error_square / square);
}

/* What a rig holds, on the host. */
typedef struct results {
  float *packed, *grad_packed, *y, *grad_y, *lse;
} results;

static results read_results(const attention_rig *r) {
  return (results){read_back(&r->packed), read_back(&r->grad_packed), read_back(&r->y),
                   read_back(&r->grad_y), read_back(&r->lse)};
}

static void free_results(results *x) {
  free(x->packed);
  free(x->grad_packed);
  free(x->y);
  free(x->grad_y);
  free(x->lse);
}

static bool same_results(const attention_rig *r, const results *a, const results *b) {
  size_t count = (size_t)mpt_tensor_count(&r->y), rows = (size_t)mpt_tensor_count(&r->lse);
  return memcmp(a->grad_packed, b->grad_packed, 3 * count * sizeof(float)) == 0 &&
         memcmp(a->y, b->y, count * sizeof(float)) == 0 &&
         memcmp(a->lse, b->lse, rows * sizeof(float)) == 0;
}

/* Errors of y, lse, dq, dk, dv of one head; each no less than what stands there. */
static void head_errors(const attention_rig *r, const results *x, int64_t batch, int64_t number,
                        double worst[OUTPUTS]) {
  int64_t t = r->size.length, d = r->size.depth, width = r->size.heads * d, n = t * d;
  double *memory = allocate((size_t)(8 * n + 3 * t), sizeof *memory);
  head h = {memory,         memory + n,         memory + 2 * n,        memory + 3 * n,
            memory + 4 * n, memory + 8 * n,     memory + 5 * n,        memory + 6 * n,
            memory + 7 * n, memory + 8 * n + t, memory + 8 * n + 2 * t};
  const float *qkv = x->packed + batch * t * 3 * width;
  double *parts[] = {h.q, h.k, h.v};
  for (int i = 0; i < 3; i++)
    pick(qkv, 3 * width, i * width + number * d, t, d, r->format, parts[i]);
  pick(x->grad_y + batch * t * width, width, number * d, t, d, r->format, h.dy);
  for (int64_t i = 0; i < t; i++)
    head_row(&h, i, r->args.causal ? i + 1 : t, d);
  const float *grads = x->grad_packed + batch * t * 3 * width;
  double errors[OUTPUTS] = {
      relative(x->y + batch * t * width, width, number * d, h.y, t, d),
      relative(x->lse + (batch * r->size.heads + number) * t, 1, 0, h.lse, t, 1),
      relative(grads, 3 * width, number * d, h.dq, t, d),
      relative(grads, 3 * width, width + number * d, h.dk, t, d),
      relative(grads, 3 * width, 2 * width + number * d, h.dv, t, d)};
  for (int i = 0; i < OUTPUTS; i++)
    worst[i] = errors[i] > worst[i] || isnan(errors[i]) ? errors[i] : worst[i];
  free(memory);
}

/* Whether errors are within a few roundings to the format (fp32: within what sums of some hundred
 * terms and the device's exponential lose). */
static bool check_case(mpt_format format, int64_t depth, bool causal) {
  static const double limit[] = {
      [MPT_FP32] = 0x1p-19, [MPT_TF32] = 0x1p-10, [MPT_BF16] = 0x1p-7, [MPT_FP16] = 0x1p-10};
  attention_rig r;
  double worst[OUTPUTS] = {0};
  rig_open(&r, (attention_size){2, 3, CHECKED, depth}, format, causal);
  run_forward(&r);
  run_backward(&r);
  results first = read_results(&r);
  run_forward(&r);
  run_backward(&r);
  results second = read_results(&r);
  bool good = same_results(&r, &first, &second);
  head_errors(&r, &first, 0, 0, worst);
  head_errors(&r, &first, 1, 2, worst);
  for (int i = 0; i < OUTPUTS; i++)
    good &= worst[i] <= limit[format];
  printf("error %-5s %4lld %-8s %10.2e %10.2e %10.2e %10.2e %10.2e %s\n",
         mpt_format_get(format)->name, (long long)depth, causal ? "causal" : "full", worst[0],
         worst[1], worst[2], worst[3], worst[4], good ? "" : "WRONG");
  free_results(&first);
  free_results(&second);
  rig_close(&r);
  return good;
}

/* ---- times: the median of REPEATS runs of CALLS calls ---- */
static int compare(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static double time_of(void (*run)(attention_rig *), attention_rig *r) {
  float ms[REPEATS];
  cudaEvent_t start, end;
  check_cuda(cudaEventCreate(&start));
  check_cuda(cudaEventCreate(&end));
  for (int i = -1; i < REPEATS; i++) {
    check_cuda(cudaEventRecord(start, stream));
    for (int call = 0; call < CALLS; call++)
      run(r);
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

static void report(const attention_rig *r, const char *pass, double products, double seconds) {
  attention_size s = r->size;
  double operations = products * (double)s.batch * (double)s.heads * (double)s.length *
                      (double)s.length * (double)s.depth;
  printf("time %-5s %3lld %3lld %5lld %4lld %-8s %10.1f us %7.1f TFLOP/s\n",
         mpt_format_get(r->format)->name, (long long)s.batch, (long long)s.heads,
         (long long)s.length, (long long)s.depth, pass, seconds * 1e6,
         operations / seconds * 1e-12);
  fflush(stdout);
}

static void time_case(mpt_format format, attention_size size) {
  attention_rig r;
  rig_open(&r, size, format, true);
  report(&r, "forward", 2, time_of(run_forward, &r));
  report(&r, "backward", 5, time_of(run_backward, &r));
  rig_close(&r);
}

int main(int argc, char **argv) {
  mpt_format formats[] = {MPT_BF16, MPT_FP16, MPT_TF32, MPT_FP32};
  int count = argc > 1 ? argc - 1 : 4;
  bool good = true;
  if (argc > 5) {
    fprintf(stderr, "usage: bench_attention [FORMAT...]\n");
    return 2;
  }
  for (int i = 1; i < argc; i++)
    check(mpt_format_parse(argv[i], &formats[i - 1], &error));
  struct cudaDeviceProp device = gpu_open("bench_attention");
  printf("%s\n# error of: y, lse, dq, dk, dv; T = %d\n", device.name, CHECKED);
  for (int i = 0; i < count; i++)
    for (size_t d = 0; d < sizeof depths / sizeof *depths; d++)
      for (int causal = 0; causal < 2; causal++)
        good &= check_case(formats[i], depths[d], causal);
  printf("# time of: batch, heads, T, channels a head\n");
  for (int i = 0; i < count; i++)
    for (size_t s = 0; s < sizeof timed / sizeof *timed; s++)
      time_case(formats[i], timed[s]);
  gpu_close();
  return good ? 0 : 1;
}
#endif
