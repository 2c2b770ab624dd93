/* The time of mpt_gemm, for whoever drives it: pytorch_gemm.py does, beside torch.mm.
 *
 *   bench_gemm     reads commands and answers each with a line
 *
 *   case M N K A B OUT TRANSPOSE_A TRANSPOSE_B ACCUMULATE BIAS FAST
 *       prepares out[M,N] = op(a) op(b), formats by name, the others 0 or 1: "ready",
 *       or "refused" and why
 *   time
 *       milliseconds of a product of the last case
 *
 * Random operands in sets that together are larger than the L2 cache, in turn; the products are
 * captured in a graph of about a millisecond, which runs once to warm up before it is timed.
 * MPTUNE_GEMM_TUNE=0 times the heuristic's first choice. Exits 2 without a GPU.
 */
#ifndef MPTUNE_CUDA
#include <stdio.h>

int main(void) {
  fprintf(stderr, "bench_gemm: built without the cuda backend\n");
  return 2;
}

#else
#include "gpu_bench.h"
#include <math.h>
#include <string.h>

enum { BLOCK = 4000037, MOST_SETS = 32, MOST_PRODUCTS = 200, REPLAYS = 3 };

typedef struct bench_case {
  mpt_tensor a[MOST_SETS], b[MOST_SETS], out[MOST_SETS], bias;
  mpt_gemm_args args;
  void *memory;
  int sets;
  cudaGraphExec_t graph;
  int products;
} bench_case;

static bench_case now;
static cudaEvent_t events[REPLAYS + 1];
static size_t l2_bytes;

/* Normals in that format, on the device; drawn once. */
static const void *random_block(mpt_format format) {
  static void *blocks[MPT_FORMAT_COUNT];
  static float *values;
  if (blocks[format] != NULL)
    return blocks[format];
  if (values == NULL) {
    values = malloc(BLOCK * sizeof *values);
    if (values == NULL)
      exit(1);
    for (int i = 0; i < BLOCK; i++) {
      double radius = sqrt(-2 * log((rand() + 1.0) / (RAND_MAX + 2.0)));
      values[i] = (float)(radius * cos(6.283185307179586 * rand() / RAND_MAX));
    }
  }
  mpt_tensor block = mpt_tensor_of(NULL, format, 1, (int64_t[]){BLOCK});
  block.device = mpt_queue_device(queue);
  check(mpt_memory_allocate(queue, mpt_tensor_bytes(&block), &block.data, &error));
  check(mpt_tensor_upload(queue, values, &block, &error));
  check(mpt_queue_synchronize(queue, &error));
  return blocks[format] = block.data;
}

static void fill(const mpt_tensor *t) {
  size_t bytes = mpt_tensor_bytes(t), block = BLOCK * (mpt_format_get(t->format)->bits / 8u);
  const void *from = random_block(t->format);
  for (size_t at = 0; at < bytes; at += block)
    check_cuda(cudaMemcpyAsync((char *)t->data + at, from, bytes - at < block ? bytes - at : block,
                               cudaMemcpyDeviceToDevice, stream));
}

static mpt_tensor matrix(mpt_format format, int64_t rows, int64_t columns, char **place) {
  mpt_tensor t = mpt_tensor_of(*place, format, 2, (int64_t[]){rows, columns});
  t.device = mpt_queue_device(queue);
  *place += (mpt_tensor_bytes(&t) + 255) / 256 * 256;
  return t;
}

static void close_case(void) {
  if (now.graph != NULL)
    cudaGraphExecDestroy(now.graph);
  cudaFree(now.memory);
  memset(&now, 0, sizeof now);
}

static mpt_status product(int which) {
  int set = which % now.sets;
  now.args.a = &now.a[set], now.args.b = &now.b[set], now.args.out = &now.out[set];
  return mpt_gemm(queue, &now.args, &error);
}

static void capture(int products) {
  cudaGraph_t graph;
  if (now.graph != NULL)
    cudaGraphExecDestroy(now.graph);
  check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  for (int i = 0; i < products; i++)
    check(product(i));
  check_cuda(cudaStreamEndCapture(stream, &graph));
  check_cuda(cudaGraphInstantiate(&now.graph, graph, 0));
  cudaGraphDestroy(graph);
  now.products = products;
}

