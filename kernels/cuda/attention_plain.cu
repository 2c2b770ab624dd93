/* attention in fp32, for what tensor cores do not take: fp32 and tf32 products, and heads of more
 * than 128 channels. Tiles of queries and keys meet in shared memory; a thread of the 16 x 16 of a
 * block owns TR x TR scores and the outputs of TR rows in DP / 16 columns. */
#include "kernels/cuda/attention.cuh"

enum { SIDE = 16, THREADS = SIDE * SIDE };

/* DP: channels of a head, padded with zeros to 64, 128 or 256. */
template <int DP> struct plain_shape {
  static constexpr int ROWS = DP <= 128 ? 64 : 32; /* of a tile */
  static constexpr int TR = ROWS / SIDE, COLUMNS = DP / 64;
  static constexpr int STRIDE = DP + 4, WEIGHT_STRIDE = ROWS + 4; /* rows begin 4 banks apart */
  static constexpr int TILE = ROWS * STRIDE, WEIGHTS = ROWS * WEIGHT_STRIDE;
};

static __device__ __forceinline__ int thread_row() {
  return threadIdx.x / SIDE;
}

static __device__ __forceinline__ int thread_column() {
  return threadIdx.x % SIDE;
}

/* Rows first, first + 1, ... of a head, rounded as products take them; zero outside. */
template <int DP>
static __device__ __forceinline__ void
load_tile(const attention_problem &p, const attention_matrix &x, int pair, int first, float *tile) {
  typedef plain_shape<DP> shape;
  for (int i = threadIdx.x; i < shape::ROWS * DP; i += THREADS) {
    int row = i / DP, column = i % DP;
    float value = 0.0f;
    if (first + row < p.length && column < p.depth)
      value = round_any(p.format, load_any(x.format, head_row(p, x, pair, first + row), column));
    tile[row * shape::STRIDE + column] = value;
  }
}

/* s[i][j] = <a[row i], b[row j]>: rows thread_row() * TR + i, and thread_column() + 16 j. */
template <int DP>
static __device__ __forceinline__ void
multiply_rows(const float *a, const float *b,
              float (&s)[plain_shape<DP>::TR][plain_shape<DP>::TR]) {
  typedef plain_shape<DP> shape;
  constexpr int TR = shape::TR;
#pragma unroll
  for (int i = 0; i < TR; i++)
#pragma unroll
    for (int j = 0; j < TR; j++)
      s[i][j] = 0.0f;
  a += thread_row() * TR * shape::STRIDE;
  b += thread_column() * shape::STRIDE;
  for (int d = 0; d < DP; d += 4) {
    float4 x[TR], y[TR];
#pragma unroll
    for (int i = 0; i < TR; i++) {
      x[i] = *(const float4 *)(a + i * shape::STRIDE + d);
      y[i] = *(const float4 *)(b + SIDE * i * shape::STRIDE + d);
    }
#pragma unroll
    for (int i = 0; i < TR; i++)
#pragma unroll
      for (int j = 0; j < TR; j++)
        s[i][j] += x[i].x * y[j].x + x[i].y * y[j].y + x[i].z * y[j].z + x[i].w * y[j].w;
  }
}

/* Puts the thread's weights where multiply_columns of all threads finds them. */
template <int DP>
static __device__ __forceinline__ void
put_weights(const float (&s)[plain_shape<DP>::TR][plain_shape<DP>::TR], float *weights) {
  typedef plain_shape<DP> shape;
#pragma unroll
  for (int i = 0; i < shape::TR; i++)
#pragma unroll
    for (int j = 0; j < shape::TR; j++)
      weights[(thread_row() * shape::TR + i) * shape::WEIGHT_STRIDE + thread_column() + SIDE * j] =
          s[i][j];
}

/* y[i][.] += sum over rows r of x of weights[row i][r] x[r][.]; columns 4 thread_column() + 64 c.
 */
