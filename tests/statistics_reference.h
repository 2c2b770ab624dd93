/* Statistics of an array by the plain loop, and arrays with everything in them, for tests. */
#ifndef STATISTICS_REFERENCE_H
#define STATISTICS_REFERENCE_H

#include "base/random.h"
#include "mptune/statistics.h"
#include <math.h>
#include <string.h>

static inline uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* values[i] of either sign over `binades` binades around 2^center; where `special`, one in eight is
 * a zero, infinity, NaN, subnormal, or any bits at all. Infinities and NaN only where `special` is
 * above 1. */
static inline void draw_values(uint64_t key, int center, int binades, int special, float *values,
                               int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    uint32_t w[4];
    mpt_philox(key, (uint64_t)i, 77, w);
    int biased = 127 + center - binades / 2 + (int)(w[1] % (uint32_t)(binades > 0 ? binades : 1));
    biased = biased < 0 ? 0 : biased > 254 ? 254 : biased;
    uint32_t bits = (w[0] & 0x807FFFFF) | (uint32_t)biased << 23;
    if (special > 0 && w[2] % 8 == 0) {
      const uint32_t sign = w[0] & 0x80000000;
      const uint32_t finite[] = {sign, sign | (w[3] & 0x7FFFFF), sign | 1, sign | 0x7F7FFFFF};
      const uint32_t any[] = {sign | 0x7F800000, sign | 0x7FC00000, sign | 0x7F800001, w[3]};
      bits = special > 1 && (w[1] & 4) ? any[w[1] >> 3 & 3] : finite[w[1] >> 3 & 3];
    }
    values[i] = float_of(bits);
  }
}

/* *absolute_sum receives the sum of |x|. */
static inline mpt_statistics plain_statistics(const float *values, int64_t count,
                                              double *absolute_sum) {
  mpt_statistics s = {.count = (uint64_t)count, .full = true};
  *absolute_sum = 0;
  for (int64_t i = 0; i < count; i++) {
    uint32_t magnitude = bits_of(values[i]) & 0x7FFFFFFF;
    double x = (double)values[i];
    s.histogram[magnitude >> 23]++;
    if (magnitude == 0)
      s.zeros++;
    if (isnan(x))
      s.nans++;
    if (isinf(x))
      s.infinities++;
    if (isfinite(x)) {
      s.sum += x;
      s.sum_of_squares += x * x;
      *absolute_sum += fabs(x);
    }
    if (magnitude > s.amax_bits)
      s.amax_bits = magnitude;
    if (magnitude > 0 && (s.amin_bits == 0 || magnitude < s.amin_bits))
      s.amin_bits = magnitude;
  }
  return s;
}

#endif
