/* y = gamma xhat + beta with xhat = (x - mean) rstd over each row, and its gradient: with
 * h = gamma grad_y,  grad_x = rstd (h - mean(h) - xhat mean(h xhat)),
 * grad_gamma += sum over rows of grad_y xhat,  grad_beta += sum over rows of grad_y.
 *
 * A row lies in the registers of a warp, or of a few where it is long, so that it is read once.
 * Forward, every warp has its row, and the device has many. Backward, warps walk over rows, because
 * the sums of the parameters' gradients stay in registers too, and fetch the next row while they
 * work on one. Rows that are too long or not aligned are walked over element by element. */
#include "kernels/cuda/array.cuh"
#include "kernels/cuda/column_sums.cuh"
#include "kernels/cuda/lite.cuh"

enum { MOST_COLUMNS = 8192 };

struct norm_rows {
  int64_t rows, n;
  int64_t x, y, grad_y, grad_x; /* row distances */
};

/* ---- forward: WARPS warps for each row, VECTORS vectors of WIDTH columns for each thread ---- */
enum { WIDTH = 4, FORWARD_THREADS = 128 };

template <int WARPS> static __device__ __forceinline__ float row_sum(float x, float *shared) {
  x = warp_all(x, Sum());
  if (WARPS == 1)
    return x;
  shared[threadIdx.x / 32] = x; /* every lane the same */
  __syncthreads();
  x = 0.0f;
#pragma unroll
  for (int w = 0; w < WARPS; w++)
    x += shared[threadIdx.x / 32 / WARPS * WARPS + w];
  return x;
}

/* `lite`, where SEEN: what is written is looked at; then teams of warps walk over rows, the next on
 * its way, so that few blocks have to add what they saw. Without, a team has one row. */
template <class T, int VECTORS, int WARPS, bool SEEN>
static __global__ void __launch_bounds__(FORWARD_THREADS)
    normalize(Array<T> x, const float *__restrict__ gamma, const float *__restrict__ beta,
              float epsilon, Array<T> y, float *mean_out, float *rstd_out, norm_rows s,
              mpt_lite *lite) {
  __shared__ float shared[2][FORWARD_THREADS / 32];
  constexpr int threads = 32 * WARPS, teams = FORWARD_THREADS / threads;
  const int rank = threadIdx.x % threads, mine = threadIdx.x / threads;
  output_tally<T> seen(format_of(y));
  const float share = 1.0f / (float)s.n;
  Packed<WIDTH> ahead[VECTORS];
  auto fetch = [&](int64_t row) {
#pragma unroll
    for (int k = 0; k < VECTORS; k++)
      if ((k * threads + rank) * WIDTH < (int)s.n)
        x.fetch(row * s.x + (k * threads + rank) * WIDTH, ahead[k]);
  };
  const int64_t step = (int64_t)gridDim.x * teams;
  int64_t row = (int64_t)blockIdx.x * teams + mine;
  if (row < s.rows)
    fetch(row);
  for (; row - mine < s.rows; row += step) {
    const int n = row < s.rows ? (int)s.n : 0; /* the last rows may be too few for all teams */
    float v[VECTORS][WIDTH] = {}, mean = 0.0f, rstd = 0.0f;
#pragma unroll
    for (int k = 0; k < VECTORS; k++)
      if ((k * threads + rank) * WIDTH < n)
        x.open(ahead[k], v[k]);
    if (SEEN && row + step < s.rows)
      fetch(row + step);
#pragma unroll
    for (int k = 0; k < VECTORS; k++)
#pragma unroll
      for (int i = 0; i < WIDTH; i++)
        mean += v[k][i];
    mean = row_sum<WARPS>(mean, shared[0]) * share;
#pragma unroll
    for (int k = 0; k < VECTORS; k++)
      if ((k * threads + rank) * WIDTH < n)
#pragma unroll
        for (int i = 0; i < WIDTH; i++) {
          v[k][i] -= mean;
          rstd = fmaf(v[k][i], v[k][i], rstd);
        }
    rstd = 1.0f / sqrtf(fmaf(row_sum<WARPS>(rstd, shared[1]), share, epsilon));
    if (rank == 0 && n > 0) {
      mean_out[row] = mean;
      rstd_out[row] = rstd;
    }
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
      int column = (k * threads + rank) * WIDTH;
      if (column >= n)
        break;
      float g[WIDTH], b[WIDTH];
      load_vector<Fp32>(gamma + column, g);
      load_vector<Fp32>(beta + column, b);
#pragma unroll
      for (int i = 0; i < WIDTH; i++)
        v[k][i] = fmaf(v[k][i] * rstd, g[i], b[i]);
      y.store(row * s.y + column, v[k]);
      if (SEEN)
        seen.see(v[k]);
    }
    if (!SEEN)
      return;
  }
  if (SEEN)
    seen.add(s.rows * s.n, lite);
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
/* Threads that own VECTORS vectors of WIDE columns each: one block fills a multiprocessor. */
enum { WIDE = 8 };
template <int VECTORS> struct Backward {
  static constexpr int threads = VECTORS == 3 ? 384 : 512, warps = threads / 32;
};

