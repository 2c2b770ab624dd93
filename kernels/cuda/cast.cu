/* cast: y = round(x * scale), eight elements to a thread, and what saturated and vanished. */
#include "kernels/cuda/convert.cuh"

/* Many blocks of one chunk a thread: they take turns better than few that loop. */
enum { THREADS = 256, UNROLL = 1, BLOCKS = 64 };

/* The elements of x and y: whole chunks, then [first, count) one at a time. */
typedef struct pair_walk {
  int64_t chunks, chunks_in_row, x_row, y_row; /* rows in elements */
  int64_t first, count, columns;
} pair_walk;

static bool aligned(mpt_t t) {
  size_t chunk = CHUNK * (size_t)mpt_format_get(t->format)->bits / 8;
  return (uintptr_t)t->data % (chunk < 16 ? chunk : 16) == 0;
}

static pair_walk walk_pair(mpt_t x, mpt_t y) {
  int64_t rows = x->shape[0], columns = x->shape[1], count = rows * columns;
  pair_walk w = {0, 1, x->strides[0], y->strides[0], 0, count, columns};
  if (!aligned(x) || !aligned(y))
    return w;
  if (rows == 1 || (w.x_row == columns && w.y_row == columns)) {
    w.chunks = w.chunks_in_row = count / CHUNK;
    w.first = w.chunks * CHUNK;
  } else if (columns % CHUNK == 0 && w.x_row % CHUNK == 0 && w.y_row % CHUNK == 0 &&
             count / CHUNK < UINT32_MAX) {
    w.chunks = count / CHUNK;
    w.chunks_in_row = columns / CHUNK;
    w.first = count;
  }
  return w;
}

/* Where chunk i of a tensor with that row distance begins, in elements. */
static __device__ __forceinline__ int64_t chunk_at(const pair_walk &w, int64_t i, int64_t to_row) {
  if (w.chunks_in_row == w.chunks)
    return i * CHUNK;
  uint32_t row = (uint32_t)i / (uint32_t)w.chunks_in_row;
  return row * to_row + ((uint32_t)i - row * (uint32_t)w.chunks_in_row) * CHUNK;
}

template <class X, class Y, bool COUNT>
static __global__ void __launch_bounds__(THREADS)
    cast(const typename X::stored *x, typename Y::stored *y, pair_walk w, float scale,
         const mpt_scale *device_scale, mpt_cast_counts *counts, uint32_t *amax_bits) {
  if (device_scale != NULL)
    scale = device_scale->scale;
  cast_tally t = {0, 0, 0};
  int64_t step = (int64_t)gridDim.x * THREADS * UNROLL;
  for (int64_t i = (int64_t)blockIdx.x * THREADS * UNROLL + threadIdx.x; i < w.chunks; i += step) {
    float values[UNROLL][CHUNK];
#pragma unroll
    for (int u = 0; u < UNROLL; u++)
      if (i + u * THREADS < w.chunks)
        load_vector<X>(x + chunk_at(w, i + u * THREADS, w.x_row), values[u]);
#pragma unroll
    for (int u = 0; u < UNROLL; u++)
      if (i + u * THREADS < w.chunks) {
        uint32_t packed[Packed<Y>::registers];
#pragma unroll
        for (int k = 0; k < CHUNK; k++)
          values[u][k] = scale_value<Y, COUNT>(values[u][k], scale, t);
        Packed<Y>::pack(values[u], packed);
        Packed<Y>::write(y + chunk_at(w, i + u * THREADS, w.y_row), packed);
      }
  }
  step = (int64_t)gridDim.x * THREADS;
  for (int64_t i = w.first + (int64_t)blockIdx.x * THREADS + threadIdx.x; i < w.count; i += step) {
    int64_t row = i / w.columns, column = i - row * w.columns;
    y[row * w.y_row + column] =
        Y::store(scale_value<Y, COUNT>(X::load(x[row * w.x_row + column]), scale, t));
  }
  if (COUNT)
    add_counts(t, w.count, counts, amax_bits);
}

void mpt_cuda_cast_run(cuda_context *c, mpt_t x, float scale, const mpt_scale *device_scale,
                       mpt_t y, mpt_cast_counts *counts, uint32_t *amax_bits) {
  pair_walk w = walk_pair(x, y);
  int64_t blocks = divide_up(w.chunks, THREADS * UNROLL);
  int64_t rest = divide_up(w.count - w.first, THREADS);
  int64_t most = BLOCKS * (int64_t)c->multiprocessors;
  blocks = blocks > rest ? blocks : rest;
  blocks = blocks < most ? blocks : most;
#define CAST(X, Y, COUNT)                                                                          \
  (cast<X, Y, COUNT>                                                                               \
   <<<(unsigned)blocks, THREADS, 0, c->stream>>>((const X::stored *)x->data, (Y::stored *)y->data, \
                                                 w, scale, device_scale, counts, amax_bits))
  if (counts != NULL || amax_bits != NULL)
    DISPATCH_STORED(x->format, X, DISPATCH_ALL(y->format, Y, CAST(X, Y, true)))
  else
    DISPATCH_STORED(x->format, X, DISPATCH_ALL(y->format, Y, CAST(X, Y, false)))
#undef CAST
}

mpt_status mpt_cuda_cast(mpt_queue *queue, mpt_t x, int scale_exponent, mpt_t y,
                         mpt_cast_counts *counts, mpt_error *error) {
  mpt_cuda_cast_run(cuda_of(queue), x, ldexpf(1.0f, scale_exponent), NULL, y, counts, NULL);
  return CUDA_LAUNCHED("cast", error);
}
