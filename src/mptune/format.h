/* Number formats: their ranges, and conversion of single values and arrays.
 *
 * Conversion rounds to nearest, ties to even. With `saturate`, fp8 overflow and infinities go to
 * the largest finite value of their sign, as cvt.rn.satfinite does on NVIDIA GPUs; NaN stays NaN.
 * Without it, overflow becomes infinity, or NaN in fp8_e4m3, which has no infinity. fp32, tf32,
 * bf16 and fp16 never saturate. Every conversion is bit-identical to the CUDA headers' host
 * functions on all 2^32 inputs.
 */
#ifndef MPTUNE_FORMAT_H
#define MPTUNE_FORMAT_H

#include "mptune/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ENTRY(enumerator, name): every number format. docs/add-a-format.md says how to add one. */
#define MPT_FORMAT_LIST(ENTRY)                                                                     \
  ENTRY(MPT_FP32, fp32)                                                                            \
  ENTRY(MPT_TF32, tf32)                                                                            \
  ENTRY(MPT_BF16, bf16)                                                                            \
  ENTRY(MPT_FP16, fp16)                                                                            \
  ENTRY(MPT_FP8_E4M3, fp8_e4m3)                                                                    \
  ENTRY(MPT_FP8_E5M2, fp8_e5m2)

#define MPT_FORMAT_ENUM(enumerator, name) enumerator,
typedef enum mpt_format { MPT_FORMAT_LIST(MPT_FORMAT_ENUM) MPT_FORMAT_COUNT } mpt_format;
#undef MPT_FORMAT_ENUM

typedef struct mpt_format_info {
  const char *name;        /* "fp8_e4m3" */
  int exponent_bits;       /* stored exponent field */
  int mantissa_bits;       /* stored fraction bits, without the implicit one */
  int bits;                /* of one encoded element: 32 for tf32, which is stored as fp32 */
  int min_exponent;        /* of the smallest normal value 2^min_exponent */
  int max_exponent;        /* of the binade of max_finite */
  float max_finite;        /* largest finite value */
  float min_normal;        /* smallest normal value */
  float min_subnormal;     /* smallest value above zero */
  bool has_infinity;       /* false for fp8_e4m3 only */
  const char *description; /* one line for people */
} mpt_format_info;

/* Facts about a format; NULL when `format` is not one. Static storage. */
MPT_API const mpt_format_info *mpt_format_get(mpt_format format);

/* Whether it is one of 8 bits, whose tensors carry a scale; false when `format` is not one. */
MPT_API bool mpt_format_is_fp8(mpt_format format);

/* The format of that name, or MPT_ERROR_NOT_FOUND with a message that lists the known ones. */
MPT_API mpt_status mpt_format_parse(const char *name, mpt_format *format, mpt_error *error);

/* The bits of `value` in `format`, in the low `bits` bits. NaN encodes as 0x7F in fp8 and 0x7FFF
 * in fp16 and bf16, whatever its sign and payload; fp32 keeps its bits, tf32 NaN is 0x7FFFFFFF. */
MPT_API uint32_t mpt_format_encode(mpt_format format, float value, bool saturate);

/* The value of the low `bits` bits in `format`; every encoding is exact in fp32. NaN decodes to the
 * bits 0x7FFFFFFF from fp16 and fp8, and to the same fraction bits from bf16. */
MPT_API float mpt_format_decode(mpt_format format, uint32_t bits);

/* decode(encode(value)): the nearest value of `format`. fp32 keeps a NaN's bits. */
MPT_API float mpt_format_round(mpt_format format, float value, bool saturate);

/* out[i] = round(scale * in[i]), fp8 saturating, for `count` elements; `in` may equal `out`.
 * `scale` is a power of two. The product is an fp32 product, itself rounded to nearest even where
 * it is subnormal, infinite where it is too large. Uses the widest vectors of this processor; the
 * results do not depend on which. */
MPT_API void mpt_format_round_array(mpt_format format, const float *in, float scale, float *out,
                                    size_t count);

#ifdef __cplusplus
}
#endif
#endif