template <int DP>
static __device__ __forceinline__ void
multiply_columns(const float *weights, const float *x,
                 float4 (&y)[plain_shape<DP>::TR][plain_shape<DP>::COLUMNS]) {
  typedef plain_shape<DP> shape;
  weights += thread_row() * shape::TR * shape::WEIGHT_STRIDE;
  x += 4 * thread_column();
  for (int r = 0; r < shape::ROWS; r++) {
#pragma unroll
    for (int c = 0; c < shape::COLUMNS; c++) {
      float4 v = *(const float4 *)(x + r * shape::STRIDE + 64 * c);
#pragma unroll
      for (int i = 0; i < shape::TR; i++) {
        float w = weights[i * shape::WEIGHT_STRIDE + r];
        y[i][c].x += w * v.x;
        y[i][c].y += w * v.y;
        y[i][c].z += w * v.z;
        y[i][c].w += w * v.w;
      }
    }
  }
}

template <int DP>
static __device__ __forceinline__ void
store_rows(const attention_problem &p, const attention_matrix &to, int pair, int first,
           const float4 (&y)[plain_shape<DP>::TR][plain_shape<DP>::COLUMNS],
           const float (&factor)[plain_shape<DP>::TR]) {
  typedef plain_shape<DP> shape;
#pragma unroll
  for (int i = 0; i < shape::TR; i++) {
    int row = first + thread_row() * shape::TR + i;
    if (row >= p.length)
      continue;
    char *place = head_row(p, to, pair, row);
#pragma unroll
    for (int c = 0; c < shape::COLUMNS; c++) {
      const float values[4] = {y[i][c].x, y[i][c].y, y[i][c].z, y[i][c].w};
#pragma unroll
      for (int e = 0; e < 4; e++) {
        int column = 4 * thread_column() + 64 * c + e;
        if (column < p.depth)
          store_any(to.format, place, column, values[e] * factor[i]);
      }
    }
  }
}

/* Over the 16 threads that share rows. */
template <class Combine> static __device__ __forceinline__ float row_all(float x, Combine combine) {
#pragma unroll
  for (int distance = SIDE / 2; distance > 0; distance /= 2)
    x = combine(x, __shfl_xor_sync(0xFFFFFFFFu, x, distance));
  return x;
}

static __device__ __forceinline__ bool sees(const attention_problem &p, int query, int key) {
  return key < p.length && query < p.length && (!p.causal || key <= query);
}

/* ---- forward: a block of queries ---- */
template <int DP>
static __global__ void __launch_bounds__(THREADS)
    plain_forward(const __grid_constant__ attention_problem p) {
  typedef plain_shape<DP> shape;
  constexpr int TR = shape::TR, ROWS = shape::ROWS;
  extern __shared__ float shared[];
  float *queries = shared, *keys = queries + shape::TILE, *values = keys + shape::TILE;
  float *weights = values + shape::TILE;
  int pair = p.first_pair + blockIdx.x, first = (int)(gridDim.y - 1 - blockIdx.y) * ROWS;
  int end = p.causal ? min(p.length, first + ROWS) : p.length;
  float4 y[TR][shape::COLUMNS] = {};
  float largest[TR], sum[TR] = {};
#pragma unroll
  for (int i = 0; i < TR; i++)
    largest[i] = -INFINITY;
  load_tile<DP>(p, p.query, pair, first, queries);
  for (int key = 0; key < end; key += ROWS) {
    __syncthreads();
    load_tile<DP>(p, p.key, pair, key, keys);
    load_tile<DP>(p, p.value, pair, key, values);
    __syncthreads();
    float s[TR][TR];
    multiply_rows<DP>(queries, keys, s);
#pragma unroll
    for (int i = 0; i < TR; i++) {
      int row = first + thread_row() * TR + i;
      float most = largest[i], part = 0.0f;
#pragma unroll
      for (int j = 0; j < TR; j++) {
        s[i][j] = sees(p, row, key + thread_column() + SIDE * j) ? s[i][j] * p.scale : -INFINITY;
        most = s[i][j] > most || s[i][j] != s[i][j] ? s[i][j] : most;
      }
      most = row_all(most, Max());
      float base = most == -INFINITY ? 0.0f : most;
      float shrink = expf(largest[i] - base);
#pragma unroll
      for (int j = 0; j < TR; j++) {
        s[i][j] = expf(s[i][j] - base);
        part += s[i][j];
        s[i][j] = round_any(p.format, s[i][j]);
      }
      sum[i] = sum[i] * shrink + row_all(part, Sum());
      largest[i] = most;
#pragma unroll
      for (int c = 0; c < shape::COLUMNS; c++) {
        y[i][c].x *= shrink;
        y[i][c].y *= shrink;
        y[i][c].z *= shrink;
        y[i][c].w *= shrink;
      }
    }
    put_weights<DP>(s, weights);
    __syncthreads();
    multiply_columns<DP>(weights, values, y);
  }
  float share[TR];
#pragma unroll
  for (int i = 0; i < TR; i++) {
    int row = first + thread_row() * TR + i;
    share[i] = 1.0f / sum[i];
    if (thread_column() == 0 && row < p.length)
      p.lse[(int64_t)pair * p.length + row] = largest[i] + logf(sum[i]);
  }
  store_rows<DP>(p, p.y, pair, first, y, share);
}

