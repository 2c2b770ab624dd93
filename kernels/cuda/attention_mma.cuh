/* Tiles in shared memory and the tensor cores' products of them: m16n8k16 of bf16 and fp16, m16n8k8
 * of tf32.
 *
 * A tile is rows of D channels of 16 bits, or of 32. Its 16-byte chunks are swizzled, chunk ^ (row
 * % 8), so that the eight rows that ldmatrix reads at once lie in different banks. */
#ifndef MPT_KERNELS_CUDA_ATTENTION_MMA_CUH
#define MPT_KERNELS_CUDA_ATTENTION_MMA_CUH

#include "kernels/cuda/attention.cuh"

/* Bytes of a tile's row. */
template <class T, int D> constexpr int row_bytes = D *(int)sizeof(typename T::stored);

template <class T, int D>
static __device__ __forceinline__ uint32_t tile_offset(int row, int chunk) {
  constexpr int BYTES = row_bytes<T, D>;
  if (BYTES == 64) /* two rows in 128 bytes */
    return (uint32_t)(row * 64 + ((chunk ^ (row / 2 & 3)) << 4));
  return (uint32_t)(row * BYTES + ((chunk ^ (row & 7)) << 4));
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

static __device__ __forceinline__ void load_shared16(uint32_t (&r)[4], uint32_t from) {
  asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(from)
               : "memory");
}
static __device__ __forceinline__ void store_shared16(uint32_t to, const uint32_t (&r)[4]) {
  asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" ::"r"(to), "r"(r[0]), "r"(r[1]), "r"(r[2]),
               "r"(r[3])
               : "memory");
}

/* c[16,8] += a[16,k] b[k,8], k 16 or (tf32) 8. A thread holds, of c, columns 2 * (lane % 4) + {0,
 * 1} of rows lane / 4 (c[0], c[1]) and lane / 4 + 8 (c[2], c[3]). */
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
template <>
__device__ __forceinline__ void mma<Tf32>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                          uint32_t b1) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* Tf32::store in one instruction where there is one. */
static __device__ __forceinline__ uint32_t round_tf32(float x) {
#if __CUDA_ARCH__ >= 900
  uint32_t y;
  asm("cvt.rn.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
  return y;
#else
  return __float_as_uint(Tf32::store(x));
#endif
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
  for (int k = 0; k < row_bytes<T, D> / 32; k++) {
    uint32_t fa[MT][4];
#pragma unroll
    for (int i = 0; i < MT; i++)
      ldmatrix(fa[i], a + tile_offset<T, D>(i * 16 + lane % 16, 2 * k + lane / 16));
#pragma unroll
    for (int j = 0; j < N / 2; j++) {
      uint32_t fb[4];
      ldmatrix(fb, b + tile_offset<T, D>(j * 16 + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
#pragma unroll
      for (int i = 0; i < MT; i++) {
        mma<T>(c[i][2 * j], fa[i], fb[0], fb[1]);
        mma<T>(c[i][2 * j + 1], fa[i], fb[2], fb[3]);
      }
    }
  }
}

/* The same in tf32. ldmatrix does not transpose 32-bit elements, so a thread reads rows of b
 * itself, 16 bytes at a time. A sum may run over k in any order and columns may be told apart by
 * any name: k = lane % 4 stands for row 2 k of eight and k + 4 for row 2 k + 1, which makes c an a
 * as it is; and of 32 columns the j-th tile's n-th is 4 n + j, so that 16 bytes are of four tiles.
 * c's columns stay in that order until store_rows. */
template <int D, int MT, int N>
static __device__ __forceinline__ void
multiply_columns_tf32(float (&c)[MT][D / 8][4], const float (&p)[MT][N][4], uint32_t b) {
  int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < N; k++) {
    uint32_t fa[MT][4];
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
      for (int e = 0; e < 4; e++)
        fa[i][e] = round_tf32(p[i][k][e / 2 + e % 2 * 2]);
#pragma unroll
    for (int j = 0; j < D / 32; j++) {
      uint32_t even[4], odd[4];
      int row = k * 8 + lane % 4 * 2, chunk = j * 8 + lane / 4;
      load_shared16(even, b + tile_offset<Tf32, D>(row, chunk));
      load_shared16(odd, b + tile_offset<Tf32, D>(row + 1, chunk));
#pragma unroll
      for (int i = 0; i < MT; i++)
#pragma unroll
        for (int n = 0; n < 4; n++)
          mma<Tf32>(c[i][4 * j + n], fa[i], even[n], odd[n]);
    }
  }
}

/* c[16 MT, D] += p b: p [16 MT, 8 N] from registers, rounded; rows of b at `b` [8 N, D]. */
template <class T, int D, int MT, int N>
static __device__ __forceinline__ void multiply_columns(float (&c)[MT][D / 8][4],
                                                        const float (&p)[MT][N][4], uint32_t b) {
  if constexpr (T::format == MPT_TF32)
    return multiply_columns_tf32<D>(c, p, b);
  else {
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
        ldmatrix_transposed(fb, b + tile_offset<T, D>(k * 16 + lane % 16, 2 * j + lane / 16));
#pragma unroll
        for (int i = 0; i < MT; i++) {
          mma<T>(c[i][2 * j], fa[i], fb[0], fb[1]);
          mma<T>(c[i][2 * j + 1], fa[i], fb[2], fb[3]);
        }
      }
    }
  }
}

