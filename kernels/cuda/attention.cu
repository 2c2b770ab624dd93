/* attention: y = softmax(q k^T / sqrt(D)) v for each (batch element, head), and its gradients, as
 * in FlashAttention-2 (Dao 2023): no T x T matrix in memory. A block of queries meets the keys
 * block by block; what was summed under a smaller maximum is scaled when a larger one turns up.
 *
 * Backward: P again from lse, and with dP = dy v^T, delta = rowsum(dy y) = rowsum(P dP),
 * dS = P (dP - delta):
 *   dv = P^T dy    dq = dS k / sqrt(D)    dk = dS^T q / sqrt(D)
 * One kernel sums dk and dv of a block of keys over the queries, another dq of a block of queries
 * over the keys. Seven products in place of five, but every sum has one owner and one order:
 * results are repeatable, and there is no fp32 copy of dq in memory.
 *
 * This file decides which kernels a problem gets. All but fp32 goes to tensor cores when a head has
 * at most 128 channels: directly when tensors are stored in the format of the products and rows can
 * be read in 16-byte pieces, otherwise converted on the way. */
#include "kernels/cuda/attention.cuh"

enum { THREADS = 256 };

/* delta and lse2 of a row a warp; grad_y as it enters the products. */
static __global__ void prepare_rows(const __grid_constant__ attention_problem p) {
  int64_t rows = (int64_t)p.pairs * p.length;
  int64_t at = ((int64_t)blockIdx.x * THREADS + threadIdx.x) / 32;
  int lane = threadIdx.x % 32;
  if (at >= rows)
    return;
  int pair = p.first_pair + (int)(at / p.length), row = (int)(at % p.length);
  const char *y = head_row(p, p.y, pair, row), *dy = head_row(p, p.grad_y, pair, row);
  float sum = 0.0f;
  for (int i = lane; i < p.depth; i += 32)
    sum += load_any(p.y.format, y, i) * round_any(p.format, load_any(p.grad_y.format, dy, i));
  sum = warp_all(sum, Sum());
  if (lane == 0) {
    p.delta[at] = sum;
    p.lse2[at] = p.lse[(int64_t)pair * p.length + row] * LOG2_E;
  }
}

/* The same of rows that are read in 16-byte pieces, one a lane: 32, 64 or 128 channels. */
template <class T>
static __global__ void prepare_direct_rows(const __grid_constant__ attention_problem p) {
  constexpr int EACH = 16 / (int)sizeof(typename T::stored);
  unsigned lanes = (unsigned)p.depth / EACH, thread = blockIdx.x * THREADS + threadIdx.x;
  unsigned at = thread / lanes, lane = thread % lanes, rows = (unsigned)(p.pairs * p.length);
  bool present = at < rows;
  at = present ? at : rows - 1;
  int pair = p.first_pair + (int)(at / p.length), row = (int)(at % p.length);
  float y[EACH], dy[EACH], sum = 0.0f;
  typedef const typename T::stored *elements;
  load_vector<T>(reinterpret_cast<elements>(head_row(p, p.y, pair, row)) + lane * EACH, y);
  load_vector<T>(reinterpret_cast<elements>(head_row(p, p.grad_y, pair, row)) + lane * EACH, dy);
#pragma unroll
  for (int i = 0; i < EACH; i++)
    sum += y[i] * T::load(T::store(dy[i]));
  for (unsigned distance = lanes / 2; distance > 0; distance /= 2)
    sum += __shfl_xor_sync(0xFFFFFFFFu, sum, distance);
  if (lane == 0 && present) {
    p.delta[at] = sum;
    p.lse2[at] = p.lse[(int64_t)pair * p.length + row] * LOG2_E;
  }
}

static void prepare(const cuda_context *c, const attention_problem &p, bool direct) {
  int64_t rows = (int64_t)p.pairs * p.length;
  if (!direct) {
    unsigned blocks = (unsigned)divide_up(rows, THREADS / 32);
    prepare_rows<<<blocks, THREADS, 0, c->stream>>>(p);
    return;
  }
  unsigned blocks = (unsigned)divide_up(rows * p.depth * p.y.bytes / 16, THREADS);
#define PREPARE prepare_direct_rows<T><<<blocks, THREADS, 0, c->stream>>>(p)
  switch (p.format) {
    DISPATCH_CASE(T, Fp32, PREPARE)
    DISPATCH_CASE(T, Tf32, PREPARE)
    DISPATCH_CASE(T, Bf16, PREPARE)
    DISPATCH_CASE(T, Fp16, PREPARE)
  default:
    break;
  }
#undef PREPARE
}