/* Whether registers are left to fetch early what grad_x holds already. */
template <class T> struct early_sum {
  static constexpr bool value = sizeof(typename T::stored) == 2;
};
template <> struct early_sum<Any> { static constexpr bool value = false; };

/* What a thread holds of a row before it is needed. */
template <int VECTORS> struct row_ahead {
  Packed<WIDE> x[VECTORS], grad_y[VECTORS];
  float mean, rstd;
};

/* `warps` of the block take each row. partial has shape [2, gridDim.x, n]: sums of grad_gamma, then
 * of grad_beta. `lite`, where SEEN: grad_x is looked at as it is written. */
template <class T, int VECTORS, bool SEEN>
static __global__ void __launch_bounds__(Backward<VECTORS>::threads, 1)
    norm_backward(Array<T> grad_y, Array<T> x, const float *__restrict__ gamma, const float *mean,
                  const float *rstd, Array<T> grad_x, bool accumulate, float *partial, norm_rows s,
                  int warps, mpt_format format, mpt_lite *lite) {
  constexpr int threads = Backward<VECTORS>::threads;
  output_tally<T> seen(format);
  __shared__ __align__(16) float sums[VECTORS * WIDE * threads];
  __shared__ float2 exchange[2][threads / 32];
  const int team = 32 * warps, teams = threads / team, mine = threadIdx.x / team;
  const int rank = threadIdx.x % team, n = (int)s.n;
  const float share = 1.0f / (float)s.n;
  const int64_t step = (int64_t)gridDim.x * teams, first = (int64_t)blockIdx.x * teams;
  float gamma_sum[VECTORS][WIDE] = {}, beta_sum[VECTORS][WIDE] = {};
  row_ahead<VECTORS> ahead = {};
  auto fetch = [&](int64_t row) {
    ahead.mean = mean[row];
    ahead.rstd = rstd[row];
#pragma unroll
    for (int k = 0; k < VECTORS; k++)
      if ((k * team + rank) * WIDE < n) {
        x.fetch(row * s.x + (k * team + rank) * WIDE, ahead.x[k]);
        grad_y.fetch(row * s.grad_y + (k * team + rank) * WIDE, ahead.grad_y[k]);
      }
  };
  if (first + mine < s.rows)
    fetch(first + mine);
  int turn = 0;
  for (int64_t base = first; base < s.rows; base += step, turn ^= 1) {
    const int64_t row = base + mine;
    const int limit = row < s.rows ? n : 0; /* the last rows may be too few for all teams */
    float xhat[VECTORS][WIDE] = {}, h[VECTORS][WIDE] = {}, h_mean = 0.0f, hx_mean = 0.0f;
    Packed<WIDE> before[VECTORS];
    float middle = ahead.mean, scale = ahead.rstd;
#pragma unroll
    for (int k = 0; k < VECTORS; k++)
      if ((k * team + rank) * WIDE < limit) {
        x.open(ahead.x[k], xhat[k]);
        grad_y.open(ahead.grad_y[k], h[k]);
        if (accumulate && early_sum<T>::value)
          grad_x.fetch(row * s.grad_x + (k * team + rank) * WIDE, before[k]);
      }
    if (row + step < s.rows)
      fetch(row + step);
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
      int column = (k * team + rank) * WIDE;
      if (column >= limit)
        break;
      float w[WIDE];
      load_vector<Fp32>(gamma + column, w);
#pragma unroll
      for (int i = 0; i < WIDE; i++) {
        xhat[k][i] = (xhat[k][i] - middle) * scale;
        gamma_sum[k][i] = fmaf(h[k][i], xhat[k][i], gamma_sum[k][i]);
        beta_sum[k][i] += h[k][i];
        h[k][i] *= w[i];
        h_mean += h[k][i];
        hx_mean = fmaf(h[k][i], xhat[k][i], hx_mean);
      }
    }
    h_mean = warp_all(h_mean, Sum());
    hx_mean = warp_all(hx_mean, Sum());
    if (warps > 1) {
      exchange[turn][threadIdx.x / 32] = make_float2(h_mean, hx_mean); /* every lane the same */
      __syncthreads();
      h_mean = hx_mean = 0.0f;
      for (int w = 0; w < warps; w++) {
        h_mean += exchange[turn][mine * warps + w].x;
        hx_mean += exchange[turn][mine * warps + w].y;
      }
    }
    h_mean *= share * scale;
    hx_mean *= share * scale;
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
      int column = (k * team + rank) * WIDE;
      if (column >= limit)
        break;
#pragma unroll
      for (int i = 0; i < WIDE; i++)
        h[k][i] = fmaf(-xhat[k][i], hx_mean, fmaf(h[k][i], scale, -h_mean));
      if (accumulate) {
        float there[WIDE];
        if (early_sum<T>::value)
          grad_x.open(before[k], there);
        else
          grad_x.load(row * s.grad_x + column, there);
#pragma unroll
        for (int i = 0; i < WIDE; i++)
          h[k][i] += there[i];
      }
      grad_x.store(row * s.grad_x + column, h[k]);
      if (SEEN)
        seen.see(h[k]);
    }
  }
  for (int which = 0; which < 2; which++) { /* over the teams of the block, in order */
    __syncthreads();
#pragma unroll
    for (int k = 0; k < VECTORS; k++)
      if ((k * team + rank) * WIDE < n)
        store_vector<Fp32>(sums + mine * n + (k * team + rank) * WIDE,
                           which == 0 ? gamma_sum[k] : beta_sum[k]);
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += threads) {
      float total = 0.0f;
      for (int t = 0; t < teams; t++)
        total += sums[t * n + i];
      partial[((int64_t)which * gridDim.x + blockIdx.x) * n + i] = total;
    }
  }
  if (SEEN)
    seen.add(s.rows * s.n, lite);
}

