/* What is not a matrix product: a copy, a small kernel, and the passes of a training step at five
 * sizes. */
#include "bench/measure_passes.h"
#include "base/error.h"
#include "base/median.h"
#include "base/random.h"
#include "mptune/ops.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { REGIONS = 3, MOST_SLOTS = 64, REPLAYS = 5, MOST_CALLS = 1000 };
enum { LONGEST_ROW = 4096, CLASSES = 32768, MOST_ROWS = 65536 };
static const double recorded_seconds = 5e-3; /* of device time in one recording */

const int64_t measure_sizes[MEASURE_SIZES] = {1 << 14, 1 << 18, 1 << 22, 1 << 24, 1 << 26};
const measure_head measure_heads[MEASURE_HEADS] = {
    {32, 256},  {32, 1024}, {32, 4096},  {64, 256},   {64, 1024},
    {64, 4096}, {128, 256}, {128, 1024}, {128, 4096},
};

/* Device memory: regions whose tensors change places from call to call, so that no cache holds
 * them, then what is small. */
typedef struct bench {
  mpt_queue *queue;
  char *memory;
  size_t region; /* bytes */
  int call;
  mpt_format format; /* of activations */
  int64_t rows, columns;
  /* attention */
  const measure_head *head;
  int64_t batch;
  mpt_format products;
  bool backward;
} bench;

typedef mpt_status (*work)(bench *b, mpt_error *error);

static mpt_tensor tensor(const bench *b, void *data, mpt_format format, int rank,
                         const int64_t *shape) {
  mpt_tensor t = mpt_tensor_of(data, format, rank, shape);
  t.device = mpt_queue_device(b->queue);
  return t;
}

static mpt_tensor row(const bench *b, void *data, mpt_format format, int64_t count) {
  return tensor(b, data, format, 1, &count);
}

/* Half a region, and where this call's tensor lies in it. */
static char *half(const bench *b, int region, int upper) {
  return b->memory + (size_t)region * b->region + (size_t)upper * (b->region / 2);
}

static char *place(const bench *b, int region, int upper) {
  const size_t slot = (size_t)(b->rows * b->columns) * sizeof(float);
  const size_t slots = b->region / 2 / slot < MOST_SLOTS ? b->region / 2 / slot : MOST_SLOTS;
  return half(b, region, upper) + (size_t)b->call % slots * slot;
}

static mpt_tensor matrix(const bench *b, int region, int upper, mpt_format format) {
  return tensor(b, place(b, region, upper), format, 2, (int64_t[]){b->rows, b->columns});
}

/* ---- what is small, behind the regions ---- */
typedef struct small {
  float ones[MOST_ROWS], sums[2][LONGEST_ROW]; /* vectors of norms; gradients of parameters */
  int32_t ids[MOST_ROWS], labels[MOST_ROWS];
  mpt_scale scale;
  mpt_step_state state;
  double loss;
  int64_t correct;
  uint32_t amax;
} small;

static small *small_of(const bench *b) {
  return (small *)(void *)(b->memory + REGIONS * b->region);
}

/* ---- timing ---- */
static mpt_status call(bench *b, work run, mpt_error *error) {
  b->call++;
  return run(b, error);
}

/* Device seconds between two marks in the queue. */
static mpt_status time_between(bench *b, work run, int calls, const mpt_recording *recording,
                               double *seconds, mpt_error *error) {
  uint32_t word;
  const void *any = b->memory;
  MPT_RETURN_IF_FAILED(mpt_memory_fetch(b->queue, 0, any, sizeof word, error));
  if (recording != NULL)
    MPT_RETURN_IF_FAILED(mpt_queue_replay(b->queue, recording, error));
  for (int i = 0; recording == NULL && i < calls; i++)
    MPT_RETURN_IF_FAILED(call(b, run, error));
  MPT_RETURN_IF_FAILED(mpt_memory_fetch(b->queue, 1, any, sizeof word, error));
  MPT_RETURN_IF_FAILED(mpt_memory_fetched(b->queue, 0, sizeof word, &word, NULL, error));
  MPT_RETURN_IF_FAILED(mpt_memory_fetched(b->queue, 1, sizeof word, &word, seconds, error));
  *seconds /= calls;
  return MPT_OK;
}

