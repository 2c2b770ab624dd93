/* Operations on elements: memory, addition, activations, dropout. */
#include "contract.h"

static const int64_t counts[] = {1, 15, 16, 17, 63, 1001, 4097, 70001};
enum { COUNTS = sizeof counts / sizeof counts[0] };

static void fill_writes_the_value_in_the_format(contract *c) {
  for (int format = 0; format < MPT_FORMAT_COUNT; format++) {
    mpt_tensor x = c_tensor(c, (mpt_format)format, NULL, C_SHAPE(33, 70));
    C_RUN(mpt_fill, c->queue, &x, 1.03f);
    float *got = c_read(c, &x), expected = mpt_format_round((mpt_format)format, 1.03f, true);
    for (int i = 0; i < 33 * 70; i++)
      assert_true(got[i] == expected);
  }
}

static void run_copy(contract *c, const void *x, const mpt_tensor *y) {
  C_RUN(mpt_copy, c->queue, x, y);
}

static void copy_rounds(contract *c) {
  for (int i = 0; i < COUNTS; i++) {
    float *x = c_random(c, counts[i]);
    mpt_tensor tx = c_tensor(c, MPT_FP32, x, C_SHAPE(counts[i]));
    mpt_tensor y = c_tensor(c, MPT_FP32, NULL, C_SHAPE(counts[i]));
    run_copy(c, &tx, &y);
    c_same_bits("y", c_read(c, &y), x, counts[i]);
    c_rounds(c, run_copy, &tx, C_SHAPE(counts[i]));
  }
}

typedef struct add_context {
  mpt_tensor a, b;
} add_context;

static void run_add(contract *c, const void *context, const mpt_tensor *y) {
  const add_context *k = context;
  C_RUN(mpt_add, c->queue, &k->a, &k->b, y);
}

static void addition_adds(contract *c) {
  for (int i = 0; i < COUNTS; i++) {
    int64_t n = counts[i];
    float *a = c_random(c, n), *b = c_random(c, n), *sum = c_floats(c, n);
    for (int64_t j = 0; j < n; j++)
      sum[j] = a[j] + b[j];
    add_context k = {c_tensor(c, MPT_FP32, a, C_SHAPE(n)), c_tensor(c, MPT_FP32, b, C_SHAPE(n))};
    mpt_tensor out = c_tensor(c, MPT_FP32, NULL, C_SHAPE(n));
    run_add(c, &k, &out);
    c_same_bits("out", c_read(c, &out), sum, n);
    c_rounds(c, run_add, &k, C_SHAPE(n));
    C_RUN(mpt_add, c->queue, &k.a, &k.b, &k.a); /* out may be an input */
    c_same_bits("a", c_read(c, &k.a), sum, n);
    mpt_tensor y = c_tensor(c, MPT_FP32, a, C_SHAPE(n));
    C_RUN(mpt_accumulate_tensor, c->queue, &k.b, &y);
    c_same_bits("y", c_read(c, &y), sum, n);
  }
}

/* The middle columns of wider tensors; what is beside them stays as it was. */
static void views_of_rows_are_honoured(contract *c) {
  int64_t rows = 57, columns = 33, width = 100;
  float *a = c_random(c, rows * width), *b = c_random(c, rows * columns);
  mpt_tensor whole = c_tensor(c, MPT_FP32, a, C_SHAPE(3, 19, width)), view = whole;
  view.data = (float *)whole.data + 40; /* fp32 on every backend: four bytes an element */
  view.shape[2] = columns;
  mpt_tensor tb = c_tensor(c, MPT_FP32, b, C_SHAPE(3, 19, columns));
  C_RUN(mpt_accumulate_tensor, c->queue, &tb, &view);
  float *got = c_read(c, &whole);
  for (int64_t i = 0; i < rows * width; i++) {
    int64_t column = i % width - 40;
    bool inside = column >= 0 && column < columns;
    assert_true(got[i] == (inside ? a[i] + b[i / width * columns + column] : a[i]));
  }
}

typedef struct activation_context {
  mpt_activation kind;
  mpt_tensor x, y, grad_y;
} activation_context;