/* Rows first to first + ROWS of a head of x into a tile; zeros beyond T, and beyond a head's
 * channels. Direct: in the background. */
template <class T, int D, int ROWS, int THREADS, bool DIRECT>
static __device__ __forceinline__ void
load_tile(const attention_problem &p, const attention_matrix &x, int pair, int first, char *tile) {
  constexpr int CHUNKS = row_bytes<T, D> / 16, EACH = D / CHUNKS;
  if constexpr (DIRECT) {
    static_assert(ROWS * CHUNKS % THREADS == 0, "whole rounds");
    uint32_t to = shared_address(tile);
    int chunk = threadIdx.x % CHUNKS;
    const char *from = head_row(p, x, pair, first) + chunk * 16;
#pragma unroll
    for (int i = 0; i < ROWS * CHUNKS / THREADS; i++) {
      int row = (int)(threadIdx.x / CHUNKS) + i * (THREADS / CHUNKS);
      bool present = first + row < p.length;
      copy_async16(to + tile_offset<T, D>(row, chunk),
                   from + (present ? (int)sizeof(typename T::stored) * row * x.row : 0), present);
    }
  } else {
    for (int i = threadIdx.x; i < ROWS * CHUNKS; i += THREADS) {
      int row = i / CHUNKS, chunk = i % CHUNKS;
      typename T::stored *to =
          reinterpret_cast<typename T::stored *>(tile + tile_offset<T, D>(row, chunk));
      const char *from = head_row(p, x, pair, first + row < p.length ? first + row : 0);
      for (int e = 0; e < EACH; e++) {
        int column = chunk * EACH + e;
        bool present = first + row < p.length && column < p.depth;
        to[e] = T::store(present ? load_any(x.format, from, column) : 0.0f);
      }
    }
  }
}

/* fp32 rows that load_tile has copied, rounded where they lie by the threads that copied them, once
 * those have waited. Tensors of 16 bits come rounded. */
template <class T, int D, int ROWS, int THREADS, bool DIRECT>
static __device__ __forceinline__ void round_tile(char *tile) {
  if constexpr (DIRECT && T::format == MPT_TF32) {
    constexpr int CHUNKS = row_bytes<T, D> / 16;
    uint32_t at = shared_address(tile);
#pragma unroll
    for (int i = 0; i < ROWS * CHUNKS / THREADS; i++) {
      uint32_t x[4],
          chunk = at + tile_offset<T, D>((int)(threadIdx.x / CHUNKS) + i * (THREADS / CHUNKS),
                                         threadIdx.x % CHUNKS);
      load_shared16(x, chunk);
#pragma unroll
      for (int e = 0; e < 4; e++)
        x[e] = round_tf32(__uint_as_float(x[e]));
      store_shared16(chunk, x);
    }
  }
}