static mpt_status record(bench *b, work run, int calls, mpt_recording **recording,
                         mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_queue_record_begin(b->queue, error));
  mpt_status status = MPT_OK;
  for (int i = 0; status == MPT_OK && i < calls; i++)
    status = call(b, run, error);
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
static mpt_status time_work(bench *b, work run, double *seconds, mpt_error *error) {
  double once, times[REPLAYS];
  mpt_recording *recording = NULL;
  mpt_status status = MPT_OK;
  MPT_RETURN_IF_FAILED(call(b, run, error)); /* kernels are loaded when they are first used */
  MPT_RETURN_IF_FAILED(time_between(b, run, 3, NULL, &once, error));
  double wanted = ceil(recorded_seconds / once);
  const int calls = wanted > MOST_CALLS ? MOST_CALLS : wanted > 1 ? (int)wanted : 1;
  MPT_TRY(record(b, run, calls, &recording, error));
  for (int i = -1; i < REPLAYS; i++)
    MPT_TRY(time_between(b, run, calls, recording, &times[i < 0 ? 0 : i], error));
  *seconds = mpt_median(times, REPLAYS);
fail:
  mpt_recording_free(b->queue, recording);
  return status;
}

/* ---- the work ---- */
static mpt_status copy_region(bench *b, mpt_error *error) {
  const int64_t count = (int64_t)(b->region / 2); /* elements of a GPU */
  mpt_tensor x = row(b, half(b, 0, 0), MPT_BF16, count);
  mpt_tensor y = row(b, half(b, 1, 0), MPT_BF16, count);
  return mpt_copy(b->queue, &x, &y, error);
}

static mpt_status copy_little(bench *b, mpt_error *error) {
  mpt_tensor x = row(b, half(b, 0, 0), MPT_FP32, 4096);
  mpt_tensor y = row(b, half(b, 1, 0), MPT_FP32, 4096);
  return mpt_copy(b->queue, &x, &y, error);
}

static mpt_status run_add(bench *b, mpt_error *error) {
  mpt_tensor x = matrix(b, 0, 0, b->format), y = matrix(b, 1, 0, b->format);
  mpt_tensor sum = matrix(b, 2, 0, b->format);
  return mpt_add(b->queue, &x, &y, &sum, error);
}

static mpt_status run_amax(bench *b, mpt_error *error) {
  mpt_tensor x = matrix(b, 0, 0, b->format);
  return mpt_scale_measure(b->queue, &x, &small_of(b)->scale, error);
}

static mpt_status run_column_sum(bench *b, mpt_error *error) {
  mpt_tensor x = matrix(b, 0, 0, b->format);
  mpt_tensor sums = row(b, small_of(b)->sums[0], MPT_FP32, b->columns);
  return mpt_bias_backward(b->queue, &x, &sums, true, error);
}

static mpt_status run_norm_forward(bench *b, mpt_error *error) {
  mpt_tensor x = matrix(b, 0, 0, b->format), y = matrix(b, 1, 0, b->format);
  mpt_tensor gamma = row(b, small_of(b)->ones, MPT_FP32, b->columns);
  mpt_tensor mean = row(b, place(b, 2, 0), MPT_FP32, b->rows);
  mpt_tensor rstd = row(b, place(b, 2, 1), MPT_FP32, b->rows);
  return mpt_layernorm_forward(b->queue, &x, &gamma, &gamma, 1e-5f, &y, &mean, &rstd, error);
}

/* Where a residual's gradient is there already: it is added. */
static mpt_status run_norm_backward(bench *b, mpt_error *error) {
  mpt_tensor grad_y = matrix(b, 0, 0, b->format), x = matrix(b, 1, 0, b->format);
  mpt_tensor grad_x = matrix(b, 2, 0, b->format);
  mpt_tensor gamma = row(b, small_of(b)->ones, MPT_FP32, b->columns);
  mpt_tensor rows = row(b, small_of(b)->ones, MPT_FP32, b->rows);
  mpt_tensor grad_gamma = row(b, small_of(b)->sums[0], MPT_FP32, b->columns);
  mpt_tensor grad_beta = row(b, small_of(b)->sums[1], MPT_FP32, b->columns);
  return mpt_layernorm_backward(b->queue, &grad_y, &x, &gamma, &rows, &rows, &grad_x, true,
                                &grad_gamma, &grad_beta, error);
}

