/* Around the matrix product: operands packed, outputs finished, and the numbers that algorithms are
 * timed and checked with. */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/gemm.h"

enum { TILE = 32, TILE_ROWS = 8, THREADS = 256, MOST_BLOCKS = 4096 };

static unsigned blocks_for(int64_t count) {
  int64_t blocks = divide_up(count, THREADS);
  return (unsigned)(blocks < MOST_BLOCKS ? blocks : MOST_BLOCKS);
}

#define EACH(i, count)                                                                             \
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < (count);                    \
       i += (int64_t)gridDim.x * blockDim.x)

/* ---- packing ---- */
/* A tile of y comes from the tile of x across the diagonal: read along x's rows, written along
 * y's. */
static __global__ void pack(const uint8_t *x, int64_t x_row, int64_t rows, int64_t columns,
                            bool transpose, uint8_t *y, int64_t y_rows, int64_t y_columns) {
  __shared__ uint8_t tile[TILE][TILE + 4];
  for (int64_t row = (int64_t)blockIdx.y * TILE; row < y_rows; row += (int64_t)gridDim.y * TILE) {
    int64_t column = (int64_t)blockIdx.x * TILE; /* of y's tile */
    int64_t from_row = transpose ? column : row, from_column = transpose ? row : column;
    for (int i = threadIdx.y; i < TILE; i += TILE_ROWS) {
      int64_t r = from_row + i, c = from_column + threadIdx.x;
      tile[i][threadIdx.x] = r < rows && c < columns ? x[r * x_row + c] : 0;
    }
    __syncthreads();
    for (int i = threadIdx.y; i < TILE; i += TILE_ROWS) {
      int64_t r = row + i, c = column + threadIdx.x;
      if (r < y_rows && c < y_columns)
        y[r * y_columns + c] = transpose ? tile[threadIdx.x][i] : tile[i][threadIdx.x];
    }
    __syncthreads();
  }
}

void mpt_gemm_pack(cudaStream_t stream, const void *x, int64_t x_row, int64_t rows, int64_t columns,
                   bool transpose, void *y, int64_t y_rows, int64_t y_columns) {
  int64_t down = divide_up(y_rows, TILE);
  dim3 grid((unsigned)divide_up(y_columns, TILE), (unsigned)(down < 65535 ? down : 65535));
  pack<<<grid, dim3(TILE, TILE_ROWS), 0, stream>>>((const uint8_t *)x, x_row, rows, columns,
                                                   transpose, (uint8_t *)y, y_rows, y_columns);
}

/* ---- finishing ---- */
template <class Out> static __global__ void finish(gemm_finish_args g) {
  float alpha = g.alpha;
  if (g.scale_a != NULL)
    alpha *= *g.scale_a;
  if (g.scale_b != NULL)
    alpha *= *g.scale_b;
  typename Out::stored *out = (typename Out::stored *)g.out;
  EACH(i, g.rows * g.columns) {
    int64_t row = i / g.columns, column = i - row * g.columns;
    typename Out::stored *place = out + row * g.out_row + column;
    float value = alpha * g.product[row * g.product_row + column];
    if (g.beta != 0.0f)
      value += g.beta * Out::load(*place);
    if (g.bias != NULL)
      value += g.bias[column];
    *place = Out::store(value);
  }
}

void mpt_gemm_finish(cudaStream_t stream, mpt_format out, const gemm_finish_args *args) {
  unsigned blocks = blocks_for(args->rows * args->columns);
  DISPATCH_ALL(out, Out, (finish<Out><<<blocks, THREADS, 0, stream>>>(*args)))
}

/* ---- numbers to try with ---- */
static __device__ __forceinline__ uint32_t scramble(uint32_t x) { /* the finaliser of MurmurHash3 */
  x ^= x >> 16;
  x *= 0x85EBCA6Bu;
  x ^= x >> 13;
  x *= 0xC2B2AE35u;
  return x ^ (x >> 16);
}

/* The sum of four uniform bytes is nearly normal: mean 510, deviation 147.8. The rest of another
 * word fills the bits below. */
static __device__ __forceinline__ float draw(uint32_t seed, int64_t i) {
  uint32_t word = scramble((uint32_t)i + 0x9E3779B9u * (seed + (uint32_t)(i >> 32)));
  uint32_t more = scramble(word + 0x7F4A7C15u);
  uint32_t sum = (word & 255) + (word >> 8 & 255) + (word >> 16 & 255) + (word >> 24);
  return ((float)sum - 510.5f + (float)(more >> 8) * 0x1p-24f) * (1.0f / 147.8f);
}

template <class X>
static __global__ void fill_random(typename X::stored *x, int64_t count, uint32_t seed) {
  EACH(i, count) {
    x[i] = X::store(draw(seed, i));
  }
}

template <class X>
static __global__ void fill_constant(typename X::stored *x, int64_t count, float value) {
  EACH(i, count) {
    x[i] = X::store(value);
  }
}

