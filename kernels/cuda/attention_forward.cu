/* attention forward on tensor cores: a block of 128 queries, 32 a warp, meets the keys it sees from
 * the last block to the first, so that masks come first. Keys and values of the next block arrive
 * while this one is multiplied. Scores and probabilities stay in registers: what mma leaves of a
 * product is laid out as the next product wants it. */
#include "kernels/cuda/attention_mma.cuh"

/* ROOMY: for devices whose blocks may have so much shared memory; the other fits all. */
template <class T, int D, bool ROOMY> struct forward_shape {
  static constexpr bool WIDE = row_bytes<T, D> == 512; /* tf32, 128 channels */
  static constexpr int MT = WIDE ? 1 : 2;              /* tiles of 16 queries a warp */
  static constexpr int WARPS = WIDE && ROOMY ? 8 : 4, KEYS = WIDE && !ROOMY ? 32 : 64;
  static constexpr int QUERIES = 16 * MT * WARPS, THREADS = 32 * WARPS, PER_SM = 8 / WARPS;
  static constexpr int BYTES = row_bytes<T, D> * (QUERIES + 4 * KEYS);
  static_assert(ROOMY || BYTES <= LEAST_SHARED, "fits every device");
};

/* Hides what a row of scores must not see. `row` and `key`: of s[0][0][0]. */
template <int MT, int N>
static __device__ __forceinline__ void mask_scores(float (&s)[MT][N][4], int row, int key, int keys,
                                                   bool causal) {
#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int j = 0; j < N; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        int k = key + 8 * j + e % 2;
        if (k >= keys || (causal && k > row + 16 * i + e / 2 * 8))
          s[i][j][e] = -INFINITY;
      }
}

/* One row's scores s[.][e0], s[.][e0 + 1] to probabilities relative to 2^reference, the running
 * maximum times `factor`. That product is rounded up, so the largest probability is at most 1 (and
 * within a rounding of it). Returns what earlier sums shrink by. */
template <int N>
static __device__ __forceinline__ float soften(float (&s)[N][4], int e0, float factor,
                                               float &largest, float &sum) {
  float before = __fmul_ru(largest, factor);
#pragma unroll
  for (int j = 0; j < N; j++)
    largest = fmaxf(largest, fmaxf(s[j][e0], s[j][e0 + 1]));
  largest = fmaxf(largest, __shfl_xor_sync(0xFFFFFFFFu, largest, 1));
  largest = fmaxf(largest, __shfl_xor_sync(0xFFFFFFFFu, largest, 2));
  float reference = __fmul_ru(largest, factor), shrink = exp2_fast(before - reference);
  float part = 0.0f;
#pragma unroll
  for (int j = 0; j < N; j++)
#pragma unroll
    for (int e = e0; e < e0 + 2; e++)
      part += s[j][e] = exp2_fast(__fmaf_rn(s[j][e], factor, -reference));
  sum = sum * shrink + part;
  return shrink;
}

