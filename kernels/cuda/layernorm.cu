/* y = gamma xhat + beta with xhat = (x - mean) rstd over each row, and its gradient: with
 * h = gamma grad_y,  grad_x = rstd (h - mean(h) - xhat mean(h xhat)),
 * grad_gamma += sum over rows of grad_y xhat,  grad_beta += sum over rows of grad_y.
 *
 * A thread owns WIDTH columns and a block as many threads as columns need; it takes ROWS rows at a
 * time, all of them in registers, so that x is read once and the barriers of a sum are shared by
 * ROWS rows. gamma, beta and the sums of their gradients stay in registers. Rows that are too long
 * or not aligned are walked over element by element. */
#include "kernels/cuda/array.cuh"
#include "kernels/cuda/column_sums.cuh"

enum { WIDTH = 8, ROWS = 4, MOST_THREADS = 512, MOST_COLUMNS = WIDTH * MOST_THREADS };

/* Sums of N values over the block, to every thread. `shared` is used by every other call. */
template <int N>
static __device__ __forceinline__ void block_sums(float (&value)[N], float (*shared)[N]) {
  int warp = threadIdx.x / 32, warps = blockDim.x / 32;
#pragma unroll
  for (int i = 0; i < N; i++)
    value[i] = warp_all(value[i], Sum());
  if (warps == 1)
    return;
  if (threadIdx.x % 32 == 0)
#pragma unroll
    for (int i = 0; i < N; i++)
      shared[warp][i] = value[i];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < N; i++)
    value[i] = 0.0f;
  for (int w = 0; w < warps; w++)
#pragma unroll
    for (int i = 0; i < N; i++)
      value[i] += shared[w][i];
}

struct norm_rows {
  int64_t rows, n;
  int64_t x, y, grad_y, grad_x; /* row distances */
};

/* ---- forward ---- */
template <class T>
static __global__ void __launch_bounds__(MOST_THREADS)
    normalize(Array<T> x, const float *gamma, const float *beta, float epsilon, Array<T> y,
              float *mean_out, float *rstd_out, norm_rows s) {
  __shared__ float sums[2][MOST_THREADS / 32][ROWS];
  const int64_t column = (int64_t)threadIdx.x * WIDTH;
  const bool mine = column < s.n;
  const float share = 1.0f / (float)s.n;
  float g[WIDTH], b[WIDTH];
  if (mine) {
    load_vector<Fp32>(gamma + column, g);
    load_vector<Fp32>(beta + column, b);
  }
  for (int64_t first = (int64_t)blockIdx.x * ROWS; first < s.rows;
       first += (int64_t)gridDim.x * ROWS) {
    float v[ROWS][WIDTH] = {}, mean[ROWS], rstd[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++)
      if (mine && first + r < s.rows)
        x.load((first + r) * s.x + column, v[r]);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      mean[r] = 0.0f;
#pragma unroll
      for (int i = 0; i < WIDTH; i++)
        mean[r] += v[r][i];
    }
    block_sums(mean, sums[0]);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      mean[r] *= share;
      rstd[r] = 0.0f;
#pragma unroll
      for (int i = 0; i < WIDTH; i++) {
        v[r][i] -= mean[r];
        rstd[r] = fmaf(v[r][i], v[r][i], rstd[r]);
      }
      if (!mine)
        rstd[r] = 0.0f;
    }
    block_sums(rstd, sums[1]);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      if (first + r >= s.rows)
        break;
      rstd[r] = 1.0f / sqrtf(fmaf(rstd[r], share, epsilon));
      if (threadIdx.x == 0) {
        mean_out[first + r] = mean[r];
        rstd_out[first + r] = rstd[r];
      }
#pragma unroll
      for (int i = 0; i < WIDTH; i++)
        v[r][i] = fmaf(v[r][i] * rstd[r], g[i], b[i]);
      if (mine)
        y.store((first + r) * s.y + column, v[r]);
    }
  }
}

/* One block for each row, which it reads three times. */
static __global__ void normalize_any(Array<Any> x, const float *gamma, const float *beta,
                                     float epsilon, Array<Any> y, float *mean_out, float *rstd_out,
                                     norm_rows s) {
  __shared__ float shared[32];
  for (int64_t row = blockIdx.x; row < s.rows; row += gridDim.x) {
    float mean = 0.0f, rstd = 0.0f;
    for (int64_t i = threadIdx.x; i < s.n; i += blockDim.x)
      mean += x.get(row * s.x + i);
    mean = block_all(mean, Sum(), 0.0f, shared) / (float)s.n;
    for (int64_t i = threadIdx.x; i < s.n; i += blockDim.x) {
      float d = x.get(row * s.x + i) - mean;
      rstd = fmaf(d, d, rstd);
    }
    rstd = 1.0f / sqrtf(block_all(rstd, Sum(), 0.0f, shared) / (float)s.n + epsilon);
    for (int64_t i = threadIdx.x; i < s.n; i += blockDim.x)
      y.set(row * s.y + i, fmaf((x.get(row * s.x + i) - mean) * rstd, gamma[i], beta[i]));
    if (threadIdx.x == 0) {
      mean_out[row] = mean;
      rstd_out[row] = rstd;
    }
  }
}

