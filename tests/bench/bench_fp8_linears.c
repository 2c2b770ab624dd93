/* The four linear layers of a transformer layer, forward and backward, quantisation included: fp8
 * with current and delayed scaling against bf16, side by side.
 *
 *   bench_fp8_linears [ROWS [WIDTH]]     15872 rows and width 4096 where not given
 *
 * Twelve products: QKV 3 x width, projection, and two of 4 x width, as NVIDIA publishes of its
 * Transformer Engine. Weights are fp32 masters, cast in every step; activations and gradients are
 * bf16. Random data, the cases in turn for several rounds, medians. Exits 2 without a GPU.
 */
#include "base/random.h"
#include "mptune/mptune.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 4, STEPS = 12, ROUNDS = 4, CASES = 4, HISTORY = 16 };

static const char *const names[CASES] = {"bf16", "fp16", "fp8, current scaling",
                                         "fp8, delayed scaling"};

typedef struct rig {
  mpt_queue *queue;
  mpt_session *session;
  void *workspace;
  mpt_tensor inputs[LAYERS], weights[LAYERS], outputs[LAYERS];
  mpt_tensor grad_outputs[LAYERS], grad_inputs[LAYERS], grad_weights[LAYERS];
  int64_t steps;
} rig;

static void check(mpt_status status, const mpt_error *error) {
  if (status == MPT_OK)
    return;
  fprintf(stderr, "bench_fp8_linears: %s\n", error->message);
  exit(1);
}

/* A tensor of the device with random values: a block of normals, repeated. */
static mpt_tensor tensor(mpt_queue *queue, mpt_format format, int64_t rows, int64_t columns,
                         float deviation) {
  mpt_error error;
  mpt_tensor t = mpt_tensor_of(NULL, format, 2, (int64_t[]){rows, columns});
  t.device = mpt_queue_device(queue);
  check(mpt_memory_allocate(queue, mpt_tensor_bytes(&t), &t.data, &error), &error);
  enum { BLOCK = 1 << 22 };
  static float *values;
  if (values == NULL) {
    values = malloc(BLOCK * sizeof *values);
    for (int i = 0; i < BLOCK; i += 2) {
      uint32_t words[4];
      mpt_philox(7, (uint64_t)i, 0, words);
      double radius = sqrt(-2 * log(mpt_uniform(words[0])));
      double angle = 6.283185307179586 * mpt_uniform(words[1]);
      values[i] = (float)(radius * cos(angle));
      values[i + 1] = (float)(radius * sin(angle));
    }
  }
  int64_t count = rows * columns;
  float *scaled = malloc(BLOCK * sizeof *scaled);
  for (int i = 0; i < BLOCK; i++)
    scaled[i] = values[i] * deviation;
  for (int64_t first = 0; first < count; first += BLOCK) {
    int64_t n = count - first < BLOCK ? count - first : BLOCK;
    mpt_tensor piece =
        mpt_tensor_of((char *)t.data + first * (mpt_format_get(format)->bits / 8), format, 1, &n);
    piece.device = t.device;
    check(mpt_tensor_upload(queue, scaled, &piece, &error), &error);
  }
  free(scaled);
  return t;
}

static void open_tensors(rig *r, int64_t rows, const int64_t sizes[LAYERS][2], mpt_format format) {
  for (int i = 0; i < LAYERS; i++) {
    int64_t n = sizes[i][0], k = sizes[i][1];
    r->inputs[i] = tensor(r->queue, format, rows, k, 1.0f);
    r->weights[i] = tensor(r->queue, MPT_FP32, n, k, 0.02f);
    r->outputs[i] = tensor(r->queue, format, rows, n, 1.0f);
    r->grad_outputs[i] = tensor(r->queue, format, rows, n, 1e-3f);
    r->grad_inputs[i] = tensor(r->queue, format, rows, k, 1.0f);
    r->grad_weights[i] = tensor(r->queue, MPT_FP32, n, k, 1.0f);
  }
}

