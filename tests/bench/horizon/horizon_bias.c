/* The head's gradient p - y sums to 0 over the classes, for each token. Rounded, it need not; and
 * what it misses is the same way at every step where the classes round alike. Here the sums, over
 * a sample of tokens, as the trainer rounds (a power-of-two scale for the tensor) and otherwise (a
 * scale for each row, stochastic rounding). */
#include "base/error.h"
#include "base/random.h"
#include "mptune/ops.h"
#include "tests/bench/horizon/horizon.h"
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TOKENS = 128 };

typedef struct sample {
  int64_t tokens, classes, width, rows; /* rows: of the whole tensor */
  int32_t labels[MOST_TOKENS];
  float *stored;  /* [tokens, classes] the gradient of the mean loss as the trainer has it */
  float *exact;   /* the same from the logits, by doubles: (p - y) / rows */
  float *rounded; /* a row */
  float amax;     /* of the whole tensor */
  float most_off; /* largest |stored - exact| / max(|exact|, 2^-24 / rows) */
} sample;

typedef struct rounding {
  const char *name;
  bool of_exact; /* else of what is stored */
  mpt_format format;
  bool by_row, stochastic;
} rounding;

static const rounding roundings[] = {
    {"unrounded", true, MPT_FP32, false, false},
    {"stored in bf16", false, MPT_FP32, false, false},
    {"e5m2", false, MPT_FP8_E5M2, false, false},
    {"e4m3", false, MPT_FP8_E4M3, false, false},
    {"e5m2, a scale for each row", false, MPT_FP8_E5M2, true, false},
    {"e4m3, a scale for each row", false, MPT_FP8_E4M3, true, false},
    {"e5m2, stochastic", false, MPT_FP8_E5M2, false, true},
    {"e4m3, stochastic", false, MPT_FP8_E4M3, false, true},
};

/* Rows all over the tensor, of all places in a sequence. */
static int64_t row_of(const sample *s, int64_t token) {
  const int64_t part = s->rows / s->tokens;
  return token * part + token * 37 % part;
}

static float largest(const float *values, int64_t count) {
  float most = 0.0f;
  for (int64_t i = 0; i < count; i++)
    most = fmaxf(most, fabsf(values[i]));
  return most;
}

/* As the trainer's: 2^floor(log2(max / amax)). */
static float scale_for(mpt_format format, float amax) {
  if (!mpt_format_is_fp8(format) || !(amax > 0.0f))
    return 1.0f;
  int exponent;
  frexpf(mpt_format_get(format)->max_finite / amax, &exponent);
  return ldexpf(1.0f, exponent - 1);
}

static float round_stochastically(const mpt_format_info *info, float value, double random) {
  if (value == 0.0f || fabsf(value) >= info->max_finite)
    return fminf(fmaxf(value, -info->max_finite), info->max_finite);
  int exponent;
  frexpf(value, &exponent);
  exponent = exponent - 1 > info->min_exponent ? exponent - 1 : info->min_exponent;
  const double unit = ldexp(1.0, exponent - info->mantissa_bits),
               units = fabs((double)value) / unit;
  const double up = floor(units) + (units - floor(units) > random ? 1.0 : 0.0);
  return (float)copysign(up * unit, (double)value);
}

static void round_row(const rounding *r, const sample *s, int64_t token, const float *row) {
  const float scale = scale_for(r->format, r->by_row ? largest(row, s->classes) : s->amax);
  const mpt_format_info *info = mpt_format_get(r->format);
  if (!r->stochastic) {
    mpt_format_round_array(r->format, row, scale, s->rounded, (size_t)s->classes);
  } else {
    uint32_t random[4];
    for (int64_t i = 0; i < s->classes; i++) {
      if (i % 4 == 0)
        mpt_philox(17, (uint64_t)i / 4, (uint64_t)token, random);
      s->rounded[i] =
          round_stochastically(info, row[i] * scale, ((double)random[i % 4] + 0.5) * 0x1p-32);
    }
  }
  for (int64_t i = 0; i < s->classes; i++)
    s->rounded[i] /= scale;
}

/* Over tokens: mean and mean magnitude of the sum over classes, and of what rounding added to the
 * label's class and to all others; the share of the gradient's magnitude that became zero. */
static json_t *sums_of(const rounding *r, const sample *s) {
  double sum = 0, magnitude = 0, label = 0, others = 0, whole = 0, lost = 0, off = 0, square = 0;
  for (int64_t token = 0; token < s->tokens; token++) {
    const float *row = (r->of_exact ? s->exact : s->stored) + token * s->classes;
    const float *exact = s->exact + token * s->classes;
    double total = 0;
    round_row(r, s, token, row);
    for (int64_t i = 0; i < s->classes; i++) {
      const double error = (double)s->rounded[i] - (double)exact[i];
      total += (double)s->rounded[i];
      *(i == s->labels[token] ? &label : &others) += error;
      whole += fabs((double)exact[i]);
      lost += s->rounded[i] == 0.0f ? fabs((double)exact[i]) : 0.0;
      off += error * error;
      square += (double)exact[i] * (double)exact[i];
    }
    sum += total;
    magnitude += fabs(total);
  }
  const double n = (double)s->tokens / (double)s->rows; /* in units of p - y */
  return mpt_json_pack("{s:s,s:f,s:f,s:f,s:f,s:f,s:f}", "rounding", r->name, "mean", sum / n,
                       "mean_magnitude", magnitude / n, "label", label / n, "others", others / n,
                       "lost", lost / whole, "relative_error", sqrt(off / square));
}

/* ---- the sample ---- */