static double activation(mpt_activation kind, double x) {
  switch (kind) {
  case MPT_RELU:
    return x > 0 ? x : 0;
  case MPT_SIGMOID:
    return 1 / (1 + exp(-x));
  case MPT_TANH:
    return tanh(x);
  default:
    return 0.5 * x * (1 + tanh(sqrt(2 / 3.14159265358979) * (x + 0.044715 * x * x * x)));
  }
}

static void run_forward(contract *c, const void *context, const mpt_tensor *y) {
  const activation_context *k = context;
  C_RUN(mpt_activation_forward, c->queue, k->kind, &k->x, y);
}

static void run_backward(contract *c, const void *context, const mpt_tensor *grad_x) {
  const activation_context *k = context;
  C_RUN(mpt_activation_backward, c->queue, k->kind, &k->x, &k->y, &k->grad_y, grad_x);
}

static void check_activation(contract *c, mpt_activation kind, int64_t n) {
  float *x = c_random(c, n), *grad_y = c_random(c, n);
  double *y = c_doubles(c, n), *grad = c_doubles(c, n);
  for (int64_t i = 0; i < n; i++) {
    x[i] *= 4;
    const double step = 1e-6;
    double at = (double)x[i];
    y[i] = activation(kind, at);
    grad[i] = (double)grad_y[i] * (activation(kind, at + step) - activation(kind, at - step)) /
              (2 * step);
  }
  activation_context k = {kind, c_tensor(c, MPT_FP32, x, C_SHAPE(n)),
                          c_tensor(c, MPT_FP32, NULL, C_SHAPE(n)),
                          c_tensor(c, MPT_FP32, grad_y, C_SHAPE(n))};
  mpt_tensor grad_x = c_tensor(c, MPT_FP32, NULL, C_SHAPE(n));
  run_forward(c, &k, &k.y);
  run_backward(c, &k, &grad_x);
  c_close("y", c_read(c, &k.y), y, n, 1e-6);
  c_near("grad_x", c_read(c, &grad_x), grad, n, 1e-6, 1.0); /* 1 - y loses digits near 1 */
  if (n < 5000) {
    c_rounds(c, run_forward, &k, C_SHAPE(n));
    c_rounds(c, run_backward, &k, C_SHAPE(n));
  }
}

static void activations_and_their_slopes(contract *c) {
  for (int kind = MPT_RELU; kind <= MPT_GELU; kind++)
    for (int i = 0; i < COUNTS; i++)
      check_activation(c, (mpt_activation)kind, counts[i]);
}

/* Of values that a format holds, the results are those of the same values in fp32, rounded. */
static void check_stored(contract *c, mpt_format format, int64_t n) {
  float *a = c_random_in(c, format, n), *b = c_random_in(c, format, n);
  float *sum[2], *y[2], *grad_x[2];
  for (int stored = 0; stored < 2; stored++) {
    mpt_format f = stored ? format : MPT_FP32;
    mpt_tensor ta = c_tensor(c, f, a, C_SHAPE(n)), tb = c_tensor(c, f, b, C_SHAPE(n));
    mpt_tensor out = c_tensor(c, f, NULL, C_SHAPE(n));
    C_RUN(mpt_add, c->queue, &ta, &tb, &out);
    sum[stored] = c_read(c, &out);
    C_RUN(mpt_activation_forward, c->queue, MPT_GELU, &ta, &out);
    y[stored] = c_read(c, &out);
    C_RUN(mpt_activation_backward, c->queue, MPT_GELU, &ta, &ta, &tb, &out);
    grad_x[stored] = c_read(c, &out);
  }
  for (int64_t i = 0; i < n; i++) {
    sum[0][i] = mpt_format_round(format, sum[0][i], false);
    y[0][i] = mpt_format_round(format, y[0][i], false);
    grad_x[0][i] = mpt_format_round(format, grad_x[0][i], false);
  }
  c_same_bits("sum", sum[1], sum[0], n);
  c_same_bits("y", y[1], y[0], n);
  c_same_bits("grad_x", grad_x[1], grad_x[0], n);
}

static void stored_formats_change_nothing_but_rounding(contract *c) {
  for (int i = 0; i < COUNTS; i++) {
    check_stored(c, MPT_BF16, counts[i]);
    check_stored(c, MPT_FP16, counts[i]);
  }
}

