/* collect: counts, extremes, sums and the histogram of exponents, in one pass.
 *
 * What bounds it is instructions, at 2 bytes an element: so extremes and zeros are found two lanes
 * of 16 bits at a time, among the bits as they are stored, and what is seldom there (NaN, Inf) is
 * counted only in words whose largest magnitude says so. Sums of a word are made in fp32 where its
 * magnitudes are such that nothing is lost, and added in double. A histogram has a counter of 8
 * bits for each lane of a warp and each exponent, 256 x 32 bytes: since most values fall in few
 * bins, counters that lanes share would make them wait for one another.
 */
#include "kernels/cuda/words.cuh"

enum { THREADS = 256, TICKET = 1 };
#ifndef V_FULL
#define V_FULL 2, FULL_BLOCKS = 4
#define V_LITE 4, LITE_BLOCKS = 4
#endif
enum { LITE_UNROLL = V_LITE, FULL_UNROLL = V_FULL };
static_assert(THREADS == MPT_EXPONENT_BINS, "a thread for each bin");

/* The least stored magnitude that is not finite. */
template <class T> struct Odd;
template <> struct Odd<Fp32> { static constexpr uint32_t least = 0x7F800000; };
template <> struct Odd<Bf16> { static constexpr uint32_t least = 0x7F80; };
template <> struct Odd<Fp16> { static constexpr uint32_t least = 0x7C00; };
template <> struct Odd<E4m3> { static constexpr uint32_t least = 0x7F; };
template <> struct Odd<E5m2> { static constexpr uint32_t least = 0x7C; };

/* Of a thread, then of a block, then of all. `least` is the smallest magnitude - 1: zero comes
 * last. */
struct tally {
  uint64_t zeros, nans, infinities;
  uint32_t most, least;
  double sum, squares;
};

static __device__ __forceinline__ void count_odd(tally &t, uint32_t bits) {
  t.nans += bits > 0x7F800000u;
  t.infinities += bits == 0x7F800000u;
}

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

