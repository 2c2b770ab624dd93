/* attention in fp32, for the formats and head widths that have no tensor-core kernels here.
 *
 * 256 threads, 16 x 16, hold a block of ROWS x ROWS scores, R x R each: rows ty + 16 i, columns
 * tx + 16 j. Tiles are fp32 in shared memory, rounded to the format of the products as they are
 * read, zero beyond T and beyond a head's channels; D is 64, 128 or 256. */
#include "kernels/cuda/attention.cuh"

enum { SIDE = 16, THREADS = SIDE * SIDE };

template <int D> struct plain_shape {
  static constexpr int R = 256 / D, ROWS = SIDE * R;     /* 64, 32, 16 rows */
  static constexpr int PITCH = D + 4, SCORES = ROWS + 4; /* floats from row to row */
  static constexpr int TILE = ROWS * PITCH;
  static constexpr int FORWARD = 4 * (3 * TILE + ROWS * SCORES),
                       BACKWARD = 4 * (4 * TILE + ROWS * SCORES);
  static_assert(BACKWARD <= LEAST_SHARED, "fits every device");
};

template <int D>
static __device__ __forceinline__ void
read_tile(const attention_problem &p, const attention_matrix &x, int pair, int first, float *tile) {
  for (int i = threadIdx.x; i < plain_shape<D>::ROWS * D; i += THREADS) {
    int row = i / D, column = i % D;
    float value = 0.0f;
    if (first + row < p.length && column < p.depth)
      value = round_any(p.format, load_any(x.format, head_row(p, x, pair, first + row), column));
    tile[row * plain_shape<D>::PITCH + column] = value;
  }
}

/* s = a b^T */
template <int D, int R>
static __device__ __forceinline__ void scores(float (&s)[R][R], const float *a, const float *b) {
  constexpr int PITCH = plain_shape<D>::PITCH;
  int tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE;
#pragma unroll
  for (int i = 0; i < R; i++)
#pragma unroll
    for (int j = 0; j < R; j++)
      s[i][j] = 0.0f;
#pragma unroll 4
  for (int d = 0; d < D; d += 4) {
    float4 left[R], right[R];
#pragma unroll
    for (int i = 0; i < R; i++) {
      left[i] = *reinterpret_cast<const float4 *>(a + (ty + SIDE * i) * PITCH + d);
      right[i] = *reinterpret_cast<const float4 *>(b + (tx + SIDE * i) * PITCH + d);
    }
#pragma unroll
    for (int i = 0; i < R; i++)
#pragma unroll
      for (int j = 0; j < R; j++)
        s[i][j] += left[i].x * right[j].x + left[i].y * right[j].y + left[i].z * right[j].z +
                   left[i].w * right[j].w;
  }
}

/* sums += p b, p [ROWS, ROWS] in shared memory; thread columns tx * 4 + 64 c + {0..3}. */
template <int D, int R>
static __device__ __forceinline__ void add_product(float (&sums)[R][D / SIDE], const float *p,
                                                   const float *b) {
  typedef plain_shape<D> shape;
  int tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE;
#pragma unroll 4
  for (int k = 0; k < shape::ROWS; k++) {
    float left[R];
#pragma unroll
    for (int i = 0; i < R; i++)
      left[i] = p[(ty + SIDE * i) * shape::SCORES + k];
#pragma unroll
    for (int c = 0; c < D / 64; c++) {
      float4 right = *reinterpret_cast<const float4 *>(b + k * shape::PITCH + 64 * c + 4 * tx);
#pragma unroll
      for (int i = 0; i < R; i++) {
        sums[i][4 * c] += left[i] * right.x;
        sums[i][4 * c + 1] += left[i] * right.y;
        sums[i][4 * c + 2] += left[i] * right.z;
        sums[i][4 * c + 3] += left[i] * right.w;
      }
    }
  }
}

template <int D, int R>
static __device__ __forceinline__ void write_scores(const attention_problem &p, float *to,
                                                    const float (&s)[R][R]) {
  int tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE;
#pragma unroll
  for (int i = 0; i < R; i++)
#pragma unroll
    for (int j = 0; j < R; j++)
      to[(ty + SIDE * i) * plain_shape<D>::SCORES + tx + SIDE * j] = round_any(p.format, s[i][j]);
}

