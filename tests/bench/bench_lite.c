/* What lite statistics add to a training step of two GPTs of 16384 tokens: for every tensor that is
 * an operand of a product, the operation that writes it without and with its output's `lite`, or
 * the pass that collects it where no kernel does so on the way; microseconds of each, the share of
 * a plain device-to-device copy's rate, and what a step pays. Calls are replayed from a graph, as
 * in a step; tensors take turns, so that no cache holds them all. bench_lite [bf16|fp16|fp32: the
 * format of activations] Exits 2 where there is no GPU. */
#include "mptune/ops.h"
#include "mptune/statistics.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef MPTUNE_CUDA
int main(void) {
  fprintf(stderr, "error: bench_lite needs a GPU, and this build has no CUDA backend\n");
  return 2;
}
#else
#include "gpu_bench.h"

enum { TOKENS = 16384, VOCABULARY = 50304, SETS = 4, CALLS = 20, REPEATS = 15 };

static mpt_format format = MPT_BF16;
static double copy_rate; /* bytes a second, read and written, of a plain copy */
static mpt_lite *lite;   /* [64], the first for all but weights */

/* ---- tensors: a stretch of random numbers, over and over ---- */
static mpt_tensor make(mpt_format of, int rank, const int64_t *shape) {
  enum { STRETCH = 1 << 20 };
  static float values[STRETCH];
  for (int i = 0; values[0] == 0.0f && i < STRETCH; i++)
    values[i] = (float)(rand() + 1) / (float)RAND_MAX * 4.0f - 2.0f;
  mpt_tensor t = mpt_tensor_of(NULL, of, rank, shape);
  t.device = mpt_queue_device(queue);
  check(mpt_memory_allocate(queue, mpt_tensor_bytes(&t), &t.data, &error));
  size_t bytes = (size_t)mpt_format_get(of)->bits / 8;
  int64_t n = mpt_tensor_count(&t), first = n < STRETCH ? n : STRETCH;
  mpt_tensor part = mpt_tensor_of(t.data, of, 1, &first);
  part.device = t.device;
  check(mpt_tensor_upload(queue, values, &part, &error));
  for (int64_t at = first; at < n; at += first) {
    size_t count = (size_t)(n - at < first ? n - at : first);
    check_cuda(cudaMemcpyAsync((char *)t.data + (size_t)at * bytes, t.data, count * bytes,
                               cudaMemcpyDeviceToDevice, stream));
  }
  return t;
}
#define MAKE(of, ...)                                                                              \
  make(of, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})

typedef struct rig {
  int64_t width, heads, length;
  mpt_tensor a[SETS], b[SETS], out[SETS]; /* what an operation reads and writes */
  mpt_tensor gamma, beta, grad_gamma, grad_beta, mean, rstd, lse;
  int32_t *labels;
  double *loss;
} rig;

static void open_set(rig *r, mpt_format a, mpt_format b, int64_t rows, int64_t columns) {
  for (int i = 0; i < SETS; i++) {
    r->a[i] = MAKE(a, rows, columns);
    r->b[i] = MAKE(b, rows, columns);
    r->out[i] = MAKE(b, rows, columns);
  }
}

static void close_set(rig *r) {
  check(mpt_queue_synchronize(queue, &error));
  for (int i = 0; i < SETS; i++) {
    mpt_memory_free(queue, r->a[i].data);
    mpt_memory_free(queue, r->b[i].data);
    mpt_memory_free(queue, r->out[i].data);
  }
}

/* ---- timing ---- */
typedef void work(rig *r, int set);

