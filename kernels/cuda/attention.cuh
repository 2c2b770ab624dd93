/* What the kernels of attention share: the problem, elements of any format, and their launchers.
 *
 *   attention.cu           the two operations: which kernels a problem gets
 *   attention_forward.cu   bf16, fp16 and tf32 on tensor cores (mma), heads of up to 128 channels
 *   attention_backward.cu  their gradients
 *   attention_plain.cu     everything else, in fp32
 */
#ifndef MPT_KERNELS_CUDA_ATTENTION_CUH
#define MPT_KERNELS_CUDA_ATTENTION_CUH

#include "kernels/cuda/lite.cuh"

/* [B, T, heads * depth]; strides in elements. */
struct attention_matrix {
  char *data;
  int64_t batch, row;
  mpt_format format;
  int bytes;      /* of an element */
  mpt_lite *lite; /* of what is written there; NULL: nobody asks */
};

struct attention_problem {
  attention_matrix query, key, value, y, grad_y, grad_query, grad_key, grad_value;
  float *lse;               /* [pairs, T]: log of a row's sum of exponentials */
  float *lse2, *delta;      /* [pairs of a launch, T] backward: lse * log2(e), rowsum(grad_y * y) */
  int length, depth, heads; /* T, channels a head, heads */
  int first_pair, pairs;    /* (batch element, head)s of this launch */
  bool causal;
  float scale; /* 1 / sqrt(depth) */
  mpt_format format;
};

constexpr float LOG2_E = 1.4426950408889634f, LN_2 = 0.6931471805599453f;

/* Each launches for the pairs of `p` on the stream. */
void mpt_attention_plain_forward(const cuda_context *c, const attention_problem &p);
void mpt_attention_plain_backward(const cuda_context *c, const attention_problem &p);
void mpt_attention_mma_forward(const cuda_context *c, const attention_problem &p, bool direct);
void mpt_attention_mma_backward(const cuda_context *c, const attention_problem &p, bool direct);

/* Blocks of more than 48 KiB of shared memory ask for it first. */
template <class Kernel> static inline void allow_shared(Kernel *kernel, int bytes) {
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
}

/* Bytes of shared memory that a block may have for tiles, beside add_head_tally's own, which are
 * aligned as tiles are: on any device of capability 8.0 or more, on this. */
constexpr int TALLY_SHARED = 1024, LEAST_SHARED = (99 << 10) - TALLY_SHARED;
static inline int most_shared(const cuda_context *c) {
  int bytes = LEAST_SHARED + TALLY_SHARED;
  cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, c->device);
  return bytes - TALLY_SHARED;
}

/* Whether blocks of any device that runs this code can have more than 163 KiB: kernels for more are
 * never launched on others (most_shared), and are empty in their code. */
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
constexpr bool HAS_ROOM = false;
#else
constexpr bool HAS_ROOM = true;
#endif
constexpr int ROOM = 163 << 10;

/* The head's first element in row `row`. */
static __device__ __forceinline__ char *head_row(const attention_problem &p,
                                                 const attention_matrix &x, int pair, int row) {
  int64_t batch = pair / p.heads, head = pair % p.heads;
  return x.data + (batch * x.batch + row * x.row + head * p.depth) * x.bytes;
}

/* The i-th element at `row` as fp32, and back. */
static __device__ __forceinline__ float load_any(mpt_format format, const char *row, int i) {
  float x = 0.0f;
  DISPATCH_ALL(format, X, x = X::load(reinterpret_cast<const typename X::stored *>(row)[i]))
  return x;
}

static __device__ __forceinline__ void store_any(mpt_format format, char *row, int i, float x) {
  DISPATCH_ALL(format, X, reinterpret_cast<typename X::stored *>(row)[i] = X::store(x))
}

/* What a block has written of `x`, or of `times` matrices for the same statistics, by `seen` of
 * each of its threads, all of which come here; the first block counts the elements of all. */
static __device__ __forceinline__ void add_head_tally(const attention_problem &p,
                                                      const attention_matrix &x, const tally &seen,
                                                      int times = 1) {
  if (x.lite != NULL)
    add_block_tally(seen, (int64_t)times * p.pairs * p.length * p.depth, x.lite);
}

/* Gradients of keys and values that one block writes: the second is tallied with the first where
 * both are for the same statistics, as in a packed tensor. */
static __device__ __forceinline__ int add_key_tally(const attention_problem &p, tally &seen) {
  if (p.grad_key.lite == p.grad_value.lite)
    return 2;
  add_head_tally(p, p.grad_key, seen);
  seen = EMPTY_TALLY;
  return 1;
}

/* x as it enters a product. */
static __device__ __forceinline__ float round_any(mpt_format format, float x) {
  DISPATCH_ALL(format, X, x = X::load(X::store(x)))
  return x;
}

/* The i-th element at `row` of x, looked at where x asks for it. */
static __device__ __forceinline__ void store_seen(const attention_matrix &x, char *row, int i,
                                                  float value, tally &seen) {
  store_any(x.format, row, i, value);
  if (x.lite != NULL)
    tally_value(seen, round_any(x.format, value));
}

#endif