static mpt_status download_row(mpt_queue *queue, const mpt_tensor *tensor, int64_t row, float *to,
                               mpt_error *error) {
  mpt_tensor view = *tensor;
  const size_t bytes = mpt_element_bytes(tensor->device.kind, tensor->format);
  view.shape[0] = 1;
  view.data = (char *)tensor->data + (size_t)(row * tensor->strides[0]) * bytes;
  return mpt_tensor_download(queue, &view, to, error);
}

static mpt_status amax_of(mpt_queue *queue, const mpt_tensor *tensor, float *amax,
                          mpt_error *error) {
  void *bits = NULL;
  MPT_RETURN_IF_FAILED(mpt_memory_allocate(queue, sizeof(uint32_t), &bits, error));
  mpt_status status = mpt_amax(queue, tensor, bits, error);
  if (status == MPT_OK)
    status = mpt_memory_download(queue, bits, sizeof *amax, amax, error);
  mpt_memory_free(queue, bits);
  return status;
}

/* (p - y) / rows from a row of logits, which it replaces. */
static void exact_gradient(float *row, int64_t classes, int32_t label, int64_t rows) {
  double most = -INFINITY, sum = 0;
  for (int64_t i = 0; i < classes; i++)
    most = fmax(most, (double)row[i]);
  for (int64_t i = 0; i < classes; i++)
    sum += exp((double)row[i] - most);
  for (int64_t i = 0; i < classes; i++)
    row[i] = (float)((exp((double)row[i] - most) / sum - (i == label)) / (double)rows);
}

/* The logits as the reference has them: operands and results in bf16. */
static mpt_status compute_exact(mpt_queue *queue, const mpt_tensor *input, const mpt_tensor *weight,
                                sample *s, mpt_error *error) {
  mpt_status status = MPT_OK;
  const size_t weights = (size_t)(s->classes * s->width), inputs = (size_t)(s->tokens * s->width);
  float *w = malloc(weights * sizeof *w), *x = malloc(inputs * sizeof *x);
  if (w == NULL || x == NULL) {
    status = mpt_fail_memory(error, "the head's operands", weights * sizeof *w);
    goto fail;
  }
  MPT_TRY(mpt_tensor_download(queue, weight, w, error));
  for (int64_t i = 0; i < s->tokens; i++)
    MPT_TRY(download_row(queue, input, row_of(s, i), x + i * s->width, error));
  mpt_format_round_array(MPT_BF16, w, 1.0f, w, weights);
  mpt_format_round_array(MPT_BF16, x, 1.0f, x, inputs);
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)s->tokens, (int)s->classes,
              (int)s->width, 1.0f, x, (int)s->width, w, (int)s->width, 0.0f, s->exact,
              (int)s->classes);
  mpt_format_round_array(MPT_BF16, s->exact, 1.0f, s->exact, (size_t)(s->tokens * s->classes));
  for (int64_t i = 0; i < s->tokens; i++)
    exact_gradient(s->exact + i * s->classes, s->classes, s->labels[i], s->rows);
fail:
  free(w);
  free(x);
  return status;
}

static mpt_status take_sample(mpt_queue *queue, const mpt_tensor *input, const mpt_tensor *weight,
                              const mpt_tensor *grad, const int32_t *labels, sample *s,
                              mpt_error *error) {
  const size_t count = (size_t)(s->tokens * s->classes);
  s->stored = malloc(count * sizeof(float));
  s->exact = malloc(count * sizeof(float));
  s->rounded = malloc((size_t)s->classes * sizeof(float));
  if (s->stored == NULL || s->exact == NULL || s->rounded == NULL)
    return mpt_fail_memory(error, "a sample of gradients", count * sizeof(float));
  for (int64_t i = 0; i < s->tokens; i++) {
    const int64_t row = row_of(s, i);
    s->labels[i] = labels[row];
    MPT_RETURN_IF_FAILED(download_row(queue, grad, row, s->stored + i * s->classes, error));
  }
  MPT_RETURN_IF_FAILED(amax_of(queue, grad, &s->amax, error));
  MPT_RETURN_IF_FAILED(compute_exact(queue, input, weight, s, error));
  for (size_t i = 0; i < count; i++) {
    const float least = 0x1p-24f / (float)s->rows;
    const float off = fabsf(s->stored[i] - s->exact[i]) / fmaxf(fabsf(s->exact[i]), least);
    s->most_off = fmaxf(s->most_off, off);
  }
  return MPT_OK;
}

mpt_status horizon_bias(mpt_queue *queue, const mpt_tensor *input, const mpt_tensor *weight,
                        const mpt_tensor *grad, const int32_t *labels, json_t **out,
                        mpt_error *error) {
  sample s = {.tokens = grad->shape[0] < MOST_TOKENS ? grad->shape[0] : MOST_TOKENS,
              .classes = grad->shape[1],
              .width = input->shape[1],
              .rows = grad->shape[0]};
  mpt_status status = take_sample(queue, input, weight, grad, labels, &s, error);
  if (status == MPT_OK) {
    json_t *ways = json_array();
    for (size_t i = 0; i < sizeof roundings / sizeof *roundings; i++)
      mpt_json_append(&ways, sums_of(&roundings[i], &s));
    *out = mpt_json_pack("{s:I,s:I,s:f,s:f,s:o}", "tokens", (json_int_t)s.tokens, "rows",
                         (json_int_t)s.rows, "amax", (double)s.amax * (double)s.rows, "stored_off",
                         (double)s.most_off, "ways", ways);
  }
  free(s.stored);
  free(s.exact);
  free(s.rounded);
  return status;
}
