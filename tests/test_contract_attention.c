/* Attention against the textbook in double; gradients against central differences of it, or, where
 * those would take too long, against the textbook's. */
#include "contract.h"

typedef struct attention_shape {
  int64_t batch, length, channels;
  int heads;
  bool causal;
} attention_shape;

enum { MOST = 4096, LONGEST = 400 };

/* y and lse of q, k, v [B, T, C], lying one after the other in x. */
static void attention(attention_shape s, const double *x, double *y, double *lse) {
  int64_t count = s.batch * s.length * s.channels, depth = s.channels / s.heads;
  const double *q = x, *k = x + count, *v = x + 2 * count;
  for (int64_t pair = 0; pair < s.batch * s.heads; pair++)
    for (int64_t i = 0; i < s.length; i++) {
      int64_t base = pair / s.heads * s.length * s.channels + pair % s.heads * depth;
      int64_t keys = s.causal ? i + 1 : s.length;
      double p[LONGEST], largest = -INFINITY, sum = 0;
      for (int64_t j = 0; j < keys; j++) {
        p[j] = 0;
        for (int64_t d = 0; d < depth; d++)
          p[j] += q[base + i * s.channels + d] * k[base + j * s.channels + d] / sqrt((double)depth);
        largest = fmax(largest, p[j]);
      }
      for (int64_t j = 0; j < keys; j++)
        sum += p[j] = exp(p[j] - largest);
      if (lse != NULL)
        lse[pair * s.length + i] = largest + log(sum);
      for (int64_t d = 0; d < depth; d++) {
        double value = 0;
        for (int64_t j = 0; j < keys; j++)
          value += p[j] / sum * v[base + j * s.channels + d];
        y[base + i * s.channels + d] = value;
      }
    }
}

typedef struct attention_context {
  attention_shape s;
  const double *weights;
} attention_context;

static double loss(const void *context, const double *x) {
  const attention_context *k = context;
  static double y[MOST];
  attention(k->s, x, y, NULL);
  double sum = 0;
  for (int64_t i = 0; i < k->s.batch * k->s.length * k->s.channels; i++)
    sum += k->weights[i] * y[i];
  return sum;
}

/* One packed [B, T, 3C] tensor, and its three views. */
typedef struct packed {
  mpt_tensor whole, view[3];
} packed;

static packed pack(contract *c, attention_shape s, mpt_format format, const float *x) {
  int64_t rows = s.batch * s.length, count = rows * s.channels;
  float *values = NULL;
  if (x != NULL) {
    values = c_floats(c, 3 * count);
    for (int64_t i = 0; i < 3 * count; i++)
      values[i % count / s.channels * 3 * s.channels + i / count * s.channels + i % s.channels] =
          x[i];
  }
  packed p = {.whole = c_tensor(c, format, values, C_SHAPE(s.batch, s.length, 3 * s.channels))};
  size_t element = mpt_tensor_bytes(&p.whole) / (size_t)(3 * count);
  for (int i = 0; i < 3; i++) {
    p.view[i] = p.whole;
    p.view[i].shape[2] = s.channels;
    p.view[i].data = (char *)p.whole.data + (size_t)(i * s.channels) * element;
  }
  return p;
}

/* Read back as [3][B, T, C]. */
static float *unpack(contract *c, attention_shape s, const packed *p) {
  int64_t count = s.batch * s.length * s.channels;
  float *values = c_read(c, &p->whole), *x = c_floats(c, 3 * count);
  for (int64_t i = 0; i < 3 * count; i++)
    x[i] =
        values[i % count / s.channels * 3 * s.channels + i / count * s.channels + i % s.channels];
  return x;
}

static void check(contract *c, attention_shape s, mpt_format format, bool backward,
                  double tolerance) {
  int64_t count = s.batch * s.length * s.channels, rows = s.batch * s.heads * s.length;
  float *x = c_random_in(c, format, 3 * count), *grad = c_random_in(c, format, count);
  double *wide = c_widen(c, x, 3 * count), *y = c_doubles(c, count), *lse = c_doubles(c, rows);
  attention(s, wide, y, lse);
  packed in = pack(c, s, MPT_FP32, x), out = pack(c, s, MPT_FP32, NULL);
  mpt_tensor ty = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.batch, s.length, s.channels));
  mpt_tensor tlse = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.batch, s.heads, s.length));
  mpt_attention_args args = {&in.view[0], &in.view[1], &in.view[2], &ty,
                             &tlse,       s.heads,     s.causal,    format};
  C_RUN(mpt_attention_forward, c->queue, &args);
  c_close("y", c_read(c, &ty), y, count, tolerance);
  c_close("lse", c_read(c, &tlse), lse, rows, 4e-6);
  mpt_tensor grad_y = c_tensor(c, MPT_FP32, grad, C_SHAPE(s.batch, s.length, s.channels));
  C_RUN(mpt_attention_backward, c->queue, &args, &grad_y, &out.view[0], &out.view[1], &out.view[2]);
  float *got = unpack(c, s, &out);
  if (!backward)
    return;
  attention_context k = {s, c_widen(c, grad, count)};
  double *expected = c_differences(c, loss, &k, wide, 3 * count);
  static const char *const names[] = {"grad_query", "grad_key", "grad_value"};
  for (int i = 0; i < 3; i++)
    c_near(names[i], got + i * count, expected + i * count, count, tolerance, 1.0);
}

