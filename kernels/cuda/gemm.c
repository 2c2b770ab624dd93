/* gemm: out = alpha scale_a scale_b op(a) op(b) + beta out + bias, accumulated in fp32.
 *
 * One product of cuBLASLt's where it has one. What it does not take as it is (fp8 operands in
 * another layout, or whose sizes are no multiples of 16; an output format or a bias that it does
 * not write) is packed and padded into memory of ours, multiplied into fp32, and finished by a
 * kernel with one rounding. */
#include "kernels/cuda/gemm.h"
#include <stdlib.h>

/* Distance of rows, also where there is one only. */
static int64_t row_of(mpt_t t) {
  return t->strides[0] < t->shape[1] ? t->shape[1] : t->strides[0];
}

/* The largest power of two, at most 16, that divides addresses of rows. */
static int32_t alignment(const void *data, int64_t row, int32_t format) {
  uint64_t bits = (uint64_t)(uintptr_t)data | (uint64_t)row * gemm_element_bytes(format) | 16;
  return (int32_t)(bits & (~bits + 1));
}

static gemm_key key_of(const mpt_gemm_args *args) {
  mpt_t a = args->a, b = args->b, out = args->out;
  gemm_key key = {.m = out->shape[0],
                  .n = out->shape[1],
                  .k = a->shape[!args->transpose_a],
                  .row_a = row_of(a),
                  .row_b = row_of(b),
                  .row_out = row_of(out),
                  .format_a = (int32_t)a->format,
                  .format_b = (int32_t)b->format,
                  .format_out = (int32_t)out->format,
                  .transpose_a = args->transpose_a,
                  .transpose_b = args->transpose_b,
                  .fast = mpt_format_is_fp8(a->format) && args->fast,
                  .accumulate = args->beta != 0.0f};
  key.align_a = alignment(a->data, key.row_a, key.format_a);
  key.align_b = alignment(b->data, key.row_b, key.format_b);
  key.align_out = alignment(out->data, key.row_out, key.format_out);
  return key;
}

static bool multiple_of_16(int64_t a, int64_t b, int64_t c) {
  return (a | b | c) % 16 == 0;
}

/* Whether cuBLASLt's rules let it take the operands and write the output as they are; whether it
 * has an algorithm is found by running it. */
static bool is_direct(const gemm_key *k) {
  bool wide = k->format_a == MPT_FP32 || k->format_a == MPT_TF32;
  if (k->format_out != MPT_FP32 && k->format_out != MPT_BF16 && k->format_out != MPT_FP16)
    return false;
  if (mpt_format_is_fp8((mpt_format)k->format_a))
    return !k->transpose_a && k->transpose_b && multiple_of_16(k->m, k->n, k->k) &&
           k->align_a == 16 && k->align_b == 16 && k->align_out == 16;
  return k->format_out == MPT_FP32 || (!wide && k->format_out == k->format_a);
}

/* ---- a product as it is ---- */

/* The bias in the output's format, in scratch: what cuBLASLt adds to 16-bit outputs. */
static mpt_status narrow_bias(mpt_queue *queue, mpt_t bias, mpt_format format, mpt_error *error) {
  mpt_tensor narrow =
      mpt_tensor_of(cuda_of(queue)->scratch, format, 1, (int64_t[]){bias->shape[0]});
  narrow.device = bias->device;
  return mpt_cuda_copy(queue, bias, &narrow, error);
}

/* Runs it where cuBLASLt can, and says so. A bias is added in fp32 where it takes one, else in the
 * format of a 16-bit output. */
static mpt_status run_direct(mpt_queue *queue, const mpt_gemm_args *args, gemm_key key, bool *done,
                             mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  const gemm_plan *plan;
  gemm_data data = {.a = args->a->data,
                    .b = args->b->data,
                    .out = args->out->data,
                    .scale_a = args->scale_a,
                    .scale_b = args->scale_b,
                    .alpha = args->alpha,
                    .beta = args->beta};
  *done = false;
  if (args->bias == NULL) {
    MPT_RETURN_IF_FAILED(mpt_gemm_plan_find(c, &key, &plan, error));
    *done = plan->supported;
    return *done ? mpt_gemm_plan_run(c, plan, &data, error) : MPT_OK;
  }
  key.bias = 1;
  key.format_bias = MPT_FP32;
  MPT_RETURN_IF_FAILED(mpt_gemm_plan_find(c, &key, &plan, error));
  data.bias = args->bias->data;
  if (!plan->supported && key.format_out != MPT_FP32) {
    key.format_bias = key.format_out;
    MPT_RETURN_IF_FAILED(mpt_gemm_plan_find(c, &key, &plan, error));
    data.bias = c->scratch;
    if (plan->supported)
      MPT_RETURN_IF_FAILED(narrow_bias(queue, args->bias, args->out->format, error));
  }
  *done = plan->supported;
  return *done ? mpt_gemm_plan_run(c, plan, &data, error) : MPT_OK;
}

/* ---- a product in memory of ours ---- */
static int64_t padded(int64_t size) {
  return (size + 15) / 16 * 16;
}