/* Far from zero, and where there is no number. */
static void activations_end_where_they_should(contract *c) {
  float x[6] = {-INFINITY, -200, 0, 200, INFINITY, NAN};
  float expected[4][6] = {{0, 0, 0, 200, INFINITY, NAN},
                          {0, 0, 0.5f, 1, 1, NAN},
                          {-1, -1, 0, 1, 1, NAN},
                          {NAN, 0, 0, 200, INFINITY, NAN}}; /* gelu(-inf) = -inf * 0 */
  mpt_tensor tx = c_tensor(c, MPT_FP32, x, C_SHAPE(6));
  for (int kind = MPT_RELU; kind <= MPT_GELU; kind++) {
    mpt_tensor y = c_tensor(c, MPT_FP32, x, C_SHAPE(6));
    C_RUN(mpt_activation_forward, c->queue, (mpt_activation)kind, &tx, &y);
    float *got = c_read(c, &y);
    for (int i = 0; i < 6; i++)
      assert_true(isnan(expected[kind][i]) ? isnan(got[i]) : got[i] == expected[kind][i]);
  }
}

typedef struct dropout_context {
  mpt_tensor x;
  float probability;
  mpt_dropout_key key;
} dropout_context;

static void run_dropout(contract *c, const void *context, const mpt_tensor *y) {
  const dropout_context *k = context;
  C_RUN(mpt_dropout, c->queue, &k->x, k->probability, k->key, y);
}

static void dropout_keeps_by_key_and_index(contract *c) {
  for (int i = 0; i < COUNTS; i++) {
    int64_t n = counts[i];
    float *x = c_random(c, n), *expected = c_floats(c, n);
    dropout_context k = {c_tensor(c, MPT_FP32, x, C_SHAPE(n)), 0.3f, {12345, 77, 5}};
    for (int64_t j = 0; j < n; j++) {
      uint32_t words[4];
      mpt_philox(12345, (uint64_t)(j / 4) | (uint64_t)5 << 40, 77, words);
      bool keep = mpt_uniform(words[j % 4]) > (double)k.probability;
      expected[j] = keep ? x[j] * (1.0f / (1.0f - k.probability)) : 0.0f;
    }
    mpt_tensor y = c_tensor(c, MPT_FP32, NULL, C_SHAPE(n));
    run_dropout(c, &k, &y);
    c_same_bits("y", c_read(c, &y), expected, n);
    if (n < 5000)
      c_rounds(c, run_dropout, &k, C_SHAPE(n));
  }
}

static void dropout_drops_its_share(contract *c) {
  int64_t n = 70001;
  float *ones = c_floats(c, n);
  for (int64_t i = 0; i < n; i++)
    ones[i] = 1;
  mpt_tensor x = c_tensor(c, MPT_FP32, ones, C_SHAPE(n));
  for (float p = 0; p < 1; p += 0.19f) {
    mpt_tensor y = c_tensor(c, MPT_FP32, NULL, C_SHAPE(n));
    C_RUN(mpt_dropout, c->queue, &x, p, ((mpt_dropout_key){1, 2, 3}), &y);
    float *got = c_read(c, &y);
    int64_t dropped = 0;
    for (int64_t i = 0; i < n; i++)
      dropped += got[i] == 0;
    double expected = (double)p * (double)n; /* six standard deviations: fails by chance never */
    assert_true(fabs((double)dropped - expected) <= 6 * sqrt(expected * (1 - (double)p)));
  }
}

CONTRACT_MAIN(CONTRACT_TEST(fill_writes_the_value_in_the_format), CONTRACT_TEST(copy_rounds),
              CONTRACT_TEST(addition_adds), CONTRACT_TEST(views_of_rows_are_honoured),
              CONTRACT_TEST(activations_and_their_slopes),
              CONTRACT_TEST(activations_end_where_they_should),
              CONTRACT_TEST(stored_formats_change_nothing_but_rounding),
              CONTRACT_TEST(dropout_keeps_by_key_and_index), CONTRACT_TEST(dropout_drops_its_share))
