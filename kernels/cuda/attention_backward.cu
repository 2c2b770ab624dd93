/* attention backward on tensor cores: one kernel for the gradients of keys and values, one for
 * those of queries. Both keep a block of rows, of the one they sum for, and stream the other past
 * it, two stages deep. With keys as rows P^T and dS^T come out of mma laid out as the products
 * P^T dy and dS^T q want them, so neither leaves the registers. */
#include "kernels/cuda/attention_mma.cuh"

/* Blocks of `ROWS` rows, 16 MT a warp, meet blocks of `STREAM`. ROOMY: for devices whose blocks may
 * have so much shared memory; the other fits all. */
template <class T, int D, bool KEYS, bool ROOMY> struct backward_shape {
  static constexpr bool WIDE = row_bytes<T, D> == 512; /* tf32, 128 channels */
  static constexpr int MT = D == 128 ? 1 : 2, WARPS = WIDE && ROOMY ? 8 : 4;
  static constexpr int ROWS = 16 * MT * WARPS, THREADS = 32 * WARPS, PER_SM = 8 / WARPS;
  static constexpr int STREAM = WIDE                                           ? ROOMY ? 32 : 16
                                : D == 128 || (!KEYS && T::format != MPT_TF32) ? 64
                                                                               : 32;
  static constexpr int BYTES = row_bytes<T, D> * (2 * ROWS + 4 * STREAM) + 4 * STREAM * 4;
  static_assert(ROOMY || BYTES <= LEAST_SHARED, "fits every device");
};

/* lse2 and delta of `COUNT` queries from `first` to shared memory; zeros beyond T, which with rows
 * of zeros add nothing. */
template <int COUNT>
static __device__ __forceinline__ void load_rows(const attention_problem &p, int first, float *lse2,
                                                 float *delta) {
  int at = threadIdx.x % COUNT;
  if (threadIdx.x >= 2 * COUNT)
    return;
  const float *from = (threadIdx.x < COUNT ? p.lse2 : p.delta) + (int64_t)blockIdx.x * p.length;
  bool present = first + at < p.length;
  copy_async4(shared_address((threadIdx.x < COUNT ? lse2 : delta) + at),
              from + (present ? first + at : 0), present);
}

