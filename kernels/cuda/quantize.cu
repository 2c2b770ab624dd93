/* quantize: y = round(x * scale) and its transpose, in one pass over x [rows, columns].
 *
 * A block takes a tile of 64 K columns and so many rows that a column of them, once converted, is
 * 128 bytes: 128 rows of fp8, 64 of 16 bits, 32 of 32 bits. A thread converts chunks of 8 columns
 * of 4, 2 or 1 neighbouring rows: what it holds of a column is one 32-bit word, which goes to
 * shared memory; from there columns are written as rows of the transpose, 16 bytes to a thread.
 *
 * Shared memory is [64 K columns][8 units][4 words]. Unit u of column j lies at u ^ (j / 8 % 8):
 * the 8 x 4 words that a warp writes at once are then in 32 banks, and so are the 8 units of a
 * column that 8 threads read.
 */
#include "kernels/cuda/convert.cuh"
#include "kernels/step_rules.h"

enum { THREADS = 256, UNITS = 8, COLUMN_LANES = 8 };

/* Chunks of 64 columns in a tile, and blocks that shall fit a multiprocessor: what 16-bit elements
 * leave of the registers is taken to have more of them on their way. */
template <class X> struct Tile {
  static constexpr int k = sizeof(typename X::stored) == 4 ? 1 : 2, columns = 64 * k;
  static constexpr int resident = sizeof(typename X::stored) == 4 ? 4 : 3;
};

typedef struct quantize_shape {
  int64_t rows, columns, x_row, y_row, t_row; /* row distances in elements */
  bool amax, count;
} quantize_shape;

/* Byte i of the four words as a word each: a 4 x 4 transpose. */
static __device__ __forceinline__ void transpose_bytes(uint32_t (&w)[4]) {
  uint32_t a = __byte_perm(w[0], w[1], 0x5140), b = __byte_perm(w[2], w[3], 0x5140);
  uint32_t c = __byte_perm(w[0], w[1], 0x7362), d = __byte_perm(w[2], w[3], 0x7362);
  w[0] = __byte_perm(a, b, 0x5410);
  w[1] = __byte_perm(a, b, 0x7632);
  w[2] = __byte_perm(c, d, 0x5410);
  w[3] = __byte_perm(c, d, 0x7632);
}

/* From chunks of P rows as stored, columns[j] = the word of column j. */
template <class Y>
static __device__ __forceinline__ void
columns_of(const uint32_t (&rows)[4 / Packed<Y>::size][Packed<Y>::registers],
           uint32_t (&columns)[CHUNK]) {
  if constexpr (Packed<Y>::size == 4) {
#pragma unroll
    for (int j = 0; j < CHUNK; j++)
      columns[j] = rows[0][j];
  } else if constexpr (Packed<Y>::size == 2) {
#pragma unroll
    for (int j = 0; j < CHUNK; j += 2) {
      columns[j] = __byte_perm(rows[0][j / 2], rows[1][j / 2], 0x5410);
      columns[j + 1] = __byte_perm(rows[0][j / 2], rows[1][j / 2], 0x7632);
    }
  } else {
#pragma unroll
    for (int j = 0; j < CHUNK; j += 4) {
      uint32_t w[4] = {rows[0][j / 4], rows[1][j / 4], rows[2][j / 4], rows[3][j / 4]};
      transpose_bytes(w);
#pragma unroll
      for (int i = 0; i < 4; i++)
        columns[j + i] = w[i];
    }
  }
}

/* A chunk of x as it is stored: it stays so until its turn, since as floats it may need twice the
 * registers. */
template <class X> struct Raw {
  static constexpr int words = CHUNK * (int)sizeof(typename X::stored) / 16;
  uint4 word[words];

  __device__ __forceinline__ void read(const typename X::stored *p) {
#pragma unroll
    for (int i = 0; i < words; i++)
      word[i] = __ldcs((const uint4 *)p + i);
  }
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < words; i++)
      word[i] = make_uint4(0, 0, 0, 0);
  }
  __device__ __forceinline__ void values(float (&x)[CHUNK]) const {
    typename X::stored stored[CHUNK];
    memcpy(stored, word, sizeof stored);
#pragma unroll
    for (int i = 0; i < CHUNK; i++)
      x[i] = X::load(stored[i]);
  }
};