static int ascending(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static cudaGraphExec_t record(work *run, rig *r, mpt_lite *to) {
  cudaGraph_t graph;
  cudaGraphExec_t made;
  for (int i = 0; i < SETS; i++)
    r->out[i].lite = to;
  run(r, 0);
  check(mpt_queue_synchronize(queue, &error));
  check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  for (int call = 0; call < CALLS; call++)
    run(r, call % SETS);
  check_cuda(cudaStreamEndCapture(stream, &graph));
  check_cuda(cudaGraphInstantiate(&made, graph, 0));
  check_cuda(cudaGraphDestroy(graph));
  return made;
}

/* Median seconds of a call of each of two recordings, in turns. */
static void time_both(cudaGraphExec_t graphs[2], double seconds[2]) {
  float ms[2][REPEATS];
  cudaEvent_t start, end;
  check_cuda(cudaEventCreate(&start));
  check_cuda(cudaEventCreate(&end));
  for (int i = -1; i < REPEATS; i++)
    for (int k = 0; k < 2; k++) {
      check_cuda(cudaEventRecord(start, stream));
      check_cuda(cudaGraphLaunch(graphs[k], stream));
      check_cuda(cudaEventRecord(end, stream));
      check_cuda(cudaEventSynchronize(end));
      if (i >= 0)
        check_cuda(cudaEventElapsedTime(&ms[k][i], start, end));
    }
  check_cuda(cudaEventDestroy(start));
  check_cuda(cudaEventDestroy(end));
  for (int k = 0; k < 2; k++) {
    qsort(ms[k], REPEATS, sizeof(float), ascending);
    seconds[k] = (double)ms[k][REPEATS / 2] * 1e-3 / CALLS;
  }
}

/* An operation that a step runs `times`, without lite and, in the second, with it. Returns what
 * lite adds to the step. */
static double compare_two(const char *name, cudaGraphExec_t graphs[2], int times, double bytes) {
  double s[2];
  time_both(graphs, s);
  double extra = times * (s[1] - s[0]);
  printf("%-36s %4d %9.1f %9.1f %6.1f%% %6.1f%% %9.1f\n", name, times, 1e6 * s[0], 1e6 * s[1],
         100 * bytes / s[0] / copy_rate, 100 * bytes / s[1] / copy_rate, 1e6 * extra);
  fflush(stdout);
  for (int k = 0; k < 2; k++)
    check_cuda(cudaGraphExecDestroy(graphs[k]));
  return extra;
}

static double compare(const char *name, work *run, rig *r, int times, double bytes) {
  cudaGraphExec_t graphs[2] = {record(run, r, NULL), record(run, r, lite)};
  return compare_two(name, graphs, times, bytes);
}

/* A pass of its own over a[]: the second recording is collected in full. */
static double alone(const char *name, work *run, work *full, rig *r, int times, double bytes) {
  double s[2];
  cudaGraphExec_t graphs[2] = {record(run, r, NULL), record(full, r, NULL)};
  time_both(graphs, s);
  printf("%-36s %4d %9s %9.1f %7s %6.1f%% %9.1f   full %9.1f %6.1f%% %9.1f\n", name, times, "",
         1e6 * s[0], "", 100 * bytes / s[0] / copy_rate, 1e6 * times * s[0], 1e6 * s[1],
         100 * bytes / s[1] / copy_rate, 1e6 * times * s[1]);
  fflush(stdout);
  for (int k = 0; k < 2; k++)
    check_cuda(cudaGraphExecDestroy(graphs[k]));
  return times * s[0];
}

/* ---- the operations ---- */
static void run_copy(rig *r, int set) {
  check_cuda(cudaMemcpyAsync(r->out[set].data, r->a[set].data, mpt_tensor_bytes(&r->a[set]),
                             cudaMemcpyDeviceToDevice, stream));
}

static void run_layernorm_backward(rig *r, int set) {
  check(mpt_layernorm_backward(queue, &r->b[set], &r->a[set], &r->gamma, &r->mean, &r->rstd,
                               &r->out[set], true, &r->grad_gamma, &r->grad_beta, &error));
}

static void run_layernorm(rig *r, int set) {
  check(mpt_layernorm_forward(queue, &r->a[set], &r->gamma, &r->beta, 1e-5f, &r->out[set], &r->mean,
                              &r->rstd, &error));
}

static void run_gelu(rig *r, int set) {
  check(mpt_activation_forward(queue, MPT_GELU, &r->a[set], &r->out[set], &error));
}

static void run_gelu_backward(rig *r, int set) {
  check(mpt_activation_backward(queue, MPT_GELU, &r->a[set], &r->a[set], &r->b[set], &r->out[set],
                                &error));
}

static void run_cross_entropy(rig *r, int set) {
  check(mpt_cross_entropy(queue, &r->a[set], r->labels, 1.0f, NULL, r->loss, NULL, &r->out[set],
                          &error));
}

/* a[] is [B, T, 3C], packed; b[] the gradient of y and y; out[] y, or the packed gradient. */
static void attend(rig *r, int set, bool backward) {
  int64_t b = TOKENS / r->length, t = r->length, c = r->width;
  mpt_tensor packed = r->a[set], parts[3], grads[3], y;
  y = mpt_tensor_of(r->out[set].data, format, 3, (int64_t[]){b, t, c});
  y.device = packed.device;
  y.lite = r->out[set].lite;
  mpt_tensor like = mpt_tensor_of(packed.data, format, 3, (int64_t[]){b, t, 3 * c});
  like.device = packed.device;
  size_t bytes = (size_t)mpt_format_get(format)->bits / 8;
  for (int i = 0; i < 3; i++) {
    parts[i] = like;
    parts[i].shape[2] = c;
    parts[i].data = (char *)packed.data + (size_t)(i * c) * bytes;
    grads[i] = parts[i];
    grads[i].data = (char *)r->out[set].data + (size_t)(i * c) * bytes;
    grads[i].lite = r->out[set].lite;
  }
  mpt_tensor grad_y = y;
  grad_y.lite = NULL;
  grad_y.data = r->b[set].data;
  if (backward) {
    y.data = r->b[(set + 1) % SETS].data;
    y.lite = NULL;
  }
  mpt_attention_args args = {.query = &parts[0],
                             .key = &parts[1],
                             .value = &parts[2],
                             .y = &y,
                             .lse = &r->lse,
                             .heads = (int)r->heads,
                             .causal = true,
                             .format = format};
  if (backward)
    check(mpt_attention_backward(queue, &args, &grad_y, &grads[0], &grads[1], &grads[2], &error));
  else
    check(mpt_attention_forward(queue, &args, &error));
}

static void run_attention(rig *r, int set) {
  attend(r, set, false);
}

static void run_attention_backward(rig *r, int set) {
  attend(r, set, true);
}

static void run_collect_lite(rig *r, int set) {
  check(mpt_collect_lite(queue, &r->a[set], lite, &error));
}

static void run_collect_full(rig *r, int set) {
  static mpt_statistics *statistics;
  if (statistics == NULL)
    check(mpt_memory_allocate(queue, sizeof *statistics, (void **)&statistics, &error));
  check(mpt_collect(queue, &r->a[set], true, statistics, &error));
}

/* ---- the table ---- */
static mpt_collection weights[64];
static int weight_count;

static void run_weights(rig *r, int set) {
  (void)r, (void)set;
  check(mpt_collect_all(queue, weights, weight_count, &error));
}

static void run_weights_full(rig *r, int set) {
  static mpt_statistics *statistics;
  mpt_collection all[64];
  (void)r, (void)set;
  if (statistics == NULL)
    check(mpt_memory_allocate(queue, sizeof *statistics * 64, (void **)&statistics, &error));
  for (int i = 0; i < weight_count; i++)
    all[i] = (mpt_collection){.x = weights[i].x, .full = &statistics[i]};
  check(mpt_collect_all(queue, all, weight_count, &error));
}

/* A weight, its gradient and moments. */
static mpt_tensor all[4][64];
static mpt_step_state *state;

static void adam(bool looks) {
  mpt_adam_parameter parameters[64];
  const mpt_adam_args args = {
      .learning_rate = 1e-6f, .beta1 = 0.9f, .beta2 = 0.95f, .epsilon = 1e-8f, .decoupled = true};
  for (int i = 0; i < weight_count; i++)
    parameters[i] = (mpt_adam_parameter){.weight = &all[0][i],
                                         .gradient = &all[1][i],
                                         .first_moment = &all[2][i],
                                         .second_moment = &all[3][i],
                                         .lite = looks ? &lite[i] : NULL};
  check(mpt_adam_steps(queue, parameters, weight_count, &args, state, &error));
}

static void run_adam(rig *r, int set) {
  (void)r, (void)set;
  adam(false);
}

static void run_adam_lite(rig *r, int set) {
  (void)r, (void)set;
  adam(true);
}

/* All weights, by Adam, which writes them, where every step collects; else in one pass when a step
 * ends. */
static double bench_weights(rig *r, int blocks) {
  static const int64_t rows[] = {3, 1, 4, 1}, columns[] = {1, 1, 1, 4};
  double bytes = 0;
  weight_count = 0;
  for (int i = 0; i <= 4 * blocks; i++) {
    bool head = i == 4 * blocks;
    for (int k = 0; k < 4; k++)
      all[k][i] = MAKE(MPT_FP32, head ? VOCABULARY : rows[i % 4] * r->width,
                       head ? r->width : columns[i % 4] * r->width);
    bytes += (double)mpt_tensor_bytes(&all[0][i]);
    weights[weight_count++] = (mpt_collection){.x = &all[0][i], .lite = &lite[i]};
  }
  for (int k = 2; k < 4; k++) /* random second moments could be negative */
    for (int i = 0; i < weight_count; i++)
      check_cuda(cudaMemsetAsync(all[k][i].data, 0, mpt_tensor_bytes(&all[k][i]), stream));
  const mpt_step_state begin = {.loss_scale = 1, .clip = 1};
  check(mpt_memory_allocate(queue, sizeof *state, (void **)&state, &error));
  check(mpt_memory_upload(queue, &begin, sizeof begin, state, &error));
  cudaGraphExec_t graphs[2] = {record(run_adam, r, NULL), record(run_adam_lite, r, NULL)};
  double extra = compare_two("Adam: all weights", graphs, 1, 7 * bytes);
  alone("a pass over those", run_weights, run_weights_full, r, 0, bytes);
  check(mpt_queue_synchronize(queue, &error));
  for (int i = 0; i < weight_count; i++)
    for (int k = 0; k < 4; k++)
      mpt_memory_free(queue, all[k][i].data);
  mpt_memory_free(queue, state);
  return extra;
}

static double bench_head(rig *r) {
  double bytes = mpt_format_get(format)->bits / 8.0 * TOKENS * VOCABULARY, extra;
  mpt_tensor logits = MAKE(format, TOKENS, VOCABULARY), grad = logits;
  int32_t *labels = malloc(TOKENS * sizeof *labels);
  if (labels == NULL)
    exit(1);
  for (int i = 0; i < TOKENS; i++)
    labels[i] = rand() % VOCABULARY;
  void *to;
  check(mpt_memory_allocate(queue, TOKENS * sizeof *labels, &to, &error));
  r->labels = to;
  check(mpt_memory_upload(queue, labels, TOKENS * sizeof *labels, to, &error));
  check(mpt_memory_allocate(queue, sizeof *r->loss, (void **)&r->loss, &error));
  free(labels);
  for (int i = 0; i < SETS; i++)
    r->a[i] = logits, r->out[i] = grad;
  extra = compare("cross-entropy: head grad_output", run_cross_entropy, r, 1, 2 * bytes);
  check(mpt_queue_synchronize(queue, &error));
  mpt_memory_free(queue, r->loss);
  mpt_memory_free(queue, r->labels);
  mpt_memory_free(queue, logits.data);
  return extra;
}

static void bench_network(const char *name, int64_t width, int64_t heads, int64_t length) {
  enum { BLOCKS = 12 };
  rig r = {.width = width, .heads = heads, .length = length};
  double n = mpt_format_get(format)->bits / 8.0 * TOKENS * (double)width, extra = 0;
  printf("%s\n%-36s %4s %9s %9s %7s %7s %9s\n", name, "written by: operand", "runs", "us",
         "with lite", "of copy", "lite", "us a step");
  r.gamma = MAKE(MPT_FP32, width);
  r.beta = MAKE(MPT_FP32, width);
  r.grad_gamma = MAKE(MPT_FP32, width);
  r.grad_beta = MAKE(MPT_FP32, width);
  r.mean = MAKE(MPT_FP32, TOKENS);
  r.rstd = MAKE(MPT_FP32, TOKENS);
  r.lse = MAKE(MPT_FP32, TOKENS / length, heads, length);
  open_set(&r, format, format, TOKENS, width);
  extra += compare("layernorm: qkv, fc1, head input", run_layernorm, &r, 2 * BLOCKS + 1, 2 * n);
  alone("a pass over one", run_collect_lite, run_collect_full, &r, 0, n);
  extra +=
      compare("its gradient: proj, fc2 grad_output", run_layernorm_backward, &r, 2 * BLOCKS, 4 * n);
  close_set(&r);
  open_set(&r, format, format, TOKENS, 3 * width);
  extra += compare("attention: proj input", run_attention, &r, BLOCKS, 4 * n);
  extra += compare("its gradients: qkv grad_output", run_attention_backward, &r, BLOCKS, 8 * n);
  alone("a pass over those", run_collect_lite, run_collect_full, &r, 0, 3 * n);
  close_set(&r);
  open_set(&r, format, format, TOKENS, 4 * width);
  extra += compare("gelu: fc2 input", run_gelu, &r, BLOCKS, 8 * n);
  extra += compare("its gradient: fc1 grad_output", run_gelu_backward, &r, BLOCKS, 12 * n);
  alone("a pass over one", run_collect_lite, run_collect_full, &r, 0, 4 * n);
  close_set(&r);
  extra += bench_head(&r);
  extra += bench_weights(&r, BLOCKS);
  printf("%-36s %4s %9s %9s %7s %7s %9.1f\n", "all", "", "", "", "", "", 1e6 * extra);
  mpt_tensor *small[] = {&r.gamma, &r.beta, &r.grad_gamma, &r.grad_beta, &r.mean, &r.rstd, &r.lse};
  for (size_t i = 0; i < sizeof small / sizeof *small; i++)
    mpt_memory_free(queue, small[i]->data);
}

/* Called one after the other: a copy in a graph is slower, on an H200 by a third. */
static void measure_copy(void) {
  rig r = {0};
  float ms[REPEATS];
  cudaEvent_t start, end;
  open_set(&r, MPT_FP32, MPT_FP32, TOKENS, 8192);
  check_cuda(cudaEventCreate(&start));
  check_cuda(cudaEventCreate(&end));
  for (int i = -1; i < REPEATS; i++) {
    check_cuda(cudaEventRecord(start, stream));
    for (int call = 0; call < CALLS; call++)
      run_copy(&r, call % SETS);
    check_cuda(cudaEventRecord(end, stream));
    check_cuda(cudaEventSynchronize(end));
    if (i >= 0)
      check_cuda(cudaEventElapsedTime(&ms[i], start, end));
  }
  check_cuda(cudaEventDestroy(start));
  check_cuda(cudaEventDestroy(end));
  qsort(ms, REPEATS, sizeof(float), ascending);
  double seconds = (double)ms[REPEATS / 2] * 1e-3 / CALLS;
  copy_rate = 2.0 * (double)mpt_tensor_bytes(&r.a[0]) / seconds;
  printf("a copy of 512 MiB: %.1f us, %.3f TB/s\n", 1e6 * seconds, 1e-12 * copy_rate);
  close_set(&r);
}

int main(int argc, char **argv) {
  if (argc > 1)
    check(mpt_format_parse(argv[1], &format, &error));
  struct cudaDeviceProp p = gpu_open("bench_lite");
  printf("%s, CUDA %d.%d, %d tokens in %s\n", p.name, CUDART_VERSION / 1000,
         CUDART_VERSION % 1000 / 10, TOKENS, mpt_format_get(format)->name);
  check(mpt_memory_allocate(queue, 64 * sizeof *lite, (void **)&lite, &error));
  measure_copy();
  bench_network("gpt2-124m", 768, 12, 1024);
  bench_network("gpt-800m", 2048, 16, 2048);
  mpt_memory_free(queue, lite);
  gpu_close();
  return 0;
}
#endif
