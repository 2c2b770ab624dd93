/* Number formats once more, for tests: on integers alone, from the definition of the formats, and
 * sharing nothing with src/format/. A value is sign, significand and power of two; what does not
 * fit is shifted out and the remainder decides. */
#ifndef FORMAT_REFERENCE_H
#define FORMAT_REFERENCE_H

#include "mptune/format.h"
#include <stdint.h>

typedef struct reference_format {
  int exponent_bits, mantissa_bits, bias;
  uint32_t infinity; /* its encoding; 0: none */
  uint32_t largest;  /* encoding of the largest finite value */
  uint32_t nan;      /* encoding of the NaN that others become */
  bool saturates, fp32_storage;
} reference_format;

static const reference_format reference_formats[MPT_FORMAT_COUNT] = {
    [MPT_FP32] = {8, 23, 127, 0x7F800000, 0x7F7FFFFF, 0, false, true},
    [MPT_TF32] = {8, 10, 127, 0x3FC00, 0x3FBFF, 0x3FFFF, false, true},
    [MPT_BF16] = {8, 7, 127, 0x7F80, 0x7F7F, 0x7FFF, false, false},
    [MPT_FP16] = {5, 10, 15, 0x7C00, 0x7BFF, 0x7FFF, false, false},
    [MPT_FP8_E4M3] = {4, 3, 7, 0, 0x7E, 0x7F, true, false},
    [MPT_FP8_E5M2] = {5, 2, 15, 0x7C, 0x7B, 0x7F, true, false},
};

/* The magnitude's encoding before overflow is looked at: it may exceed `largest`. */
static inline uint64_t reference_magnitude(const reference_format *f, uint32_t magnitude) {
  uint32_t field = magnitude >> 23;
  uint64_t significand = (magnitude & 0x7FFFFF) | (field > 0 ? 0x800000 : 0);
  int exponent = (field > 0 ? (int)field : 1) - 150; /* of the significand's last bit */
  if (significand == 0)
    return 0;
  while (significand < 0x800000) { /* fp32's subnormals */
    significand <<= 1;
    exponent--;
  }
  /* The value is in the binade 2^(exponent + 23). Its last place in the format: */
  int binade = exponent + 23, least = 1 - f->bias;
  int last = (binade > least ? binade : least) - f->mantissa_bits;
  int drop = last - exponent;
  uint64_t kept, rest, half;
  if (drop <= 0) {
    kept = significand << -drop;
    rest = 0, half = 1;
  } else if (drop > 40) {
    kept = 0;
    rest = 0, half = 1;
  } else {
    kept = significand >> drop;
    rest = significand & (((uint64_t)1 << drop) - 1);
    half = (uint64_t)1 << (drop - 1);
  }
  if (rest > half || (rest == half && (kept & 1) != 0))
    kept++;
  /* A normal value's leading one adds one to the field below; a carry adds one more. */
  uint64_t field_below = binade > least ? (uint64_t)(binade - least) : 0;
  return (field_below << f->mantissa_bits) + kept;
}

/* Without `saturate` of formats that don't; tf32 as a 19-bit number. */
static inline uint32_t reference_encode_packed(mpt_format format, uint32_t bits, bool saturate) {
  const reference_format *f = &reference_formats[format];
  uint32_t sign = (bits >> 31) << (f->exponent_bits + f->mantissa_bits);
  uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000)
    return f->nan == 0 ? bits : f->nan;
  uint64_t encoded = magnitude == 0x7F800000 ? UINT64_MAX : reference_magnitude(f, magnitude);
  if (encoded > f->largest) {
    if (f->saturates && saturate)
      encoded = f->largest;
    else
      encoded = f->infinity != 0 ? f->infinity : f->nan;
  }
  return (uint32_t)encoded | sign;
}

static inline uint32_t reference_encode(mpt_format format, uint32_t bits, bool saturate) {
  uint32_t packed = reference_encode_packed(format, bits, saturate);
  if (format != MPT_TF32)
    return packed;
  return packed == 0x3FFFF ? 0x7FFFFFFF : packed << 13;
}

/* The fp32 bits of an encoding. */
static inline uint32_t reference_decode(mpt_format format, uint32_t encoded) {
  const reference_format *f = &reference_formats[format];
  if (f->fp32_storage)
    return encoded;
  int width = f->exponent_bits + f->mantissa_bits;
  uint32_t sign = (encoded >> width) << 31;
  uint32_t magnitude = encoded & ((1u << width) - 1);
  if (f->infinity != 0 ? magnitude > f->infinity : magnitude == f->nan)
    return format == MPT_BF16 ? encoded << 16 : 0x7FFFFFFF;
  if (f->infinity != 0 && magnitude == f->infinity)
    return sign | 0x7F800000;
  if (magnitude == 0)
    return sign;
  uint32_t field = magnitude >> f->mantissa_bits;
  uint32_t significand = magnitude & ((1u << f->mantissa_bits) - 1);
  if (field > 0)
    significand |= 1u << f->mantissa_bits;
  else
    field = 1;
  int exponent = (int)field - f->bias - f->mantissa_bits; /* of the last bit */
  while (significand < 0x800000 && exponent > -149) {
    significand <<= 1;
    exponent--;
  }
  if (significand < 0x800000) /* an fp32 subnormal */
    return sign | significand;
  return sign | ((uint32_t)(exponent + 150) << 23) | (significand & 0x7FFFFF);
}

static inline uint32_t reference_round(mpt_format format, uint32_t bits, bool saturate) {
  return reference_decode(format, reference_encode(format, bits, saturate));
}

/* bits * 2^exponent as fp32 computes it, to nearest even; NaN becomes quiet. */
static inline uint32_t reference_scale(uint32_t bits, int exponent) {
  uint32_t sign = bits & 0x80000000, magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000)
    return bits | 0x400000;
  if (magnitude == 0 || magnitude == 0x7F800000)
    return bits;
  uint32_t field = magnitude >> 23;
  uint64_t significand = (magnitude & 0x7FFFFF) | (field > 0 ? 0x800000 : 0);
  int e = (field > 0 ? (int)field : 1) + exponent; /* biased */
  while (significand < 0x800000) {
    significand <<= 1;
    e--;
  }
  if (e >= 255)
    return sign | 0x7F800000;
  if (e >= 1)
    return sign | ((uint32_t)e << 23) | (uint32_t)(significand & 0x7FFFFF);
  int drop = 1 - e;
  if (drop > 40)
    return sign;
  uint64_t kept = significand >> drop, rest = significand & (((uint64_t)1 << drop) - 1);
  uint64_t half = (uint64_t)1 << (drop - 1);
  if (rest > half || (rest == half && (kept & 1) != 0))
    kept++;
  return sign | (uint32_t)kept;
}

#endif
