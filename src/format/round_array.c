/* Rounding of arrays: one loop, compiled for each of the processor's vectors. */
#include "format/rounding.h"

MPT_INLINE void round_loop(const mpt_rounding *rounding, const float *in, float scale, float *out,
                           size_t count) {
  const mpt_rounding r = *rounding; /* a copy, which `out` cannot overlap */
  MPT_INDEPENDENT
  for (size_t i = 0; i < count; i++)
    out[i] = mpt_bits_float(mpt_round_bits(&r, mpt_float_bits(in[i] * scale)));
}

typedef void round_function(const mpt_rounding *, const float *, float, float *, size_t);

#define ROUND_VARIANT(name, target)                                                                \
  target static void name(const mpt_rounding *r, const float *in, float scale, float *out,         \
                          size_t count) {                                                          \
    round_loop(r, in, scale, out, count);                                                          \
  }

ROUND_VARIANT(round_baseline, )
#ifdef __x86_64__
ROUND_VARIANT(round_avx2, __attribute__((target("avx2"))))
ROUND_VARIANT(round_avx512, __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))))
#else
#define round_avx2   round_baseline
#define round_avx512 round_baseline
#endif

static round_function *const variants[] = {
    [MPT_VECTORS_BASELINE] = round_baseline,
    [MPT_VECTORS_AVX2] = round_avx2,
    [MPT_VECTORS_AVX512] = round_avx512,
};

mpt_vectors mpt_vectors_widest(void) {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return MPT_VECTORS_AVX512;
  if (__builtin_cpu_supports("avx2"))
    return MPT_VECTORS_AVX2;
#endif
  return MPT_VECTORS_BASELINE;
}

void mpt_format_round_array_with(mpt_vectors vectors, mpt_format format, const float *in,
                                 float scale, float *out, size_t count) {
  if (format == MPT_FP32 && scale == 1.0f) {
    memmove(out, in, count * sizeof *in);
    return;
  }
  mpt_rounding r = mpt_rounding_of(format, true);
  variants[vectors](&r, in, scale, out, count);
}

void mpt_format_round_array(mpt_format format, const float *in, float scale, float *out,
                            size_t count) {
  mpt_format_round_array_with(mpt_vectors_widest(), format, in, scale, out, count);
}