/* ---- backward ---- */

/* P = exp(s scale - lse) and dS = P (dP - delta) of scores s and dP, by query and key. */
static __device__ __forceinline__ void soften(const attention_problem &p, int pair, int query,
                                              int key, float s, float dp, float &probability,
                                              float &ds) {
  probability = ds = 0.0f;
  if (!sees(p, query, key))
    return;
  float lse = p.lse[(int64_t)pair * p.length + query];
  float delta = p.delta[(int64_t)(pair - p.first_pair) * p.length + query];
  probability = expf(s * p.scale - lse);
  ds = round_any(p.format, probability * (dp - delta));
  probability = round_any(p.format, probability);
}

/* dk and dv of a block of keys, over the queries that see them. */
template <int DP>
static __global__ void __launch_bounds__(THREADS)
    plain_backward_keys(const __grid_constant__ attention_problem p) {
  typedef plain_shape<DP> shape;
  constexpr int TR = shape::TR, ROWS = shape::ROWS;
  extern __shared__ float shared[];
  float *keys = shared, *values = keys + shape::TILE, *queries = values + shape::TILE;
  float *grads = queries + shape::TILE, *weights = grads + shape::TILE;
  int pair = p.first_pair + blockIdx.x, first = (int)blockIdx.y * ROWS;
  float4 dk[TR][shape::COLUMNS] = {}, dv[TR][shape::COLUMNS] = {};
  load_tile<DP>(p, p.key, pair, first, keys);
  load_tile<DP>(p, p.value, pair, first, values);
  for (int query = p.causal ? first : 0; query < p.length; query += ROWS) {
    __syncthreads();
    load_tile<DP>(p, p.query, pair, query, queries);
    load_tile<DP>(p, p.grad_y, pair, query, grads);
    __syncthreads();
    float s[TR][TR], dp[TR][TR];
    multiply_rows<DP>(keys, queries, s);
    multiply_rows<DP>(values, grads, dp);
#pragma unroll
    for (int i = 0; i < TR; i++)
#pragma unroll
      for (int j = 0; j < TR; j++)
        soften(p, pair, query + thread_column() + SIDE * j, first + thread_row() * TR + i, s[i][j],
               dp[i][j], s[i][j], dp[i][j]);
    put_weights<DP>(s, weights);
    __syncthreads();
    multiply_columns<DP>(weights, grads, dv);
    __syncthreads();
    put_weights<DP>(dp, weights);
    __syncthreads();
    multiply_columns<DP>(weights, queries, dk);
  }
  float scale[TR], one[TR];
#pragma unroll
  for (int i = 0; i < TR; i++) {
    scale[i] = p.scale;
    one[i] = 1.0f;
  }
  store_rows<DP>(p, p.grad_key, pair, first, dk, scale);
  store_rows<DP>(p, p.grad_value, pair, first, dv, one);
}

