/* out = f(inputs), element by element. F's operator() takes the values of one element of each input
 * and, last, the element's number in row-major order. */
#ifndef MPT_KERNELS_CUDA_MAP_CUH
#define MPT_KERNELS_CUDA_MAP_CUH

#include "kernels/cuda/lite.cuh"

enum { MAP_WIDTH = 8, MAP_THREADS = 256 };

/* z = f of the elements of the i-th vector. */
template <class F>
static __device__ __forceinline__ void map_vector(const F &f, const float (&x)[MAP_WIDTH],
                                                  const float (&y)[MAP_WIDTH], int64_t i,
                                                  float (&z)[MAP_WIDTH]) {
#pragma unroll
  for (int e = 0; e < MAP_WIDTH; e++)
    z[e] = f(x[e], y[e], i * MAP_WIDTH + e);
}

template <class T, class F>
static __global__ void __launch_bounds__(MAP_THREADS)
    map_vectors(F f, Array<T> a, Array<T> b, Array<T> out, int64_t vectors) {
  int64_t i = (int64_t)blockIdx.x * MAP_THREADS + threadIdx.x;
  if (i >= vectors)
    return;
  float x[MAP_WIDTH], y[MAP_WIDTH] = {}, z[MAP_WIDTH];
  a.load(i * MAP_WIDTH, x);
  if (F::inputs == 2)
    b.load(i * MAP_WIDTH, y);
  map_vector(f, x, y, i, z);
  out.store(i * MAP_WIDTH, z);
}

/* The same, and counts and extremes of the output: several vectors for each thread, all on their
 * way before the first is used, since what blocks add to the statistics in the end goes to one
 * place, a block in 2 ns. */
template <class T> struct map_chunk {
  static constexpr int vectors = sizeof(typename T::stored) == 2 ? 4 : 2;
};
template <> struct map_chunk<Any> { static constexpr int vectors = 2; };

template <class T, class F>
static __global__ void __launch_bounds__(MAP_THREADS)
    map_vectors_lite(F f, Array<T> a, Array<T> b, Array<T> out, int64_t vectors, mpt_lite *s) {
  constexpr int each = map_chunk<T>::vectors;
  output_tally<T> seen(format_of(out));
  int64_t first = (int64_t)blockIdx.x * (MAP_THREADS * each) + threadIdx.x;
  Packed<MAP_WIDTH> from_a[each], from_b[each];
#pragma unroll
  for (int k = 0; k < each; k++) {
    int64_t i = first + k * MAP_THREADS;
    if (i >= vectors)
      break;
    a.fetch(i * MAP_WIDTH, from_a[k]);
    if (F::inputs == 2)
      b.fetch(i * MAP_WIDTH, from_b[k]);
  }
#pragma unroll
  for (int k = 0; k < each; k++) {
    int64_t i = first + k * MAP_THREADS;
    if (i >= vectors)
      break;
    float x[MAP_WIDTH], y[MAP_WIDTH] = {}, z[MAP_WIDTH];
    a.open(from_a[k], x);
    if (F::inputs == 2)
      b.open(from_b[k], y);
    map_vector(f, x, y, i, z);
    out.store(i * MAP_WIDTH, z);
    seen.see(z);
  }
  seen.add(vectors * MAP_WIDTH, s);
}

struct map_rows {
  int64_t a, b, out; /* distances */
  int64_t rows, columns, first;
};

template <class F>
static __global__ void __launch_bounds__(MAP_THREADS)
    map_elements(F f, Array<Any> a, Array<Any> b, Array<Any> out, map_rows r, mpt_lite *s) {
  tally seen = EMPTY_TALLY;
  int64_t step = (int64_t)gridDim.x * MAP_THREADS, end = r.rows * r.columns;
  for (int64_t i = r.first + (int64_t)blockIdx.x * MAP_THREADS + threadIdx.x; i < end; i += step) {
    int64_t row = i / r.columns, column = i - row * r.columns;
    float x = a.get(row * r.a + column), y = 0.0f;
    if (F::inputs == 2)
      y = b.get(row * r.b + column);
    out.set(row * r.out + column, f(x, y, i));
    if (s != NULL)
      tally_value(seen, out.get(row * r.out + column));
  }
  if (s != NULL)
    add_block_tally(seen, end - r.first, s);
}

static inline bool map_aligned(mpt_t t) {
  return (uintptr_t)t->data % 16 == 0;
}

/* A block for every MAP_THREADS of `items`, at most `most` a multiprocessor. */
static inline unsigned map_blocks(const cuda_context *c, int64_t items, int most) {
  int64_t blocks = divide_up(items, MAP_THREADS), limit = (int64_t)most * c->multiprocessors;
  return (unsigned)(blocks < limit ? blocks : limit);
}

/* The tensors are matrices of one shape, a single row when all are contiguous. An input may be the
 * output. Functions of one input get it as b too. Serves the
 * output's `lite`. */
template <class F> static void map(cuda_context *c, F f, mpt_t a, mpt_t b, mpt_t out) {
  map_rows r = {row_distance(a),           row_distance(b),
                row_distance(out),         out->rank == 2 ? out->shape[0] : 1,
                out->shape[out->rank - 1], 0};
  if (r.rows == 1 && map_aligned(a) && map_aligned(b) && map_aligned(out)) {
    int64_t vectors = r.columns / MAP_WIDTH;
    if (vectors > 0 && out->lite != NULL)
      DISPATCH_COMMON(common_format(a, b, out), T,
                      (map_vectors_lite<T, F>
                       <<<(unsigned)divide_up(vectors, MAP_THREADS * map_chunk<T>::vectors),
                          MAP_THREADS, 0, c->stream>>>(f, array_of<T>(a), array_of<T>(b),
                                                       array_of<T>(out), vectors, out->lite)))
    else if (vectors > 0)
      DISPATCH_COMMON(common_format(a, b, out), T,
                      (map_vectors<T, F>
                       <<<(unsigned)divide_up(vectors, MAP_THREADS), MAP_THREADS, 0, c->stream>>>(
                           f, array_of<T>(a), array_of<T>(b), array_of<T>(out), vectors)))
    r.first = vectors * MAP_WIDTH;
  }
  int64_t left = r.rows * r.columns - r.first;
  if (left > 0)
    map_elements<F><<<map_blocks(c, left, 16), MAP_THREADS, 0, c->stream>>>(
        f, array_of<Any>(a), array_of<Any>(b), array_of<Any>(out), r, out->lite);
}

#endif