template <class T, int D, bool DIRECT, bool ROOMY>
static __global__ void __launch_bounds__(forward_shape<T, D, ROOMY>::THREADS,
                                         forward_shape<T, D, ROOMY>::PER_SM)
    forward(const __grid_constant__ attention_problem p) {
  typedef forward_shape<T, D, ROOMY> shape;
  static_assert(!ROOMY || shape::BYTES > ROOM, "ROOMY is for devices with room");
  if (ROOMY && !HAS_ROOM)
    return;
  constexpr int MT = shape::MT, KEYS = shape::KEYS, N = KEYS / 8, THREADS = shape::THREADS;
  extern __shared__ __align__(1024) char shared[];
  char *tile_q = shared, *tile_k = tile_q + shape::QUERIES * row_bytes<T, D>;
  char *tile_v = tile_k + 2 * KEYS * row_bytes<T, D>; /* two of each, one in use */
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int pair = p.first_pair + blockIdx.x;
  int first = (int)(gridDim.y - 1 - blockIdx.y) * shape::QUERIES; /* most keys first */
  int warp_first = first + warp * 16 * MT;
  int keys = p.causal ? min(p.length, first + shape::QUERIES) : p.length;
  int blocks = (keys + KEYS - 1) / KEYS;

  load_tile<T, D, shape::QUERIES, THREADS, DIRECT>(p, p.query, pair, first, tile_q);
  load_tile<T, D, KEYS, THREADS, DIRECT>(p, p.key, pair, (blocks - 1) * KEYS, tile_k);
  load_tile<T, D, KEYS, THREADS, DIRECT>(p, p.value, pair, (blocks - 1) * KEYS, tile_v);
  copy_async_commit();

  float y[MT][D / 8][4] = {}, largest[MT][2], sum[MT][2] = {};
#pragma unroll
  for (int i = 0; i < MT; i++) /* finite: nothing less it is not NaN */
    largest[i][0] = largest[i][1] = -1e30f;
  float factor = p.scale * LOG2_E;
  uint32_t rows = shared_address(tile_q) + warp * 16 * MT * row_bytes<T, D>;

  for (int block = blocks - 1, stage = 0; block >= 0; block--, stage ^= 1) {
    copy_async_wait();
    if (block == blocks - 1)
      round_tile<T, D, shape::QUERIES, THREADS, DIRECT>(tile_q);
    round_tile<T, D, KEYS, THREADS, DIRECT>(tile_k + stage * KEYS * row_bytes<T, D>);
    round_tile<T, D, KEYS, THREADS, DIRECT>(tile_v + stage * KEYS * row_bytes<T, D>);
    __syncthreads();
    if (block > 0) {
      int next = (stage ^ 1) * KEYS * row_bytes<T, D>;
      load_tile<T, D, KEYS, THREADS, DIRECT>(p, p.key, pair, (block - 1) * KEYS, tile_k + next);
      load_tile<T, D, KEYS, THREADS, DIRECT>(p, p.value, pair, (block - 1) * KEYS, tile_v + next);
      copy_async_commit();
    }
    int key = block * KEYS;
    if (p.causal && key > warp_first + 16 * MT - 1)
      continue;
    float s[MT][N][4] = {};
    multiply_rows<T, D>(s, rows, shared_address(tile_k) + stage * KEYS * row_bytes<T, D>);
    if (key + KEYS > p.length || (p.causal && key + KEYS - 1 > warp_first))
      mask_scores(s, warp_first + lane / 4, key + lane % 4 * 2, p.length, p.causal);
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        float shrink = soften(s[i], 2 * half, factor, largest[i][half], sum[i][half]);
#pragma unroll
        for (int j = 0; j < D / 8; j++) {
          y[i][j][2 * half] *= shrink;
          y[i][j][2 * half + 1] *= shrink;
        }
      }
    multiply_columns<T, D>(y, s, shared_address(tile_v) + stage * KEYS * row_bytes<T, D>);
  }

#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float total = sum[i][half];
      total += __shfl_xor_sync(0xFFFFFFFFu, total, 1);
      total += __shfl_xor_sync(0xFFFFFFFFu, total, 2);
      total = total < 1.0f ? 1.0f : total; /* the largest is 1: less is its rounding */
      int row = warp_first + 16 * i + 8 * half + lane / 4;
      if (lane % 4 == 0 && row < p.length)
        p.lse[(int64_t)pair * p.length + row] =
            __fmul_ru(largest[i][half], factor) * LN_2 + logf(total);
      float share = 1.0f / total;
#pragma unroll
      for (int j = 0; j < D / 8; j++) {
        y[i][j][2 * half] *= share;
        y[i][j][2 * half + 1] *= share;
      }
    }
  tally seen = EMPTY_TALLY;
  store_rows<T, D, MT, DIRECT>(p, p.y, pair, warp_first, y,
                               tile_q + warp * 16 * MT * row_bytes<T, D>, seen);
  add_head_tally(p, p.y, seen);
}

template <class T, int D, bool DIRECT, bool ROOMY>
static void launch(const cuda_context *c, const attention_problem &p) {
  typedef forward_shape<T, D, ROOMY> shape;
  allow_shared(forward<T, D, DIRECT, ROOMY>, shape::BYTES);
  dim3 grid((unsigned)p.pairs, (unsigned)divide_up(p.length, shape::QUERIES));
  forward<T, D, DIRECT, ROOMY><<<grid, shape::THREADS, shape::BYTES, c->stream>>>(p);
}

void mpt_attention_mma_forward(const cuda_context *c, const attention_problem &p, bool direct) {
  DISPATCH_MMA(p, direct, {
    typedef forward_shape<T, D, true> roomy;
    if constexpr (DIRECT && roomy::WIDE) {
      if (most_shared(c) >= roomy::BYTES) {
        launch<T, D, DIRECT, true>(c, p);
        return;
      }
    }
    launch<T, D, DIRECT, false>(c, p);
  })
}
