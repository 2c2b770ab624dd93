/* The time of each operation at the sizes of two workloads' training steps: fashion-mlp and
 * text-gpt. bench_operations.py times PyTorch's. Prints: name, microseconds, the fastest tenth's
 * slowest, which a busy machine disturbs least.
 *   bench_operations [threads] [fp32|bf16|...: the format of outputs] */
#include "base/clock.h"
#include "mptune/ops.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPEATS = 301 };

static mpt_queue *queue;
static mpt_error error;
static mpt_format out_format = MPT_FP32;

static void check(mpt_status status) {
  if (status != MPT_OK) {
    fprintf(stderr, "error: %s\n", error.message);
    exit(1);
  }
}

static mpt_tensor make(mpt_format format, int rank, const int64_t *shape) {
  mpt_tensor t = mpt_tensor_of(NULL, format, rank, shape);
  int64_t n = mpt_tensor_count(&t);
  check(mpt_memory_allocate(queue, mpt_tensor_bytes(&t), &t.data, &error));
  float *values = malloc((size_t)n * sizeof(float));
  for (int64_t i = 0; i < n; i++)
    values[i] = (float)rand() / (float)RAND_MAX - 0.5f;
  check(mpt_tensor_upload(queue, values, &t, &error));
  free(values);
  return t;
}