static mpt_status run_loss(bench *b, mpt_error *error) {
  small *s = small_of(b);
  const int64_t elements = b->rows * b->columns;
  const int64_t classes = elements >= 8 * CLASSES ? CLASSES : b->columns;
  const int64_t shape[] = {elements / classes, classes};
  mpt_tensor logits = tensor(b, place(b, 0, 0), b->format, 2, shape);
  mpt_tensor gradient = tensor(b, place(b, 1, 0), b->format, 2, shape);
  return mpt_cross_entropy(b->queue, &logits, s->labels, 1.0f, &s->state, &s->loss, &s->correct,
                           &gradient, error);
}

static mpt_status run_embedding_forward(bench *b, mpt_error *error) {
  mpt_tensor y = matrix(b, 0, 0, b->format);
  mpt_tensor table = tensor(b, half(b, 2, 0), MPT_FP32, 2, (int64_t[]){CLASSES, b->columns});
  return mpt_embedding_forward(b->queue, small_of(b)->ids, &table, NULL, &y, error);
}

static mpt_status run_embedding_backward(bench *b, mpt_error *error) {
  mpt_tensor y = matrix(b, 0, 0, b->format);
  mpt_tensor table = tensor(b, half(b, 2, 0), MPT_FP32, 2, (int64_t[]){CLASSES, b->columns});
  return mpt_embedding_backward(b->queue, small_of(b)->ids, &y, &table, NULL, error);
}

/* With what saturated and vanished counted, as a session does. */
static mpt_status quantize(bench *b, bool transposed, mpt_error *error) {
  mpt_tensor x = matrix(b, 0, 0, b->format), y = matrix(b, 1, 0, MPT_FP8_E4M3);
  mpt_tensor t = tensor(b, place(b, 2, 0), MPT_FP8_E4M3, 2, (int64_t[]){b->columns, b->rows});
  return mpt_quantize(b->queue, &x, &small_of(b)->scale, MPT_QUANTIZE_COUNT, &y,
                      transposed ? &t : NULL, error);
}

static mpt_status run_quantize(bench *b, mpt_error *error) {
  return quantize(b, false, error);
}

static mpt_status run_quantize_pair(bench *b, mpt_error *error) {
  return quantize(b, true, error);
}

static mpt_status optimize(bench *b, bool fp8, mpt_error *error) {
  small *s = small_of(b);
  mpt_tensor weight = matrix(b, 0, 0, MPT_FP32), gradient = matrix(b, 0, 1, MPT_FP32);
  mpt_tensor first = matrix(b, 1, 0, MPT_FP32), second = matrix(b, 1, 1, MPT_FP32);
  mpt_tensor copy = matrix(b, 2, 0, fp8 ? MPT_FP8_E4M3 : MPT_BF16);
  mpt_tensor transposed =
      tensor(b, place(b, 2, 1), MPT_FP8_E4M3, 2, (int64_t[]){b->columns, b->rows});
  mpt_adam_parameter parameter = {.weight = &weight,
                                  .gradient = &gradient,
                                  .first_moment = &first,
                                  .second_moment = &second,
                                  .weight_decay = 0.1f};
  parameter.copies[0] = (mpt_weight_copy){.tensor = &copy};
  if (fp8)
    parameter.copies[0] = (mpt_weight_copy){.tensor = &copy,
                                            .transposed = &transposed,
                                            .scale = &s->scale,
                                            .flags = MPT_QUANTIZE_AMAX | MPT_QUANTIZE_COUNT};
  const mpt_adam_args args = {
      .learning_rate = 1e-3f, .beta1 = 0.9f, .beta2 = 0.95f, .epsilon = 1e-8f, .decoupled = true};
  return mpt_adam_steps(b->queue, &parameter, 1, &args, &s->state, error);
}

