/* collect: counts, extremes, sums and the histogram of exponents, in one pass; collect_lite. */
#include "kernels/cuda/collect.cuh"

enum { TICKET = 1 };
enum { ADDING_THREADS = 512, ADDING_UNROLL = 2, ADDING_BLOCKS = 4 };

/* Blocks that fit on a multiprocessor at once: it has 1536 threads at compute capability 8.6, 8.7,
 * 8.9 and from 12.0 on, else 2048. */
#if defined(__CUDA_ARCH__) && (__CUDA_ARCH__ == 860 || __CUDA_ARCH__ == 870 ||                     \
                               __CUDA_ARCH__ == 890 || __CUDA_ARCH__ >= 1200)
enum { ADDING_RESIDENT = 3 };
#else
enum { ADDING_RESIDENT = ADDING_BLOCKS };
#endif

/* The last block adds up what blocks left, and takes their histogram away, so that it is empty for
 * the next tensor. */
template <class T, bool FULL>
static __global__ void __launch_bounds__(COLLECT_THREADS)
    collect(const void *x, word_walk w, long_tally *of_blocks, uint64_t *of_all, uint32_t *ticket,
            mpt_statistics *s) {
  __shared__ uint32_t bins[MPT_EXPONENT_BINS];
  __shared__ long_tally of_warps[COLLECT_WARPS];
  walk_share share = {(int)blockIdx.x, (int)gridDim.x};
  long_tally t = collect_share<T, FULL>(x, w, share, bins, of_warps);
  if (threadIdx.x == 0)
    of_blocks[blockIdx.x] = t;
  if (FULL && bins[threadIdx.x] != 0)
    atomicAdd((unsigned long long *)&of_all[threadIdx.x], (unsigned long long)bins[threadIdx.x]);
  if (!is_last_block(ticket))
    return;
  t = sum_tallies(of_blocks, (int)gridDim.x, FULL, of_warps);
  s->histogram[threadIdx.x] =
      FULL ? atomicExch((unsigned long long *)&of_all[threadIdx.x], 0ull) : 0;
  if (threadIdx.x == 0)
    set_statistics(s, t, w.count, FULL);
}

/* Adds to `lite`: blocks add what they saw and nobody waits for them. */
template <class T>
static __global__ void __launch_bounds__(ADDING_THREADS, ADDING_RESIDENT)
    collect_lite(const void *x, word_walk w, mpt_lite *lite) {
  tally t = EMPTY_TALLY;
  lane_extremes lanes = {0, 0xFFFFFFFFu};
  each_word<ADDING_UNROLL>(w, x, [&](const uint4 &word) { tally_word<T>(t, word, lanes); });
  take_extremes<T>(t, lanes);
  each_of_rest<T>(w, x, [&](float value) { tally_value(t, value); });
  add_block_tally(t, w.count, lite);
}

template <class T, bool FULL> static void run(cuda_context *c, mpt_t x, mpt_statistics *s) {
  word_walk w = walk_words(x);
  unsigned blocks =
      walk_blocks(c, &w, COLLECT_THREADS, FULL ? FULL_UNROLL : LITE_UNROLL, BLOCKS_EACH);
  collect<T, FULL><<<blocks, COLLECT_THREADS, 0, c->stream>>>(x->data, w, (long_tally *)c->scratch,
                                                              c->bins, c->tickets + TICKET, s);
}

template <class T> static void run_lite(cuda_context *c, mpt_t x, mpt_lite *lite) {
  word_walk w = walk_words(x);
  unsigned blocks = walk_blocks(c, &w, ADDING_THREADS, ADDING_UNROLL, ADDING_BLOCKS);
  collect_lite<T><<<blocks, ADDING_THREADS, 0, c->stream>>>(x->data, w, lite);
}

mpt_status mpt_cuda_collect(mpt_queue *queue, mpt_t x, bool full, mpt_statistics *statistics,
                            mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  if (full)
    DISPATCH_STORED(x->format, T, (run<T, true>(c, x, statistics)))
  else
    DISPATCH_STORED(x->format, T, (run<T, false>(c, x, statistics)))
  return CUDA_LAUNCHED("collect", error);
}

mpt_status mpt_cuda_collect_lite(mpt_queue *queue, mpt_t x, mpt_lite *lite, mpt_error *error) {
  DISPATCH_STORED(x->format, T, (run_lite<T>(cuda_of(queue), x, lite)))
  return CUDA_LAUNCHED("collect_lite", error);
}