#define MAKE(format, ...)                                                                          \
  make(format, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

#define TIME(name, ...)                                                                            \
  do {                                                                                             \
    static double times[REPEATS];                                                                  \
    for (int i = 0; i < REPEATS; i++) {                                                            \
      double start = mpt_clock_seconds();                                                          \
      check(__VA_ARGS__);                                                                          \
      times[i] = 1e6 * (mpt_clock_seconds() - start);                                              \
    }                                                                                              \
    qsort(times, REPEATS, sizeof *times, compare);                                                 \
    printf("%-34s %9.2f\n", name, times[REPEATS / 10]);                                            \
  } while (0)

/* fprop, dgrad, wgrad and bias of a linear layer, as session's linear layers call them */
static void bench_linear(int64_t m, int64_t k, int64_t n) {
  char name[64];
  mpt_tensor x = MAKE(MPT_FP32, m, k), w = MAKE(MPT_FP32, n, k), y = MAKE(out_format, m, n);
  mpt_tensor gx = MAKE(out_format, m, k), gw = MAKE(MPT_FP32, n, k), b = MAKE(MPT_FP32, n);
  mpt_tensor g = MAKE(MPT_FP32, m, n);
  mpt_gemm_args fprop = {.a = &x, .b = &w, .out = &y, .bias = &b, .transpose_b = true, .alpha = 1};
  mpt_gemm_args dgrad = {.a = &g, .b = &w, .out = &gx, .alpha = 1};
  mpt_gemm_args wgrad = {.a = &g, .b = &x, .out = &gw, .transpose_a = true, .alpha = 1};
  snprintf(name, sizeof name, "fprop %d x %d x %d", (int)m, (int)n, (int)k);
  TIME(name, mpt_gemm(queue, &fprop, &error));
  snprintf(name, sizeof name, "dgrad %d x %d x %d", (int)m, (int)n, (int)k);
  TIME(name, mpt_gemm(queue, &dgrad, &error));
  snprintf(name, sizeof name, "wgrad %d x %d x %d", (int)m, (int)n, (int)k);
  TIME(name, mpt_gemm(queue, &wgrad, &error));
  snprintf(name, sizeof name, "bias_backward %d x %d", (int)m, (int)n);
  TIME(name, mpt_bias_backward(queue, &g, &b, false, &error));
}

static void bench_rows(int64_t rows, int64_t c) {
  mpt_tensor x = MAKE(MPT_FP32, rows, c), y = MAKE(out_format, rows, c);
  mpt_tensor g = MAKE(MPT_FP32, rows, c), gx = MAKE(out_format, rows, c);
  mpt_tensor gamma = MAKE(MPT_FP32, c), beta = MAKE(MPT_FP32, c);
  mpt_tensor mean = MAKE(MPT_FP32, rows), rstd = MAKE(MPT_FP32, rows);
  TIME("layernorm_forward",
       mpt_layernorm_forward(queue, &x, &gamma, &beta, 1e-5f, &y, &mean, &rstd, &error));
  TIME("layernorm_backward", mpt_layernorm_backward(queue, &g, &x, &gamma, &mean, &rstd, &gx, false,
                                                    &gamma, &beta, &error));
  TIME("add", mpt_add(queue, &x, &g, &y, &error));
  TIME("accumulate_tensor", mpt_accumulate_tensor(queue, &x, &y, &error));
  TIME("softmax_forward", mpt_softmax_forward(queue, &x, &y, &error));
  TIME("dropout", mpt_dropout(queue, &x, 0.1f, (mpt_dropout_key){1, 2, 3}, &y, &error));
}

static void bench_activations(int64_t rows, int64_t c) {
  static const char *const names[] = {"relu", "sigmoid", "tanh", "gelu"};
  mpt_tensor x = MAKE(MPT_FP32, rows, c), y = MAKE(out_format, rows, c);
  mpt_tensor g = MAKE(MPT_FP32, rows, c), gx = MAKE(out_format, rows, c);
  for (int kind = MPT_RELU; kind <= MPT_GELU; kind++) {
    char name[64];
    snprintf(name, sizeof name, "%s forward %d x %d", names[kind], (int)rows, (int)c);
    TIME(name, mpt_activation_forward(queue, (mpt_activation)kind, &x, &y, &error));
    snprintf(name, sizeof name, "%s backward %d x %d", names[kind], (int)rows, (int)c);
    TIME(name, mpt_activation_backward(queue, (mpt_activation)kind, &x, &y, &g, &gx, &error));
  }
}

static void bench_attention(int64_t b, int64_t t, int64_t c, int heads) {
  char name[64];
  mpt_tensor packed = MAKE(MPT_FP32, b, t, 3 * c), grads = MAKE(out_format, b, t, 3 * c);
  mpt_tensor y = MAKE(out_format, b, t, c), g = MAKE(MPT_FP32, b, t, c), v[6];
  mpt_tensor lse = MAKE(MPT_FP32, b, heads, t);
  for (int i = 0; i < 6; i++) {
    v[i] = i < 3 ? packed : grads;
    v[i].data = (float *)v[i].data + i % 3 * c;
    v[i].shape[2] = c;
  }
  mpt_attention_args args = {&v[0], &v[1], &v[2], &y,
                             &lse,  heads, true,  out_format > MPT_FP16 ? MPT_BF16 : out_format};
  snprintf(name, sizeof name, "attention forward %dx%dx%d", (int)b, (int)t, (int)c);
  TIME(name, mpt_attention_forward(queue, &args, &error));
  snprintf(name, sizeof name, "attention backward %dx%dx%d", (int)b, (int)t, (int)c);
  TIME(name, mpt_attention_backward(queue, &args, &g, &v[3], &v[4], &v[5], &error));
}

static void bench_loss(int64_t rows, int64_t classes) {
  char name[64];
  int32_t *labels = calloc((size_t)rows, sizeof *labels);
  mpt_tensor x = MAKE(MPT_FP32, rows, classes), g = MAKE(out_format, rows, classes);
  double loss;
  snprintf(name, sizeof name, "cross_entropy %d x %d", (int)rows, (int)classes);
  TIME(name, mpt_cross_entropy(queue, &x, labels, 1, NULL, &loss, NULL, &g, &error));
  free(labels);
}

static void bench_embedding(int64_t rows, int64_t length, int64_t vocabulary, int64_t c) {
  int32_t *ids = calloc((size_t)rows, sizeof *ids);
  for (int64_t i = 0; i < rows; i++)
    ids[i] = rand() % (int)vocabulary;
  mpt_tensor table = MAKE(MPT_FP32, vocabulary, c), position = MAKE(MPT_FP32, length, c);
  mpt_tensor y = MAKE(out_format, rows, c);
  TIME("embedding_forward", mpt_embedding_forward(queue, ids, &table, &position, &y, &error));
  TIME("embedding_backward", mpt_embedding_backward(queue, ids, &y, &table, &position, &error));
  free(ids);
}

static void bench_optimizer(int64_t rows, int64_t columns) {
  char name[64];
  mpt_tensor w = MAKE(MPT_FP32, rows, columns), g = MAKE(MPT_FP32, rows, columns);
  mpt_tensor m = MAKE(MPT_FP32, rows, columns), v = MAKE(MPT_FP32, rows, columns);
  mpt_step_state state = {.loss_scale = 1, .clip = 1};
  mpt_adam_args args = {1e-3f, 0.9f, 0.999f, 1e-8f, 0.1f, true, NULL};
  check(mpt_fill(queue, &v, 1, &error));
  snprintf(name, sizeof name, "adam %d x %d", (int)rows, (int)columns);
  TIME(name, mpt_adam_step(queue, &w, &g, &m, &v, &args, &state, &error));
  snprintf(name, sizeof name, "sgd %d x %d", (int)rows, (int)columns);
  TIME(name, mpt_sgd_step(queue, &w, &g, &m, 1e-3f, NULL, 0.9f, 0, &state, &error));
  const mpt_tensor *all[] = {&g};
  snprintf(name, sizeof name, "gradient_check %d x %d", (int)rows, (int)columns);
  TIME(name, mpt_gradient_check(queue, all, 1, 1, &state, NULL, &error));
}

static void bench_convolution(void) {
  mpt_window w = {3, 3, 1, 1};
  mpt_tensor x = MAKE(MPT_FP32, 64, 16, 28, 28), columns = MAKE(MPT_FP32, 64 * 784, 16 * 9);
  mpt_tensor rows = MAKE(MPT_FP32, 64 * 784, 16), half = MAKE(MPT_FP32, 64, 16, 14, 14);
  TIME("im2col 64x16x28x28", mpt_im2col(queue, &x, w, &columns, &error));
  TIME("col2im 64x16x28x28", mpt_col2im(queue, &columns, w, &x, &error));
  TIME("image_to_rows 64x16x28x28", mpt_image_to_rows(queue, &x, &rows, &error));
  TIME("rows_to_image 64x16x28x28", mpt_rows_to_image(queue, &rows, &x, &error));
  mpt_window p = {2, 2, 2, 0};
  mpt_tensor grad = MAKE(MPT_FP32, 64, 16, 28, 28);
  TIME("max pool 64x16x28x28", mpt_pool_forward(queue, MPT_POOL_MAX, &x, p, &half, &error));
  TIME("max pool backward", mpt_pool_backward(queue, MPT_POOL_MAX, &x, p, &half, &grad, &error));
}

int main(int argc, char **argv) {
  mpt_queue_config config = mpt_queue_config_default();
  config.threads = argc > 1 ? atoi(argv[1]) : 2;
  if (argc > 2)
    check(mpt_format_parse(argv[2], &out_format, &error));
  check(mpt_queue_open(&config, &queue, &error));
  puts("# fashion-mlp");
  bench_linear(128, 784, 512);
  bench_linear(128, 512, 256);
  bench_linear(128, 256, 10);
  bench_activations(128, 512);
  bench_loss(128, 10);
  bench_optimizer(512, 784);
  puts("# text-gpt");
  bench_embedding(512, 64, 256, 64);
  bench_rows(512, 64);
  bench_linear(512, 64, 192);
  bench_linear(512, 64, 64);
  bench_linear(512, 64, 256);
  bench_linear(512, 256, 64);
  bench_attention(8, 64, 64, 4);
  bench_activations(512, 256);
  bench_loss(512, 256);
  bench_optimizer(256, 64);
  puts("# larger");
  bench_linear(1024, 1024, 1024);
  bench_attention(2, 1024, 256, 4);
  bench_loss(2048, 4096);
  bench_convolution();
  mpt_queue_close(queue);
  return 0;
}