static __global__ void norm_backward_any(Array<Any> grad_y, Array<Any> x, const float *gamma,
                                         const float *mean, const float *rstd, Array<Any> grad_x,
                                         bool accumulate, norm_rows s) {
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
      float part = scale * fmaf(-xhat, hx_mean, h - h_mean);
      grad_x.set(row * s.grad_x + i, accumulate ? grad_x.get(row * s.grad_x + i) + part : part);
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
  return vectors_fit(t, WIDE) && t->shape[1] <= MOST_COLUMNS;
}

static bool vector_fits(mpt_t t) {
  return (uintptr_t)t->data % 16 == 0;
}

struct forward_call {
  cuda_context *c;
  mpt_t x, y;
  const float *gamma, *beta;
  float epsilon;
  float *mean, *rstd;
  norm_rows s;
};

template <class T, int VECTORS, int WARPS> static void normalize_rows(const forward_call &f) {
  int64_t blocks = divide_up(f.s.rows, FORWARD_THREADS / (32 * WARPS));
  bool seen = f.y->lite != NULL;
  if (seen) { /* as many as run at one time */
    int each = 1;
    cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, normalize<T, VECTORS, WARPS, true>,
                                                  FORWARD_THREADS, 0);
    int64_t stay = (int64_t)each * f.c->multiprocessors;
    blocks = blocks < stay ? blocks : stay;
  }
