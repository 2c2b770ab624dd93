/* What is not a matrix product: a copy, a small kernel, and the passes of a training step. */
#include "base/error.h"
#include "base/random.h"
#include "workload/measure.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Three regions of device memory, each past the caches many times over. */
static const size_t region = (size_t)1 << 30;
enum { ROWS = 16384, WIDTH = 2048, WIDE = 8192, QUANTIZED = 4096, REPLAYS = 7, MOST_CALLS = 1000 };
static const double recorded_seconds = 5e-3; /* of device time in one recording */

/* The attention of GPTs: 16384 tokens of gpt-800m and of gpt2-124m. */
const measure_head measure_heads[2] = {{8, 2048, 16, 128}, {16, 1024, 12, 64}};

typedef struct bench {
  mpt_queue *queue;
  char *memory; /* three regions */
  int head;     /* which of measure_heads */
} bench;

typedef mpt_status (*work)(const bench *b, mpt_error *error);

static mpt_tensor tensor(const bench *b, size_t offset, mpt_format format, int rank,
                         const int64_t *shape) {
  mpt_tensor t = mpt_tensor_of(b->memory + offset, format, rank, shape);
  t.device = mpt_queue_device(b->queue);
  return t;
}

static mpt_tensor matrix(const bench *b, size_t offset, mpt_format format, int64_t rows,
                         int64_t columns) {
  return tensor(b, offset, format, 2, (int64_t[]){rows, columns});
}

static mpt_tensor row(const bench *b, size_t offset, mpt_format format, int64_t count) {
  return tensor(b, offset, format, 1, &count);
}

static size_t mebibytes(size_t count) {
  return count << 20;
}

/* ---- timing ---- */
static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Device seconds between two marks in the queue. */
static mpt_status time_between(const bench *b, work run, int calls, const mpt_recording *recording,
                               double *seconds, mpt_error *error) {
  uint32_t word;
  const void *any = b->memory;
  MPT_RETURN_IF_FAILED(mpt_memory_fetch(b->queue, 0, any, sizeof word, error));
  if (recording != NULL)
    MPT_RETURN_IF_FAILED(mpt_queue_replay(b->queue, recording, error));
  for (int i = 0; recording == NULL && i < calls; i++)
    MPT_RETURN_IF_FAILED(run(b, error));
  MPT_RETURN_IF_FAILED(mpt_memory_fetch(b->queue, 1, any, sizeof word, error));
  MPT_RETURN_IF_FAILED(mpt_memory_fetched(b->queue, 0, sizeof word, &word, NULL, error));
  MPT_RETURN_IF_FAILED(mpt_memory_fetched(b->queue, 1, sizeof word, &word, seconds, error));
  *seconds /= calls;
  return MPT_OK;
}

static mpt_status record(const bench *b, work run, int calls, mpt_recording **recording,
                         mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_queue_record_begin(b->queue, error));
  mpt_status status = MPT_OK;
  for (int i = 0; status == MPT_OK && i < calls; i++)
    status = run(b, error);
  mpt_error ignored;
  mpt_status ended = mpt_queue_record_end(b->queue, recording, status == MPT_OK ? error : &ignored);
  if (status == MPT_OK)
    return ended;
  if (ended == MPT_OK)
    mpt_recording_free(b->queue, *recording);
  *recording = NULL;
  return status;
}

/* The median of replays of a recording of enough calls that the marks weigh nothing. */
static mpt_status time_work(const bench *b, work run, double *seconds, mpt_error *error) {
  double once, times[REPLAYS];
  mpt_recording *recording = NULL;
  mpt_status status = MPT_OK;
  MPT_RETURN_IF_FAILED(run(b, error)); /* kernels are loaded when they are first used */
  MPT_RETURN_IF_FAILED(time_between(b, run, 3, NULL, &once, error));
  double wanted = ceil(recorded_seconds / once);
  const int calls = wanted > MOST_CALLS ? MOST_CALLS : wanted > 1 ? (int)wanted : 1;
  MPT_TRY(record(b, run, calls, &recording, error));
  for (int i = -1; i < REPLAYS; i++)
    MPT_TRY(time_between(b, run, calls, recording, &times[i < 0 ? 0 : i], error));
  qsort(times, REPLAYS, sizeof times[0], compare_doubles);
  *seconds = times[REPLAYS / 2];
fail:
  mpt_recording_free(b->queue, recording);
  return status;
}

/* Adds `amount` over the seconds of `run`; nothing where the backend lacks an operation of it. */
static mpt_status add_rate(const bench *b, work run, double amount, measured *rate,
                           mpt_error *error) {
  double seconds;
  mpt_error why = {0};
  mpt_status status = time_work(b, run, &seconds, &why);
  if (status == MPT_OK)
    measured_add(rate, amount / seconds);
  else if (status != MPT_ERROR_UNSUPPORTED)
    return mpt_fail(error, status, "%s", why.message);
  return MPT_OK;
}