static mpt_status make_room(cuda_context *c, size_t bytes, char **memory, mpt_error *error) {
  gemm_room *room = c->gemm->room;
  if ((room == NULL || room->bytes < bytes) && c->gemm->prepared_only)
    return mpt_fail(error, MPT_ERROR_UNPREPARED,
                    "a matrix product would take %zu bytes of memory: it was not prepared", bytes);
  if (room == NULL || room->bytes < bytes) {
    gemm_room *larger = calloc(1, sizeof *larger);
    if (larger == NULL)
      return mpt_fail_memory(error, "a matrix product", sizeof *larger);
    larger->before = room;
    larger->bytes = room != NULL && bytes < 2 * room->bytes ? 2 * room->bytes : bytes;
    mpt_status status = mpt_cuda_take(c, larger->bytes, &larger->memory, "a matrix product", error);
    if (status != MPT_OK) {
      free(larger);
      return status;
    }
    c->gemm->room = room = larger;
  }
  *memory = room->memory;
  return MPT_OK;
}

/* A matrix as op(x) is, in fp32: products of 16-bit numbers are exact in it. */
static mpt_status widen(mpt_queue *queue, mpt_t x, char *memory, mpt_error *error) {
  mpt_tensor wide = mpt_tensor_of(memory, MPT_FP32, 2, x->shape);
  wide.device = x->device;
  return mpt_cuda_copy(queue, x, &wide, error);
}

static size_t aligned(int64_t bytes) {
  return ((size_t)bytes + 255) / 256 * 256;
}

static mpt_status run_packed(mpt_queue *queue, const mpt_gemm_args *args, const gemm_key *given,
                             mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  bool fp8 = mpt_format_is_fp8(args->a->format);
  int64_t m = fp8 ? padded(given->m) : given->m, n = fp8 ? padded(given->n) : given->n;
  int64_t k = fp8 ? padded(given->k) : given->k, element = fp8 ? 1 : (int64_t)sizeof(float);
  size_t bytes_a = aligned(m * k * element), bytes_b = aligned(n * k * element);
  char *memory = NULL;
  MPT_RETURN_IF_FAILED(
      make_room(c, bytes_a + bytes_b + (size_t)(m * n) * sizeof(float), &memory, error));
  char *a = memory, *b = memory + bytes_a, *product = b + bytes_b;
  gemm_key key = *given;
  if (fp8) {
    mpt_gemm_pack(c->stream, args->a->data, given->row_a, args->a->shape[0], args->a->shape[1],
                  args->transpose_a, a, m, k);
    mpt_gemm_pack(c->stream, args->b->data, given->row_b, args->b->shape[0], args->b->shape[1],
                  !args->transpose_b, b, n, k);
    MPT_RETURN_IF_FAILED(CUDA_LAUNCHED("gemm", error));
    key.row_a = key.row_b = k;
    key.transpose_a = 0;
    key.transpose_b = 1;
  } else {
    MPT_RETURN_IF_FAILED(widen(queue, args->a, a, error));
    MPT_RETURN_IF_FAILED(widen(queue, args->b, b, error));
    key.row_a = args->a->shape[1];
    key.row_b = args->b->shape[1];
    if (key.format_a != MPT_TF32)
      key.format_a = key.format_b = MPT_FP32;
  }
  key.m = m, key.n = n, key.k = k;
  key.row_out = n;
  key.format_out = MPT_FP32;
  key.accumulate = key.bias = 0;
  key.align_a = alignment(a, key.row_a, key.format_a);
  key.align_b = alignment(b, key.row_b, key.format_b);
  key.align_out = alignment(product, n, MPT_FP32);
  const gemm_plan *plan;
  MPT_RETURN_IF_FAILED(mpt_gemm_plan_find(c, &key, &plan, error));
  if (!plan->supported)
    return mpt_fail(error, MPT_ERROR_UNSUPPORTED,
                    "gemm %lld x %lld x %lld: cuBLASLt on %s multiplies no %s by %s",
                    (long long)given->m, (long long)given->n, (long long)given->k, c->name,
                    mpt_format_get(args->a->format)->name, mpt_format_get(args->b->format)->name);
  gemm_data data = {.a = a,
                    .b = b,
                    .out = product,
                    .scale_a = fp8 ? args->scale_a : NULL,
                    .scale_b = fp8 ? args->scale_b : NULL,
                    .alpha = 1.0f};
  MPT_RETURN_IF_FAILED(mpt_gemm_plan_run(c, plan, &data, error));
  gemm_finish_args finish = {.product = (const float *)product,
                             .product_row = n,
                             .scale_a = fp8 ? NULL : args->scale_a,
                             .scale_b = fp8 ? NULL : args->scale_b,
                             .bias = args->bias != NULL ? args->bias->data : NULL,
                             .alpha = args->alpha,
                             .beta = args->beta,
                             .out = args->out->data,
                             .out_row = given->row_out,
                             .rows = given->m,
                             .columns = given->n};
  mpt_gemm_finish(c->stream, args->out->format, &finish);
  return CUDA_LAUNCHED("gemm", error);
}

mpt_status mpt_cuda_gemm(mpt_queue *queue, const mpt_gemm_args *args, mpt_error *error) {
  gemm_key key = key_of(args);
  cuda_of(queue)->gemm->prepared_only = args->prepared;
  if (((uintptr_t)args->scale_a | (uintptr_t)args->scale_b) % 16 != 0)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "gemm: a scale is not aligned to 16 bytes");
  bool scaled =
      !mpt_format_is_fp8(args->a->format) && (args->scale_a != NULL || args->scale_b != NULL);
  bool done = false;
  if (is_direct(&key) && !scaled)
    MPT_RETURN_IF_FAILED(run_direct(queue, args, key, &done, error));
  return done ? MPT_OK : run_packed(queue, args, &key, error);
}