template <class X, class Y, bool COUNTED>
static __global__ void __launch_bounds__(THREADS, Tile<X>::resident)
    quantize_tile(const typename X::stored *x, mpt_scale *s, typename Y::stored *y,
                  typename Y::stored *y_transposed, quantize_shape q) {
  constexpr int k_count = Tile<X>::k, tile_columns = Tile<X>::columns;
  constexpr int P = 4 / Packed<Y>::size, tile_rows = 32 * P;
  constexpr int unit_rows = 16 / Packed<Y>::size;
  __shared__ uint4 tile[tile_columns * UNITS];
  int lane = threadIdx.x % COLUMN_LANES, group = threadIdx.x / COLUMN_LANES;
  int64_t row = (int64_t)blockIdx.y * tile_rows + group * P;
  int64_t column0 = (int64_t)blockIdx.x * tile_columns;
  float scale = s->scale;
  cast_tally t = {0, 0, 0};
  Raw<X> raw[k_count][P];
#pragma unroll
  for (int k = 0; k < k_count; k++)
#pragma unroll
    for (int p = 0; p < P; p++) {
      int64_t column = column0 + 64 * k + CHUNK * lane;
      if (column < q.columns && row + p < q.rows)
        raw[k][p].read(x + (row + p) * q.x_row + column);
      else
        raw[k][p].clear();
    }
#pragma unroll
  for (int k = 0; k < k_count; k++) {
    int64_t column = column0 + 64 * k + CHUNK * lane;
    uint32_t packed[P][Packed<Y>::registers], columns[CHUNK];
#pragma unroll
    for (int p = 0; p < P; p++) {
      float values[CHUNK];
      raw[k][p].values(values);
#pragma unroll
      for (int i = 0; i < CHUNK; i++)
        values[i] = scale_value<Y, COUNTED>(values[i], scale, t);
      Packed<Y>::pack(values, packed[p]);
      if (y != NULL && column < q.columns && row + p < q.rows)
        Packed<Y>::write(y + (row + p) * q.y_row + column, packed[p]);
    }
    columns_of<Y>(packed, columns);
#pragma unroll
    for (int j = 0; j < CHUNK; j++)
      ((uint32_t *)
           tile)[(64 * k + CHUNK * lane + j) * 4 * UNITS + ((group / 4) ^ lane) * 4 + group % 4] =
          columns[j];
  }
  __syncthreads();
  int unit = threadIdx.x % UNITS;
  int64_t to_row = (int64_t)blockIdx.y * tile_rows + unit * unit_rows;
#pragma unroll
  for (int j = threadIdx.x / UNITS; j < tile_columns; j += THREADS / UNITS)
    if (column0 + j < q.columns && to_row < q.rows)
      *(uint4 *)(y_transposed + (column0 + j) * q.t_row + to_row) =
          tile[j * UNITS + (unit ^ (j / CHUNK % COLUMN_LANES))];
  if (COUNTED)
    add_counts(t, q.rows * q.columns, q.count ? &s->counts : NULL, q.amax ? &s->amax_bits : NULL);
}

/* ---- what fits no words of 16 bytes: tiles of 32 x 32 elements ---- */
enum { SIDE = 32, SIDE_ROWS = 8 };

template <class X, class Y>
static __global__ void __launch_bounds__(SIDE *SIDE_ROWS)
    quantize_elements(const typename X::stored *x, mpt_scale *s, typename Y::stored *y,
                      typename Y::stored *y_transposed, quantize_shape q) {
  __shared__ typename Y::stored tile[SIDE][SIDE + 1];
  int lane = threadIdx.x % SIDE, line = threadIdx.x / SIDE;
  int64_t row0 = (int64_t)blockIdx.y * SIDE, column0 = (int64_t)blockIdx.x * SIDE;
  float scale = s->scale;
  cast_tally t = {0, 0, 0};
  for (int i = line; i < SIDE; i += SIDE_ROWS)
    if (row0 + i < q.rows && column0 + lane < q.columns) {
      float value = X::load(x[(row0 + i) * q.x_row + column0 + lane]);
      typename Y::stored stored = Y::store(scale_value<Y, true>(value, scale, t));
      if (y != NULL)
        y[(row0 + i) * q.y_row + column0 + lane] = stored;
      tile[i][lane] = stored;
    }
  __syncthreads();
  for (int j = line; j < SIDE; j += SIDE_ROWS)
    if (row0 + lane < q.rows && column0 + j < q.columns)
      y_transposed[(column0 + j) * q.t_row + row0 + lane] = tile[lane][j];
  add_counts(t, q.rows * q.columns, q.count ? &s->counts : NULL, q.amax ? &s->amax_bits : NULL);
}