template <class T, int D, bool DIRECT, bool ROOMY>
static __global__ void __launch_bounds__(backward_shape<T, D, true, ROOMY>::THREADS,
                                         backward_shape<T, D, true, ROOMY>::PER_SM)
    backward_keys(const __grid_constant__ attention_problem p) {
  typedef backward_shape<T, D, true, ROOMY> shape;
  static_assert(!ROOMY || shape::BYTES > ROOM, "ROOMY is for devices with room");
  if (ROOMY && !HAS_ROOM)
    return;
  constexpr int MT = shape::MT, STREAM = shape::STREAM, N = STREAM / 8, THREADS = shape::THREADS;
  constexpr int STAGE = STREAM * row_bytes<T, D>;
  static_assert(THREADS >= 2 * STREAM, "load_rows");
  extern __shared__ __align__(1024) char shared[];
  char *tile_k = shared, *tile_v = tile_k + shape::ROWS * row_bytes<T, D>;
  char *tile_q = tile_v + shape::ROWS * row_bytes<T, D>, *tile_dy = tile_q + 2 * STAGE;
  float *lse2 = reinterpret_cast<float *>(tile_dy + 2 * STAGE), *delta = lse2 + 2 * STREAM;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int pair = p.first_pair + blockIdx.x, first = (int)blockIdx.y * shape::ROWS;
  int warp_first = first + warp * 16 * MT;
  int begin = p.causal ? first / STREAM : 0, end = (p.length + STREAM - 1) / STREAM;

  load_tile<T, D, shape::ROWS, THREADS, DIRECT>(p, p.key, pair, first, tile_k);
  load_tile<T, D, shape::ROWS, THREADS, DIRECT>(p, p.value, pair, first, tile_v);
  load_tile<T, D, STREAM, THREADS, DIRECT>(p, p.query, pair, begin * STREAM, tile_q);
  load_tile<T, D, STREAM, THREADS, DIRECT>(p, p.grad_y, pair, begin * STREAM, tile_dy);
  load_rows<STREAM>(p, begin * STREAM, lse2, delta);
  copy_async_commit();

  float dk[MT][D / 8][4] = {}, dv[MT][D / 8][4] = {};
  float factor = p.scale * LOG2_E;
  uint32_t rows_k = shared_address(tile_k) + warp * 16 * MT * row_bytes<T, D>;
  uint32_t rows_v = shared_address(tile_v) + warp * 16 * MT * row_bytes<T, D>;

  for (int block = begin, stage = 0; block < end; block++, stage ^= 1) {
    copy_async_wait();
    if (block == begin) {
      round_tile<T, D, shape::ROWS, THREADS, DIRECT>(tile_k);
      round_tile<T, D, shape::ROWS, THREADS, DIRECT>(tile_v);
    }
    round_tile<T, D, STREAM, THREADS, DIRECT>(tile_q + stage * STAGE);
    round_tile<T, D, STREAM, THREADS, DIRECT>(tile_dy + stage * STAGE);
    __syncthreads();
    if (block + 1 < end) {
      int next = stage ^ 1, query = (block + 1) * STREAM;
      load_tile<T, D, STREAM, THREADS, DIRECT>(p, p.query, pair, query, tile_q + next * STAGE);
      load_tile<T, D, STREAM, THREADS, DIRECT>(p, p.grad_y, pair, query, tile_dy + next * STAGE);
      load_rows<STREAM>(p, query, lse2 + next * STREAM, delta + next * STREAM);
      copy_async_commit();
    }
    int query = block * STREAM;
    if (p.causal && query + STREAM - 1 < warp_first)
      continue;
    uint32_t q = shared_address(tile_q) + stage * STAGE,
             dy = shared_address(tile_dy) + stage * STAGE;
    float prob[MT][N][4] = {};
    multiply_rows<T, D>(prob, rows_k, q);
    bool masked = p.causal && query < warp_first + 16 * MT - 1;
#pragma unroll
    for (int j = 0; j < N; j++) {
      float2 l = *reinterpret_cast<float2 *>(lse2 + stage * STREAM + 8 * j + lane % 4 * 2);
#pragma unroll
      for (int i = 0; i < MT; i++)
#pragma unroll
        for (int e = 0; e < 4; e++)
          prob[i][j][e] = exp2_fast(__fmaf_rn(prob[i][j][e], factor, e % 2 ? -l.y : -l.x));
    }
    if (masked) {
#pragma unroll
      for (int i = 0; i < MT; i++)
#pragma unroll
        for (int j = 0; j < N; j++)
#pragma unroll
          for (int e = 0; e < 4; e++)
            if (query + 8 * j + lane % 4 * 2 + e % 2 < warp_first + 16 * i + e / 2 * 8 + lane / 4)
              prob[i][j][e] = 0.0f;
    }
    multiply_columns<T, D>(dv, prob, dy);
    float ds[MT][N][4] = {};
    multiply_rows<T, D>(ds, rows_v, dy);
#pragma unroll
    for (int j = 0; j < N; j++) {
      float2 d = *reinterpret_cast<float2 *>(delta + stage * STREAM + 8 * j + lane % 4 * 2);
#pragma unroll
      for (int i = 0; i < MT; i++)
#pragma unroll
        for (int e = 0; e < 4; e++)
          ds[i][j][e] = prob[i][j][e] * (ds[i][j][e] - (e % 2 ? d.y : d.x));
    }
    multiply_columns<T, D>(dk, ds, q);
  }

#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int j = 0; j < D / 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++)
        dk[i][j][e] *= p.scale;
  int offset = warp * 16 * MT * row_bytes<T, D>;
  tally seen = EMPTY_TALLY;
  store_rows<T, D, MT, DIRECT>(p, p.grad_key, pair, warp_first, dk, tile_k + offset, seen);
  int matrices = add_key_tally(p, seen);
  store_rows<T, D, MT, DIRECT>(p, p.grad_value, pair, warp_first, dv, tile_v + offset, seen);
  add_head_tally(p, p.grad_value, seen, matrices);
}