#define NORMALIZE(SEEN)                                                                            \
  normalize<T, VECTORS, WARPS, SEEN><<<(unsigned)blocks, FORWARD_THREADS, 0, f.c->stream>>>(       \
      array_of<T>(f.x), f.gamma, f.beta, f.epsilon, array_of<T>(f.y), f.mean, f.rstd, f.s,         \
      f.y->lite)
  if (seen)
    NORMALIZE(true);
  else
    NORMALIZE(false);
#undef NORMALIZE
}

template <class T> static void normalize_fitting(const forward_call &f) {
  if (f.s.n <= 2 * 128)
    normalize_rows<T, 2, 1>(f);
  else if (f.s.n <= 6 * 128)
    normalize_rows<T, 6, 1>(f);
  else if (f.s.n <= 8 * 128)
    normalize_rows<T, 8, 1>(f);
  else if (f.s.n <= 8 * 256)
    normalize_rows<T, 8, 2>(f);
  else
    normalize_rows<T, 16, 4>(f);
}

mpt_status mpt_cuda_layernorm_forward(mpt_queue *queue, mpt_t x, mpt_t gamma, mpt_t beta,
                                      float epsilon, mpt_t y, mpt_t mean, mpt_t rstd,
                                      mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  norm_rows s = {x->shape[0], x->shape[1], row_distance(x), row_distance(y), 0, 0};
  forward_call f = {c,
                    x,
                    y,
                    (const float *)gamma->data,
                    (const float *)beta->data,
                    epsilon,
                    (float *)mean->data,
                    (float *)rstd->data,
                    s};
  if (fits(x) && fits(y) && vector_fits(gamma) && vector_fits(beta)) {
    DISPATCH_COMMON(common_format(x, y), T, (normalize_fitting<T>(f)))
  } else {
    int64_t most = 16 * (int64_t)c->multiprocessors;
    normalize_any<<<(unsigned)(s.rows < most ? s.rows : most), 256, 0, c->stream>>>(
        array_of<Any>(x), f.gamma, f.beta, epsilon, array_of<Any>(y), f.mean, f.rstd, s);
    if (y->lite != NULL)
      MPT_RETURN_IF_FAILED(mpt_cuda_collect_lite(queue, y, y->lite, error));
  }
  return CUDA_LAUNCHED("layernorm_forward", error);
}

struct backward_call {
  cuda_context *c;
  mpt_t grad_y, x, grad_x;
  bool accumulate;
  const float *gamma, *mean, *rstd;
  float *partial;
  norm_rows s;
};

/* How many of a block's warps a row needs: a divisor of their number. */
template <int VECTORS> static int warps_for(int64_t n) {
  int warps = 1;
  while (Backward<VECTORS>::warps % warps != 0 || (int64_t)warps * 32 * VECTORS * WIDE < n)
    warps++;
  return warps;
}

