/* What follows from the statistics of a tensor. */
#include "mptune/statistics.h"
#include "base/error.h"
#include "format/rounding.h"
#include <math.h>
#include <stdlib.h>

enum { MAX_SCALE_EXPONENT = 126 };

float mpt_statistics_amax(const mpt_statistics *s) {
  return mpt_bits_float(s->amax_bits);
}

double mpt_statistics_dynamic_range(const mpt_statistics *s) {
  if (s->amin_bits == 0 || s->amin_bits >= MPT_FP32_INFINITY)
    return 0.0;
  double least = mpt_bits_float(s->amin_bits);
  if (s->amax_bits < MPT_FP32_INFINITY)
    return log2((double)mpt_bits_float(s->amax_bits) / least);
  for (int bin = 254; s->full && bin >= 0; bin--)
    if (s->histogram[bin] > 0)
      return bin > 0 ? bin - 126 - log2(least) : -126 - log2(least);
  return 0.0;
}

mpt_statistics mpt_lite_statistics(const mpt_lite *lite) {
  return (mpt_statistics){.count = lite->count,
                          .zeros = lite->zeros,
                          .nans = lite->nans,
                          .infinities = lite->infinities,
                          .amax_bits = lite->amax_bits,
                          .amin_bits = 0u - lite->amin_negated};
}

void mpt_statistics_merge(mpt_statistics *into, const mpt_statistics *from) {
  if (from->count == 0)
    return;
  if (into->count == 0) {
    *into = *from;
    return;
  }
  into->count += from->count;
  into->zeros += from->zeros;
  into->nans += from->nans;
  into->infinities += from->infinities;
  if (from->amax_bits > into->amax_bits)
    into->amax_bits = from->amax_bits;
  if (from->amin_bits != 0 && (into->amin_bits == 0 || from->amin_bits < into->amin_bits))
    into->amin_bits = from->amin_bits;
  if (into->full && !from->full) {
    memset(into->histogram, 0, sizeof into->histogram);
    into->sum = into->sum_of_squares = 0.0;
  } else if (into->full) {
    into->sum += from->sum;
    into->sum_of_squares += from->sum_of_squares;
    for (int bin = 0; bin < MPT_EXPONENT_BINS; bin++)
      into->histogram[bin] += from->histogram[bin];
  }
  into->full = into->full && from->full;
}

/* What becomes of a non-zero magnitude in a format, in the order of magnitudes. */
typedef enum fate { VANISHES, SUBNORMAL, NORMAL, OVERFLOWS } fate;

/* Of magnitude * 2^scale_exponent, computed as the cast does. */
static fate fate_of(const mpt_rounding *r, float min_normal, uint32_t magnitude,
                    int scale_exponent) {
  float scaled = mpt_bits_float(magnitude) * ldexpf(1.0f, scale_exponent);
  int32_t rounded = mpt_round_magnitude(r, mpt_float_bits(scaled));
  if (rounded == 0)
    return VANISHES;
  if (rounded > r->max)
    return OVERFLOWS;
  return scaled < min_normal ? SUBNORMAL : NORMAL;
}

/* `count` values whose fates lie between those of the smallest and the largest: all have `which`
 * when both have, and none has when it is outside. */
static void add_count(fate which, fate smallest, fate largest, uint64_t count, uint64_t *low,
                      uint64_t *high) {
  if (smallest <= which && which <= largest)
    *high += count;
  if (smallest == which && which == largest)
    *low += count;
}

mpt_status mpt_statistics_range(const mpt_statistics *s, mpt_format format, int scale_exponent,
                                mpt_range_counts *counts, mpt_error *error) {
  const mpt_format_info *f = mpt_format_get(format);
  if (s == NULL || counts == NULL || f == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "mpt_statistics_range: statistics, format or counts missing");
  if (!s->full)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "mpt_statistics_range needs full statistics: collect with `full`");
  if (abs(scale_exponent) > MAX_SCALE_EXPONENT)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "scale exponent %d is not within +-%d",
                    scale_exponent, MAX_SCALE_EXPONENT);
  const mpt_rounding r = mpt_rounding_of(format, true);
  mpt_range_counts c = {.overflow_low = s->infinities, .overflow_high = s->infinities};
  for (uint32_t bin = 0; bin < MPT_EXPONENT_BINS - 1; bin++) {
    uint64_t count = s->histogram[bin] - (bin == 0 ? s->zeros : 0);
    if (count == 0)
      continue;
    /* The values of the bin, cut by what is known of the tensor's. */
    uint32_t smallest = bin == 0 ? 1 : bin << 23, largest = (bin << 23) + 0x7FFFFF;
    bool has_least = smallest <= s->amin_bits && s->amin_bits <= largest;
    bool has_most = smallest <= s->amax_bits && s->amax_bits <= largest;
    if (has_least)
      smallest = s->amin_bits;
    if (has_most)
      largest = s->amax_bits;
    fate a = fate_of(&r, f->min_normal, smallest, scale_exponent);
    fate b = fate_of(&r, f->min_normal, largest, scale_exponent);
    add_count(VANISHES, a, b, count, &c.vanish_low, &c.vanish_high);
    add_count(SUBNORMAL, a, b, count, &c.subnormal_low, &c.subnormal_high);
    add_count(OVERFLOWS, a, b, count, &c.overflow_low, &c.overflow_high);
    /* The extremes are values themselves. */
    if (has_least && a == VANISHES && b != VANISHES)
      c.vanish_low++;
    if (has_most && b == OVERFLOWS && a != OVERFLOWS)
      c.overflow_low++;
  }
  *counts = c;
  return MPT_OK;
}

int mpt_scale_exponent(mpt_format format, uint32_t amax_bits, int margin) {
  if (amax_bits == 0 || amax_bits >= MPT_FP32_INFINITY)
    return 0;
  /* max / amax = (m / n) 2^(p - q) with m and n in [1/2, 1). */
  int p, q;
  float m = frexpf(mpt_format_get(format)->max_finite, &p);
  float n = frexpf(mpt_bits_float(amax_bits), &q);
  int64_t exponent = (int64_t)p - q - (m < n) - margin;
  if (exponent > MAX_SCALE_EXPONENT)
    return MAX_SCALE_EXPONENT;
  return exponent < -MAX_SCALE_EXPONENT ? -MAX_SCALE_EXPONENT : (int)exponent;
}