template <int D, int R>
static __device__ __forceinline__ void
write_rows(const attention_problem &p, const attention_matrix &x, int pair, int first,
           const float (&sums)[R][D / SIDE], const float (&factor)[R], tally &seen) {
  int tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE;
#pragma unroll
  for (int i = 0; i < R; i++) {
    int row = first + ty + SIDE * i;
    if (row >= p.length)
      continue;
    char *to = head_row(p, x, pair, row);
#pragma unroll
    for (int c = 0; c < D / SIDE; c++) {
      int column = 64 * (c / 4) + 4 * tx + c % 4;
      if (column < p.depth)
        store_seen(x, to, column, sums[i][c] * factor[i], seen);
    }
  }
}

/* Over the 16 threads that share a row. */
template <class Combine>
static __device__ __forceinline__ float row_all(float value, Combine combine) {
#pragma unroll
  for (int distance = SIDE / 2; distance > 0; distance /= 2)
    value = combine(value, __shfl_xor_sync(0xFFFFFFFFu, value, distance));
  return value;
}

/* Three blocks fit on a multiprocessor by shared memory at 64 channels, and by registers if the
 * compiler is asked: with two it takes 1.37 times as long (H200). */
template <int D>
static __global__ void __launch_bounds__(THREADS, 3)
    plain_forward(const __grid_constant__ attention_problem p) {
  typedef plain_shape<D> shape;
  constexpr int R = shape::R, ROWS = shape::ROWS;
  extern __shared__ __align__(16) float shared_floats[];
  float *q = shared_floats, *k = q + shape::TILE, *v = k + shape::TILE, *prob = v + shape::TILE;
  int tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE;
  int pair = p.first_pair + blockIdx.x, first = (int)(gridDim.y - 1 - blockIdx.y) * ROWS;
  int keys = p.causal ? min(p.length, first + ROWS) : p.length;
  float sums[R][D / SIDE] = {}, largest[R], total[R], share[R];
#pragma unroll
  for (int i = 0; i < R; i++) {
    largest[i] = -1e30f; /* finite: nothing less it is not NaN */
    total[i] = 0.0f;
  }
  read_tile<D>(p, p.query, pair, first, q);
  for (int key = 0; key < keys; key += ROWS) {
    __syncthreads();
    read_tile<D>(p, p.key, pair, key, k);
    read_tile<D>(p, p.value, pair, key, v);
    __syncthreads();
    float s[R][R];
    scores<D>(s, q, k);
#pragma unroll
    for (int i = 0; i < R; i++) {
      int row = first + ty + SIDE * i;
      float before = largest[i], part = 0.0f;
#pragma unroll
      for (int j = 0; j < R; j++) {
        int at = key + tx + SIDE * j;
        s[i][j] = at < p.length && (!p.causal || at <= row) ? s[i][j] * p.scale : -INFINITY;
        largest[i] = fmaxf(largest[i], s[i][j]);
      }
      largest[i] = row_all(largest[i], Max());
#pragma unroll
      for (int j = 0; j < R; j++)
        part += s[i][j] = expf(s[i][j] - largest[i]);
      float shrink = expf(before - largest[i]);
      total[i] = total[i] * shrink + part;
#pragma unroll
      for (int c = 0; c < D / SIDE; c++)
        sums[i][c] *= shrink;
    }
    write_scores<D>(p, prob, s);
    __syncthreads();
    add_product<D>(sums, prob, v);
  }
#pragma unroll
  for (int i = 0; i < R; i++) {
    total[i] = row_all(total[i], Sum());
    share[i] = 1.0f / total[i];
    int row = first + ty + SIDE * i;
    if (tx == 0 && row < p.length)
      p.lse[(int64_t)pair * p.length + row] = largest[i] + logf(total[i]);
  }
  tally seen = EMPTY_TALLY;
  write_rows<D>(p, p.y, pair, first, sums, share, seen);
  add_head_tally(p, p.y, seen);
}

/* Gradients of a block of rows of one side, over blocks of the other: keys and values over
 * queries (KEYS), or queries over keys. `own`: the side's rows of k and v (q and dy); `other`: q
 * and dy (k and v). */