static mpt_status run_optimizer(bench *b, mpt_error *error) {
  return optimize(b, false, error);
}

static mpt_status run_optimizer_fp8(bench *b, mpt_error *error) {
  return optimize(b, true, error);
}

/* Bytes of an element are elements * tensors of the format + bytes of others. */
static const struct {
  work run;
  int tensors, others;
  bool wide_only; /* fp32 masters */
} works[PASS_KIND_COUNT] = {
    [PASS_ELEMENTWISE] = {run_add, 3, 0, false},
    [PASS_REDUCTION] = {run_amax, 1, 0, false},
    [PASS_COLUMN_SUM] = {run_column_sum, 1, 0, false},
    [PASS_NORM_FORWARD] = {run_norm_forward, 2, 0, false},
    [PASS_NORM_BACKWARD] = {run_norm_backward, 4, 0, false},
    [PASS_LOSS] = {run_loss, 2, 0, false},
    [PASS_EMBEDDING_FORWARD] = {run_embedding_forward, 1, 4, false},
    [PASS_EMBEDDING_BACKWARD] = {run_embedding_backward, 1, 8, false},
    [PASS_QUANTIZE] = {run_quantize, 1, 1, false},
    [PASS_QUANTIZE_PAIR] = {run_quantize_pair, 1, 2, false},
    [PASS_OPTIMIZER] = {run_optimizer, 7, 2, true},
    [PASS_OPTIMIZER_FP8] = {run_optimizer_fp8, 7, 2, true},
};

static int bytes_of(int wide) {
  return wide ? 4 : 2;
}

double measure_pass_bytes(pass_kind kind, int wide, int64_t elements) {
  return (double)elements * (works[kind].tensors * bytes_of(wide) + works[kind].others);
}

/* Rows of 1024, of 4096 where there are many elements. */
static void set_size(bench *b, int wide, int64_t elements) {
  b->format = wide ? MPT_FP32 : MPT_BF16;
  b->columns = elements > 1 << 24 ? LONGEST_ROW : 1024;
  b->rows = elements / b->columns;
}

/* ---- attention ---- */
/* Parts of a packed [B, T, 3C] tensor. */
static mpt_tensor part_of(const bench *b, char *data, int part) {
  mpt_tensor t =
      tensor(b, data, b->format, 3, (int64_t[]){b->batch, b->head->tokens, 3 * ATTENTION_WIDTH});
  t.data = data + (size_t)part * ATTENTION_WIDTH *
                      mpt_element_bytes(mpt_queue_device(b->queue).kind, b->format);
  t.shape[2] = ATTENTION_WIDTH;
  return t;
}

static mpt_status attend(bench *b, mpt_error *error) {
  const int heads = ATTENTION_WIDTH / b->head->channels;
  const int64_t shape[] = {b->batch, b->head->tokens, ATTENTION_WIDTH};
  mpt_tensor q = part_of(b, half(b, 0, 0), 0), k = part_of(b, half(b, 0, 0), 1);
  mpt_tensor v = part_of(b, half(b, 0, 0), 2), gq = part_of(b, half(b, 2, 0), 0);
  mpt_tensor gk = part_of(b, half(b, 2, 0), 1), gv = part_of(b, half(b, 2, 0), 2);
  mpt_tensor y = tensor(b, half(b, 1, 0), b->format, 3, shape);
  mpt_tensor gy = tensor(b, half(b, 0, 1), b->format, 3, shape);
  mpt_tensor lse =
      tensor(b, half(b, 1, 1), MPT_FP32, 3, (int64_t[]){b->batch, heads, b->head->tokens});
  const mpt_attention_args args = {.query = &q,
                                   .key = &k,
                                   .value = &v,
                                   .y = &y,
                                   .lse = &lse,
                                   .heads = heads,
                                   .causal = true,
                                   .format = b->products};
  return b->backward ? mpt_attention_backward(b->queue, &args, &gy, &gq, &gk, &gv, error)
                     : mpt_attention_forward(b->queue, &args, error);
}