/* ---- the work ---- */
static mpt_status copy_region(const bench *b, mpt_error *error) {
  const int64_t count = (int64_t)region / 2;
  mpt_tensor x = row(b, 0, MPT_BF16, count), y = row(b, region, MPT_BF16, count);
  return mpt_copy(b->queue, &x, &y, error);
}

static mpt_status copy_little(const bench *b, mpt_error *error) {
  mpt_tensor x = row(b, 0, MPT_FP32, 4096), y = row(b, region, MPT_FP32, 4096);
  return mpt_copy(b->queue, &x, &y, error);
}

/* One block of a GPT: two residuals, two norms and an activation, forward and backward. */
static mpt_status block_passes(const bench *b, mpt_error *error) {
  const size_t small = 2 * region + mebibytes(1000); /* vectors */
  mpt_queue *q = b->queue;
  mpt_tensor x = matrix(b, 0, MPT_BF16, ROWS, WIDTH), y = matrix(b, region, MPT_BF16, ROWS, WIDTH);
  mpt_tensor z = matrix(b, 2 * region, MPT_BF16, ROWS, WIDTH);
  mpt_tensor wide = matrix(b, 0, MPT_BF16, ROWS, WIDE),
             out = matrix(b, region, MPT_BF16, ROWS, WIDE);
  mpt_tensor grad = matrix(b, 2 * region, MPT_BF16, ROWS, WIDE);
  mpt_tensor gamma = row(b, small, MPT_FP32, WIDTH),
             mean = row(b, small + mebibytes(1), MPT_FP32, ROWS);
  mpt_tensor rstd = row(b, small + mebibytes(2), MPT_FP32, ROWS);
  mpt_tensor gg = row(b, small + mebibytes(3), MPT_FP32, WIDTH);
  mpt_tensor gb = row(b, small + mebibytes(4), MPT_FP32, WIDTH);
  for (int i = 0; i < 2; i++) {
    MPT_RETURN_IF_FAILED(mpt_add(q, &x, &z, &y, error));
    MPT_RETURN_IF_FAILED(
        mpt_layernorm_forward(q, &x, &gamma, &gamma, 1e-5f, &y, &mean, &rstd, error));
    MPT_RETURN_IF_FAILED(
        mpt_layernorm_backward(q, &z, &x, &gamma, &mean, &rstd, &y, false, &gg, &gb, error));
  }
  MPT_RETURN_IF_FAILED(mpt_activation_forward(q, MPT_GELU, &wide, &out, error));
  return mpt_activation_backward(q, MPT_GELU, &wide, &wide, &grad, &out, error);
}
/* Additions and norms' backward touch three tensors, their forward two. */
static const double block_bytes =
    2.0 * ((2 * (3 + 2 + 3)) * ((double)ROWS * WIDTH) + (2 + 3) * ((double)ROWS * WIDE));

/* As a session does with current scaling: the amax of a tensor, then its copy and the transposed
 * one, with what saturated and vanished counted. */
static mpt_status quantize_pair(const bench *b, mpt_error *error) {
  mpt_scale *scale = (mpt_scale *)(void *)(b->memory + 2 * region + mebibytes(1000));
  mpt_tensor x = matrix(b, 0, MPT_BF16, ROWS, QUANTIZED);
  mpt_tensor y = matrix(b, region, MPT_FP8_E4M3, ROWS, QUANTIZED);
  mpt_tensor transposed = matrix(b, region + mebibytes(256), MPT_FP8_E4M3, QUANTIZED, ROWS);
  MPT_RETURN_IF_FAILED(mpt_scale_measure(b->queue, &x, scale, error));
  return mpt_quantize(b->queue, &x, scale, MPT_QUANTIZE_COUNT, &y, &transposed, error);
}
static const double quantize_bytes = (2.0 + 2.0 + 1.0 + 1.0) * ROWS * QUANTIZED;

/* Parts of a packed [B, T, 3C] tensor. */
static mpt_tensor part_of(const bench *b, size_t offset, int part) {
  const measure_head *h = &measure_heads[b->head];
  const int64_t width = (int64_t)h->heads * h->width;
  mpt_tensor t = tensor(b, offset, MPT_BF16, 3, (int64_t[]){h->batch, h->tokens, 3 * width});
  t.data = (char *)t.data + (size_t)(part * width) * 2;
  t.shape[2] = width;
  return t;
}

