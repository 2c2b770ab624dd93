/* Counts and extremes of what a kernel writes, collected while it writes: what an output's `lite`
 * asks for. */
#ifndef MPT_KERNELS_CUDA_LITE_CUH
#define MPT_KERNELS_CUDA_LITE_CUH

#include "kernels/cuda/array.cuh"
#include "kernels/cuda/tally.cuh"

/* Adds what the block's threads tallied, of what counts as `count` elements. Every thread of the
 * block takes part. */
static __device__ __forceinline__ void add_block_share(const tally &t, int64_t count, mpt_lite *s) {
  __shared__ uint32_t zeros, nans, infinities, most, least;
  if (threadIdx.x == 0) {
    zeros = nans = infinities = most = 0;
    least = 0xFFFFFFFFu;
  }
  uint32_t z = __reduce_add_sync(0xFFFFFFFFu, (uint32_t)t.zeros);
  uint32_t n = __reduce_add_sync(0xFFFFFFFFu, (uint32_t)t.nans);
  uint32_t i = __reduce_add_sync(0xFFFFFFFFu, (uint32_t)t.infinities);
  uint32_t m = __reduce_max_sync(0xFFFFFFFFu, t.most);
  uint32_t l = __reduce_min_sync(0xFFFFFFFFu, t.least);
  __syncthreads();
  if (threadIdx.x % 32 == 0) {
    if ((z | n | i) != 0) {
      atomicAdd(&zeros, z);
      atomicAdd(&nans, n);
      atomicAdd(&infinities, i);
    }
    atomicMax(&most, m);
    atomicMin(&least, l);
  }
  __syncthreads();
  if (threadIdx.x == 0)
    add_tally({zeros, nans, infinities, most, least, 0, 0}, (uint64_t)count, s);
}

/* The same where `count` is of the whole grid: its first block counts for all. */
static __device__ __forceinline__ void add_block_tally(const tally &t, int64_t count, mpt_lite *s) {
  add_block_share(t, blockIdx.x == 0 && blockIdx.y == 0 ? count : 0, s);
}

/* What a thread that writes N elements at a time saw of them, as they are stored. */
template <class T> struct output_tally {
  tally seen = EMPTY_TALLY;
  lane_extremes lanes = {0, 0xFFFFFFFFu};

  __device__ __forceinline__ explicit output_tally(mpt_format) {}

  __device__ __forceinline__ void see_word(const uint4 &word) { tally_word<T>(seen, word, lanes); }

  /* Packed as store_vector packs them, so that this costs nothing where both are called. */
  template <int N> __device__ __forceinline__ void see(const float (&x)[N]) {
    constexpr int bytes = N * (int)sizeof(typename T::stored);
    static_assert(Lanes<T>::size >= 2 && bytes % 4 == 0, "whole registers of magnitudes");
    typename T::stored stored[N];
#pragma unroll
    for (int i = 0; i < N; i += 2)
      store_pair<T>(stored + i, x[i], x[i + 1 < N ? i + 1 : i], i + 1 < N);
    uint32_t m[bytes / 4];
    memcpy(m, stored, bytes);
#pragma unroll
    for (int i = 0; i < bytes / 4; i++)
      m[i] &= Lanes<T>::size == 4 ? 0x7FFFFFFFu : 0x7FFF7FFFu;
    tally_magnitudes<T>(seen, m, lanes);
  }

  /* Every thread of the block; `count` is the grid's. */
  __device__ __forceinline__ void add(int64_t count, mpt_lite *s) {
    take_extremes<T>(seen, lanes);
    add_block_tally(seen, count, s);
  }
};

/* As the fp32 numbers that they stand for. */
template <> struct output_tally<Any> : output_tally<Fp32> {
  mpt_format format;

  __device__ __forceinline__ explicit output_tally(mpt_format stored)
      : output_tally<Fp32>(stored), format(stored) {}

  template <int N> __device__ __forceinline__ void see(const float (&x)[N]) {
    float y[N];
#define AS_STORED _Pragma("unroll") for (int i = 0; i < N; i++) y[i] = T::load(T::store(x[i]))
    DISPATCH_ALL(format, T, AS_STORED)
#undef AS_STORED
    output_tally<Fp32>::see(y);
  }
};

#endif