static void open_rig(rig *r, int which, int64_t rows, const int64_t sizes[LAYERS][2]) {
  static const mpt_precision precisions[CASES] = {MPT_PRECISION_BF16, MPT_PRECISION_FP16,
                                                  MPT_PRECISION_FP8, MPT_PRECISION_FP8};
  mpt_error error;
  mpt_session_layer layers[LAYERS];
  memset(layers, 0, sizeof layers);
  mpt_layer_policy assignment[LAYERS];
  for (int i = 0; i < LAYERS; i++) {
    snprintf(layers[i].info.name, sizeof layers[i].info.name, "linear%d", i);
    snprintf(layers[i].info.kind, sizeof layers[i].info.kind, "linear");
    layers[i].info.rank = 2;
    layers[i].info.shape[0] = sizes[i][0];
    layers[i].info.shape[1] = sizes[i][1];
    layers[i].info.rows = rows;
    assignment[i] = mpt_layer_policy_of(precisions[which]);
    if (which >= 2)
      assignment[i].gemm[MPT_FPROP].accumulate = MPT_ACCUMULATE_FAST;
    if (which == 3)
      assignment[i].scaling =
          (mpt_scaling){.mode = MPT_SCALING_DELAYED, .history = HISTORY, .margin = 0};
  }
  mpt_session_config config = mpt_session_config_default();
  config.queue = r->queue;
  config.assignment = assignment;
  check(mpt_session_open(&config, layers, LAYERS, &r->session, &error), &error);
  size_t bytes = mpt_session_workspace_bytes(r->session);
  check(mpt_memory_allocate(r->queue, bytes, &r->workspace, &error), &error);
  check(mpt_session_set_workspace(r->session, r->workspace, bytes, &error), &error);
  open_tensors(r, rows, sizes, which == 1 ? MPT_FP16 : MPT_BF16);
}

static void close_rig(rig *r) {
  mpt_session_close(r->session);
  mpt_memory_free(r->queue, r->workspace);
  for (int i = 0; i < LAYERS; i++) {
    mpt_tensor *all[] = {&r->inputs[i],       &r->weights[i],     &r->outputs[i],
                         &r->grad_outputs[i], &r->grad_inputs[i], &r->grad_weights[i]};
    for (int k = 0; k < 6; k++)
      mpt_memory_free(r->queue, all[k]->data);
  }
}

static void step(rig *r) {
  mpt_error error;
  check(mpt_session_step_begin(r->session, r->steps++, &error), &error);
  for (int i = 0; i < LAYERS; i++)
    check(mpt_linear_forward(r->session, i, &r->inputs[i], &r->weights[i], NULL, &r->outputs[i],
                             &error),
          &error);
  for (int i = LAYERS - 1; i >= 0; i--)
    check(mpt_linear_backward(r->session, i, &r->grad_outputs[i], &r->inputs[i], &r->weights[i],
                              &r->grad_inputs[i], false, &r->grad_weights[i], NULL, &error),
          &error);
  check(mpt_session_step_end(r->session, NULL, 0, 0.0f, NULL, &error), &error);
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Median milliseconds of a step. */
static double measure(rig *r) {
  mpt_error error;
  double seconds[STEPS], none;
  char byte;
  for (int i = -2; i < STEPS; i++) {
    step(r);
    int slot = (i + 2) % 3, before = (i + 1) % 3; /* a third keeps the fetch before that */
    check(mpt_memory_fetch(r->queue, slot, r->workspace, 1, &error), &error);
    if (i > -2)
      check(mpt_memory_fetched(r->queue, before, 1, &byte, i >= 0 ? &seconds[i] : &none, &error),
            &error);
  }
  check(mpt_queue_synchronize(r->queue, &error), &error);
  qsort(seconds + 1, STEPS - 1, sizeof *seconds, by_value);
  return 1e3 * seconds[1 + (STEPS - 1) / 2];
}

int main(int argc, char **argv) {
  int64_t rows = argc > 1 ? atoll(argv[1]) : 15872, width = argc > 2 ? atoll(argv[2]) : 4096;
  const int64_t sizes[LAYERS][2] = {
      {3 * width, width}, {width, width}, {4 * width, width}, {width, 4 * width}};
  mpt_queue_config config = mpt_queue_config_default();
  mpt_error error;
  double best[CASES];
  rig r = {0};
  config.backend = "cuda";
  if (mpt_queue_open(&config, &r.queue, &error) != MPT_OK) {
    fprintf(stderr, "bench_fp8_linears: %s\n", error.message);
    return 2;
  }
  for (int round = 0; round < ROUNDS; round++)
    for (int which = 0; which < CASES; which++) {
      r.steps = 0;
      open_rig(&r, which, rows, sizes);
      double ms = measure(&r);
      best[which] = round == 0 || ms < best[which] ? ms : best[which];
      close_rig(&r);
    }
  printf("four linear layers of width %lld, %lld rows, forward and backward\n", (long long)width,
         (long long)rows);
  for (int which = 0; which < CASES; which++)
    printf("%-24s %8.3f ms   %.2f times bf16\n", names[which], best[which], best[0] / best[which]);
  mpt_queue_close(r.queue);
  return 0;
}