static mpt_status attend(const bench *b, mpt_error *error) {
  const measure_head *h = &measure_heads[b->head];
  const int64_t shape[] = {h->batch, h->tokens, (int64_t)h->heads * h->width};
  const size_t gradients = 2 * region, grad = mebibytes(512);
  mpt_tensor q = part_of(b, 0, 0), k = part_of(b, 0, 1), v = part_of(b, 0, 2);
  mpt_tensor gq = part_of(b, gradients, 0), gk = part_of(b, gradients, 1),
             gv = part_of(b, gradients, 2);
  mpt_tensor y = tensor(b, region, MPT_BF16, 3, shape), gy = tensor(b, grad, MPT_BF16, 3, shape);
  mpt_tensor lse =
      tensor(b, region + mebibytes(512), MPT_FP32, 3, (int64_t[]){h->batch, h->heads, h->tokens});
  const mpt_attention_args args = {.query = &q,
                                   .key = &k,
                                   .value = &v,
                                   .y = &y,
                                   .lse = &lse,
                                   .heads = h->heads,
                                   .causal = true,
                                   .format = MPT_BF16};
  MPT_RETURN_IF_FAILED(mpt_attention_forward(b->queue, &args, error));
  return mpt_attention_backward(b->queue, &args, &gy, &gq, &gk, &gv, error);
}

/* Two products forward, five backward, half of each for being causal; as passes are counted. */
static double attention_operations(const measure_head *h) {
  return 7.0 * h->batch * h->heads * (double)h->tokens * h->tokens * h->width;
}

/* ---- memory ---- */
/* Normal numbers in all three regions: a million of them, copied on until memory is full. */
static mpt_status fill_memory(const bench *b, mpt_error *error) {
  enum { FIRST = 1 << 20 };
  const int64_t whole = 3 * (int64_t)region / 2;
  float *host = malloc(FIRST * sizeof *host);
  if (host == NULL)
    return mpt_fail_memory(error, "random numbers", FIRST * sizeof *host);
  for (int64_t i = 0; i < FIRST; i++)
    host[i] = (float)mpt_normal(1, (uint64_t)i, 0);
  mpt_tensor first = row(b, 0, MPT_BF16, FIRST);
  mpt_status status = mpt_tensor_upload(b->queue, host, &first, error);
  free(host);
  for (int64_t done = FIRST; status == MPT_OK && done < whole; done *= 2) {
    int64_t count = whole - done < done ? whole - done : done;
    mpt_tensor from = row(b, 0, MPT_BF16, count), to = row(b, (size_t)done * 2, MPT_BF16, count);
    status = mpt_copy(b->queue, &from, &to, error);
  }
  return status;
}

static mpt_status time_quantize(const bench *b, measured *bandwidth, mpt_error *error) {
  const mpt_scale scale = {.scale = 1, .inverse = 1, .format = MPT_FP8_E4M3, .max_finite = 448};
  MPT_RETURN_IF_FAILED(mpt_memory_upload(b->queue, &scale, sizeof scale,
                                         b->memory + 2 * region + mebibytes(1000), error));
  return add_rate(b, quantize_pair, quantize_bytes, bandwidth, error);
}

/* Vectors of the norms are ones. */
static mpt_status time_block(const bench *b, measured *bandwidth, mpt_error *error) {
  mpt_tensor vectors = row(b, 2 * region + mebibytes(1000), MPT_FP32, 5 << 18);
  MPT_RETURN_IF_FAILED(mpt_fill(b->queue, &vectors, 1.0f, error));
  return add_rate(b, block_passes, block_bytes, bandwidth, error);
}

static mpt_status time_copies(const bench *b, measure_passes *passes, mpt_error *error) {
  double seconds, times[REPLAYS];
  /* Not from a recording: copies in a graph may take another way than plain ones. */
  MPT_RETURN_IF_FAILED(copy_region(b, error));
  for (int i = 0; i < REPLAYS; i++)
    MPT_RETURN_IF_FAILED(time_between(b, copy_region, 10, NULL, &times[i], error));
  qsort(times, REPLAYS, sizeof times[0], compare_doubles);
  measured_add(&passes->copy_bandwidth, 2.0 * (double)region / times[REPLAYS / 2]);
  MPT_RETURN_IF_FAILED(time_work(b, copy_little, &seconds, error));
  measured_add(&passes->floor, seconds);
  return MPT_OK;
}

mpt_status measure_pass_round(mpt_queue *queue, measure_passes *passes, mpt_error *error) {
  bench b = {.queue = queue};
  void *memory = NULL;
  mpt_status status = MPT_OK;
  MPT_RETURN_IF_FAILED(mpt_memory_allocate(queue, 3 * region, &memory, error));
  b.memory = memory;
  MPT_TRY(fill_memory(&b, error));
  MPT_TRY(time_copies(&b, passes, error));
  MPT_TRY(time_quantize(&b, &passes->quantize_bandwidth, error));
  for (b.head = 0; b.head < 2; b.head++)
    MPT_TRY(add_rate(&b, attend, attention_operations(&measure_heads[b.head]),
                     &passes->attention_rates[b.head], error));
  MPT_TRY(time_block(&b, &passes->pass_bandwidth, error));
fail:
  mpt_memory_free(queue, memory);
  return status;
}
