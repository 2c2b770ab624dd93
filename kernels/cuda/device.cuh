/* What kernels share on the device: elements of every format, vectors of them, sums over a block.
 *
 * Arithmetic is fp32. No contraction anywhere that results must match the CPU (the files are built
 * with -fmad=false where they quantise; CMakeLists.txt lists them).
 */
#ifndef MPT_KERNELS_CUDA_DEVICE_CUH
#define MPT_KERNELS_CUDA_DEVICE_CUH

#include "kernels/cuda/cuda.h"
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

/* ---- elements ----
 * A format's tag says how it is stored and converts between that and fp32, bit for bit as
 * mpt_format_round does (fp8 saturating). */
struct Fp32 {
  typedef float stored;
  static constexpr mpt_format format = MPT_FP32;
  static __device__ __forceinline__ float load(stored x) { return x; }
  static __device__ __forceinline__ stored store(float x) { return x; }
};

struct Tf32 {
  typedef float stored;
  static constexpr mpt_format format = MPT_TF32;
  static __device__ __forceinline__ float load(stored x) { return x; }
  /* nearest even at 10 mantissa bits; NaN is 0x7FFFFFFF */
  static __device__ __forceinline__ stored store(float x) {
    uint32_t bits = __float_as_uint(x);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u)
      return __uint_as_float(0x7FFFFFFFu);
    if ((bits & 0x7FFFFFFFu) == 0x7F800000u)
      return x;
    return __uint_as_float((bits + 0xFFFu + ((bits >> 13) & 1u)) & ~0x1FFFu);
  }
};

struct Bf16 {
  typedef __nv_bfloat16 stored;
  static constexpr mpt_format format = MPT_BF16;
  static __device__ __forceinline__ float load(stored x) { return __bfloat162float(x); }
  static __device__ __forceinline__ stored store(float x) { return __float2bfloat16_rn(x); }
};

struct Fp16 {
  typedef __half stored;
  static constexpr mpt_format format = MPT_FP16;
  static __device__ __forceinline__ float load(stored x) { return __half2float(x); }
  static __device__ __forceinline__ stored store(float x) { return __float2half_rn(x); }
};

template <__nv_fp8_interpretation_t kind, mpt_format which> struct Fp8 {
  typedef uint8_t stored;
  static constexpr mpt_format format = which;
  static __device__ __forceinline__ float load(stored x) {
    return __half2float(__half(__nv_cvt_fp8_to_halfraw(x, kind)));
  }
  static __device__ __forceinline__ stored store(float x) {
    return __nv_cvt_float_to_fp8(x, __NV_SATFINITE, kind);
  }
};
typedef Fp8<__NV_E4M3, MPT_FP8_E4M3> E4m3;
typedef Fp8<__NV_E5M2, MPT_FP8_E5M2> E5m2;

/* Runs `statement` with `T` as the tag of a format. Which formats a kernel is built for is its
 * choice: every tag costs compile time. Any other format falls through. */
#define DISPATCH_CASE(T, Tag, statement)                                                           \
  case Tag::format: {                                                                              \
    typedef Tag T;                                                                                 \
    statement;                                                                                     \
  } break;
/* Formats in which layers are stored. */
#define DISPATCH_STORAGE(which, T, statement)                                                      \
  switch (which) {                                                                                 \
    DISPATCH_CASE(T, Fp32, statement)                                                              \
    DISPATCH_CASE(T, Bf16, statement)                                                              \
    DISPATCH_CASE(T, Fp16, statement)                                                              \
  default:                                                                                         \
    break;                                                                                         \
  }
#define DISPATCH_ALL(which, T, statement)                                                          \
  switch (which) {                                                                                 \
    DISPATCH_CASE(T, Fp32, statement)                                                              \
    DISPATCH_CASE(T, Tf32, statement)                                                              \
    DISPATCH_CASE(T, Bf16, statement)                                                              \
    DISPATCH_CASE(T, Fp16, statement)                                                              \
    DISPATCH_CASE(T, E4m3, statement)                                                              \
    DISPATCH_CASE(T, E5m2, statement)                                                              \
  default:                                                                                         \
    break;                                                                                         \
  }

/* ---- vectors: N elements in one access, whose bytes are 1, 2, 4, 8 or 16 and aligned ---- */
template <int BYTES> struct raw_vector;
template <> struct raw_vector<1> { typedef uint8_t type; };
template <> struct raw_vector<2> { typedef uint16_t type; };
template <> struct raw_vector<4> { typedef uint32_t type; };
template <> struct raw_vector<8> { typedef uint2 type; };
template <> struct raw_vector<16> { typedef uint4 type; };