/* c of multiply_columns_tf32: a thread has eight neighbouring columns of every 32. */
template <int D, int MT, bool DIRECT>
static __device__ __forceinline__ void
store_rows_tf32(const attention_problem &p, const attention_matrix &x, int pair, int first,
                const float (&c)[MT][D / 8][4], tally &seen) {
  int lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      int row = first + i * 16 + half * 8 + lane / 4;
      if (row >= p.length)
        continue;
      char *to = head_row(p, x, pair, row);
#pragma unroll
      for (int j = 0; j < D / 32; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
          int column = 32 * j + lane % 4 * 8 + 4 * e, from = 2 * half + e;
          float y[4];
#pragma unroll
          for (int n = 0; n < 4; n++)
            y[n] = c[i][4 * j + n][from];
          if constexpr (DIRECT) {
            if (x.format == MPT_TF32)
#pragma unroll
              for (int n = 0; n < 4; n++)
                y[n] = Tf32::store(y[n]);
            reinterpret_cast<float4 *>(to)[column / 4] = make_float4(y[0], y[1], y[2], y[3]);
            if (x.lite != NULL)
#pragma unroll
              for (int n = 0; n < 4; n++)
                tally_value(seen, y[n]);
          } else {
#pragma unroll
            for (int n = 0; n < 4; n++)
              if (column + n < p.depth)
                store_seen(x, to, column + n, y[n], seen);
          }
        }
    }
}

/* A warp's c [16 MT, D] to rows first.. of a head of x, rounded, and looked at where x asks for it.
 * Direct: through `tile`, 16 MT rows of shared memory that only this warp uses. */
template <class T, int D, int MT, bool DIRECT>
static __device__ __forceinline__ void
store_rows(const attention_problem &p, const attention_matrix &x, int pair, int first,
           const float (&c)[MT][D / 8][4], char *tile, tally &seen) {
  int lane = threadIdx.x % 32;
  if constexpr (T::format == MPT_TF32) {
    store_rows_tf32<D, MT, DIRECT>(p, x, pair, first, c, seen);
  } else if constexpr (DIRECT) {
    __syncwarp();
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
      for (int j = 0; j < D / 8; j++)
#pragma unroll
        for (int half = 0; half < 2; half++)
          *reinterpret_cast<uint32_t *>(tile + tile_offset<T, D>(i * 16 + half * 8 + lane / 4, j) +
                                        lane % 4 * 4) =
              pack<T>(c[i][j][2 * half], c[i][j][2 * half + 1]);
    __syncwarp();
    constexpr int CHUNKS = D / 8, EACH = 32 / CHUNKS;
    int chunk = lane % CHUNKS;
    lane_extremes lanes = {0, 0xFFFFFFFFu};
#pragma unroll
    for (int i = 0; i < 16 * MT / EACH; i++) {
      int row = i * EACH + lane / CHUNKS;
      uint4 bytes = *reinterpret_cast<const uint4 *>(tile + tile_offset<T, D>(row, chunk));
      if (first + row < p.length) {
        *reinterpret_cast<uint4 *>(head_row(p, x, pair, first + row) + chunk * 16) = bytes;
        if (x.lite != NULL)
          tally_word<T>(seen, bytes, lanes);
      }
    }
    take_extremes<T>(seen, lanes);
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
              store_seen(x, to, column, c[i][j][2 * half + e], seen);
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
  } else if ((problem).format == MPT_TF32) {                                                       \
    typedef Tf32 T;                                                                                \
    DISPATCH_MMA_WIDTH(problem, direct, __VA_ARGS__)                                               \
  } else {                                                                                         \
    typedef Fp16 T;                                                                                \
    DISPATCH_MMA_WIDTH(problem, direct, __VA_ARGS__)                                               \
  }

#endif