template <class T, int D, bool DIRECT, bool ROOMY>
static __global__ void __launch_bounds__(backward_shape<T, D, false, ROOMY>::THREADS,
                                         backward_shape<T, D, false, ROOMY>::PER_SM)
    backward_queries(const __grid_constant__ attention_problem p) {
  typedef backward_shape<T, D, false, ROOMY> shape;
  static_assert(!ROOMY || shape::BYTES > ROOM, "ROOMY is for devices with room");
  if (ROOMY && !HAS_ROOM)
    return;
  constexpr int MT = shape::MT, STREAM = shape::STREAM, N = STREAM / 8, THREADS = shape::THREADS;
  constexpr int STAGE = STREAM * row_bytes<T, D>;
  extern __shared__ __align__(1024) char shared[];
  char *tile_q = shared, *tile_dy = tile_q + shape::ROWS * row_bytes<T, D>;
  char *tile_k = tile_dy + shape::ROWS * row_bytes<T, D>, *tile_v = tile_k + 2 * STAGE;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int pair = p.first_pair + blockIdx.x;
  int first = (int)(gridDim.y - 1 - blockIdx.y) * shape::ROWS; /* most keys first */
  int warp_first = first + warp * 16 * MT;
  int keys = p.causal ? min(p.length, first + shape::ROWS) : p.length;
  int blocks = (keys + STREAM - 1) / STREAM;

  load_tile<T, D, shape::ROWS, THREADS, DIRECT>(p, p.query, pair, first, tile_q);
  load_tile<T, D, shape::ROWS, THREADS, DIRECT>(p, p.grad_y, pair, first, tile_dy);
  load_tile<T, D, STREAM, THREADS, DIRECT>(p, p.key, pair, 0, tile_k);
  load_tile<T, D, STREAM, THREADS, DIRECT>(p, p.value, pair, 0, tile_v);
  copy_async_commit();

  float dq[MT][D / 8][4] = {}, lse2[MT][2], delta[MT][2];
#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      int row = warp_first + 16 * i + 8 * half + lane / 4;
      int64_t at = (int64_t)blockIdx.x * p.length + min(row, p.length - 1);
      lse2[i][half] = p.lse2[at];
      delta[i][half] = p.delta[at];
    }
  float factor = p.scale * LOG2_E;
  uint32_t rows_q = shared_address(tile_q) + warp * 16 * MT * row_bytes<T, D>;
  uint32_t rows_dy = shared_address(tile_dy) + warp * 16 * MT * row_bytes<T, D>;

  for (int block = 0, stage = 0; block < blocks; block++, stage ^= 1) {
    copy_async_wait();
    if (block == 0) {
      round_tile<T, D, shape::ROWS, THREADS, DIRECT>(tile_q);
      round_tile<T, D, shape::ROWS, THREADS, DIRECT>(tile_dy);
    }
    round_tile<T, D, STREAM, THREADS, DIRECT>(tile_k + stage * STAGE);
    round_tile<T, D, STREAM, THREADS, DIRECT>(tile_v + stage * STAGE);
    __syncthreads();
    int key = block * STREAM;
    if (block + 1 < blocks) {
      int next = (stage ^ 1) * STAGE;
      load_tile<T, D, STREAM, THREADS, DIRECT>(p, p.key, pair, key + STREAM, tile_k + next);
      load_tile<T, D, STREAM, THREADS, DIRECT>(p, p.value, pair, key + STREAM, tile_v + next);
      copy_async_commit();
    }
    if (p.causal && key > warp_first + 16 * MT - 1)
      continue;
    uint32_t k = shared_address(tile_k) + stage * STAGE, v = shared_address(tile_v) + stage * STAGE;
    float prob[MT][N][4] = {}, ds[MT][N][4] = {};
    multiply_rows<T, D>(prob, rows_q, k);
    bool masked = key + STREAM > p.length || (p.causal && key + STREAM - 1 > warp_first);
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
      for (int j = 0; j < N; j++)
#pragma unroll
        for (int e = 0; e < 4; e++)
          prob[i][j][e] = exp2_fast(__fmaf_rn(prob[i][j][e], factor, -lse2[i][e / 2]));
    if (masked) {
#pragma unroll
      for (int i = 0; i < MT; i++)
#pragma unroll
        for (int j = 0; j < N; j++)
#pragma unroll
          for (int e = 0; e < 4; e++) {
            int at = key + 8 * j + lane % 4 * 2 + e % 2;
            if (at >= p.length || (p.causal && at > warp_first + 16 * i + e / 2 * 8 + lane / 4))
              prob[i][j][e] = 0.0f;
          }
    }
    multiply_rows<T, D>(ds, rows_dy, v);
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
      for (int j = 0; j < N; j++)
#pragma unroll
        for (int e = 0; e < 4; e++)
          ds[i][j][e] = prob[i][j][e] * (ds[i][j][e] - delta[i][e / 2]);
    multiply_columns<T, D>(dq, ds, k);
  }

#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int j = 0; j < D / 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++)
        dq[i][j][e] *= p.scale;
  tally seen = EMPTY_TALLY;
  store_rows<T, D, MT, DIRECT>(p, p.grad_query, pair, warp_first, dq,
                               tile_q + warp * 16 * MT * row_bytes<T, D>, seen);
  add_head_tally(p, p.grad_query, seen);
}

template <class T, int D, bool DIRECT, bool ROOMY>
static void launch(const cuda_context *c, const attention_problem &p) {
  typedef backward_shape<T, D, true, ROOMY> keys;
  dim3 grid((unsigned)p.pairs, (unsigned)divide_up(p.length, keys::ROWS));
  allow_shared(backward_keys<T, D, DIRECT, ROOMY>, keys::BYTES);
  backward_keys<T, D, DIRECT, ROOMY><<<grid, keys::THREADS, keys::BYTES, c->stream>>>(p);
  typedef backward_shape<T, D, false, ROOMY> queries;
  grid.y = (unsigned)divide_up(p.length, queries::ROWS);
  allow_shared(backward_queries<T, D, DIRECT, ROOMY>, queries::BYTES);
  backward_queries<T, D, DIRECT, ROOMY><<<grid, queries::THREADS, queries::BYTES, c->stream>>>(p);
}

void mpt_attention_mma_backward(const cuda_context *c, const attention_problem &p, bool direct) {
  DISPATCH_MMA(p, direct, {
    typedef backward_shape<T, D, true, true> roomy;
    if constexpr (DIRECT && roomy::WIDE) {
      if (most_shared(c) >= roomy::BYTES) {
        launch<T, D, DIRECT, true>(c, p);
        return;
      }
    }
    launch<T, D, DIRECT, false>(c, p);
  })
}
