/* A session over layers with random data, and the reference that its results are held against:
 * operands rounded one by one, sums in double. */
#ifndef SESSION_RIG_H
#define SESSION_RIG_H

#include "base/random.h"
#include "mptune/mptune.h"
#include "mptune/ops.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OK(call)                                                                                   \
  do {                                                                                             \
    mpt_error ok_error = {0};                                                                      \
    if ((call) != MPT_OK) /* `call` passes &ok_error */                                            \
      fail_msg("%s", ok_error.message);                                                            \
  } while (0)

/* The call fails with this status and a message that has both texts in it. */
#define FAILS(call, wanted, text1, text2)                                                          \
  do {                                                                                             \
    mpt_error ok_error = {0};                                                                      \
    mpt_status failed = (call);                                                                    \
    if (failed != (wanted) || strstr(ok_error.message, (text1)) == NULL ||                         \
        strstr(ok_error.message, (text2)) == NULL)                                                 \
      fail_msg("%s: '%s'", mpt_status_name(failed), ok_error.message);                             \
  } while (0)

typedef struct rig {
  mpt_queue *queue;
  mpt_session *session;
  void *workspace;
} rig;

static inline mpt_layer_policy formats_of(mpt_precision fprop, mpt_precision dgrad,
                                          mpt_precision wgrad) {
  mpt_layer_policy policy = mpt_layer_policy_of(fprop);
  policy.gemm[MPT_DGRAD] = mpt_gemm_policy_of(MPT_DGRAD, dgrad);
  policy.gemm[MPT_WGRAD] = mpt_gemm_policy_of(MPT_WGRAD, wgrad);
  return policy;
}

static inline mpt_session_layer linear(const char *name, int64_t rows, int64_t n, int64_t k) {
  mpt_session_layer layer = {.info = {.rank = 2, .shape = {n, k}, .rows = rows, .kind = "linear"}};
  snprintf(layer.info.name, sizeof layer.info.name, "%s", name);
  return layer;
}

static inline mpt_session_config config_of(rig *r, const mpt_layer_policy *assignment) {
  if (r->queue == NULL) {
    mpt_queue_config queue_config = mpt_queue_config_default();
    queue_config.threads = 1;
    OK(mpt_queue_open(&queue_config, &r->queue, &ok_error));
  }
  mpt_session_config config = mpt_session_config_default();
  config.queue = r->queue;
  config.assignment = assignment;
  return config;
}

static inline void open_session(rig *r, const mpt_session_config *config,
                                const mpt_session_layer *layers, int count) {
  OK(mpt_session_open(config, layers, count, &r->session, &ok_error));
  size_t bytes = mpt_session_workspace_bytes(r->session);
  OK(mpt_memory_allocate(r->queue, bytes, &r->workspace, &ok_error));
  memset(r->workspace, 0xA5, bytes); /* a session takes nothing from it that it has not written */
  OK(mpt_session_set_workspace(r->session, r->workspace, bytes, &ok_error));
}

static inline void close_session(rig *r) {
  mpt_session_close(r->session);
  mpt_memory_free(r->queue, r->workspace);
  mpt_queue_close(r->queue);
  *r = (rig){0};
}

/* ---- data ---- */

static inline float *numbers(size_t count) {
  float *data = calloc(count, sizeof *data);
  assert_non_null(data);
  return data;
}

/* Normal numbers spread over a few binades, some zero, times `size`; values of `format`. */
static inline void fill(float *data, size_t count, uint64_t key, float size, mpt_format format) {
  for (size_t i = 0; i < count; i++) {
    uint32_t bits[4];
    mpt_philox(key, i, 0, bits);
    double uniform = mpt_uniform(bits[0]) - 0.5;
    double binade = ldexp(1.0, -(int)(bits[1] % 8));
    float value = bits[2] % 16 == 0 ? 0.0f : (float)(uniform * binade) * size;
    data[i] = mpt_format_round(format, value, false);
  }
}

static inline mpt_tensor matrix(float *data, int64_t rows, int64_t columns, mpt_format format) {
  int64_t shape[2] = {rows, columns};
  return mpt_tensor_of(data, format, 2, shape);
}

static inline mpt_tensor vector(float *data, int64_t count) {
  return mpt_tensor_of(data, MPT_FP32, 1, &count);
}

/* ---- reference ---- */

/* Largest e with amax * 2^e <= max_finite, found by trying, 0 for an amax of 0. */
static inline int reference_exponent(mpt_format format, const float *x, size_t count) {
  double amax = 0.0, limit = mpt_format_get(format)->max_finite;
  for (size_t i = 0; i < count; i++)
    amax = fmax(amax, fabs((double)x[i]));
  if (amax == 0.0)
    return 0;
  int e = 126;
  while (e > -126 && ldexp(amax, e) > limit)
    e--;
  return e;
}

static inline bool is_fp8(mpt_format format) {
  return format == MPT_FP8_E4M3 || format == MPT_FP8_E5M2;
}

/* What a GEMM must see of x: rounded to the format, at scale 2^exponent for fp8. */
static inline void reference_operand(mpt_format format, int exponent, const float *x, double *out,
                                     size_t count) {
  int e = is_fp8(format) ? exponent : 0;
  for (size_t i = 0; i < count; i++)
    out[i] = ldexp((double)mpt_format_round(format, (float)ldexp((double)x[i], e), true), -e);
}

static inline double *reference_current(mpt_format format, const float *x, size_t count) {
  double *out = calloc(count, sizeof *out);
  assert_non_null(out);
  reference_operand(format, reference_exponent(format, x, count), x, out, count);
  return out;
}

/* got[i, j] is within fp32 accumulation of sum_l a(i, l) b(l, j) + start[i, j], and rounded to
 * `format`. Strides: a(i, l) = a[i * a_row + l * a_column]. */
static inline void check_product(const float *got, const float *start, mpt_format format, int64_t m,
                                 int64_t n, int64_t k, const double *a, int64_t a_row,
                                 int64_t a_column, const double *b, int64_t b_row, int64_t b_column,
                                 const float *bias) {
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      double sum = start ? (double)start[i * n + j] : 0.0, size = fabs(sum);
      for (int64_t l = 0; l < k; l++) {
        double product = a[i * a_row + l * a_column] * b[l * b_row + j * b_column];
        sum += product, size += fabs(product);
      }
      if (bias != NULL)
        sum += (double)bias[j], size += fabs((double)bias[j]);
      float value = got[i * n + j];
      double step = ldexp(1.0, -mpt_format_get(format)->mantissa_bits);
      double allowed = fabs(sum) * step * 0.5001 + size * (double)(k + 4) * 0x1p-24 +
                       (double)mpt_format_get(format)->min_subnormal;
      if (!(fabs((double)value - sum) <= allowed) ||
          mpt_format_round(format, value, false) != value)
        fail_msg("[%d, %d] is %.9g, expected %.9g within %.3g", (int)i, (int)j, (double)value, sum,
                 allowed);
    }
}

#endif