/* dq of a block of queries, over the keys that they see. */
template <int DP>
static __global__ void __launch_bounds__(THREADS)
    plain_backward_queries(const __grid_constant__ attention_problem p) {
  typedef plain_shape<DP> shape;
  constexpr int TR = shape::TR, ROWS = shape::ROWS;
  extern __shared__ float shared[];
  float *queries = shared, *grads = queries + shape::TILE, *keys = grads + shape::TILE;
  float *values = keys + shape::TILE, *weights = values + shape::TILE;
  int pair = p.first_pair + blockIdx.x, first = (int)(gridDim.y - 1 - blockIdx.y) * ROWS;
  int end = p.causal ? min(p.length, first + ROWS) : p.length;
  float4 dq[TR][shape::COLUMNS] = {};
  load_tile<DP>(p, p.query, pair, first, queries);
  load_tile<DP>(p, p.grad_y, pair, first, grads);
  for (int key = 0; key < end; key += ROWS) {
    __syncthreads();
    load_tile<DP>(p, p.key, pair, key, keys);
    load_tile<DP>(p, p.value, pair, key, values);
    __syncthreads();
    float s[TR][TR], dp[TR][TR], probability;
    multiply_rows<DP>(queries, keys, s);
    multiply_rows<DP>(grads, values, dp);
#pragma unroll
    for (int i = 0; i < TR; i++)
#pragma unroll
      for (int j = 0; j < TR; j++)
        soften(p, pair, first + thread_row() * TR + i, key + thread_column() + SIDE * j, s[i][j],
               dp[i][j], probability, dp[i][j]);
    put_weights<DP>(dp, weights);
    __syncthreads();
    multiply_columns<DP>(weights, keys, dq);
  }
  float scale[TR];
#pragma unroll
  for (int i = 0; i < TR; i++)
    scale[i] = p.scale;
  store_rows<DP>(p, p.grad_query, pair, first, dq, scale);
}

/* ---- launches ---- */
template <int DP> static dim3 grid_of(const attention_problem &p) {
  return dim3((unsigned)p.pairs, (unsigned)divide_up(p.length, plain_shape<DP>::ROWS));
}

template <int DP> static void run_forward(const cuda_context *c, const attention_problem &p) {
  typedef plain_shape<DP> shape;
  int bytes = (3 * shape::TILE + shape::WEIGHTS) * (int)sizeof(float);
  allow_shared(plain_forward<DP>, bytes);
  plain_forward<DP><<<grid_of<DP>(p), THREADS, (size_t)bytes, c->stream>>>(p);
}

template <int DP> static void run_backward(const cuda_context *c, const attention_problem &p) {
  typedef plain_shape<DP> shape;
  int bytes = (4 * shape::TILE + shape::WEIGHTS) * (int)sizeof(float);
  allow_shared(plain_backward_keys<DP>, bytes);
  allow_shared(plain_backward_queries<DP>, bytes);
  plain_backward_keys<DP><<<grid_of<DP>(p), THREADS, (size_t)bytes, c->stream>>>(p);
  plain_backward_queries<DP><<<grid_of<DP>(p), THREADS, (size_t)bytes, c->stream>>>(p);
}

void attention_plain_forward(const cuda_context *c, const attention_problem &p) {
  if (p.depth <= 64)
    run_forward<64>(c, p);
  else if (p.depth <= 128)
    run_forward<128>(c, p);
  else
    run_forward<256>(c, p);
}

void attention_plain_backward(const cuda_context *c, const attention_problem &p) {
  if (p.depth <= 64)
    run_backward<64>(c, p);
  else if (p.depth <= 128)
    run_backward<128>(c, p);
  else
    run_backward<256>(c, p);
}