static void set_attention(bench *b, mpt_format format, int head, bool backward) {
  b->head = &measure_heads[head];
  b->batch = ATTENTION_TOKENS / b->head->tokens;
  b->products = format;
  b->format = mpt_format_get(format)->bits == 16 ? format : MPT_FP32; /* as tf32 is stored */
  b->backward = backward;
}

/* ---- memory ---- */
/* Normal numbers in all regions, in bf16, which read as fp32 are normal too: a million of them,
 * copied on until memory is full. */
static mpt_status fill_memory(const bench *b, mpt_error *error) {
  enum { FIRST = 1 << 20 };
  const size_t element = mpt_element_bytes(mpt_queue_device(b->queue).kind, MPT_BF16);
  const int64_t whole = (int64_t)(REGIONS * b->region / element);
  float *host = malloc(FIRST * sizeof *host);
  if (host == NULL)
    return mpt_fail_memory(error, "random numbers", FIRST * sizeof *host);
  for (int64_t i = 0; i < FIRST; i++)
    host[i] = (float)mpt_normal(1, (uint64_t)i, 0);
  mpt_tensor first = row(b, b->memory, MPT_BF16, FIRST);
  mpt_status status = mpt_tensor_upload(b->queue, host, &first, error);
  free(host);
  for (int64_t done = FIRST; status == MPT_OK && done < whole; done *= 2) {
    int64_t count = whole - done < done ? whole - done : done;
    mpt_tensor from = row(b, b->memory, MPT_BF16, count);
    mpt_tensor to = row(b, b->memory + (size_t)done * element, MPT_BF16, count);
    status = mpt_copy(b->queue, &from, &to, error);
  }
  return status;
}

static mpt_status fill_small(const bench *b, mpt_error *error) {
  small *s = calloc(1, sizeof *s);
  if (s == NULL)
    return mpt_fail_memory(error, "small tensors", sizeof *s);
  for (int i = 0; i < MOST_ROWS; i++) {
    uint32_t random[4];
    mpt_philox(1, (uint64_t)i, 1, random);
    s->ones[i] = 1.0f;
    s->ids[i] = (int32_t)(random[0] % CLASSES);
    s->labels[i] = s->ids[i] % 1024;
  }
  s->scale = (mpt_scale){.scale = 1, .inverse = 1, .format = MPT_FP8_E4M3, .max_finite = 448};
  s->state = (mpt_step_state){.loss_scale = 1, .clip = 1};
  mpt_status status = mpt_memory_upload(b->queue, s, sizeof *s, small_of(b), error);
  free(s);
  return status;
}

/* Regions of 1 GiB, for the largest size, or 256 MiB. */
static mpt_status begin(bench *b, mpt_queue *queue, bool large, mpt_error *error) {
  void *memory = NULL;
  *b = (bench){.queue = queue, .region = (size_t)(large ? 1024 : 256) << 20};
  MPT_RETURN_IF_FAILED(
      mpt_memory_allocate(queue, REGIONS * b->region + sizeof(small), &memory, error));
  b->memory = memory;
  mpt_status status = fill_memory(b, error);
  if (status == MPT_OK)
    status = fill_small(b, error);
  if (status != MPT_OK)
    mpt_memory_free(queue, memory);
  return status;
}

/* ---- rounds ---- */
/* Adds the seconds of `run`; nothing where the backend lacks the operation. */
static mpt_status add_seconds(bench *b, work run, measured *m, mpt_error *error) {
  double seconds;
  mpt_error why = {0};
  mpt_status status = time_work(b, run, &seconds, &why);
  if (status == MPT_OK)
    measured_add(m, seconds);
  else if (status != MPT_ERROR_UNSUPPORTED)
    return mpt_fail(error, status, "%s", why.message);
  return MPT_OK;
}

static mpt_status time_copies(bench *b, measure_passes *passes, mpt_error *error) {
  double times[REPLAYS];
  /* Not from a recording: copies in a graph may take another way than plain ones. */
  MPT_RETURN_IF_FAILED(copy_region(b, error));
  for (int i = 0; i < REPLAYS; i++)
    MPT_RETURN_IF_FAILED(time_between(b, copy_region, 10, NULL, &times[i], error));
  measured_add(&passes->copy_bandwidth, 2.0 * (double)b->region / mpt_median(times, REPLAYS));
  return add_seconds(b, copy_little, &passes->floor, error);
}

