/* Counts and extremes of what a kernel writes, collected while it writes: what an output's `lite`
 * asks for. */
#ifndef MPT_KERNELS_CUDA_LITE_CUH
#define MPT_KERNELS_CUDA_LITE_CUH

#include "kernels/cuda/array.cuh"
#include "kernels/cuda/tally.cuh"

/* Adds what the block's threads tallied; its first block adds the grid's `count`
 * elements. Every thread of the block takes part. */
static __device__ __forceinline__ void add_block_tally(const tally &t, int64_t count, mpt_lite *s) {
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
  bool first = blockIdx.x == 0 && blockIdx.y == 0;
  if (threadIdx.x == 0)
    add_tally({zeros, nans, infinities, most, least, 0, 0}, first ? (uint64_t)count : 0, s);
}

/* A value as an array stores it. */
template <class T> static __device__ __forceinline__ float as_stored(const Array<T> &, float x) {
  return T::load(T::store(x));
}
template <> __device__ __forceinline__ float as_stored<Any>(const Array<Any> &array, float x) {
  DISPATCH_ALL(array.format, T, (x = T::load(T::store(x))))
  return x;
}

/* What a thread that writes chunks of N elements saw of them, as they are stored. */
template <class T> struct output_tally {
  tally seen = EMPTY_TALLY;
  lane_extremes lanes = {0, 0xFFFFFFFFu};

  __device__ __forceinline__ explicit output_tally(mpt_format) {}

  template <int N> __device__ __forceinline__ void see(const float (&x)[N]) {
    constexpr int each = 16 / Lanes<T>::size, words = N / each;
    static_assert(N % each == 0, "whole words");
    typename T::stored stored[N];
#pragma unroll
    for (int i = 0; i < N; i++)
      stored[i] = T::store(x[i]);
#pragma unroll
    for (int i = 0; i < words; i++) {
      uint4 word;
      memcpy(&word, stored + i * each, sizeof word);
      tally_word<T>(seen, word, lanes);
    }
  }

  /* Every thread of the block; `count` is the grid's. */
  __device__ __forceinline__ void add(int64_t count, mpt_lite *s) {
    take_extremes<T>(seen, lanes);
    add_block_tally(seen, count, s);
  }
};

template <> struct output_tally<Any> {
  tally seen = EMPTY_TALLY;
  mpt_format format;

  __device__ __forceinline__ explicit output_tally(mpt_format stored) : format(stored) {}

  template <int N> __device__ __forceinline__ void see(const float (&x)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++)
      DISPATCH_ALL(format, T, (tally_value(seen, T::load(T::store(x[i])))))
  }

  __device__ __forceinline__ void add(int64_t count, mpt_lite *s) {
    add_block_tally(seen, count, s);
  }
};

#endif
