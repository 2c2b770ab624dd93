/* Tiles in shared memory and the tensor cores' m16n8k16 products of bf16 and fp16.
 *
 * A tile is rows of D channels of 16 bits. Its 16-byte chunks are swizzled, chunk ^ (row % 8), so
 * that the eight rows that ldmatrix reads at once lie in different banks. */
#ifndef MPT_KERNELS_CUDA_ATTENTION_MMA_CUH
#define MPT_KERNELS_CUDA_ATTENTION_MMA_CUH

#include "kernels/cuda/attention.cuh"

template <int D> static __device__ __forceinline__ uint32_t tile_offset(int row, int chunk) {
  if (D == 32) /* two rows in 128 bytes */
    return (uint32_t)(row * 64 + ((chunk ^ (row / 2 & 3)) << 4));
  return (uint32_t)(row * 2 * D + ((chunk ^ (row & 7)) << 4));
}

static __device__ __forceinline__ uint32_t shared_address(const void *p) {
  return (uint32_t)__cvta_generic_to_shared(p);
}

/* 16 bytes to shared memory in the background; zeros when not `present`. */
static __device__ __forceinline__ void copy_async16(uint32_t to, const void *from, bool present) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
               "r"(present ? 16 : 0)
               : "memory");
}
static __device__ __forceinline__ void copy_async4(uint32_t to, const void *from, bool present) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from),
               "r"(present ? 4 : 0)
               : "memory");
}
static __device__ __forceinline__ void copy_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
static __device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group 0;" ::: "memory");
}

static __device__ __forceinline__ void ldmatrix(uint32_t (&r)[4], uint32_t from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(from)
               : "memory");
}
static __device__ __forceinline__ void ldmatrix_transposed(uint32_t (&r)[4], uint32_t from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(from)
               : "memory");
}

/* c[16,8] += a[16,16] b[16,8]. A thread holds, of c, columns 2 * (lane % 4) + {0, 1} of rows
 * lane / 4 (c[0], c[1]) and lane / 4 + 8 (c[2], c[3]). */
template <class T>
static __device__ __forceinline__ void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                           uint32_t b1);
template <>
__device__ __forceinline__ void mma<Bf16>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                          uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
__device__ __forceinline__ void mma<Fp16>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                          uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <class T> static __device__ __forceinline__ uint32_t pack(float low, float high);
template <> __device__ __forceinline__ uint32_t pack<Bf16>(float low, float high) {
  __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<uint32_t *>(&both);
}
template <> __device__ __forceinline__ uint32_t pack<Fp16>(float low, float high) {
  __half2 both = __floats2half2_rn(low, high);
  return *reinterpret_cast<uint32_t *>(&both);
}

/* Two neighbouring c tiles, 16 x 16, as the a of the next product. */
template <class T>
static __device__ __forceinline__ void pack_a(uint32_t (&a)[4], const float (&left)[4],
                                              const float (&right)[4]) {
  a[0] = pack<T>(left[0], left[1]);
  a[1] = pack<T>(left[2], left[3]);
  a[2] = pack<T>(right[0], right[1]);
  a[3] = pack<T>(right[2], right[3]);
}

static __device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/* c[16 MT, 8 N] += a b^T: rows of a at `a` [16 MT, D] and of b at `b` [8 N, D]. */
template <class T, int D, int MT, int N>
static __device__ __forceinline__ void multiply_rows(float (&c)[MT][N][4], uint32_t a, uint32_t b) {
  int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < D / 16; k++) {
    uint32_t fa[MT][4];
#pragma unroll
    for (int i = 0; i < MT; i++)
      ldmatrix(fa[i], a + tile_offset<D>(i * 16 + lane % 16, 2 * k + lane / 16));
#pragma unroll
    for (int j = 0; j < N / 2; j++) {
      uint32_t fb[4];
      ldmatrix(fb, b + tile_offset<D>(j * 16 + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
#pragma unroll
      for (int i = 0; i < MT; i++) {
        mma<T>(c[i][2 * j], fa[i], fb[0], fb[1]);
        mma<T>(c[i][2 * j + 1], fa[i], fb[2], fb[3]);
      }
    }
  }
}

/* c[16 MT, D] += p b: p [16 MT, 8 N] from registers, rounded; rows of b at `b` [8 N, D]. */
template <class T, int D, int MT, int N>
static __device__ __forceinline__ void multiply_columns(float (&c)[MT][D / 8][4],
                                                        const float (&p)[MT][N][4], uint32_t b) {
  int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < N / 2; k++) {
    uint32_t fa[MT][4];
#pragma unroll
    for (int i = 0; i < MT; i++)
      pack_a<T>(fa[i], p[i][2 * k], p[i][2 * k + 1]);
#pragma unroll
    for (int j = 0; j < D / 16; j++) {
      uint32_t fb[4];
      ldmatrix_transposed(fb, b + tile_offset<D>(k * 16 + lane % 16, 2 * j + lane / 16));
#pragma unroll
      for (int i = 0; i < MT; i++) {
        mma<T>(c[i][2 * j], fa[i], fb[0], fb[1]);
        mma<T>(c[i][2 * j + 1], fa[i], fb[2], fb[3]);
      }
    }
  }
}

