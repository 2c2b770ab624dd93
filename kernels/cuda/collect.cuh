/* What a block collects of a tensor: counts and extremes, in full also sums and the histogram of
 * exponents.
 *
 * What bounds it is instructions, at 2 bytes an element: so extremes are found two lanes of 16 bits
 * at a time, among the bits as they are stored, and what is seldom there (zeros, NaN, Inf) is
 * counted only in words whose extremes say so. Sums of a word are made in fp32 where its magnitudes
 * are such that nothing is lost, and added in double. A block has one histogram, in shared memory:
 * increments of one bin by a warp are one operation of the hardware's. */
#ifndef MPT_KERNELS_CUDA_COLLECT_CUH
#define MPT_KERNELS_CUDA_COLLECT_CUH

#include "kernels/cuda/lite.cuh"

enum { COLLECT_THREADS = 256, COLLECT_WARPS = COLLECT_THREADS / 32 };
enum { LITE_UNROLL = 8, FULL_UNROLL = 4, BLOCKS_EACH = 4 }; /* the last: a multiprocessor */
static_assert(COLLECT_THREADS == MPT_EXPONENT_BINS, "a thread for each bin");

static __device__ __forceinline__ void add_value(tally &t, float x) {
  double finite = (__float_as_uint(x) & 0x7FFFFFFFu) < 0x7F800000u ? (double)x : 0.0;
  t.sum += finite;
  t.squares = fma(finite, finite, t.squares);
}

/* The sums of a word whose largest magnitude has the fp32 bits `most`. Between 2^-50 and 2^60
 * squares neither overflow nor lose what counts. */
template <int N>
static __device__ __forceinline__ void add_values(tally &t, const float (&x)[N], uint32_t most) {
  if (most - 0x26800000u > 0x5D800000u - 0x26800000u) {
#pragma unroll
    for (int i = 0; i < N; i++)
      add_value(t, x[i]);
    return;
  }
  float sum[2] = {x[0] + x[1], x[2] + x[3]}, square[2] = {x[0] * x[0], x[1] * x[1]};
#pragma unroll
  for (int i = 4; i < N; i += 4) {
    sum[0] += x[i] + x[i + 1];
    sum[1] += x[i + 2] + x[i + 3];
  }
#pragma unroll
  for (int i = 2; i < N; i += 2) {
    square[0] = __fmaf_rn(x[i], x[i], square[0]);
    square[1] = __fmaf_rn(x[i + 1], x[i + 1], square[1]);
  }
  t.sum += (double)(sum[0] + sum[1]);
  t.squares += (double)(square[0] + square[1]);
}

template <class T>
static __device__ __forceinline__ void fill_in_word(tally &t, const uint4 &word, uint32_t most,
                                                    uint32_t *bins) {
  constexpr int n = 16 / Lanes<T>::size;
  typename T::stored stored[n];
  float x[n];
  memcpy(stored, &word, sizeof word);
#pragma unroll
  for (int i = 0; i < n; i++) {
    x[i] = T::load(stored[i]);
    atomicAdd(&bins[__float_as_uint(x[i]) >> 23 & 0xFFu], 1u);
  }
  add_values(t, x, Lanes<T>::widen(most));
}

static __device__ __forceinline__ uint64_t warp_sum(uint32_t x) {
  return __reduce_add_sync(0xFFFFFFFFu, x);
}
static __device__ __forceinline__ uint64_t warp_sum(uint64_t x) {
  return warp_all(x, Sum());
}

static __device__ __forceinline__ void add_to(long_tally &t, const long_tally &other) {
  t.zeros += other.zeros;
  t.nans += other.nans;
  t.infinities += other.infinities;
  t.most = max(t.most, other.most);
  t.least = min(t.least, other.least);
  t.sum += other.sum;
  t.squares += other.squares;
}

/* The block's tally: of warps first, then of all, in order; every thread gets it. */
template <class Count>
static __device__ __forceinline__ long_tally combine(const tally_of<Count> &t, bool full,
                                                     long_tally (&of_warps)[COLLECT_WARPS]) {
  long_tally all = {warp_sum(t.zeros),
                    warp_sum(t.nans),
                    warp_sum(t.infinities),
                    __reduce_max_sync(0xFFFFFFFFu, t.most),
                    __reduce_min_sync(0xFFFFFFFFu, t.least),
                    full ? warp_all(t.sum, Sum()) : 0.0,
                    full ? warp_all(t.squares, Sum()) : 0.0};
  __syncthreads();
  if (threadIdx.x % 32 == 0)
    of_warps[threadIdx.x / 32] = all;
  __syncthreads();
  all = of_warps[0];
  for (int i = 1; i < COLLECT_WARPS; i++)
    add_to(all, of_warps[i]);
  return all;
}

/* Walks over a block's share of a tensor; every thread gets the block's tally. In full, bins get
 * the histogram, for all threads to see. */
template <class T, bool FULL>
static __device__ __forceinline__ long_tally collect_share(const void *x, const word_walk &w,
                                                           walk_share share,
                                                           uint32_t (&bins)[MPT_EXPONENT_BINS],
                                                           long_tally (&of_warps)[COLLECT_WARPS]) {
  if (FULL) {
    bins[threadIdx.x] = 0;
    __syncthreads();
  }
  tally t = EMPTY_TALLY;
  lane_extremes lanes = {0, 0xFFFFFFFFu};
  each_word<FULL ? FULL_UNROLL : LITE_UNROLL>(w, x, share, [&](const uint4 &word) {
    uint32_t most_of_word = tally_word<T>(t, word, lanes);
    if (FULL)
      fill_in_word<T>(t, word, most_of_word, bins);
  });
  take_extremes<T>(t, lanes);
  each_of_rest<T>(w, x, share, [&](float value) {
    tally_value(t, value);
    if (FULL) {
      add_value(t, value);
      atomicAdd(&bins[__float_as_uint(value) >> 23 & 0xFFu], 1u);
    }
  });
  return combine(t, FULL, of_warps);
}

/* The sum of what blocks left, always in the same order; every thread of the block gets it. */
static __device__ __forceinline__ long_tally sum_tallies(const long_tally *of_blocks, int blocks,
                                                         bool full,
                                                         long_tally (&of_warps)[COLLECT_WARPS]) {
  long_tally t = EMPTY_TALLY;
  for (int i = threadIdx.x; i < blocks; i += COLLECT_THREADS)
    add_to(t, of_blocks[i]);
  return combine(t, full, of_warps);
}

/* One thread: all but the histogram. */
static __device__ __forceinline__ void set_statistics(mpt_statistics *s, const long_tally &t,
                                                      int64_t count, bool full) {
  memset(s, 0, offsetof(mpt_statistics, histogram));
  s->count = (uint64_t)count;
  s->zeros = t.zeros;
  s->nans = t.nans;
  s->infinities = t.infinities;
  s->amax_bits = t.most;
  s->amin_bits = t.least + 1;
  s->full = full;
  s->sum = t.sum;
  s->sum_of_squares = t.squares;
}

#endif