static attention_matrix matrix_of(mpt_t x) {
  return {(char *)x->data,
          x->strides[0],
          x->strides[1],
          x->format,
          (int)mpt_format_get(x->format)->bits / 8,
          x->lite};
}

static attention_problem problem_of(const mpt_attention_args *args) {
  attention_problem p = {};
  p.query = matrix_of(args->query);
  p.key = matrix_of(args->key);
  p.value = matrix_of(args->value);
  p.y = matrix_of(args->y);
  p.lse = (float *)args->lse->data;
  p.length = (int)args->query->shape[1];
  p.heads = args->heads;
  p.depth = (int)(args->query->shape[2] / args->heads);
  p.pairs = (int)args->query->shape[0] * args->heads;
  p.causal = args->causal;
  p.scale = 1.0f / sqrtf((float)p.depth);
  p.format = args->format;
  return p;
}

/* Stored as it enters the products, or as fp32 that tf32's kernels round, and every head's rows in
 * 16-byte pieces. */
static bool is_direct(const attention_problem &p, const attention_matrix &x) {
  bool stored = x.format == p.format || (p.format == MPT_TF32 && x.format == MPT_FP32);
  return stored && (uintptr_t)x.data % 16 == 0 && x.batch * x.bytes % 16 == 0 &&
         x.row * x.bytes % 16 == 0;
}

static bool all_direct(const attention_problem &p, bool backward) {
  if (p.depth != 32 && p.depth != 64 && p.depth != 128)
    return false;
  bool direct =
      is_direct(p, p.query) && is_direct(p, p.key) && is_direct(p, p.value) && is_direct(p, p.y);
  if (!backward)
    return direct;
  return direct && is_direct(p, p.grad_y) && is_direct(p, p.grad_query) &&
         is_direct(p, p.grad_key) && is_direct(p, p.grad_value);
}

static bool uses_tensor_cores(const attention_problem &p) {
  return p.format != MPT_FP32 && p.depth <= 128;
}

static mpt_status check_depth(const attention_problem &p, mpt_error *error) {
  if (p.depth <= 256)
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_UNSUPPORTED,
                  "attention: a head of %d channels; the cuda backend takes at most 256", p.depth);
}

mpt_status mpt_cuda_attention_forward(mpt_queue *queue, const mpt_attention_args *args,
                                      mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  attention_problem p = problem_of(args);
  MPT_RETURN_IF_FAILED(check_depth(p, error));
  if (uses_tensor_cores(p))
    mpt_attention_mma_forward(c, p, all_direct(p, false));
  else
    mpt_attention_plain_forward(c, p);
  return CUDA_LAUNCHED("attention_forward", error);
}

mpt_status mpt_cuda_attention_backward(mpt_queue *queue, const mpt_attention_args *args,
                                       mpt_t grad_y, mpt_t grad_query, mpt_t grad_key,
                                       mpt_t grad_value, mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  attention_problem p = problem_of(args);
  MPT_RETURN_IF_FAILED(check_depth(p, error));
  p.grad_y = matrix_of(grad_y);
  p.grad_query = matrix_of(grad_query);
  p.grad_key = matrix_of(grad_key);
  p.grad_value = matrix_of(grad_value);
  /* as many pairs at a time as scratch holds rows of */
  int64_t fit = CUDA_SCRATCH_BYTES / (2 * (int64_t)sizeof(float)) / p.length;
  if (fit == 0)
    return mpt_fail(error, MPT_ERROR_UNSUPPORTED, "attention: a sequence of %d is too long",
                    p.length);
  int all = p.pairs;
  bool direct = all_direct(p, true);
  for (p.first_pair = 0; p.first_pair < all; p.first_pair += p.pairs) {
    p.pairs = (int)(all - p.first_pair < fit ? all - p.first_pair : fit);
    int64_t rows = (int64_t)p.pairs * p.length;
    p.lse2 = (float *)c->scratch;
    p.delta = p.lse2 + rows;
    prepare(c, p, direct);
    if (uses_tensor_cores(p))
      mpt_attention_mma_backward(c, p, direct);
    else
      mpt_attention_plain_backward(c, p);
    MPT_RETURN_IF_FAILED(CUDA_LAUNCHED("attention_backward", error));
  }
  return MPT_OK;
}
