/* Tensors in words of 16 bytes, as kernels that are bound by memory read them; and the slow way,
 * element by element, for what is neither aligned nor in one piece. */
#ifndef MPT_KERNELS_CUDA_WORDS_CUH
#define MPT_KERNELS_CUDA_WORDS_CUH

#include "kernels/cuda/device.cuh"

/* The elements of a matrix: first whole words, then the rest one at a time. All of them where rows
 * do not divide into words. */
typedef struct word_walk {
  int64_t words, words_in_row, words_to_row; /* the last: from the beginning of a row to the next */
  int64_t first, count;                      /* elements [first, count) are the rest */
  int64_t columns, stride;
} word_walk;

static inline word_walk walk_words(mpt_t x) {
  int64_t each = 16 / (mpt_format_get(x->format)->bits / 8);
  int64_t columns = x->shape[1], rows = x->shape[0], count = rows * columns;
  word_walk w = {0, 0, 0, 0, count, columns, x->strides[0]};
  if ((uintptr_t)x->data % 16 != 0)
    return w;
  if (rows == 1 || x->strides[0] == columns) {
    w.words = w.words_in_row = count / each;
    w.first = w.words * each;
  } else if (columns % each == 0 && x->strides[0] % each == 0 && count / each < UINT32_MAX) {
    w.words_in_row = columns / each;
    w.words_to_row = x->strides[0] / each;
    w.words = count / each;
    w.first = count;
  }
  return w;
}

static __device__ __forceinline__ int64_t word_at(const word_walk &w, int64_t i) {
  if (w.words_in_row == w.words)
    return i;
  uint32_t row = (uint32_t)i / (uint32_t)w.words_in_row;
  return row * w.words_to_row + ((uint32_t)i - row * (uint32_t)w.words_in_row);
}

/* Which of the blocks that share a walk this one is. */
struct walk_share {
  int block, blocks;
};

/* f(word) for this thread's words, U of them on their way at a time. */
template <int U, class F>
static __device__ __forceinline__ void each_word(const word_walk &w, const void *x, walk_share s,
                                                 F f) {
  int64_t step = (int64_t)s.blocks * blockDim.x * U;
  for (int64_t i = (int64_t)s.block * blockDim.x * U + threadIdx.x; i < w.words; i += step) {
    uint4 word[U];
#pragma unroll
    for (int u = 0; u < U; u++)
      if (i + u * (int)blockDim.x < w.words)
        word[u] = __ldcs((const uint4 *)x + word_at(w, i + u * (int)blockDim.x));
#pragma unroll
    for (int u = 0; u < U; u++)
      if (i + u * (int)blockDim.x < w.words)
        f(word[u]);
  }
}

/* The same for a walk that the whole grid shares. */
template <int U, class F>
static __device__ __forceinline__ void each_word(const word_walk &w, const void *x, F f) {
  each_word<U>(w, x, {(int)blockIdx.x, (int)gridDim.x}, f);
}

/* f(value) for this thread's elements of the rest. */
template <class T, class F>
static __device__ __forceinline__ void each_of_rest(const word_walk &w, const void *x, walk_share s,
                                                    F f) {
  int64_t step = (int64_t)s.blocks * blockDim.x;
  for (int64_t i = w.first + (int64_t)s.block * blockDim.x + threadIdx.x; i < w.count; i += step) {
    int64_t row = i / w.columns;
    f(T::load(((const typename T::stored *)x)[row * w.stride + (i - row * w.columns)]));
  }
}
template <class T, class F>
static __device__ __forceinline__ void each_of_rest(const word_walk &w, const void *x, F f) {
  each_of_rest<T>(w, x, {(int)blockIdx.x, (int)gridDim.x}, f);
}

/* Blocks for a walk: `most` for each multiprocessor, fewer for what is small. */
static inline unsigned walk_blocks(const cuda_context *c, const word_walk *w, int threads, int u,
                                   int most) {
  int64_t wanted = divide_up(w->words, (int64_t)threads * u);
  int64_t rest = divide_up(w->count - w->first, (int64_t)threads);
  int64_t limit = (int64_t)most * c->multiprocessors;
  wanted = wanted > rest ? wanted : rest;
  return (unsigned)(wanted < limit ? wanted : limit);
}

/* fp32 as a format of statistics: tf32 is stored in the same way. */
#define DISPATCH_STORED(which, T, statement)                                                       \
  switch (which) {                                                                                 \
    DISPATCH_CASE(T, Bf16, statement)                                                              \
    DISPATCH_CASE(T, Fp16, statement)                                                              \
    DISPATCH_CASE(T, E4m3, statement)                                                              \
    DISPATCH_CASE(T, E5m2, statement)                                                              \
  default: {                                                                                       \
    typedef Fp32 T;                                                                                \
    statement;                                                                                     \
  } break;                                                                                         \
  }

/* ---- magnitudes ----
 * The bits of an element without its sign are in the order of the magnitudes, so that extremes can
 * be sought among the bits as they are stored: in every 16-byte word 4 lanes of 32 bits, or 8 lanes
 * of 16 bits, two in a register. Elements of 8 bits are spread to 16. */
template <class T> struct Lanes {
  static constexpr int size = (int)sizeof(typename T::stored);
  static constexpr int registers = size == 1 ? 8 : 4; /* for a word of 16 bytes */

  /* The registers of magnitudes in a word. */
  static __device__ __forceinline__ void split(const uint4 &word, uint32_t (&m)[registers]) {
    const uint32_t w[4] = {word.x, word.y, word.z, word.w};
#pragma unroll
    for (int i = 0; i < 4; i++)
      if (size == 4)
        m[i] = w[i] & 0x7FFFFFFFu;
      else if (size == 2)
        m[i] = w[i] & 0x7FFF7FFFu;
      else {
        m[i] = w[i] & 0x007F007Fu;
        m[registers - 1 - i] = w[i] >> 8 & 0x007F007Fu;
      }
  }
  static __device__ __forceinline__ uint32_t larger(uint32_t a, uint32_t b) {
    return size == 4 ? max(a, b) : __vmaxu2(a, b);
  }
  static __device__ __forceinline__ uint32_t smaller(uint32_t a, uint32_t b) {
    return size == 4 ? min(a, b) : __vminu2(a, b);
  }
  /* The larger of the lanes of a register. */
  static __device__ __forceinline__ uint32_t largest(uint32_t m) {
    return size == 4 ? m : max(m & 0xFFFFu, m >> 16);
  }
  static __device__ __forceinline__ uint32_t smallest(uint32_t m) {
    return size == 4 ? m : min(m & 0xFFFFu, m >> 16);
  }
  /* The magnitude bits of fp32 that a lane's bits stand for. */
  static __device__ __forceinline__ uint32_t widen(uint32_t lane) {
    typename T::stored stored;
    memcpy(&stored, &lane, sizeof stored);
    return __float_as_uint(T::load(stored));
  }
};

#endif
