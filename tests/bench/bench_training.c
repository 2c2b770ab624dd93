/* The end of a training step at the sizes of two GPTs (163M and 0.81B parameters, 16384 tokens):
 * cross-entropy of the logits in place, the check of all gradients, Adam on all parameters, alone
 * and with low-precision copies. Prints for each its time, the bytes that it must move, and their
 * rate as a share of a plain device-to-device copy's in the same run.
 * pytorch_training.py times PyTorch's. Exits 2 where there is no GPU. */
#include "mptune/ops.h"
#include <stdio.h>
#include <stdlib.h>

#ifndef MPTUNE_CUDA
int main(void) {
  fprintf(stderr, "error: bench_training needs a GPU, and this build has no CUDA backend\n");
  return 2;
}
#else
#include "gpu_bench.h"

static double copy_rate; /* bytes a second, read and written, of a plain copy */

enum { REPEATS = 21, MOST_PARAMETERS = 256 };

static void *take(size_t bytes) {
  void *data;
  check(mpt_memory_allocate(queue, bytes, &data, &error));
  return data;
}

/* Numbers that are not all alike: a stretch of random ones, over and over. */
static mpt_tensor make(mpt_format format, int64_t n, float scale) {
  enum { STRETCH = 1 << 22 };
  static float *values;
  if (values == NULL) {
    values = malloc(STRETCH * sizeof *values);
    for (int i = 0; values != NULL && i < STRETCH; i++)
      values[i] = (float)rand() / (float)RAND_MAX - 0.5f;
  }
  float *scaled = malloc(STRETCH * sizeof *scaled);
  if (values == NULL || scaled == NULL)
    exit(1);
  for (int i = 0; i < STRETCH; i++)
    scaled[i] = scale * values[i];
  mpt_tensor t = mpt_tensor_of(NULL, format, 1, &n);
  t.device = mpt_queue_device(queue);
  t.data = take(mpt_tensor_bytes(&t));
  size_t width = (size_t)mpt_format_get(format)->bits / 8;
  for (int64_t at = 0; at < n; at += STRETCH) {
    mpt_tensor part = t;
    part.data = (char *)t.data + (size_t)at * width;
    part.shape[0] = n - at < STRETCH ? n - at : STRETCH;
    check(mpt_tensor_upload(queue, scaled, &part, &error));
  }
  free(scaled);
  return t;
}

/* ---- timing ---- */
typedef void work(void *context);