template <int D, bool KEYS>
static __global__ void __launch_bounds__(THREADS)
    plain_backward(const __grid_constant__ attention_problem p) {
  typedef plain_shape<D> shape;
  constexpr int R = shape::R, ROWS = shape::ROWS;
  extern __shared__ __align__(16) float shared_floats[];
  float *own = shared_floats, *own_v = own + shape::TILE, *other = own_v + shape::TILE;
  float *other_v = other + shape::TILE, *square = other_v + shape::TILE;
  int tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE, pair = p.first_pair + blockIdx.x;
  int first = (int)(KEYS ? blockIdx.y : gridDim.y - 1 - blockIdx.y) * ROWS;
  int begin = KEYS && p.causal ? first : 0;
  int end = !KEYS && p.causal ? min(p.length, first + ROWS) : p.length;
  const float *lse2 = p.lse2 + (int64_t)blockIdx.x * p.length;
  const float *delta = p.delta + (int64_t)blockIdx.x * p.length;
  float sums[R][D / SIDE] = {}, sums_v[KEYS ? R : 1][D / SIDE] = {}, factor[R], one[R];
  read_tile<D>(p, KEYS ? p.key : p.query, pair, first, own);
  read_tile<D>(p, KEYS ? p.value : p.grad_y, pair, first, own_v);
  for (int at = begin; at < end; at += ROWS) {
    __syncthreads();
    read_tile<D>(p, KEYS ? p.query : p.key, pair, at, other);
    read_tile<D>(p, KEYS ? p.grad_y : p.value, pair, at, other_v);
    __syncthreads();
    float prob[R][R], ds[R][R];
    scores<D>(prob, own, other);
    scores<D>(ds, own_v, other_v);
#pragma unroll
    for (int i = 0; i < R; i++)
#pragma unroll
      for (int j = 0; j < R; j++) {
        int mine = first + ty + SIDE * i, theirs = at + tx + SIDE * j;
        int query = KEYS ? theirs : mine, key = KEYS ? mine : theirs;
        bool seen = query < p.length && key < p.length && (!p.causal || key <= query);
        query = min(query, p.length - 1);
        prob[i][j] = seen ? exp2f(prob[i][j] * (p.scale * LOG2_E) - lse2[query]) : 0.0f;
        ds[i][j] = prob[i][j] * (ds[i][j] - delta[query]);
      }
    if constexpr (KEYS) {
      write_scores<D>(p, square, prob);
      __syncthreads();
      add_product<D>(sums_v, square, other_v);
      __syncthreads();
    }
    write_scores<D>(p, square, ds);
    __syncthreads();
    add_product<D>(sums, square, other);
  }
#pragma unroll
  for (int i = 0; i < R; i++) {
    factor[i] = p.scale;
    one[i] = 1.0f;
  }
  tally seen = EMPTY_TALLY;
  write_rows<D>(p, KEYS ? p.grad_key : p.grad_query, pair, first, sums, factor, seen);
  if constexpr (KEYS) {
    int matrices = add_key_tally(p, seen);
    write_rows<D>(p, p.grad_value, pair, first, sums_v, one, seen);
    add_head_tally(p, p.grad_value, seen, matrices);
  } else {
    add_head_tally(p, p.grad_query, seen);
  }
}

template <int D> static void launch_forward(const cuda_context *c, const attention_problem &p) {
  typedef plain_shape<D> shape;
  dim3 grid((unsigned)p.pairs, (unsigned)divide_up(p.length, shape::ROWS));
  allow_shared(plain_forward<D>, shape::FORWARD);
  plain_forward<D><<<grid, THREADS, shape::FORWARD, c->stream>>>(p);
}

template <int D> static void launch_backward(const cuda_context *c, const attention_problem &p) {
  typedef plain_shape<D> shape;
  dim3 grid((unsigned)p.pairs, (unsigned)divide_up(p.length, shape::ROWS));
  allow_shared(plain_backward<D, true>, shape::BACKWARD);
  plain_backward<D, true><<<grid, THREADS, shape::BACKWARD, c->stream>>>(p);
  allow_shared(plain_backward<D, false>, shape::BACKWARD);
  plain_backward<D, false><<<grid, THREADS, shape::BACKWARD, c->stream>>>(p);
}

void mpt_attention_plain_forward(const cuda_context *c, const attention_problem &p) {
  if (p.depth <= 64)
    launch_forward<64>(c, p);
  else if (p.depth <= 128)
    launch_forward<128>(c, p);
  else
    launch_forward<256>(c, p);
}

void mpt_attention_plain_backward(const cuda_context *c, const attention_problem &p) {
  if (p.depth <= 64)
    launch_backward<64>(c, p);
  else if (p.depth <= 128)
    launch_backward<128>(c, p);
  else
    launch_backward<256>(c, p);
}