template <class T, int N>
static __device__ __forceinline__ void load_vector(const typename T::stored *p, float (&x)[N]) {
  constexpr int bytes = N * (int)sizeof(typename T::stored);
  constexpr int chunk = bytes > 16 ? 16 : bytes, each = chunk / (int)sizeof(typename T::stored);
  typedef typename raw_vector<chunk>::type raw;
#pragma unroll
  for (int c = 0; c < bytes / chunk; c++) {
    raw word = reinterpret_cast<const raw *>(p)[c];
    typename T::stored part[each];
    memcpy(part, &word, sizeof word);
#pragma unroll
    for (int i = 0; i < each; i++)
      x[c * each + i] = T::load(part[i]);
  }
}

/* out[0] = a, and out[1] = b when there are two: 16-bit formats convert pairs in one instruction.
 */
template <class T>
static __device__ __forceinline__ void store_pair(typename T::stored *out, float a, float b,
                                                  bool two) {
  out[0] = T::store(a);
  if (two)
    out[1] = T::store(b);
}
template <>
__device__ __forceinline__ void store_pair<Bf16>(__nv_bfloat16 *out, float a, float b, bool two) {
  __nv_bfloat162 pair = __floats2bfloat162_rn(a, b);
  memcpy(out, &pair, two ? sizeof pair : sizeof *out);
}
template <>
__device__ __forceinline__ void store_pair<Fp16>(__half *out, float a, float b, bool two) {
  __half2 pair = __floats2half2_rn(a, b);
  memcpy(out, &pair, two ? sizeof pair : sizeof *out);
}

template <class T, int N>
static __device__ __forceinline__ void store_vector(typename T::stored *p, const float (&x)[N]) {
  constexpr int bytes = N * (int)sizeof(typename T::stored);
  constexpr int chunk = bytes > 16 ? 16 : bytes, each = chunk / (int)sizeof(typename T::stored);
  typedef typename raw_vector<chunk>::type raw;
#pragma unroll
  for (int c = 0; c < bytes / chunk; c++) {
    typename T::stored part[each];
#pragma unroll
    for (int i = 0; i < each; i += 2)
      store_pair<T>(part + i, x[c * each + i], x[c * each + (i + 1 < each ? i + 1 : i)],
                    i + 1 < each);
    raw word;
    memcpy(&word, part, sizeof word);
    reinterpret_cast<raw *>(p)[c] = word;
  }
}

/* Whether rows of `tensor` can be read in vectors of N elements: base, row distance and row length
 * all allow it. */
static inline bool vectors_fit(const mpt_tensor *t, int n) {
  size_t bytes = (size_t)mpt_format_get(t->format)->bits / 8 * (size_t)n;
  if (bytes > 16)
    bytes = 16;
  if ((uintptr_t)t->data % bytes != 0 || t->shape[t->rank - 1] % n != 0)
    return false;
  for (int i = 0; i < t->rank - 1; i++)
    if (t->shape[i] > 1 && t->strides[i] % n != 0)
      return false;
  return true;
}

/* ---- sums and maxima over a warp and a block; every thread gets the result ---- */
template <class V, class Combine>
static __device__ __forceinline__ V warp_all(V value, Combine combine) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    value = combine(value, __shfl_xor_sync(0xFFFFFFFFu, value, distance));
  return value;
}

struct Sum {
  template <class V> __device__ __forceinline__ V operator()(V a, V b) const { return a + b; }
};
struct Max {
  template <class V> __device__ __forceinline__ V operator()(V a, V b) const {
    return a > b ? a : b;
  }
};
struct Min {
  template <class V> __device__ __forceinline__ V operator()(V a, V b) const {
    return a < b ? a : b;
  }
};

/* `shared` has 32 elements; a barrier is passed before it is written, so it may be used again.
 * Every thread of the block takes part; the block is a whole number of warps. */
template <class V, class Combine>
static __device__ __forceinline__ V block_all(V value, Combine combine, V identity, V *shared) {
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
  value = warp_all(value, combine);
  __syncthreads();
  if (lane == 0)
    shared[warp] = value;
  __syncthreads();
  return warp_all(lane < warps ? shared[lane] : identity, combine);
}

/* True in the last block of the grid to come here, for all its threads: what other blocks wrote
 * before is visible to it. The ticket is zero again afterwards. */
static __device__ __forceinline__ bool is_last_block(uint32_t *ticket) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    uint32_t blocks = gridDim.x * gridDim.y * gridDim.z;
    last = atomicAdd(ticket, 1u) == blocks - 1;
    if (last)
      *ticket = 0;
  }
  __syncthreads();
  __threadfence();
  return last;
}

static __device__ __forceinline__ void report_fault(cuda_fault *fault, int kind, int64_t row,
                                                    int32_t value, int64_t limit) {
  if (atomicCAS(&fault->kind, 0, kind) == 0) {
    fault->value = value;
    fault->row = row;
    fault->limit = limit;
  }
}

static inline int64_t divide_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

#endif