template <class X>
static __global__ void fill_signs(typename X::stored *b, int64_t row, int64_t n, int64_t k,
                                  bool transpose, int64_t run, int64_t every) {
  EACH(i, n * k) {
    int64_t l = transpose ? i % k : i / n, j = transpose ? i / k : i % n;
    float value = (k - 1 - l) % every != 0 ? 0.0f : l / run % 2 != 0 ? -1.0f : 1.0f;
    b[transpose ? j * row + l : l * row + j] = X::store(value);
  }
}

void mpt_gemm_fill_random(cudaStream_t stream, mpt_format format, void *x, int64_t count,
                          uint32_t seed) {
  DISPATCH_ALL(format, X,
               (fill_random<X>
                <<<blocks_for(count), THREADS, 0, stream>>>((typename X::stored *)x, count, seed)))
}

void mpt_gemm_fill_constant(cudaStream_t stream, mpt_format format, void *x, int64_t count,
                            float value){DISPATCH_ALL(
    format, X,
    (fill_constant<X>
     <<<blocks_for(count), THREADS, 0, stream>>>((typename X::stored *)x, count, value)))}

int64_t mpt_gemm_fill_signs(cudaStream_t stream, mpt_format format, void *b, int64_t row, int64_t n,
                            int64_t k, bool transpose, int64_t run, int64_t every) {
  DISPATCH_ALL(format, X,
               (fill_signs<X><<<blocks_for(n * k), THREADS, 0, stream>>>(
                   (typename X::stored *)b, row, n, k, transpose, run, every)))
  int64_t sum = 0;
  for (int64_t l = k - 1; l >= 0; l -= every)
    sum += l / run % 2 != 0 ? -1 : 1;
  return sum;
}

/* ---- checks ---- */
/* Outputs of products are fp32, bf16 or fp16. */
template <class Out>
static __global__ void check_constant(gemm_key key, const typename Out::stored *out, float expected,
                                      uint32_t *wrong) {
  float rounded = Out::load(Out::store(expected));
  uint32_t mine = 0;
  EACH(i, key.m * key.n) {
    int64_t row = i / key.n;
    if (!(Out::load(out[row * key.row_out + (i - row * key.n)]) == rounded))
      mine++;
  }
  if (mine > 0)
    atomicAdd(wrong, mine);
}

void mpt_gemm_check_constant(cudaStream_t stream, const gemm_key *key, const void *out,
                             float expected, uint32_t *wrong) {
  DISPATCH_STORAGE((mpt_format)key->format_out, Out,
                   (check_constant<Out><<<blocks_for(key->m * key->n), THREADS, 0, stream>>>(
                       *key, (const typename Out::stored *)out, expected, wrong)))
}

static __device__ float load_any(int32_t format, const void *x, int64_t i) {
  DISPATCH_ALL(format, X, return X::load(((const typename X::stored *)x)[i]))
  return 0;
}

enum { SAMPLES = 256 };

/* A block for each sample. The corners are always among them. */
static __global__ void check_samples(gemm_key key, const void *a, const void *b, const void *out,
                                     float tolerance, double out_ulp, uint32_t *wrong) {
  __shared__ double shared[32];
  uint32_t s = blockIdx.x;
  int64_t i = s < 4 ? (s & 1) * (key.m - 1) : (int64_t)(scramble(2 * s) % (uint32_t)key.m);
  int64_t j = s < 4 ? (s >> 1) * (key.n - 1) : (int64_t)(scramble(2 * s + 1) % (uint32_t)key.n);
  double sum = 0, magnitude = 0;
  for (int64_t l = threadIdx.x; l < key.k; l += blockDim.x) {
    double product =
        (double)load_any(key.format_a, a, key.transpose_a ? l * key.row_a + i : i * key.row_a + l) *
        (double)load_any(key.format_b, b, key.transpose_b ? j * key.row_b + l : l * key.row_b + j);
    sum += product;
    magnitude += fabs(product);
  }
  sum = block_all(sum, Sum(), 0.0, shared);
  magnitude = block_all(magnitude, Sum(), 0.0, shared);
  if (threadIdx.x != 0)
    return;
  double got = (double)load_any(key.format_out, out, i * key.row_out + j);
  if (!(fabs(got - sum) <= tolerance * magnitude + out_ulp * fabs(sum)))
    atomicAdd(wrong, 1u);
}

void mpt_gemm_check_samples(cudaStream_t stream, const gemm_key *key, const void *a, const void *b,
                            const void *out, float tolerance, uint32_t *wrong) {
  double half_ulp =
      ldexp(1.0, -mpt_format_get((mpt_format)key->format_out)->mantissa_bits - 1) * 1.01;
  check_samples<<<SAMPLES, THREADS, 0, stream>>>(*key, a, b, out, tolerance, half_ulp, wrong);
}
