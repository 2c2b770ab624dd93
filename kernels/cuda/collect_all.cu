/* collect_all: what collect_lite, or collect in full, finds in each of many tensors, in one launch
 * for up to MOST of them, which travel as the kernel's parameter, so that a graph captures them. A
 * tensor is cut among blocks of its own: the smallest of a network's weights are read in less time
 * than a launch takes. */
#include "kernels/cuda/collect.cuh"

enum { MOST = 120, MOST_BLOCKS = 2000 }; /* in 4 KB of parameters; of one tensor */

struct collect_entry {
  const void *data;
  int64_t count;
  void *to; /* mpt_lite or mpt_statistics */
  int32_t first_block;
};

struct collect_table {
  int count, blocks; /* in this launch */
  long_tally *of_blocks;
  collect_entry entries[MOST];
};
static_assert(sizeof(collect_table) <= 4096, "within every device's parameters");
static_assert((size_t)MOST * MOST_BLOCKS * sizeof(long_tally) <= CUDA_SCRATCH_BYTES, "of_blocks");

/* The entry that this block is of, and its share. */
static __device__ __forceinline__ int find_entry(const collect_table &t, walk_share *share) {
  int low = 0, high = t.count, block = (int)blockIdx.x;
  while (high - low > 1) {
    int middle = (low + high) / 2;
    if (t.entries[middle].first_block <= block)
      low = middle;
    else
      high = middle;
  }
  int first = t.entries[low].first_block;
  share->block = block - first;
  share->blocks = (low + 1 < t.count ? t.entries[low + 1].first_block : t.blocks) - first;
  return low;
}

/* Whole words, and the rest. */
template <class T> static __device__ __forceinline__ word_walk walk_of(const collect_entry &e) {
  constexpr int each = 16 / (int)sizeof(typename T::stored);
  int64_t words = (uintptr_t)e.data % 16 == 0 ? e.count / each : 0;
  return {words, words, 0, words * each, e.count, e.count, e.count};
}

template <class T>
static __global__ void __launch_bounds__(COLLECT_THREADS)
    collect_all_lite(const __grid_constant__ collect_table t) {
  walk_share share;
  const collect_entry &e = t.entries[find_entry(t, &share)];
  word_walk w = walk_of<T>(e);
  tally seen = EMPTY_TALLY;
  lane_extremes lanes = {0, 0xFFFFFFFFu};
  each_word<LITE_UNROLL>(w, e.data, share,
                         [&](const uint4 &word) { tally_word<T>(seen, word, lanes); });
  take_extremes<T>(seen, lanes);
  each_of_rest<T>(w, e.data, share, [&](float value) { tally_value(seen, value); });
  add_block_share(seen, share.block == 0 ? e.count : 0, (mpt_lite *)e.to);
}

/* In full: a block for each tensor empties its histogram before others add to it, ... */
static __global__ void empty_histograms(const __grid_constant__ collect_table t) {
  ((mpt_statistics *)t.entries[blockIdx.x].to)->histogram[threadIdx.x] = 0;
}

template <class T>
static __global__ void __launch_bounds__(COLLECT_THREADS)
    collect_all_full(const __grid_constant__ collect_table t) {
  __shared__ uint32_t bins[MPT_EXPONENT_BINS];
  __shared__ long_tally of_warps[COLLECT_WARPS];
  walk_share share;
  const collect_entry &e = t.entries[find_entry(t, &share)];
  long_tally seen = collect_share<T, true>(e.data, walk_of<T>(e), share, bins, of_warps);
  if (threadIdx.x == 0)
    t.of_blocks[blockIdx.x] = seen;
  if (bins[threadIdx.x] != 0)
    atomicAdd((unsigned long long *)&((mpt_statistics *)e.to)->histogram[threadIdx.x],
              (unsigned long long)bins[threadIdx.x]);
}

/* ... and adds up what they left. */
static __global__ void finish_all(const __grid_constant__ collect_table t) {
  __shared__ long_tally of_warps[COLLECT_WARPS];
  int i = (int)blockIdx.x, first = t.entries[i].first_block;
  int end = i + 1 < t.count ? t.entries[i + 1].first_block : t.blocks;
  long_tally all = sum_tallies(t.of_blocks + first, end - first, true, of_warps);
  if (threadIdx.x == 0)
    set_statistics((mpt_statistics *)t.entries[i].to, all, t.entries[i].count, true);
}

template <class T> static void launch(cuda_context *c, const collect_table &t, bool full) {
  if (!full) {
    collect_all_lite<T><<<t.blocks, COLLECT_THREADS, 0, c->stream>>>(t);
    return;
  }
  empty_histograms<<<t.count, COLLECT_THREADS, 0, c->stream>>>(t);
  collect_all_full<T><<<t.blocks, COLLECT_THREADS, 0, c->stream>>>(t);
  finish_all<<<t.count, COLLECT_THREADS, 0, c->stream>>>(t);
}

/* tf32 is stored as fp32. */
static mpt_format stored_as(mpt_t x) {
  return x->format == MPT_TF32 ? MPT_FP32 : x->format;
}

static void add_entry(collect_table *t, const mpt_collection *collection, bool full) {
  mpt_t x = collection->x;
  int64_t count = mpt_tensor_count(x), bytes = count * mpt_format_get(x->format)->bits / 8;
  int64_t each = 16 * COLLECT_THREADS * (full ? 4 * FULL_UNROLL : LITE_UNROLL);
  int64_t blocks = divide_up(bytes, each);
  void *to = full ? (void *)collection->full : (void *)collection->lite;
  t->entries[t->count++] = {x->data, count, to, t->blocks};
  t->blocks += (int)(blocks < MOST_BLOCKS ? blocks : MOST_BLOCKS);
}

mpt_status mpt_cuda_collect_all(mpt_queue *queue, const mpt_collection *collections, int count,
                                mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  bool full = collections[0].full != NULL;
  for (int i = 0; i < count;) { /* of one format, as all weights are, at a time */
    mpt_format format = stored_as(collections[i].x);
    collect_table t;
    t.count = t.blocks = 0;
    t.of_blocks = (long_tally *)c->scratch;
    for (; i < count && t.count < MOST && stored_as(collections[i].x) == format; i++)
      add_entry(&t, &collections[i], full);
    DISPATCH_STORED(format, T, (launch<T>(c, t, full)))
    MPT_RETURN_IF_FAILED(CUDA_LAUNCHED("collect_all", error));
  }
  return MPT_OK;
}