/* Milliseconds of a product: the median of some replays, after one that does not count; without a
 * pause, in which the clock would rise. */
static double replay(void) {
  float ms[REPLAYS];
  for (int i = 0; i <= REPLAYS; i++) {
    check_cuda(cudaGraphLaunch(now.graph, stream));
    check_cuda(cudaEventRecord(events[i], stream));
  }
  check_cuda(cudaEventSynchronize(events[REPLAYS]));
  for (int i = 0; i < REPLAYS; i++)
    check_cuda(cudaEventElapsedTime(&ms[i], events[i], events[i + 1]));
  float least = fminf(ms[0], fminf(ms[1], ms[2])), most = fmaxf(ms[0], fmaxf(ms[1], ms[2]));
  return (double)(ms[0] + ms[1] + ms[2] - least - most) / now.products;
}

/* False where the product is refused; `error` says why. */
static bool open_case(int64_t m, int64_t n, int64_t k, const mpt_format formats[3],
                      const int flags[5]) {
  bool transpose_a = flags[0], transpose_b = flags[1];
  int64_t rows_a = transpose_a ? k : m, rows_b = transpose_b ? n : k;
  char *place = NULL;
  matrix(formats[0], rows_a, m + k - rows_a, &place);
  matrix(formats[1], rows_b, n + k - rows_b, &place);
  matrix(formats[2], m, n, &place);
  size_t bytes = (size_t)(uintptr_t)place, sets = 2 * l2_bytes / bytes + 1;
  close_case();
  now.sets = sets < MOST_SETS ? (int)sets : MOST_SETS;
  check_cuda(cudaMalloc(&now.memory, (size_t)now.sets * bytes + (size_t)n * sizeof(float)));
  place = now.memory;
  for (int i = 0; i < now.sets; i++) {
    now.a[i] = matrix(formats[0], rows_a, m + k - rows_a, &place);
    now.b[i] = matrix(formats[1], rows_b, n + k - rows_b, &place);
    now.out[i] = matrix(formats[2], m, n, &place);
    fill(&now.a[i]);
    fill(&now.b[i]);
    fill(&now.out[i]);
  }
  now.bias = mpt_tensor_of(place, MPT_FP32, 1, &n);
  now.bias.device = mpt_queue_device(queue);
  fill(&now.bias);
  now.args = (mpt_gemm_args){.transpose_a = transpose_a,
                             .transpose_b = transpose_b,
                             .beta = flags[2] ? 1.0f : 0.0f,
                             .bias = flags[3] ? &now.bias : NULL,
                             .fast = flags[4],
                             .alpha = 1.0f};
  if (product(0) != MPT_OK)
    return false;
  check(mpt_queue_synchronize(queue, &error));
  capture(1);
  int wanted = (int)(1.0 / replay());
  if (wanted > 1)
    capture(wanted < MOST_PRODUCTS ? wanted : MOST_PRODUCTS);
  return true;
}

static bool read_case(const char *line) {
  long long size[3];
  char names[3][16];
  mpt_format formats[3];
  int flags[5];
  if (sscanf(line, "case %lld %lld %lld %15s %15s %15s %d %d %d %d %d", &size[0], &size[1],
             &size[2], names[0], names[1], names[2], &flags[0], &flags[1], &flags[2], &flags[3],
             &flags[4]) != 11)
    return false;
  for (int i = 0; i < 3; i++)
    if (mpt_format_parse(names[i], &formats[i], NULL) != MPT_OK)
      return false;
  if (open_case(size[0], size[1], size[2], formats, flags))
    printf("ready\n");
  else
    printf("refused %s\n", error.message);
  return true;
}

int main(void) {
  char line[256];
  struct cudaDeviceProp device = gpu_open("bench_gemm");
  l2_bytes = (size_t)device.l2CacheSize;
  for (int i = 0; i <= REPLAYS; i++)
    check_cuda(cudaEventCreate(&events[i]));
  while (fgets(line, sizeof line, stdin) != NULL) {
    if (strncmp(line, "time", 4) == 0 && now.graph != NULL) {
      printf("%.9g\n", replay());
    } else if (!read_case(line)) {
      fprintf(stderr, "bench_gemm: not a command: %s", line);
      return 1;
    }
    fflush(stdout);
  }
  close_case();
  gpu_close();
  return 0;
}

#endif