static int compare(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

/* The median, in seconds; `before` runs ahead of each, outside the time. */
static double time_of(work *run, work *before, void *context) {
  float ms[REPEATS];
  cudaEvent_t start, end;
  check_cuda(cudaEventCreate(&start));
  check_cuda(cudaEventCreate(&end));
  for (int i = -3; i < REPEATS; i++) {
    if (before != NULL)
      before(context);
    check_cuda(cudaEventRecord(start, stream));
    run(context);
    check_cuda(cudaEventRecord(end, stream));
    check_cuda(cudaEventSynchronize(end));
    if (i >= 0)
      check_cuda(cudaEventElapsedTime(&ms[i], start, end));
  }
  check_cuda(cudaEventDestroy(start));
  check_cuda(cudaEventDestroy(end));
  qsort(ms, REPEATS, sizeof *ms, compare);
  return (double)ms[REPEATS / 2] * 1e-3;
}

static void report(const char *name, double seconds, double bytes) {
  printf("%-44s %9.3f ms %8.3f GB %7.3f TB/s %5.1f%%\n", name, seconds * 1e3, bytes * 1e-9,
         bytes / seconds * 1e-12, 100 * bytes / seconds / copy_rate);
}

/* ---- a plain copy ---- */
enum { COPY_BYTES = 1 << 30 };

static void run_copy(void *context) {
  void **memory = context;
  check_cuda(cudaMemcpyAsync(memory[0], memory[1], COPY_BYTES, cudaMemcpyDeviceToDevice, stream));
}

static void bench_copy(void) {
  mpt_tensor a = make(MPT_FP32, COPY_BYTES / 4, 1), b = make(MPT_FP32, COPY_BYTES / 4, 1);
  double seconds = time_of(run_copy, NULL, (void *[]){a.data, b.data});
  copy_rate = 2.0 * COPY_BYTES / seconds;
  report("device-to-device copy, 1 GiB", seconds, 2.0 * COPY_BYTES);
  mpt_memory_free(queue, a.data);
  mpt_memory_free(queue, b.data);
}

/* ---- cross-entropy ---- */
typedef struct loss_rig {
  mpt_tensor logits, saved;
  int32_t *labels;
  double *loss;
  int64_t *correct;
} loss_rig;

static void run_loss(void *context) {
  loss_rig *r = context;
  check(mpt_cross_entropy(queue, &r->logits, r->labels, 1, NULL, r->loss, r->correct, &r->logits,
                          &error));
}

/* The logits again: the step before made a gradient of them. */
static void restore(void *context) {
  loss_rig *r = context;
  check_cuda(cudaMemcpyAsync(r->logits.data, r->saved.data, mpt_tensor_bytes(&r->logits),
                             cudaMemcpyDeviceToDevice, stream));
}

static void bench_loss(mpt_format format, int64_t rows, int64_t classes) {
  char name[64];
  loss_rig r = {.logits = make(format, rows * classes, 8),
                .saved = make(format, rows * classes, 8)};
  int32_t *labels = calloc((size_t)rows, sizeof *labels);
  for (int64_t i = 0; labels != NULL && i < rows; i++)
    labels[i] = rand() % (int)classes;
  size_t bytes = (size_t)rows * sizeof *labels;
  r.labels = take(bytes);
  r.loss = take(sizeof *r.loss);
  r.correct = take(sizeof *r.correct);
  check(mpt_memory_upload(queue, labels, bytes, r.labels, &error));
  free(labels);
  mpt_device device = r.logits.device;
  r.logits = mpt_tensor_of(r.logits.data, format, 2, (int64_t[]){rows, classes});
  r.logits.device = device;
  snprintf(name, sizeof name, "cross_entropy %d x %d %s in place", (int)rows, (int)classes,
           mpt_format_get(format)->name);
  double once = (double)rows * (double)classes * mpt_format_get(format)->bits / 8;
  report(name, time_of(run_loss, restore, &r), 2 * once);
  mpt_memory_free(queue, r.logits.data);
  mpt_memory_free(queue, r.saved.data);
}

/* ---- gradients and parameters of a GPT ---- */
typedef struct step_rig {
  int count;
  int64_t elements; /* of all parameters */
  mpt_tensor views[4][MOST_PARAMETERS], copies[2][MOST_PARAMETERS];
  const mpt_tensor *gradients[MOST_PARAMETERS];
  mpt_adam_parameter parameters[MOST_PARAMETERS];
  mpt_step_state *state;
  int64_t *overflows;
  mpt_scale *scales;
} step_rig;

static void add_matrix(step_rig *r, int64_t rows, int64_t columns, bool has_bias) {
  r->views[0][r->count++] = mpt_tensor_of(NULL, MPT_FP32, 2, (int64_t[]){rows, columns});
  if (has_bias)
    r->views[0][r->count++] = mpt_tensor_of(NULL, MPT_FP32, 1, &rows);
}

static void list_parameters(step_rig *r, int64_t width, int64_t length) {
  add_matrix(r, 50304, width, false);
  add_matrix(r, length, width, false);
  for (int layer = 0; layer < 12; layer++) {
    add_matrix(r, width, 1, true); /* layer norms */
    add_matrix(r, 3 * width, width, true);
    add_matrix(r, width, width, true);
    add_matrix(r, width, 1, true);
    add_matrix(r, 4 * width, width, true);
    add_matrix(r, width, 4 * width, true);
  }
  add_matrix(r, width, 1, true);
  add_matrix(r, 50304, width, false);
}

/* Side by side in four rows, as a network keeps them. */
static void place_parameters(step_rig *r) {
  for (int i = 0; i < r->count; i++)
    r->elements += (mpt_tensor_count(&r->views[0][i]) + 63) / 64 * 64;
  static const float magnitude[4] = {0.04f, 1e-3f, 1e-4f, 0.0f};
  for (int k = 0; k < 4; k++) {
    mpt_tensor row = make(MPT_FP32, r->elements, magnitude[k]);
    int64_t at = 0;
    for (int i = 0; i < r->count; i++) {
      r->views[k][i] = r->views[0][i];
      r->views[k][i].device = row.device;
      r->views[k][i].data = (float *)row.data + at;
      at += (mpt_tensor_count(&r->views[k][i]) + 63) / 64 * 64;
    }
  }
  r->scales = take((size_t)r->count * sizeof *r->scales);
  for (int i = 0; i < r->count; i++) {
    mpt_scale scale = {.scale = 256, .inverse = 1.0f / 256, .format = MPT_FP8_E4M3};
    check(mpt_memory_upload(queue, &scale, sizeof scale, &r->scales[i], &error));
    r->gradients[i] = &r->views[1][i];
    r->parameters[i] = (mpt_adam_parameter){.weight = &r->views[0][i],
                                            .gradient = &r->views[1][i],
                                            .first_moment = &r->views[2][i],
                                            .second_moment = &r->views[3][i],
                                            .weight_decay = 0.1f};
  }
  mpt_step_state state = {.loss_scale = 1, .clip = 1};
  r->state = take(sizeof state);
  check(mpt_memory_upload(queue, &state, sizeof state, r->state, &error));
  r->overflows = take((size_t)r->count * sizeof *r->overflows);
}

static void run_check(void *context) {
  step_rig *r = context;
  check(mpt_gradient_check(queue, r->gradients, r->count, 1, r->state, r->overflows, &error));
}

static void run_adam(void *context) {
  step_rig *r = context;
  mpt_adam_args args = {
      .learning_rate = 1e-4f, .beta1 = 0.9f, .beta2 = 0.95f, .epsilon = 1e-8f, .decoupled = true};
  check(mpt_adam_steps(queue, r->parameters, r->count, &args, r->state, &error));
}

static double take_copy(mpt_tensor *copy, mpt_format format, int64_t m, int64_t n) {
  *copy = mpt_tensor_of(NULL, format, 2, (int64_t[]){m, n});
  copy->device = mpt_queue_device(queue);
  copy->data = take(mpt_tensor_bytes(copy));
  return (double)mpt_tensor_bytes(copy);
}

/* Copies of everything that is a matrix, as a session asks for them on this GPU; returns their
 * bytes. */
static double make_copies(step_rig *r, mpt_format format) {
  double bytes = 0;
  bool fp8 = format == MPT_FP8_E4M3;
  for (int i = 0; i < r->count; i++) {
    int64_t rows = r->views[0][i].shape[0], columns = r->views[0][i].shape[1];
    if (mpt_tensor_count(&r->views[0][i]) < 1 << 16)
      continue;
    bytes += take_copy(&r->copies[0][i], format, rows, columns);
    if (fp8)
      bytes += take_copy(&r->copies[1][i], format, columns, rows);
    r->parameters[i].copies[0] =
        (mpt_weight_copy){.tensor = &r->copies[0][i],
                          .transposed = fp8 ? &r->copies[1][i] : NULL,
                          .scale = fp8 ? &r->scales[i] : NULL,
                          .flags = fp8 ? MPT_QUANTIZE_AMAX | MPT_QUANTIZE_COUNT : 0};
  }
  return bytes;
}

static void drop_copies(step_rig *r) {
  for (int i = 0; i < r->count; i++)
    for (int k = 0; k < 2; k++) {
      mpt_memory_free(queue, r->copies[k][i].data);
      r->copies[k][i].data = NULL;
    }
}

static void bench_steps(int64_t width, int64_t length) {
  char name[64];
  static step_rig r;
  r = (step_rig){0};
  list_parameters(&r, width, length);
  place_parameters(&r);
  double elements = 0;
  for (int i = 0; i < r.count; i++)
    elements += (double)mpt_tensor_count(&r.views[0][i]);
  double millions = elements * 1e-6, copies;
  snprintf(name, sizeof name, "gradient_check %.1fM in %d", millions, r.count);
  report(name, time_of(run_check, NULL, &r), 4 * elements);
  snprintf(name, sizeof name, "adam_steps %.1fM", millions);
  report(name, time_of(run_adam, NULL, &r), 28 * elements);
  mpt_lite *lite = take((size_t)r.count * sizeof *lite);
  for (int i = 0; i < r.count; i++)
    r.parameters[i].lite = mpt_tensor_count(&r.views[0][i]) < 1 << 16 ? NULL : &lite[i];
  snprintf(name, sizeof name, "adam_steps %.1fM, lite", millions);
  report(name, time_of(run_adam, NULL, &r), 28 * elements);
  for (int i = 0; i < r.count; i++)
    r.parameters[i].lite = NULL;
  copies = make_copies(&r, MPT_BF16);
  snprintf(name, sizeof name, "adam_steps %.1fM, bf16 copies", millions);
  report(name, time_of(run_adam, NULL, &r), 28 * elements + copies);
  drop_copies(&r);
  copies = make_copies(&r, MPT_FP8_E4M3);
  snprintf(name, sizeof name, "adam_steps %.1fM, fp8 both ways", millions);
  report(name, time_of(run_adam, NULL, &r), 28 * elements + copies);
  drop_copies(&r);
  for (int k = 0; k < 4; k++)
    mpt_memory_free(queue, r.views[k][0].data);
}

int main(void) {
  struct cudaDeviceProp device = gpu_open("bench_training");
  printf("%s; time, bytes, rate, share of the copy\n", device.name);
  bench_copy();
  bench_loss(MPT_BF16, 16384, 50304);
  bench_loss(MPT_FP16, 16384, 50304);
  bench_loss(MPT_FP32, 16384, 50304);
  bench_loss(MPT_BF16, 16384, 50257);
  bench_loss(MPT_BF16, 8192, 128256);
  bench_steps(768, 1024);
  bench_steps(2048, 2048);
  gpu_close();
  return 0;
}
#endif