/* Tallies a word and returns its largest magnitude, as stored. */
template <class T>
static __device__ __forceinline__ uint32_t tally_word(tally &t, const uint4 &word, uint32_t &most,
                                                      uint32_t &least) {
  constexpr int registers = Lanes<T>::registers;
  uint32_t m[registers], pairs = 0, largest = 0;
  Lanes<T>::split(word, m);
#pragma unroll
  for (int i = 0; i < registers; i++) {
    largest = Lanes<T>::larger(largest, m[i]);
    if (Lanes<T>::size == 4) {
      pairs += m[i] == 0;
      least = min(least, m[i] - 1);
    } else { /* as fp16 magnitudes: only that of zero equals it */
      __half2 halves;
      memcpy(&halves, &m[i], sizeof halves);
      uint32_t zero = __heq2_mask(halves, __half2half2(__ushort_as_half(0)));
      pairs += zero & 0x00010001u;
      least = __vminu2(least, m[i] | zero);
    }
  }
  t.zeros += Lanes<T>::size == 4 ? pairs : (pairs & 0xFFFFu) + (pairs >> 16);
  most = Lanes<T>::larger(most, largest);
  largest = Lanes<T>::largest(largest);
  if (largest >= Odd<T>::least)
#pragma unroll
    for (int i = 0; i < registers; i++) {
      if (Lanes<T>::size == 4) {
        count_odd(t, m[i]);
      } else {
        count_odd(t, Lanes<T>::widen(m[i] & 0xFFFFu));
        count_odd(t, Lanes<T>::widen(m[i] >> 16));
      }
    }
  return largest;
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

/* A tally's parts one after the other, since each needs the shared words. */
static __device__ __forceinline__ void combine(tally &t, bool full, double *shared) {
  t.zeros = block_all(t.zeros, Sum(), (uint64_t)0, (uint64_t *)shared);
  t.nans = block_all(t.nans, Sum(), (uint64_t)0, (uint64_t *)shared);
  t.infinities = block_all(t.infinities, Sum(), (uint64_t)0, (uint64_t *)shared);
  t.most = block_all(t.most, Max(), 0u, (uint32_t *)shared);
  t.least = block_all(t.least, Min(), 0xFFFFFFFFu, (uint32_t *)shared);
  if (full) {
    t.sum = block_all(t.sum, Sum(), 0.0, shared);
    t.squares = block_all(t.squares, Sum(), 0.0, shared);
  }
}

/* The last block adds up what blocks left, always in the same order. */
static __device__ void finish(const tally *of_blocks, bool full, int64_t count, double *shared,
                              mpt_statistics *s) {
  tally t = {0, 0, 0, 0, 0xFFFFFFFFu, 0, 0};
  for (unsigned i = threadIdx.x; i < gridDim.x; i += THREADS) {
    const tally &b = of_blocks[i];
    t.zeros += b.zeros;
    t.nans += b.nans;
    t.infinities += b.infinities;
    t.most = max(t.most, b.most);
    t.least = min(t.least, b.least);
    t.sum += b.sum;
    t.squares += b.squares;
  }
  combine(t, full, shared);
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
    collect(const void *x, word_walk w, tally *of_blocks, uint32_t *ticket, mpt_statistics *s) {
  __shared__ uint32_t bins[FULL ? MPT_EXPONENT_BINS : 1];
  __shared__ double shared[32];
  if (FULL) {
    bins[threadIdx.x] = 0;
    __syncthreads();
  }
  tally t = {0, 0, 0, 0, 0xFFFFFFFFu, 0, 0};
  uint32_t most = 0, least = 0xFFFFFFFFu; /* in lanes */
  each_word<FULL ? FULL_UNROLL : LITE_UNROLL>(w, x, [&](const uint4 &word) {
    uint32_t most_of_word = tally_word<T>(t, word, most, least);
    if (FULL)
      fill_in_word<T>(t, word, most_of_word, bins);
  });
  t.most = Lanes<T>::widen(Lanes<T>::largest(most));
  uint32_t smallest = Lanes<T>::smallest(least);
  if (Lanes<T>::size == 4)
    t.least = smallest;
  else if (smallest != 0xFFFFu)
    t.least = Lanes<T>::widen(smallest) - 1;
  each_of_rest<T>(w, x, [&](float value) {
    uint32_t bits = __float_as_uint(value) & 0x7FFFFFFFu;
    t.zeros += bits == 0;
    count_odd(t, bits);
    t.most = max(t.most, bits);
    t.least = min(t.least, bits - 1);
    if (FULL) {
      add_value(t, value);
      atomicAdd(&bins[bits >> 23], 1u);
    }
  });
  combine(t, FULL, shared);
  if (threadIdx.x == 0)
    of_blocks[blockIdx.x] = t;
  if (FULL) {
    __syncthreads();
    uint32_t counted = bins[threadIdx.x];
    if (counted != 0)
      atomicAdd((unsigned long long *)&s->histogram[threadIdx.x], (unsigned long long)counted);
  }
  if (is_last_block(ticket))
    finish(of_blocks, FULL, w.count, shared, s);
}

template <class T> static cudaError_t run(cuda_context *c, mpt_t x, bool full, mpt_statistics *s) {
  word_walk w = walk_words(x);
  uint32_t *ticket = c->tickets + TICKET;
  tally *of_blocks = (tally *)c->scratch;
  if (!full) {
    unsigned blocks = walk_blocks(c, &w, THREADS, LITE_UNROLL, LITE_BLOCKS);
    collect<T, false><<<blocks, THREADS, 0, c->stream>>>(x->data, w, of_blocks, ticket, s);
    return cudaSuccess;
  }
  cudaError_t result = cudaMemsetAsync(s, 0, sizeof *s, c->stream); /* blocks add to it */
  unsigned blocks = walk_blocks(c, &w, THREADS, FULL_UNROLL, FULL_BLOCKS);
  collect<T, true><<<blocks, THREADS, 0, c->stream>>>(x->data, w, of_blocks, ticket, s);
  return result;
}

mpt_status mpt_cuda_collect(mpt_queue *queue, mpt_t x, bool full, mpt_statistics *statistics,
                            mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  cudaError_t result = cudaSuccess;
  DISPATCH_STORED(x->format, T, (result = run<T>(c, x, full, statistics)))
  MPT_RETURN_IF_FAILED(cuda_check(result, "collect", error));
  return CUDA_LAUNCHED("collect", error);
}