static void attention_and_gradients(contract *c) {
  static const attention_shape shapes[] = {
      {1, 1, 1, 1, false}, {1, 1, 3, 3, true},  {2, 5, 6, 2, false},  {2, 7, 6, 3, true},
      {1, 17, 5, 1, true}, {3, 16, 8, 4, true}, {1, 33, 10, 2, false}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    check(c, shapes[i], MPT_FP32, true, 1e-5);
}

/* Several blocks of queries, and pairs for every thread. */
static void long_sequences_are_cut_into_blocks(contract *c) {
  check(c, (attention_shape){2, 150, 12, 3, true}, MPT_FP32, false, 1e-5);
  check(c, (attention_shape){1, 333, 8, 2, false}, MPT_FP32, false, 1e-5);
}

/* The gradients of a sequence of several blocks, for a few elements. */
static void gradients_cross_blocks(contract *c) {
  attention_shape s = {1, 130, 4, 2, true};
  int64_t count = s.length * s.channels;
  float *x = c_random(c, 3 * count), *grad = c_random(c, count);
  double *wide = c_widen(c, x, 3 * count);
  packed in = pack(c, s, MPT_FP32, x), out = pack(c, s, MPT_FP32, NULL);
  mpt_tensor y = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.batch, s.length, s.channels));
  mpt_tensor lse = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.batch, s.heads, s.length));
  mpt_tensor grad_y = c_tensor(c, MPT_FP32, grad, C_SHAPE(s.batch, s.length, s.channels));
  mpt_attention_args args = {&in.view[0], &in.view[1], &in.view[2], &y,
                             &lse,        s.heads,     true,        MPT_FP32};
  C_RUN(mpt_attention_forward, c->queue, &args);
  C_RUN(mpt_attention_backward, c->queue, &args, &grad_y, &out.view[0], &out.view[1], &out.view[2]);
  float *got = unpack(c, s, &out);
  attention_context k = {s, c_widen(c, grad, count)};
  for (int i = 0; i < 60; i++) {
    int at = c_integer(c, 0, (int)(3 * count) - 1);
    double keep = wide[at];
    wide[at] = keep + 1e-5;
    double above = loss(&k, wide);
    wide[at] = keep - 1e-5;
    double expected = (above - loss(&k, wide)) / 2e-5;
    wide[at] = keep;
    c_near("a gradient", &got[at], &expected, 1, 1e-5, 1.0);
  }
}

/* Probabilities and score gradients are rounded on the way, so results are near by the format. */
static void products_take_operands_of_a_format(contract *c) {
  static const double unit[] = {[MPT_TF32] = 0x1p-11, [MPT_BF16] = 0x1p-8, [MPT_FP16] = 0x1p-11};
  for (int format = MPT_TF32; format <= MPT_FP16; format++)
    check(c, (attention_shape){2, 19, 8, 2, true}, (mpt_format)format, true, 4 * unit[format]);
}

/* Gradients of q, k, v by the chain rule; lse of attention(). */
static void gradients(attention_shape s, const double *x, const double *grad, const double *lse,
                      double *out) {
  int64_t width = s.channels, count = s.batch * s.length * width, depth = width / s.heads;
  double scale = 1 / sqrt((double)depth), p[LONGEST], dp[LONGEST];
  for (int64_t pair = 0; pair < s.batch * s.heads; pair++)
    for (int64_t i = 0; i < s.length; i++) {
      int64_t base = pair / s.heads * s.length * width + pair % s.heads * depth;
      int64_t keys = s.causal ? i + 1 : s.length, query = base + i * width;
      double mean = 0;
      for (int64_t j = 0; j < keys; j++) {
        int64_t key = count + base + j * width;
        p[j] = dp[j] = 0;
        for (int64_t d = 0; d < depth; d++) {
          p[j] += scale * x[query + d] * x[key + d];
          dp[j] += grad[query + d] * x[count + key + d];
        }
        p[j] = exp(p[j] - lse[pair * s.length + i]);
        mean += p[j] * dp[j];
      }
      for (int64_t j = 0; j < keys; j++) {
        int64_t key = count + base + j * width;
        double ds = scale * p[j] * (dp[j] - mean);
        for (int64_t d = 0; d < depth; d++) {
          out[query + d] += ds * x[key + d];
          out[key + d] += ds * x[query + d];
          out[count + key + d] += p[j] * grad[query + d];
        }
      }
    }
}