/* Formats of attention, as columns of measure_passes.attention. */
const mpt_format measure_attention_formats[MEASURE_ATTENTION_FORMATS] = {MPT_FP32, MPT_TF32,
                                                                         MPT_BF16, MPT_FP16};

/* fp32 takes long, and grows with the sequence as its products do. */
static bool is_timed(mpt_format format, const measure_head *head, uint32_t formats) {
  return (formats & 1u << format) != 0 && (format != MPT_FP32 || head->tokens <= 1024);
}

static mpt_status time_attention(bench *b, const measure_options *options, measure_passes *passes,
                                 uint32_t formats, mpt_error *error) {
  for (int f = 0; f < MEASURE_ATTENTION_FORMATS; f++)
    for (int head = 0; head < MEASURE_HEADS; head++) {
      const mpt_format format = measure_attention_formats[f];
      MPT_RETURN_IF_FAILED(measure_go_on(options, "attention", f * MEASURE_HEADS + head,
                                         MEASURE_ATTENTION_FORMATS * MEASURE_HEADS, error));
      for (int backward = 0; is_timed(format, &measure_heads[head], formats) && backward < 2;
           backward++) {
        set_attention(b, format, head, backward);
        MPT_RETURN_IF_FAILED(add_seconds(b, attend, &passes->attention[f][head][backward], error));
      }
    }
  return MPT_OK;
}

static mpt_status time_passes(bench *b, const measure_options *options, measure_passes *passes,
                              mpt_error *error) {
  for (int kind = 0; kind < PASS_KIND_COUNT; kind++) {
    MPT_RETURN_IF_FAILED(measure_go_on(options, "passes", kind, PASS_KIND_COUNT, error));
    for (int wide = works[kind].wide_only; wide < 2; wide++)
      for (int i = 0; i < MEASURE_SIZES; i++) {
        set_size(b, wide, measure_sizes[i]);
        MPT_RETURN_IF_FAILED(
            add_seconds(b, works[kind].run, &passes->seconds[kind][wide][i], error));
      }
  }
  return MPT_OK;
}

mpt_status measure_pass_round(mpt_queue *queue, const measure_options *options,
                              measure_passes *passes, uint32_t formats, mpt_error *error) {
  bench b;
  mpt_status status = MPT_OK;
  MPT_RETURN_IF_FAILED(begin(&b, queue, true, error));
  MPT_TRY(time_copies(&b, passes, error));
  MPT_TRY(time_passes(&b, options, passes, error));
  MPT_TRY(time_attention(&b, options, passes, formats, error));
fail:
  mpt_memory_free(queue, b.memory);
  return status;
}

mpt_status measure_pass_once(mpt_queue *queue, bool ran[PASS_KIND_COUNT][2], bool attended[2],
                             mpt_error *error) {
  bench b;
  mpt_status status = MPT_OK;
  mpt_error why = {0};
  MPT_RETURN_IF_FAILED(begin(&b, queue, false, error));
  for (int kind = 0; kind < PASS_KIND_COUNT; kind++)
    for (int wide = 0; wide < 2; wide++) {
      set_size(&b, wide, measure_sizes[0]);
      const bool narrow = wide == 0;
      status =
          narrow && works[kind].wide_only ? MPT_ERROR_UNSUPPORTED : call(&b, works[kind].run, &why);
      ran[kind][wide] = status == MPT_OK;
      if (status != MPT_OK && status != MPT_ERROR_UNSUPPORTED)
        goto fail;
    }
  for (int backward = 0; backward < 2; backward++) {
    set_attention(&b, MPT_BF16, 0, backward);
    b.batch = 1;
    status = call(&b, attend, &why);
    attended[backward] = status == MPT_OK;
    if (status != MPT_OK && status != MPT_ERROR_UNSUPPORTED)
      goto fail;
  }
  status = MPT_OK;
fail:
  mpt_memory_free(queue, b.memory);
  return status == MPT_OK ? MPT_OK : mpt_fail(error, status, "%s", why.message);
}
