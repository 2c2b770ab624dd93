/* exp, tanh and the logistic function as straight-line code that compilers vectorise, and sums over
 * rows. Inline, so that they are compiled for the vectors of the function that calls them.
 *
 * Over all floats the error is at most 1.5 ulp for exp, 2.5 ulp for tanh and the logistic function
 * (tests/test_vector_math.c); NaN stays NaN, overflow and underflow are those of libm. */
#ifndef MPT_CPU_VECTOR_MATH_H
#define MPT_CPU_VECTOR_MATH_H

#include "base/simd.h"
#include <math.h>
#include <stdint.h>
#include <string.h>

MPT_INLINE float float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

MPT_INLINE uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

/* x = n ln 2 + r with n whole: e^x = 2^n (1 + r + r^2 q(r)). q is the minimax polynomial of
 * (e^r - 1 - r) / r^2 on |r| <= ln(2)/2. 2^n is applied in two halves, for subnormal results. */
MPT_INLINE float vector_exp(float x) {
  const float to_whole =
      12582912.0f;           /* 1.5 * 2^23: adding it leaves the whole part in the low bits */
  x = x > 89.0f ? 89.0f : x; /* e^89 overflows, e^-104 rounds to zero */
  x = x < -104.0f ? -104.0f : x;
  float shifted = x * 1.44269504f + to_whole;
  float n = shifted - to_whole;
  float r = (x - n * 0x1.63p-1f) - n * -0x1.bd0106p-13f; /* ln 2 in two parts; n * first is exact */
  float q = 0x1.6a23cep-10f;
  q = q * r + 0x1.123a2p-7f;
  q = q * r + 0x1.5558f2p-5f;
  q = q * r + 0x1.555492p-3f;
  q = q * r + 0x1.fffffcp-2f;
  float power = (q * r) * r + r + 1.0f;
  int32_t whole = (int32_t)(bits_of(shifted) - bits_of(to_whole));
  int32_t half = whole >> 1;
  return power * float_of((uint32_t)(127 + half) << 23) *
         float_of((uint32_t)(127 + whole - half) << 23);
}

/* 1 / (1 + e^-x), from e^-|x| so that neither end loses digits. */
MPT_INLINE float vector_sigmoid(float x) {
  float e = vector_exp(-fabsf(x));
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

/* Near zero x + x^3 q(x^2), beyond 1 - 2 / (e^2|x| + 1). */
MPT_INLINE float vector_tanh(float x) {
  float a = fabsf(x), s = x * x;
  float q = -0x1.75e12p-8f;
  q = q * s + 0x1.522664p-6f;
  q = q * s - 0x1.b83cb2p-5f;
  q = q * s + 0x1.110736p-3f;
  q = q * s - 0x1.555544p-2f;
  float near = x + x * (s * q);
  float far = copysignf(1.0f - 2.0f / (vector_exp(2.0f * a) + 1.0f), x);
  return a < 0.625f ? near : far;
}

/* GELU by its tanh approximation (Hendrycks and Gimpel 2016): 0.5 x (1 + tanh u) = x sigmoid(2u)
 * with u = sqrt(2/pi) (x + 0.044715 x^3). */
#define GELU_2A 1.5957691216f /* 2 sqrt(2/pi) */
#define GELU_B  0.044715f

MPT_INLINE float vector_gelu(float x) {
  return x * vector_sigmoid(GELU_2A * (x + GELU_B * x * x * x));
}

/* s + x s (1 - s) (2u)', with s (1 - s) = e / (1 + e)^2 for e = e^-|2u|. */
MPT_INLINE float vector_gelu_slope(float x) {
  float z = GELU_2A * (x + GELU_B * x * x * x);
  float e = vector_exp(-fabsf(z)), d = 1.0f / (1.0f + e);
  float s = (z < 0.0f ? e : 1.0f) * d;
  return s + x * (e * d * d) * (GELU_2A * (1.0f + 3.0f * GELU_B * x * x));
}

/* ---- over rows: sixteen lanes, so that the order of a sum is the same with any vectors ---- */
typedef float lanes16 __attribute__((vector_size(64)));
typedef float lanes16_loose __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t mask16 __attribute__((vector_size(64)));

#define LANES_AT(p) ((lanes16)(*(const lanes16_loose *)(p)))

/* *total += the sum of the lanes, in a tree */
#define LANES_SUM(lanes, total)                                                                    \
  do {                                                                                             \
    float lane_[16];                                                                               \
    memcpy(lane_, &(lanes), sizeof lane_);                                                         \
    for (int half_ = 8; half_ > 0; half_ /= 2)                                                     \
      for (int i_ = 0; i_ < half_; i_++)                                                           \
        lane_[i_] += lane_[i_ + half_];                                                            \
    (total) += lane_[0];                                                                           \
  } while (0)

MPT_INLINE float row_sum(const float *x, int64_t n) {
  lanes16 lanes = {0};
  float total = 0;
  int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    lanes += LANES_AT(x + i);
  for (; i < n; i++)
    total += x[i];
  LANES_SUM(lanes, total);
  return total;
}

MPT_INLINE float row_dot(const float *x, const float *y, int64_t n) {
  lanes16 lanes = {0};
  float total = 0;
  int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    lanes += LANES_AT(x + i) * LANES_AT(y + i);
  for (; i < n; i++)
    total += x[i] * y[i];
  LANES_SUM(lanes, total);
  return total;
}

/* sum of (x - mean)^2 */
MPT_INLINE float row_spread(const float *x, float mean, int64_t n) {
  lanes16 lanes = {0};
  float total = 0;
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    lanes16 d = LANES_AT(x + i) - mean;
    lanes += d * d;
  }
  for (; i < n; i++)
    total += (x[i] - mean) * (x[i] - mean);
  LANES_SUM(lanes, total);
  return total;
}

/* The largest number of a row; NaN is passed over. */
MPT_INLINE float row_max(const float *x, int64_t n) {
  float largest = -INFINITY;
  int64_t i = 0;
  if (n >= 16) {
    lanes16 lanes = (lanes16){0} - INFINITY;
    for (; i + 16 <= n; i += 16) {
      lanes16 v = LANES_AT(x + i);
      mask16 greater = v > lanes;
      lanes = (lanes16)((greater & (mask16)v) | (~greater & (mask16)lanes));
    }
    float lane[16];
    memcpy(lane, &lanes, sizeof lane);
    for (int l = 0; l < 16; l++)
      largest = lane[l] > largest ? lane[l] : largest;
  }
  for (; i < n; i++)
    largest = x[i] > largest ? x[i] : largest;
  return largest;
}

#endif
