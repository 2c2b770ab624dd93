/* collect: counts, extremes, sums and the histogram of exponents, in one pass.
 *
 * What bounds it is instructions, at 2 bytes an element: so extremes and zeros are found two lanes
 * of 16 bits at a time, among the bits as they are stored, and what is seldom there (NaN, Inf) is
 * counted only in words whose largest magnitude says so. Sums of a word are made in fp32 where its
 * magnitudes are such that nothing is lost, and added in double. A histogram has a counter of 8
 * bits for each lane of a warp and each exponent, 256 x 32 bytes: since most values fall in few
 * bins, counters that lanes share would make them wait for one another.
 */
#include "kernels/cuda/tally.cuh"

enum { THREADS = 256, WARPS = THREADS / 32, TICKET = 1 };
enum { LITE_UNROLL = 8, LITE_BLOCKS = 4, FULL_UNROLL = 4, FULL_BLOCKS = 4 };
static_assert(THREADS == MPT_EXPONENT_BINS, "a thread for each bin");

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
                                                     long_tally (&of_warps)[WARPS]) {
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
  for (int i = 1; i < WARPS; i++)
    add_to(all, of_warps[i]);
  return all;
}

/* The last block adds up what blocks left, always in the same order; to `lite` where that is
 * wanted.
 */
static __device__ void finish(const long_tally *of_blocks, bool full, int64_t count,
                              long_tally (&of_warps)[WARPS], mpt_statistics *s, mpt_lite *lite) {
  long_tally t = EMPTY_TALLY;
  for (unsigned i = threadIdx.x; i < gridDim.x; i += THREADS)
    add_to(t, of_blocks[i]);
  t = combine(t, full, of_warps);
  if (lite != NULL) {
    if (threadIdx.x == 0)
      add_tally(t, (uint64_t)count, lite);
    return;
  }
  if (!full)
    s->histogram[threadIdx.x] = 0;
  if (threadIdx.x != 0)
    return;
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

template <class T, bool FULL>
static __global__ void __launch_bounds__(THREADS)
    collect(const void *x, word_walk w, long_tally *of_blocks, uint32_t *ticket, mpt_statistics *s,
            mpt_lite *lite) {
  __shared__ uint32_t bins[FULL ? MPT_EXPONENT_BINS : 1];
  __shared__ long_tally of_warps[WARPS];
  if (FULL) {
    bins[threadIdx.x] = 0;
    __syncthreads();
  }
  tally t = EMPTY_TALLY;
  lane_extremes lanes = {0, 0xFFFFFFFFu};
  each_word<FULL ? FULL_UNROLL : LITE_UNROLL>(w, x, [&](const uint4 &word) {
    uint32_t most_of_word = tally_word<T>(t, word, lanes);
    if (FULL)
      fill_in_word<T>(t, word, most_of_word, bins);
  });
  take_extremes<T>(t, lanes);
  each_of_rest<T>(w, x, [&](float value) {
    tally_value(t, value);
    if (FULL) {
      add_value(t, value);
      atomicAdd(&bins[__float_as_uint(value) >> 23 & 0xFFu], 1u);
    }
  });
  long_tally all = combine(t, FULL, of_warps);
  if (threadIdx.x == 0)
    of_blocks[blockIdx.x] = all;
  if (FULL) {
    __syncthreads();
    uint32_t counted = bins[threadIdx.x];
    if (counted != 0)
      atomicAdd((unsigned long long *)&s->histogram[threadIdx.x], (unsigned long long)counted);
  }
  if (is_last_block(ticket))
    finish(of_blocks, FULL, w.count, of_warps, s, lite);
}

template <class T>
static void run_lite(cuda_context *c, mpt_t x, mpt_statistics *s, mpt_lite *lite) {
  word_walk w = walk_words(x);
  unsigned blocks = walk_blocks(c, &w, THREADS, LITE_UNROLL, LITE_BLOCKS);
  collect<T, false><<<blocks, THREADS, 0, c->stream>>>(x->data, w, (long_tally *)c->scratch,
                                                       c->tickets + TICKET, s, lite);
}

template <class T> static void run_full(cuda_context *c, mpt_t x, mpt_statistics *s) {
  word_walk w = walk_words(x);
  unsigned blocks = walk_blocks(c, &w, THREADS, FULL_UNROLL, FULL_BLOCKS);
  collect<T, true><<<blocks, THREADS, 0, c->stream>>>(x->data, w, (long_tally *)c->scratch,
                                                      c->tickets + TICKET, s, NULL);
}

mpt_status mpt_cuda_collect(mpt_queue *queue, mpt_t x, bool full, mpt_statistics *statistics,
                            mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  if (!full) {
    DISPATCH_STORED(x->format, T, (run_lite<T>(c, x, statistics, NULL)))
    return CUDA_LAUNCHED("collect", error);
  }
  /* blocks add to the histogram */
  MPT_RETURN_IF_FAILED(
      cuda_check(cudaMemsetAsync(statistics, 0, sizeof *statistics, c->stream), "collect", error));
  DISPATCH_STORED(x->format, T, (run_full<T>(c, x, statistics)))
  return CUDA_LAUNCHED("collect", error);
}

mpt_status mpt_cuda_collect_lite(mpt_queue *queue, mpt_t x, mpt_lite *lite, mpt_error *error) {
  DISPATCH_STORED(x->format, T, (run_lite<T>(cuda_of(queue), x, NULL, lite)))
  return CUDA_LAUNCHED("collect_lite", error);
}
