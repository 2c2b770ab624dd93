/* Rounding of an fp32 value to a format: the one piece of arithmetic behind every conversion, as
 * inline functions without branches, so that loops over them vectorise.
 *
 * With s fraction bits to drop, a magnitude is rounded to nearest even on its bits: add
 * 2^(s-1) - 1 plus the last bit that stays, then clear the s bits; a carry runs into the exponent
 * as it should. Below the format's normal range the step between its values is constant, 2^k, and
 * (a + m) - m with m = 2^(k+23) rounds to it: a + m lies in the binade of m, where fp32 itself has
 * the step 2^k. A format with fp32's exponents needs no second case, since its subnormals are
 * fp32's.
 */
#ifndef MPT_FORMAT_ROUNDING_H
#define MPT_FORMAT_ROUNDING_H

#include "base/simd.h"
#include "format/descriptor.h"
#include <string.h>

#define MPT_FP32_INFINITY  0x7F800000
#define MPT_FP32_MAGNITUDE 0x7FFFFFFFu
#define MPT_FP32_SIGN      0x80000000u

/* A format, ready for rounding. Magnitudes are fp32 bits without the sign: as integers they are in
 * the order of the values. */
typedef struct mpt_rounding {
  uint32_t shift;     /* fraction bits to drop */
  uint32_t odd;       /* 1, or 0 where nothing is dropped */
  uint32_t half;      /* 2^(shift-1) - 1 */
  uint32_t keep;      /* mask of the bits that stay */
  int32_t min_normal; /* the magnitude from which on bits are rounded */
  float magic;        /* m for what is below */
  int32_t max;        /* the largest finite magnitude */
  int32_t overflow;   /* what larger ones become */
  uint32_t nan;       /* what NaN becomes: (bits & nan_keep) | nan */
  uint32_t nan_keep;
} mpt_rounding;

MPT_INLINE uint32_t mpt_float_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

MPT_INLINE float mpt_bits_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* A value, or zero where it is not finite. */
MPT_INLINE float mpt_finite_part(float value) {
  uint32_t bits = mpt_float_bits(value);
  bool finite = (int32_t)(bits & MPT_FP32_MAGNITUDE) < MPT_FP32_INFINITY;
  return mpt_bits_float(bits & -(uint32_t)finite);
}

/* `saturate` as in mpt_format_encode. */
mpt_rounding mpt_rounding_of(mpt_format format, bool saturate);

/* condition ? yes : no, as arithmetic: a compiler that may not evaluate the side that is not taken
 * (a float sum could trap) does not vectorise the operator. */
MPT_INLINE int32_t mpt_select(bool condition, int32_t yes, int32_t no) {
  return no ^ ((yes ^ no) & -(int32_t)condition);
}

/* The magnitude of a number rounded to nearest even, as if the format had no largest value: above
 * `max` it overflows. Of a NaN it is anything. */
MPT_INLINE int32_t mpt_round_magnitude(const mpt_rounding *r, uint32_t bits) {
  uint32_t magnitude = bits & MPT_FP32_MAGNITUDE;
  uint32_t normal = (magnitude + r->half + ((magnitude >> r->shift) & r->odd)) & r->keep;
  float subnormal = (mpt_bits_float(magnitude) + r->magic) - r->magic;
  return mpt_select((int32_t)magnitude < r->min_normal, (int32_t)mpt_float_bits(subnormal),
                    (int32_t)normal);
}

/* Puts sign, overflow and NaN to the rounded magnitude of `bits`. */
MPT_INLINE uint32_t mpt_round_finish(const mpt_rounding *r, uint32_t bits, int32_t rounded) {
  int32_t magnitude = (int32_t)(bits & MPT_FP32_MAGNITUDE);
  int32_t limited = rounded > r->max ? r->overflow : rounded;
  uint32_t number = (uint32_t)limited | (bits & MPT_FP32_SIGN);
  uint32_t nan = (bits & r->nan_keep) | r->nan;
  return magnitude > MPT_FP32_INFINITY ? nan : number;
}

MPT_INLINE uint32_t mpt_round_bits(const mpt_rounding *r, uint32_t bits) {
  return mpt_round_finish(r, bits, mpt_round_magnitude(r, bits));
}

/* The vectors that mpt_format_round_array chooses from, and the call with one of them, for tests
 * and benchmark programs. The processor must have what is asked for. */
typedef enum mpt_vectors { MPT_VECTORS_BASELINE, MPT_VECTORS_AVX2, MPT_VECTORS_AVX512 } mpt_vectors;
mpt_vectors mpt_vectors_widest(void);
void mpt_format_round_array_with(mpt_vectors vectors, mpt_format format, const float *in,
                                 float scale, float *out, size_t count);

#endif