/* Whether rows begin on 16 bytes (8 for chunks of fp8) and columns, and rows of the transpose, are
 * whole units. */
static bool tiles_fit(mpt_t x, mpt_t y, mpt_t y_transposed) {
  int64_t size = mpt_format_get(y_transposed->format)->bits / 8;
  bool fits = x->shape[1] % CHUNK == 0 && x->strides[0] % CHUNK == 0 &&
              (uintptr_t)x->data % 16 == 0 && x->shape[0] * size % 16 == 0 &&
              y_transposed->strides[0] * size % 16 == 0 && (uintptr_t)y_transposed->data % 16 == 0;
  return fits && (y == NULL || (y->strides[0] % CHUNK == 0 && (uintptr_t)y->data % 16 == 0));
}

template <class X, class Y>
static void run_tiles(cuda_context *c, mpt_t x, mpt_scale *s, mpt_t y, mpt_t t, quantize_shape q) {
  constexpr int tile_rows = 32 * (4 / (int)sizeof(typename Y::stored));
  dim3 grid((unsigned)divide_up(q.columns, Tile<X>::columns),
            (unsigned)divide_up(q.rows, tile_rows));
  typename Y::stored *out = y == NULL ? NULL : (typename Y::stored *)y->data;
#define TILES(COUNTED)                                                                             \
  quantize_tile<X, Y, COUNTED><<<grid, THREADS, 0, c->stream>>>(                                   \
      (const typename X::stored *)x->data, s, out, (typename Y::stored *)t->data, q)
  /* To 16 bits the kernel that counts is the faster one, asked to or not: 231 us of 235 (H200,
   * 16384 x 8192 from 16 bits), 297 of 309 from fp32. */
  constexpr bool counts_always = sizeof(typename Y::stored) == 2;
  if (counts_always || q.amax || q.count)
    TILES(true);
  else if constexpr (!counts_always)
    TILES(false);
#undef TILES
}

template <class X, class Y>
static void run_elements(cuda_context *c, mpt_t x, mpt_scale *s, mpt_t y, mpt_t t,
                         quantize_shape q) {
  dim3 grid((unsigned)divide_up(q.columns, SIDE), (unsigned)divide_up(q.rows, SIDE));
  quantize_elements<X, Y><<<grid, SIDE * SIDE_ROWS, 0, c->stream>>>(
      (const typename X::stored *)x->data, s, y == NULL ? NULL : (typename Y::stored *)y->data,
      (typename Y::stored *)t->data, q);
}

#define DISPATCH_TILES(which, T, statement)                                                        \
  switch (which) {                                                                                 \
    DISPATCH_CASE(T, Bf16, statement)                                                              \
    DISPATCH_CASE(T, Fp16, statement)                                                              \
  default: {                                                                                       \
    typedef Fp32 T;                                                                                \
    statement;                                                                                     \
  } break;                                                                                         \
  }

mpt_status mpt_cuda_quantize(mpt_queue *queue, mpt_t x, mpt_scale *scale, unsigned flags, mpt_t y,
                             mpt_t y_transposed, mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  quantize_shape q = {x->shape[0],
                      x->shape[1],
                      x->strides[0],
                      y == NULL ? 0 : y->strides[0],
                      y_transposed == NULL ? 0 : y_transposed->strides[0],
                      (flags & MPT_QUANTIZE_AMAX) != 0,
                      (flags & MPT_QUANTIZE_COUNT) != 0};
  bool storage = !mpt_format_is_fp8(x->format);
  bool tiles = storage && y_transposed != NULL && tiles_fit(x, y, y_transposed);
  if (y_transposed == NULL)
    mpt_cuda_cast_run(c, x, 1.0f, scale, y, q.count ? &scale->counts : NULL,
                      q.amax ? &scale->amax_bits : NULL);
  else if (tiles)
    DISPATCH_TILES(
        x->format, X,
        DISPATCH_ALL(y_transposed->format, Y, (run_tiles<X, Y>(c, x, scale, y, y_transposed, q))))
  else
    DISPATCH_STORED(x->format, X,
                    DISPATCH_ALL(y_transposed->format, Y,
                                 (run_elements<X, Y>(c, x, scale, y, y_transposed, q))))
  return CUDA_LAUNCHED("quantize", error);
}