/* Returns the number of partial sums. */
template <class T, int VECTORS> static int64_t backward_rows(const backward_call &b) {
  int warps = warps_for<VECTORS>(b.s.n);
  int64_t blocks = divide_up(b.s.rows, Backward<VECTORS>::warps / warps);
  blocks = blocks < b.c->multiprocessors ? blocks : b.c->multiprocessors;
#define BACKWARD(SEEN)                                                                             \
  norm_backward<T, VECTORS, SEEN>                                                                  \
      <<<(unsigned)blocks, Backward<VECTORS>::threads, 0, b.c->stream>>>(                          \
          array_of<T>(b.grad_y), array_of<T>(b.x), b.gamma, b.mean, b.rstd, array_of<T>(b.grad_x), \
          b.accumulate, b.partial, b.s, warps, b.grad_x->format, b.grad_x->lite)
  if (b.grad_x->lite != NULL)
    BACKWARD(true);
  else
    BACKWARD(false);
#undef BACKWARD
  return blocks;
}

/* Whichever leaves fewer threads without columns. */
template <class T> static int64_t backward_fitting(const backward_call &b) {
  return 3 * warps_for<3>(b.s.n) < 2 * warps_for<2>(b.s.n) ? backward_rows<T, 3>(b)
                                                           : backward_rows<T, 2>(b);
}

static int64_t backward_any(const backward_call &b) {
  int64_t most = 16 * (int64_t)b.c->multiprocessors;
  norm_backward_any<<<(unsigned)(b.s.rows < most ? b.s.rows : most), 256, 0, b.c->stream>>>(
      array_of<Any>(b.grad_y), array_of<Any>(b.x), b.gamma, b.mean, b.rstd, array_of<Any>(b.grad_x),
      b.accumulate, b.s);
  int64_t parts = divide_up(b.s.rows, 64);
  int64_t room = CUDA_SCRATCH_BYTES / (int64_t)(2 * sizeof(float)) / b.s.n;
  parts = parts < 1024 ? parts : 1024;
  parts = parts < room ? parts : room;
  dim3 grid((unsigned)divide_up(b.s.n, 256), (unsigned)parts);
  norm_parameters_any<<<grid, 256, 0, b.c->stream>>>(array_of<Any>(b.grad_y), array_of<Any>(b.x),
                                                     b.mean, b.rstd, b.partial, b.s);
  return parts;
}

mpt_status mpt_cuda_layernorm_backward(mpt_queue *queue, mpt_t grad_y, mpt_t x, mpt_t gamma,
                                       mpt_t mean, mpt_t rstd, mpt_t grad_x, bool accumulate,
                                       mpt_t grad_gamma, mpt_t grad_beta, mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  norm_rows s = {x->shape[0], x->shape[1],          row_distance(x),
                 0,           row_distance(grad_y), row_distance(grad_x)};
  if (2 * s.n * (int64_t)sizeof(float) > CUDA_SCRATCH_BYTES)
    return mpt_fail(error, MPT_ERROR_UNSUPPORTED,
                    "layernorm_backward: rows of %lld are longer than the cuda backend takes, %d",
                    (long long)s.n, CUDA_SCRATCH_BYTES / 2 / (int)sizeof(float));
  backward_call b = {c,
                     grad_y,
                     x,
                     grad_x,
                     accumulate,
                     (const float *)gamma->data,
                     (const float *)mean->data,
                     (const float *)rstd->data,
                     (float *)c->scratch,
                     s};
  int64_t parts = 0;
  if (fits(x) && fits(grad_y) && fits(grad_x) && vector_fits(gamma))
    DISPATCH_COMMON(common_format(grad_y, x, grad_x), T, (parts = backward_fitting<T>(b)))
  else {
    parts = backward_any(b);
    if (grad_x->lite != NULL)
      MPT_RETURN_IF_FAILED(mpt_cuda_collect_lite(queue, grad_x, grad_x->lite, error));
  }
  launch_partial_sums(c, b.partial, parts * s.n, (int)parts, s.n, (float *)grad_gamma->data,
                      (float *)grad_beta->data, true);
  return CUDA_LAUNCHED("layernorm_backward", error);
}