/* Rows first to first + ROWS of a head of x into a tile; zeros beyond T, and beyond a head's
 * channels. Direct: in the background. */
template <class T, int D, int ROWS, int THREADS, bool DIRECT>
static __device__ __forceinline__ void
load_tile(const attention_problem &p, const attention_matrix &x, int pair, int first, char *tile) {
  constexpr int CHUNKS = D / 8;
  if constexpr (DIRECT) {
    static_assert(ROWS * CHUNKS % THREADS == 0, "whole rounds");
    uint32_t to = shared_address(tile);
    int chunk = threadIdx.x % CHUNKS;
    const char *from = head_row(p, x, pair, first) + chunk * 16;
#pragma unroll
    for (int i = 0; i < ROWS * CHUNKS / THREADS; i++) {
      int row = (int)(threadIdx.x / CHUNKS) + i * (THREADS / CHUNKS);
      bool present = first + row < p.length;
      copy_async16(to + tile_offset<D>(row, chunk), from + (present ? 2 * row * x.row : 0),
                   present);
    }
  } else {
    for (int i = threadIdx.x; i < ROWS * CHUNKS; i += THREADS) {
      int row = i / CHUNKS, chunk = i % CHUNKS;
      typename T::stored *to =
          reinterpret_cast<typename T::stored *>(tile + tile_offset<D>(row, chunk));
      const char *from = head_row(p, x, pair, first + row < p.length ? first + row : 0);
      for (int e = 0; e < 8; e++) {
        int column = chunk * 8 + e;
        bool present = first + row < p.length && column < p.depth;
        to[e] = T::store(present ? load_any(x.format, from, column) : 0.0f);
      }
    }
  }
}

/* A warp's c [16 MT, D] to rows first.. of a head of x, rounded. Direct: through `tile`, 16 MT rows
 * of shared memory that only this warp uses. */
template <class T, int D, int MT, bool DIRECT>
static __device__ __forceinline__ void store_rows(const attention_problem &p,
                                                  const attention_matrix &x, int pair, int first,
                                                  const float (&c)[MT][D / 8][4], char *tile) {
  int lane = threadIdx.x % 32;
  if constexpr (DIRECT) {
    __syncwarp();
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
      for (int j = 0; j < D / 8; j++)
#pragma unroll
        for (int half = 0; half < 2; half++)
          *reinterpret_cast<uint32_t *>(tile + tile_offset<D>(i * 16 + half * 8 + lane / 4, j) +
                                        lane % 4 * 4) =
              pack<T>(c[i][j][2 * half], c[i][j][2 * half + 1]);
    __syncwarp();
    constexpr int CHUNKS = D / 8, EACH = 32 / CHUNKS;
    int chunk = lane % CHUNKS;
#pragma unroll
    for (int i = 0; i < 16 * MT / EACH; i++) {
      int row = i * EACH + lane / CHUNKS;
      uint4 bytes = *reinterpret_cast<const uint4 *>(tile + tile_offset<D>(row, chunk));
      if (first + row < p.length)
        *reinterpret_cast<uint4 *>(head_row(p, x, pair, first + row) + chunk * 16) = bytes;
    }
  } else {
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        int row = first + i * 16 + half * 8 + lane / 4;
        if (row >= p.length)
          continue;
        char *to = head_row(p, x, pair, row);
#pragma unroll
        for (int j = 0; j < D / 8; j++)
#pragma unroll
          for (int e = 0; e < 2; e++) {
            int column = 8 * j + lane % 4 * 2 + e;
            if (column < p.depth)
              store_any(x.format, to, column, c[i][j][2 * half + e]);
          }
      }
  }
}

/* Runs a statement with T, the format of the products, D, a head's width in tiles, and DIRECT. */
#define DISPATCH_MMA_WIDTH(problem, direct, ...)                                                   \
  if (direct && (problem).depth == 32) {                                                           \
    constexpr int D = 32;                                                                          \
    constexpr bool DIRECT = true;                                                                  \
    __VA_ARGS__;                                                                                   \
  } else if (direct && (problem).depth == 64) {                                                    \
    constexpr int D = 64;                                                                          \
    constexpr bool DIRECT = true;                                                                  \
    __VA_ARGS__;                                                                                   \
  } else if (direct) {                                                                             \
    constexpr int D = 128;                                                                         \
    constexpr bool DIRECT = true;                                                                  \
    __VA_ARGS__;                                                                                   \
  } else if ((problem).depth <= 64) {                                                              \
    constexpr int D = 64;                                                                          \
    constexpr bool DIRECT = false;                                                                 \
    __VA_ARGS__;                                                                                   \
  } else {                                                                                         \
    constexpr int D = 128;                                                                         \
    constexpr bool DIRECT = false;                                                                 \
    __VA_ARGS__;                                                                                   \
  }

#define DISPATCH_MMA(problem, direct, ...)                                                         \
  if ((problem).format == MPT_BF16) {                                                              \
    typedef Bf16 T;                                                                                \
    DISPATCH_MMA_WIDTH(problem, direct, __VA_ARGS__)                                               \
  } else {                                                                                         \
    typedef Fp16 T;                                                                                \
    DISPATCH_MMA_WIDTH(problem, direct, __VA_ARGS__)                                               \
  }

#endif
