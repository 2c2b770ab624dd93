/* The table of formats, and conversion of single values. */
#include "base/error.h"
#include "format/rounding.h"
#include <assert.h>
#include <stdio.h>

static const mpt_format_descriptor *const formats[MPT_FORMAT_COUNT] = {
#define TABLE(enumerator, name) [enumerator] = &mpt_format_##name,
    MPT_FORMAT_LIST(TABLE)
#undef TABLE
};

const mpt_format_descriptor *mpt_format_describe(mpt_format format) {
  return (unsigned)format < MPT_FORMAT_COUNT ? formats[format] : NULL;
}

const mpt_format_info *mpt_format_get(mpt_format format) {
  const mpt_format_descriptor *descriptor = mpt_format_describe(format);
  return descriptor != NULL ? &descriptor->info : NULL;
}

bool mpt_format_is_fp8(mpt_format format) {
  const mpt_format_info *info = mpt_format_get(format);
  return info != NULL && info->bits == 8;
}

mpt_status mpt_format_parse(const char *name, mpt_format *format, mpt_error *error) {
  if (name == NULL || format == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "mpt_format_parse: name or format is NULL");
  char known[256] = "";
  size_t length = 0;
  for (int i = 0; i < MPT_FORMAT_COUNT; i++) {
    const char *other = formats[i]->info.name;
    if (strcmp(name, other) == 0) {
      *format = (mpt_format)i;
      return MPT_OK;
    }
    if (length < sizeof known)
      length +=
          (size_t)snprintf(known + length, sizeof known - length, "%s%s", i > 0 ? ", " : "", other);
  }
  return mpt_fail(error, MPT_ERROR_NOT_FOUND, "unknown format '%s' (known: %s)", name, known);
}

mpt_rounding mpt_rounding_of(mpt_format format, bool saturate) {
  const mpt_format_descriptor *d = mpt_format_describe(format);
  assert(d != NULL);
  uint32_t shift = (uint32_t)(23 - d->info.mantissa_bits);
  int32_t max = (int32_t)mpt_float_bits(d->info.max_finite);
  bool like_fp32 = d->info.exponent_bits == 8;
  return (mpt_rounding){
      .shift = shift,
      .odd = shift > 0,
      .half = shift > 0 ? (1u << (shift - 1)) - 1 : 0,
      .keep = ~0u << shift,
      .min_normal = like_fp32 ? 0 : (int32_t)mpt_float_bits(d->info.min_normal),
      .magic = like_fp32 ? 0.0f : d->info.min_subnormal * 0x1p23f,
      .max = max,
      .overflow = saturate && d->saturates ? max
                  : d->info.has_infinity   ? MPT_FP32_INFINITY
                                           : (int32_t)d->nan_fp32,
      .nan = d->nan_fp32,
      .nan_keep = d->keeps_nan ? ~0u : 0,
  };
}

/* What the exponent fields of fp32 and the format differ by, in units of the format's last bit. */
static uint32_t bias_difference(const mpt_format_info *f) {
  return (uint32_t)(f->min_exponent + 126) << f->mantissa_bits;
}

static uint32_t infinity_encoding(const mpt_format_info *f) {
  return ((1u << f->exponent_bits) - 1) << f->mantissa_bits;
}

uint32_t mpt_format_encode(mpt_format format, float value, bool saturate) {
  mpt_rounding r = mpt_rounding_of(format, saturate);
  const mpt_format_descriptor *d = formats[format];
  const mpt_format_info *f = &d->info;
  uint32_t bits = mpt_round_bits(&r, mpt_float_bits(value));
  if (f->bits == 32)
    return bits;
  uint32_t magnitude = bits & MPT_FP32_MAGNITUDE;
  uint32_t sign = bits >> 31 << (f->bits - 1);
  if (magnitude > MPT_FP32_INFINITY) /* with a sign only when it comes from overflow */
    return d->nan | sign;
  if (magnitude == MPT_FP32_INFINITY)
    return infinity_encoding(f) | sign;
  if (mpt_bits_float(magnitude) < f->min_normal)
    return (uint32_t)(mpt_bits_float(magnitude) / f->min_subnormal) | sign;
  return ((magnitude >> r.shift) - bias_difference(f)) | sign;
}

float mpt_format_decode(mpt_format format, uint32_t bits) {
  const mpt_format_descriptor *d = mpt_format_describe(format);
  assert(d != NULL);
  const mpt_format_info *f = &d->info;
  if (f->bits == 32)
    return mpt_bits_float(bits);
  uint32_t magnitude = bits & ((1u << (f->bits - 1)) - 1);
  uint32_t sign = bits >> (f->bits - 1) << 31;
  int shift = 23 - f->mantissa_bits;
  if (f->has_infinity ? magnitude > infinity_encoding(f) : magnitude == d->nan)
    return mpt_bits_float(f->exponent_bits == 8 ? magnitude << shift | sign : d->nan_fp32);
  if (f->has_infinity && magnitude == infinity_encoding(f))
    return mpt_bits_float(MPT_FP32_INFINITY | sign);
  if (magnitude >> f->mantissa_bits == 0)
    return mpt_bits_float(mpt_float_bits((float)magnitude * f->min_subnormal) | sign);
  return mpt_bits_float((magnitude + bias_difference(f)) << shift | sign);
}

float mpt_format_round(mpt_format format, float value, bool saturate) {
  mpt_rounding r = mpt_rounding_of(format, saturate);
  uint32_t bits = mpt_round_bits(&r, mpt_float_bits(value));
  if ((bits & MPT_FP32_MAGNITUDE) > MPT_FP32_INFINITY) /* an overflow loses its sign here */
    bits = (bits & r.nan_keep) | r.nan;
  return mpt_bits_float(bits);
}