/* ---- backward ---- */
/* partial has shape [2, gridDim.x, n]: sums of grad_gamma, then of grad_beta. */
template <class T>
static __global__ void __launch_bounds__(MOST_THREADS)
    norm_backward(Array<T> grad_y, Array<T> x, const float *gamma, const float *mean,
                  const float *rstd, Array<T> grad_x, float *partial, norm_rows s) {
  __shared__ float shared[2][MOST_THREADS / 32][2 * ROWS];
  const int64_t column = (int64_t)threadIdx.x * WIDTH;
  const bool mine = column < s.n;
  const float share = 1.0f / (float)s.n;
  float w[WIDTH] = {}, gamma_sum[WIDTH] = {}, beta_sum[WIDTH] = {};
  if (mine)
    load_vector<Fp32>(gamma + column, w);
  int turn = 0;
  for (int64_t first = (int64_t)blockIdx.x * ROWS; first < s.rows;
       first += (int64_t)gridDim.x * ROWS, turn ^= 1) {
    float xhat[ROWS][WIDTH] = {}, g[ROWS][WIDTH] = {}, scale[ROWS] = {}, sums[2 * ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++)
      if (mine && first + r < s.rows) {
        x.load((first + r) * s.x + column, xhat[r]);
        grad_y.load((first + r) * s.grad_y + column, g[r]);
      }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      float middle = 0.0f;
      if (first + r < s.rows) {
        middle = mean[first + r];
        scale[r] = rstd[first + r];
      }
      sums[r] = sums[ROWS + r] = 0.0f;
#pragma unroll
      for (int i = 0; i < WIDTH; i++) {
        xhat[r][i] = (xhat[r][i] - middle) * scale[r];
        gamma_sum[i] = fmaf(g[r][i], xhat[r][i], gamma_sum[i]);
        beta_sum[i] += g[r][i];
        float h = g[r][i] * w[i];
        sums[r] += h;
        sums[ROWS + r] = fmaf(h, xhat[r][i], sums[ROWS + r]);
      }
    }
    block_sums(sums, shared[turn]);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      float h_mean = sums[r] * share, hx_mean = sums[ROWS + r] * share;
#pragma unroll
      for (int i = 0; i < WIDTH; i++)
        g[r][i] = scale[r] * fmaf(-xhat[r][i], hx_mean, g[r][i] * w[i] - h_mean);
      if (mine && first + r < s.rows)
        grad_x.store((first + r) * s.grad_x + column, g[r]);
    }
  }
  if (mine) {
    store_vector<Fp32>(partial + blockIdx.x * s.n + column, gamma_sum);
    store_vector<Fp32>(partial + (gridDim.x + blockIdx.x) * s.n + column, beta_sum);
  }
}

static __global__ void norm_backward_any(Array<Any> grad_y, Array<Any> x, const float *gamma,
                                         const float *mean, const float *rstd, Array<Any> grad_x,
                                         norm_rows s) {
  __shared__ float shared[32];
  for (int64_t row = blockIdx.x; row < s.rows; row += gridDim.x) {
    float middle = mean[row], scale = rstd[row], h_mean = 0.0f, hx_mean = 0.0f;
    for (int64_t i = threadIdx.x; i < s.n; i += blockDim.x) {
      float h = grad_y.get(row * s.grad_y + i) * gamma[i];
      h_mean += h;
      hx_mean = fmaf(h, (x.get(row * s.x + i) - middle) * scale, hx_mean);
    }
    h_mean = block_all(h_mean, Sum(), 0.0f, shared) / (float)s.n;
    hx_mean = block_all(hx_mean, Sum(), 0.0f, shared) / (float)s.n;
    for (int64_t i = threadIdx.x; i < s.n; i += blockDim.x) {
      float h = grad_y.get(row * s.grad_y + i) * gamma[i];
      float xhat = (x.get(row * s.x + i) - middle) * scale;
      grad_x.set(row * s.grad_x + i, scale * fmaf(-xhat, hx_mean, h - h_mean));
    }
  }
}

/* blockIdx.y is the part of the rows. */
static __global__ void norm_parameters_any(Array<Any> grad_y, Array<Any> x, const float *mean,
                                           const float *rstd, float *partial, norm_rows s) {
  int64_t column = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= s.n)
    return;
  float gamma_sum = 0.0f, beta_sum = 0.0f;
  for (int64_t row = blockIdx.y; row < s.rows; row += gridDim.y) {
    float g = grad_y.get(row * s.grad_y + column);
    gamma_sum = fmaf(g, (x.get(row * s.x + column) - mean[row]) * rstd[row], gamma_sum);
    beta_sum += g;
  }
  partial[blockIdx.y * s.n + column] = gamma_sum;
  partial[((int64_t)gridDim.y + blockIdx.y) * s.n + column] = beta_sum;
}

