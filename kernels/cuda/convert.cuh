/* What cast and quantize share: eight values converted at a time, and what became of them. */
#ifndef MPT_KERNELS_CUDA_CONVERT_CUH
#define MPT_KERNELS_CUDA_CONVERT_CUH

#include "kernels/cuda/words.cuh"

enum { CHUNK = 8 }; /* elements */

/* Magnitudes from `saturates` on do not round to a finite value; up to `vanishes` they round to
 * zero. A tie goes to the even neighbour: in fp8_e4m3 464 is still 448, in the others the largest
 * finite value is odd. */
template <class Y> struct Limits;
template <> struct Limits<Fp32> {
  static constexpr float saturates = __builtin_huge_valf(), vanishes = 0.0f;
};
template <> struct Limits<Tf32> {
  static constexpr float saturates = 0x1.FFEp127f, vanishes = 0x1p-137f;
};
template <> struct Limits<Bf16> {
  static constexpr float saturates = 0x1.FFp127f, vanishes = 0x1p-134f;
};
template <> struct Limits<Fp16> {
  static constexpr float saturates = 65520.0f, vanishes = 0x1p-25f;
};
template <> struct Limits<E4m3> {
  static constexpr float saturates = 0x1.D00002p8f, vanishes = 0x1p-10f;
};
template <> struct Limits<E5m2> {
  static constexpr float saturates = 61440.0f, vanishes = 0x1p-17f;
};

/* What a thread saw. */
struct cast_tally {
  uint32_t saturated, vanished, amax_bits;
};

template <class Y, bool COUNT>
static __device__ __forceinline__ float scale_value(float x, float scale, cast_tally &t) {
  float y = x * scale;
  if (COUNT) {
    t.saturated += fabsf(y) >= Limits<Y>::saturates;
    t.vanished += fabsf(y) <= Limits<Y>::vanishes && x != 0.0f;
    t.amax_bits = max(t.amax_bits, __float_as_uint(x) & 0x7FFFFFFFu);
  }
  /* fp32 keeps a NaN's payload, as the processor's product does; a GPU's makes one NaN of all. */
  if (Y::format == MPT_FP32 && x != x)
    y = __uint_as_float(__float_as_uint(x) | 0x400000u);
  return y;
}

/* Adds what the block's threads saw to device counts; `count` is what the whole grid cast. */
static __device__ __forceinline__ void add_counts(const cast_tally &t, int64_t count,
                                                  mpt_cast_counts *counts, uint32_t *amax_bits) {
  __shared__ uint32_t saturated, vanished, most;
  if (threadIdx.x == 0)
    saturated = vanished = most = 0;
  uint32_t s = __reduce_add_sync(0xFFFFFFFFu, t.saturated);
  uint32_t v = __reduce_add_sync(0xFFFFFFFFu, t.vanished);
  uint32_t m = __reduce_max_sync(0xFFFFFFFFu, t.amax_bits);
  __syncthreads();
  if (threadIdx.x % 32 == 0) {
    if (s != 0)
      atomicAdd(&saturated, s);
    if (v != 0)
      atomicAdd(&vanished, v);
    atomicMax(&most, m);
  }
  __syncthreads();
  if (threadIdx.x != 0)
    return;
  if (counts != NULL) {
    if (blockIdx.x == 0 && blockIdx.y == 0)
      atomicAdd((unsigned long long *)&counts->count, (unsigned long long)count);
    if (saturated != 0)
      atomicAdd((unsigned long long *)&counts->saturated, (unsigned long long)saturated);
    if (vanished != 0)
      atomicAdd((unsigned long long *)&counts->vanished, (unsigned long long)vanished);
  }
  if (amax_bits != NULL && most > *(volatile uint32_t *)amax_bits)
    atomicMax(amax_bits, most);
}

/* ---- eight values as stored: `registers` words of 32 bits ---- */
template <class Y> struct Packed {
  static constexpr int size = (int)sizeof(typename Y::stored), registers = CHUNK * size / 4;

  static __device__ __forceinline__ uint32_t pair(float a, float b); /* in the low bits */

  static __device__ __forceinline__ void pack(const float (&x)[CHUNK], uint32_t (&w)[registers]) {
    if constexpr (size == 4) {
#pragma unroll
      for (int i = 0; i < CHUNK; i++)
        w[i] = __float_as_uint(Y::store(x[i]));
    } else if constexpr (size == 2) {
#pragma unroll
      for (int i = 0; i < registers; i++)
        w[i] = pair(x[2 * i], x[2 * i + 1]);
    } else {
#pragma unroll
      for (int i = 0; i < registers; i++)
        w[i] = pair(x[4 * i], x[4 * i + 1]) | pair(x[4 * i + 2], x[4 * i + 3]) << 16;
    }
  }
  static __device__ __forceinline__ void write(void *p, const uint32_t (&w)[registers]) {
    if constexpr (size == 1) {
      *(uint2 *)p = make_uint2(w[0], w[1]);
    } else {
#pragma unroll
      for (int i = 0; i < registers; i += 4)
        ((uint4 *)p)[i / 4] = make_uint4(w[i], w[i + 1], w[i + 2], w[i + 3]);
    }
  }
};

template <> __device__ __forceinline__ uint32_t Packed<Bf16>::pair(float a, float b) {
  __nv_bfloat162 both = __floats2bfloat162_rn(a, b);
  uint32_t bits;
  memcpy(&bits, &both, sizeof bits);
  return bits;
}
template <> __device__ __forceinline__ uint32_t Packed<Fp16>::pair(float a, float b) {
  __half2 both = __floats2half2_rn(a, b);
  uint32_t bits;
  memcpy(&bits, &both, sizeof bits);
  return bits;
}
template <> __device__ __forceinline__ uint32_t Packed<E4m3>::pair(float a, float b) {
  return __nv_cvt_float2_to_fp8x2(make_float2(a, b), __NV_SATFINITE, __NV_E4M3);
}
template <> __device__ __forceinline__ uint32_t Packed<E5m2>::pair(float a, float b) {
  return __nv_cvt_float2_to_fp8x2(make_float2(a, b), __NV_SATFINITE, __NV_E5M2);
}

/* y = round(x * scale), where `scale` is what a device scale holds when that is not NULL; adds to
 * counts and moves amax_bits up where they are not NULL. Matrices of one shape. */
void mpt_cuda_cast_run(cuda_context *c, mpt_t x, float scale, const mpt_scale *device_scale,
                       mpt_t y, mpt_cast_counts *counts, uint32_t *amax_bits);

#endif