/* Each element within 16 roundings of the typical one (early rows hold more), all within one. */
static void check_norm(const char *what, const float *got, const double *expected, int64_t n,
                       double unit) {
  double error = 0, norm = 0;
  c_close(what, got, expected, n, 16 * unit);
  for (int64_t i = 0; i < n; i++) {
    error += ((double)got[i] - expected[i]) * ((double)got[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  if (!(sqrt(error / norm) <= unit))
    fail_msg("%s is off by %.3g of its norm, at most %.3g", what, sqrt(error / norm), unit);
}

/* Heads as GPTs have them, several blocks long, stored in the format of their products (tf32's are
 * fp32): what backends have fast paths for. */
static void check_stored(contract *c, attention_shape s, mpt_format format, double unit) {
  int64_t count = s.batch * s.length * s.channels, rows = s.batch * s.heads * s.length;
  mpt_format stored = format == MPT_TF32 ? MPT_FP32 : format;
  float *x = c_random_in(c, format, 3 * count), *grad = c_random_in(c, format, count);
  double *wide = c_widen(c, x, 3 * count), *y = c_doubles(c, count), *lse = c_doubles(c, rows);
  double *expected = c_doubles(c, 3 * count);
  attention(s, wide, y, lse);
  gradients(s, wide, c_widen(c, grad, count), lse, expected);
  packed in = pack(c, s, stored, x), out = pack(c, s, stored, NULL);
  mpt_tensor ty = c_tensor(c, stored, NULL, C_SHAPE(s.batch, s.length, s.channels));
  mpt_tensor tlse = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.batch, s.heads, s.length));
  mpt_tensor grad_y = c_tensor(c, stored, grad, C_SHAPE(s.batch, s.length, s.channels));
  mpt_attention_args args = {&in.view[0], &in.view[1], &in.view[2], &ty,
                             &tlse,       s.heads,     s.causal,    format};
  C_RUN(mpt_attention_forward, c->queue, &args);
  C_RUN(mpt_attention_backward, c->queue, &args, &grad_y, &out.view[0], &out.view[1], &out.view[2]);
  check_norm("y", c_read(c, &ty), y, count, unit);
  c_close("lse", c_read(c, &tlse), lse, rows, 4e-6);
  float *got = unpack(c, s, &out);
  static const char *const names[] = {"grad_query", "grad_key", "grad_value"};
  for (int i = 0; i < 3; i++)
    check_norm(names[i], got + i * count, expected + i * count, count, unit);
}

static void heads_of_usual_widths(contract *c) {
  static const double unit[] = {
      [MPT_FP32] = 0x1p-20, [MPT_TF32] = 0x1p-11, [MPT_BF16] = 0x1p-8, [MPT_FP16] = 0x1p-11};
  static const int64_t depths[] = {32, 64, 80, 128}; /* 80: between those of tiles */
  for (int format = MPT_FP32; format <= MPT_FP16; format++)
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++)
      for (int causal = 0; causal < 2; causal++)
        check_stored(c, (attention_shape){2, 150, 2 * depths[i], 2, causal}, (mpt_format)format,
                     unit[format]);
}

/* With one key the probability is 1 and y is v, rounded: the operands are rounded indeed. */
static void check_rounding(contract *c, attention_shape s) {
  int64_t count = s.batch * s.channels;
  float *x = c_random(c, 3 * count), *expected = c_floats(c, count);
  for (int format = MPT_FP32; format <= MPT_FP16; format++) {
    packed in = pack(c, s, MPT_FP32, x);
    mpt_tensor y = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.batch, s.length, s.channels));
    mpt_tensor lse = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.batch, s.heads, s.length));
    mpt_attention_args args = {&in.view[0], &in.view[1], &in.view[2], &y,
                               &lse,        s.heads,     false,       (mpt_format)format};
    C_RUN(mpt_attention_forward, c->queue, &args);
    for (int64_t i = 0; i < count; i++)
      expected[i] = mpt_format_round((mpt_format)format, x[2 * count + i], false);
    c_same_bits("y", c_read(c, &y), expected, count);
  }
}

static void operands_are_rounded(contract *c) {
  check_rounding(c, (attention_shape){3, 1, 40, 5, false});
  check_rounding(c, (attention_shape){3, 1, 128, 2, false});
}

static void run_forward(contract *c, const void *context, const mpt_tensor *y) {
  mpt_attention_args args = *(const mpt_attention_args *)context;
  args.y = y;
  C_RUN(mpt_attention_forward, c->queue, &args);
}

static void outputs_are_of_their_format(contract *c) {
  attention_shape s = {2, 70, 12, 3, true};
  packed in = pack(c, s, MPT_FP32, c_random(c, 3 * 140 * 12));
  mpt_tensor lse = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.batch, s.heads, s.length));
  mpt_attention_args args = {&in.view[0], &in.view[1], &in.view[2], NULL,
                             &lse,        s.heads,     true,        MPT_FP32};
  c_rounds(c, run_forward, &args, C_SHAPE(s.batch, s.length, s.channels));
}

CONTRACT_MAIN(CONTRACT_TEST(attention_and_gradients),
              CONTRACT_TEST(long_sequences_are_cut_into_blocks),
              CONTRACT_TEST(gradients_cross_blocks),
              CONTRACT_TEST(products_take_operands_of_a_format),
              CONTRACT_TEST(heads_of_usual_widths), CONTRACT_TEST(operands_are_rounded),
              CONTRACT_TEST(outputs_are_of_their_format))