/* ---- launches ---- */
static bool fits(mpt_t t) {
  return vectors_fit(t, WIDTH) && t->shape[1] <= MOST_COLUMNS;
}

static bool vector_fits(mpt_t t) {
  return (uintptr_t)t->data % 16 == 0;
}

static int threads_of(int64_t n) {
  return (int)divide_up(n, 32 * WIDTH) * 32;
}

/* Blocks that together hold about a thousand threads on each multiprocessor, fewer where rows are.
 */
static int64_t blocks_of(const cuda_context *c, int64_t rows, int threads) {
  int64_t each = 1024 / threads, most = divide_up(rows, ROWS);
  int64_t blocks = (int64_t)c->multiprocessors * (each > 16 ? 16 : each);
  return blocks < most ? blocks : most;
}

mpt_status mpt_cuda_layernorm_forward(mpt_queue *queue, mpt_t x, mpt_t gamma, mpt_t beta,
                                      float epsilon, mpt_t y, mpt_t mean, mpt_t rstd,
                                      mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  const float *g = (const float *)gamma->data, *b = (const float *)beta->data;
  float *m = (float *)mean->data, *d = (float *)rstd->data;
  norm_rows s = {x->shape[0], x->shape[1], row_distance(x), row_distance(y), 0, 0};
  if (fits(x) && fits(y) && vector_fits(gamma) && vector_fits(beta)) {
    int threads = threads_of(s.n);
    unsigned blocks = (unsigned)blocks_of(c, s.rows, threads);
    DISPATCH_COMMON(common_format(x, y), T,
                    (normalize<T><<<blocks, threads, 0, c->stream>>>(array_of<T>(x), g, b, epsilon,
                                                                     array_of<T>(y), m, d, s)))
  } else {
    int64_t most = 16 * (int64_t)c->multiprocessors;
    normalize_any<<<(unsigned)(s.rows < most ? s.rows : most), 256, 0, c->stream>>>(
        array_of<Any>(x), g, b, epsilon, array_of<Any>(y), m, d, s);
  }
  return CUDA_LAUNCHED("layernorm_forward", error);
}

/* What blocks of rows leave for the parameters' gradients must fit in scratch. */
static int64_t most_parts(int64_t n) {
  int64_t parts = CUDA_SCRATCH_BYTES / (int64_t)(2 * sizeof(float)) / n;
  return parts > 1 ? parts : 1;
}

mpt_status mpt_cuda_layernorm_backward(mpt_queue *queue, mpt_t grad_y, mpt_t x, mpt_t gamma,
                                       mpt_t mean, mpt_t rstd, mpt_t grad_x, mpt_t grad_gamma,
                                       mpt_t grad_beta, mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  const float *g = (const float *)gamma->data, *m = (const float *)mean->data;
  const float *d = (const float *)rstd->data;
  float *partial = (float *)c->scratch;
  norm_rows s = {x->shape[0], x->shape[1],          row_distance(x),
                 0,           row_distance(grad_y), row_distance(grad_x)};
  int64_t parts = most_parts(s.n);
  if (2 * s.n * (int64_t)sizeof(float) > CUDA_SCRATCH_BYTES)
    return mpt_fail(error, MPT_ERROR_UNSUPPORTED,
                    "layernorm_backward: rows of %lld are longer than the cuda backend takes, %d",
                    (long long)s.n, CUDA_SCRATCH_BYTES / 2 / (int)sizeof(float));
  if (fits(x) && fits(grad_y) && fits(grad_x) && vector_fits(gamma)) {
    int threads = threads_of(s.n);
    int64_t blocks = blocks_of(c, s.rows, threads);
    parts = blocks < parts ? blocks : parts;
    DISPATCH_COMMON(
        common_format(grad_y, x, grad_x), T,
        (norm_backward<T><<<(unsigned)parts, threads, 0, c->stream>>>(
            array_of<T>(grad_y), array_of<T>(x), g, m, d, array_of<T>(grad_x), partial, s)))
  } else {
    int64_t most = 16 * (int64_t)c->multiprocessors, some = divide_up(s.rows, 64);
    norm_backward_any<<<(unsigned)(s.rows < most ? s.rows : most), 256, 0, c->stream>>>(
        array_of<Any>(grad_y), array_of<Any>(x), g, m, d, array_of<Any>(grad_x), s);
    parts = some < parts ? some : parts;
    parts = parts < 1024 ? parts : 1024;
    dim3 grid((unsigned)divide_up(s.n, 256), (unsigned)parts);
    norm_parameters_any<<<grid, 256, 0, c->stream>>>(array_of<Any>(grad_y), array_of<Any>(x), m, d,
                                                     partial, s);
  }
  launch_partial_sums(c, partial, parts * s.n, (int)parts, s.n, (float *)grad_gamma->data,
                      (float *)grad_beta->data, true);
  return CUDA_LAUNCHED("layernorm_backward", error);
}
