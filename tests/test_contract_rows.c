/* Operations on rows: embedding, layernorm, softmax. Gradients are compared with central
 * differences of the double-precision forward pass. */
#include "contract.h"

typedef struct row_shape {
  int64_t rows, columns;
} row_shape;

static const row_shape small[] = {{1, 1}, {1, 7}, {5, 1}, {3, 17}, {7, 10}, {4, 33}, {2, 64}};
static const row_shape large[] = {{900, 31}, {37, 1000}, {4, 5003},
                                  {45, 768}, {6, 2056},  {3, 5000}};
enum { SMALL = sizeof small / sizeof small[0], LARGE = sizeof large / sizeof large[0] };

/* What a gradient is a gradient of: the sum of y times these weights. */
typedef struct row_context {
  row_shape s;
  const double *x, *gamma, *beta, *weights;
  double epsilon;
} row_context;

/* ---- softmax ---- */
static void softmax(row_shape s, const double *x, double *y) {
  for (int64_t r = 0; r < s.rows; r++, x += s.columns, y += s.columns) {
    double largest = x[0], sum = 0;
    for (int64_t i = 1; i < s.columns; i++)
      largest = fmax(largest, x[i]);
    for (int64_t i = 0; i < s.columns; i++)
      sum += y[i] = exp(x[i] - largest);
    for (int64_t i = 0; i < s.columns; i++)
      y[i] /= sum;
  }
}

static double softmax_loss(const void *context, const double *x) {
  const row_context *k = context;
  double y[1024], sum = 0;
  softmax(k->s, x, y);
  for (int64_t i = 0; i < k->s.rows * k->s.columns; i++)
    sum += k->weights[i] * y[i];
  return sum;
}

static void run_softmax(contract *c, const void *x, const mpt_tensor *y) {
  C_RUN(mpt_softmax_forward, c->queue, x, y);
}

static void check_softmax(contract *c, row_shape s, bool backward) {
  int64_t n = s.rows * s.columns;
  float *x = c_random(c, n), *weights = c_random(c, n);
  double *wide = c_widen(c, x, n), *y = c_doubles(c, n);
  softmax(s, wide, y);
  mpt_tensor tx = c_tensor(c, MPT_FP32, x, C_SHAPE(s.rows, s.columns));
  mpt_tensor ty = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.rows, s.columns));
  run_softmax(c, &tx, &ty);
  c_close("y", c_read(c, &ty), y, n, 2e-6);
  c_rounds(c, run_softmax, &tx, C_SHAPE(s.rows, s.columns));
  if (!backward)
    return;
  mpt_tensor grad_y = c_tensor(c, MPT_FP32, weights, C_SHAPE(s.rows, s.columns));
  mpt_tensor grad_x = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.rows, s.columns));
  C_RUN(mpt_softmax_backward, c->queue, &ty, &grad_y, &grad_x);
  row_context k = {.s = s, .weights = c_widen(c, weights, n)};
  double *expected = c_differences(c, softmax_loss, &k, wide, n);
  if (s.columns > 1) /* one class: the gradient is zero, and so is its scale */
    c_close("grad_x", c_read(c, &grad_x), expected, n, 4e-6);
}

static void softmax_and_gradient(contract *c) {
  for (int i = 0; i < SMALL; i++)
    check_softmax(c, small[i], true);
  for (int i = 0; i < LARGE; i++)
    check_softmax(c, large[i], false);
}

static void softmax_survives_large_values(contract *c) {
  float x[6] = {1e30f, -1e30f, 1e30f, -INFINITY, 88, 89};
  mpt_tensor tx = c_tensor(c, MPT_FP32, x, C_SHAPE(2, 3));
  mpt_tensor y = c_tensor(c, MPT_FP32, NULL, C_SHAPE(2, 3));
  C_RUN(mpt_softmax_forward, c->queue, &tx, &y);
  double expected[6] = {0.5, 0, 0.5, 0, 1 / (1 + exp(1)), 1 / (1 + exp(-1))};
  c_close("y", c_read(c, &y), expected, 6, 1e-6);
}

/* ---- layernorm ---- */
static void layernorm(const row_context *k, const double *x, double *y) {
  int64_t n = k->s.columns;
  for (int64_t r = 0; r < k->s.rows; r++, x += n, y += n) {
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < n; i++)
      mean += x[i] / (double)n;
    for (int64_t i = 0; i < n; i++)
      variance += (x[i] - mean) * (x[i] - mean) / (double)n;
    for (int64_t i = 0; i < n; i++)
      y[i] = k->gamma[i] * (x[i] - mean) / sqrt(variance + k->epsilon) + k->beta[i];
  }
}

static double weighted(const row_context *k, const double *x) {
  double y[1024], sum = 0;
  layernorm(k, x, y);
  for (int64_t i = 0; i < k->s.rows * k->s.columns; i++)
    sum += k->weights[i] * y[i];
  return sum;
}

static double loss_of_x(const void *context, const double *x) {
  return weighted(context, x);
}

static double loss_of_gamma(const void *context, const double *gamma) {
  row_context k = *(const row_context *)context;
  k.gamma = gamma;
  return weighted(&k, k.x);
}

static double loss_of_beta(const void *context, const double *beta) {
  row_context k = *(const row_context *)context;
  k.beta = beta;
  return weighted(&k, k.x);
}

typedef struct layernorm_tensors {
  mpt_tensor x, gamma, beta, mean, rstd, grad_y, grad_gamma, grad_beta;
} layernorm_tensors;

static void run_layernorm(contract *c, const void *context, const mpt_tensor *y) {
  const layernorm_tensors *t = context;
  C_RUN(mpt_layernorm_forward, c->queue, &t->x, &t->gamma, &t->beta, 1e-5f, y, &t->mean, &t->rstd);
}

static void run_layernorm_backward(contract *c, const void *context, const mpt_tensor *grad_x) {
  const layernorm_tensors *t = context;
  C_RUN(mpt_layernorm_backward, c->queue, &t->grad_y, &t->x, &t->gamma, &t->mean, &t->rstd, grad_x,
        false, &t->grad_gamma, &t->grad_beta);
}

/* A sum is that of what is there and of what would be written in fp32, rounded once; the
 * parameters' gradients do not mind. */
static void check_accumulated(contract *c, const layernorm_tensors *t, mpt_format format) {
  int64_t rows = t->x.shape[0], columns = t->x.shape[1], n = rows * columns;
  float *before = c_random_in(c, format, n);
  mpt_tensor part = c_tensor(c, MPT_FP32, NULL, C_SHAPE(rows, columns));
  mpt_tensor sum = c_tensor(c, format, before, C_SHAPE(rows, columns));
  float *start[2] = {c_read(c, &t->grad_gamma), c_read(c, &t->grad_beta)};
  run_layernorm_backward(c, t, &part);
  float *added[2] = {c_read(c, &t->grad_gamma), c_read(c, &t->grad_beta)};
  mpt_tensor gamma = c_tensor(c, MPT_FP32, start[0], C_SHAPE(columns));
  mpt_tensor beta = c_tensor(c, MPT_FP32, start[1], C_SHAPE(columns));
  C_RUN(mpt_layernorm_backward, c->queue, &t->grad_y, &t->x, &t->gamma, &t->mean, &t->rstd, &sum,
        true, &gamma, &beta);
  float *expected = c_read(c, &part);
  for (int64_t i = 0; i < n; i++)
    expected[i] = mpt_format_round(format, before[i] + expected[i], false);
  c_same_bits("grad_x, added", c_read(c, &sum), expected, n);
  c_same_bits("grad_gamma", c_read(c, &gamma), added[0], columns);
  c_same_bits("grad_beta", c_read(c, &beta), added[1], columns);
}

static void check_layernorm(contract *c, row_shape s, bool backward) {
  int64_t n = s.rows * s.columns;
  float *x = c_random(c, n), *gamma = c_random(c, s.columns), *beta = c_random(c, s.columns);
  float *weights = c_random(c, n), *before = c_random(c, s.columns);
  for (int64_t i = 0; i < n; i++)
    x[i] += 3; /* a mean to take away */
  layernorm_tensors t = {.x = c_tensor(c, MPT_FP32, x, C_SHAPE(s.rows, s.columns)),
                         .gamma = c_tensor(c, MPT_FP32, gamma, C_SHAPE(s.columns)),
                         .beta = c_tensor(c, MPT_FP32, beta, C_SHAPE(s.columns)),
                         .mean = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.rows)),
                         .rstd = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.rows)),
                         .grad_y = c_tensor(c, MPT_FP32, weights, C_SHAPE(s.rows, s.columns)),
                         .grad_gamma = c_tensor(c, MPT_FP32, before, C_SHAPE(s.columns)),
                         .grad_beta = c_tensor(c, MPT_FP32, before, C_SHAPE(s.columns))};
  row_context k = {.s = s,
                   .x = c_widen(c, x, n),
                   .gamma = c_widen(c, gamma, s.columns),
                   .beta = c_widen(c, beta, s.columns),
                   .weights = c_widen(c, weights, n),
                   .epsilon = (double)1e-5f};
  double *y = c_doubles(c, n);
  layernorm(&k, k.x, y);
  mpt_tensor ty = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.rows, s.columns));
  run_layernorm(c, &t, &ty);
  c_close("y", c_read(c, &ty), y, n, 3e-6);
  c_rounds(c, run_layernorm, &t, C_SHAPE(s.rows, s.columns));
  mpt_tensor grad_x = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.rows, s.columns));
  run_layernorm_backward(c, &t, &grad_x);
  float *got_x = c_read(c, &grad_x), *got_gamma = c_read(c, &t.grad_gamma);
  float *got_beta = c_read(c, &t.grad_beta);
  c_rounds(c, run_layernorm_backward, &t, C_SHAPE(s.rows, s.columns));
  if (!backward)
    return;
  double *dx = c_differences(c, loss_of_x, &k, c_widen(c, x, n), n);
  double *dgamma = c_differences(c, loss_of_gamma, &k, c_widen(c, gamma, s.columns), s.columns);
  double *dbeta = c_differences(c, loss_of_beta, &k, c_widen(c, beta, s.columns), s.columns);
  for (int64_t i = 0; i < s.columns; i++) {
    dgamma[i] += (double)before[i];
    dbeta[i] += (double)before[i];
  }
  if (s.columns > 1) /* a single column is its own mean: y is beta, whatever x is */
    c_close("grad_x", got_x, dx, n, 1e-5);
  c_close("grad_gamma", got_gamma, dgamma, s.columns, 1e-5);
  c_close("grad_beta", got_beta, dbeta, s.columns, 1e-5);
}

static void layernorm_and_gradients(contract *c) {
  for (int i = 0; i < SMALL; i++)
    check_layernorm(c, small[i], true);
  for (int i = 0; i < LARGE; i++)
    check_layernorm(c, large[i], false);
}

static void check_parameter_gradients(contract *c, row_shape s) {
  int64_t n = s.rows * s.columns;
  float *x = c_random(c, n), *g = c_random(c, n), *gamma = c_random(c, s.columns);
  float *zero = c_floats(c, s.columns);
  double *dgamma = c_doubles(c, s.columns), *dbeta = c_doubles(c, s.columns);
  for (int64_t r = 0; r < s.rows; r++) {
    const float *row = x + r * s.columns;
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < s.columns; i++)
      mean += (double)row[i] / (double)s.columns;
    for (int64_t i = 0; i < s.columns; i++)
      variance += ((double)row[i] - mean) * ((double)row[i] - mean) / (double)s.columns;
    for (int64_t i = 0; i < s.columns; i++) {
      double grad = (double)g[r * s.columns + i];
      dgamma[i] += grad * ((double)row[i] - mean) / sqrt(variance + 1e-5);
      dbeta[i] += grad;
    }
  }
  layernorm_tensors t = {.x = c_tensor(c, MPT_FP32, x, C_SHAPE(s.rows, s.columns)),
                         .gamma = c_tensor(c, MPT_FP32, gamma, C_SHAPE(s.columns)),
                         .beta = c_tensor(c, MPT_FP32, zero, C_SHAPE(s.columns)),
                         .mean = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.rows)),
                         .rstd = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.rows)),
                         .grad_y = c_tensor(c, MPT_FP32, g, C_SHAPE(s.rows, s.columns)),
                         .grad_gamma = c_tensor(c, MPT_FP32, zero, C_SHAPE(s.columns)),
                         .grad_beta = c_tensor(c, MPT_FP32, zero, C_SHAPE(s.columns))};
  mpt_tensor y = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.rows, s.columns));
  mpt_tensor grad_x = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.rows, s.columns));
  run_layernorm(c, &t, &y);
  run_layernorm_backward(c, &t, &grad_x);
  c_close("grad_gamma", c_read(c, &t.grad_gamma), dgamma, s.columns, 1e-5);
  c_close("grad_beta", c_read(c, &t.grad_beta), dbeta, s.columns, 1e-5);
}

/* Sums over many rows, which the small shapes above don't cut into parts. */
static void layernorm_parameter_gradients_sum_all_rows(contract *c) {
  check_parameter_gradients(c, (row_shape){3001, 19});
  check_parameter_gradients(c, (row_shape){9001, 24});
}

/* ---- inputs in the formats in which layers are stored ---- */
/* Of values that a format holds, the results are those of the same values in fp32, rounded. */
static void check_stored(contract *c, row_shape s, mpt_format format) {
  int64_t n = s.rows * s.columns;
  float *x = c_random_in(c, format, n), *g = c_random_in(c, format, n);
  float *gamma = c_random(c, s.columns), *beta = c_random(c, s.columns);
  float *y[2], *grad_x[2], *grad_gamma[2], *grad_beta[2], *grad_bias[2];
  for (int stored = 0; stored < 2; stored++) {
    mpt_format f = stored ? format : MPT_FP32;
    layernorm_tensors t = {.x = c_tensor(c, f, x, C_SHAPE(s.rows, s.columns)),
                           .gamma = c_tensor(c, MPT_FP32, gamma, C_SHAPE(s.columns)),
                           .beta = c_tensor(c, MPT_FP32, beta, C_SHAPE(s.columns)),
                           .mean = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.rows)),
                           .rstd = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.rows)),
                           .grad_y = c_tensor(c, f, g, C_SHAPE(s.rows, s.columns)),
                           .grad_gamma = c_tensor(c, MPT_FP32, gamma, C_SHAPE(s.columns)),
                           .grad_beta = c_tensor(c, MPT_FP32, beta, C_SHAPE(s.columns))};
    mpt_tensor out = c_tensor(c, f, NULL, C_SHAPE(s.rows, s.columns));
    mpt_tensor bias = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.columns));
    run_layernorm(c, &t, &out);
    y[stored] = c_read(c, &out);
    run_layernorm_backward(c, &t, &out);
    grad_x[stored] = c_read(c, &out);
    C_RUN(mpt_bias_backward, c->queue, &t.x, &bias, false);
    grad_bias[stored] = c_read(c, &bias);
    grad_gamma[stored] = c_read(c, &t.grad_gamma);
    grad_beta[stored] = c_read(c, &t.grad_beta);
    check_accumulated(c, &t, format);
  }
  for (int64_t i = 0; i < n; i++) {
    y[0][i] = mpt_format_round(format, y[0][i], false);
    grad_x[0][i] = mpt_format_round(format, grad_x[0][i], false);
  }
  c_same_bits("y", y[1], y[0], n);
  c_same_bits("grad_x", grad_x[1], grad_x[0], n);
  c_same_bits("grad_gamma", grad_gamma[1], grad_gamma[0], s.columns);
  c_same_bits("grad_beta", grad_beta[1], grad_beta[0], s.columns);
  c_same_bits("grad_bias", grad_bias[1], grad_bias[0], s.columns);
}

static void stored_formats_change_nothing_but_rounding(contract *c) {
  static const row_shape shapes[] = {{45, 768}, {300, 2048}, {37, 1001}};
  for (int i = 0; i < 3; i++) {
    check_stored(c, shapes[i], MPT_BF16);
    check_stored(c, shapes[i], MPT_FP16);
  }
}

/* ---- embedding ---- */
static void check_embedding(contract *c, int64_t batch, int64_t length, int64_t vocabulary,
                            int64_t columns, bool position) {
  int64_t rows = batch * length, n = rows * columns;
  int32_t *ids = c_host(c, (size_t)rows * sizeof(int32_t));
  for (int64_t r = 0; r < rows; r++)
    ids[r] = c_integer(c, 0, (int)vocabulary - 1);
  ids[0] = 0, ids[rows - 1] = (int32_t)vocabulary - 1;
  float *table = c_random(c, vocabulary * columns), *places = c_random(c, length * columns);
  float *grad = c_random_in(c, MPT_BF16, n), *expected = c_floats(c, n);
  double *grad_table = c_widen(c, table, vocabulary * columns); /* it is added to */
  double *grad_places = c_widen(c, places, length * columns);
  for (int64_t i = 0; i < n; i++) {
    int64_t word = ids[i / columns] * columns + i % columns;
    int64_t place = i / columns % length * columns + i % columns;
    expected[i] = table[word] + (position ? places[place] : 0.0f);
    grad_table[word] += (double)grad[i];
    grad_places[place] += (double)grad[i];
  }
  const int32_t *device_ids = c_upload_bits(c, ids, (size_t)rows * sizeof(int32_t));
  mpt_tensor ttable = c_tensor(c, MPT_FP32, table, C_SHAPE(vocabulary, columns));
  mpt_tensor tplaces = c_tensor(c, MPT_FP32, places, C_SHAPE(length, columns));
  mpt_tensor y = c_tensor(c, MPT_FP32, NULL, C_SHAPE(batch, length, columns));
  mpt_tensor rounded = c_tensor(c, MPT_BF16, NULL, C_SHAPE(batch, length, columns));
  mpt_tensor tgrad = c_tensor(c, MPT_FP32, grad, C_SHAPE(batch, length, columns));
  const mpt_tensor *where = position ? &tplaces : NULL;
  C_RUN(mpt_embedding_forward, c->queue, device_ids, &ttable, where, &y);
  c_same_bits("y", c_read(c, &y), expected, n);
  C_RUN(mpt_embedding_forward, c->queue, device_ids, &ttable, where, &rounded);
  for (int64_t i = 0; i < n; i++)
    expected[i] = mpt_format_round(MPT_BF16, expected[i], true);
  c_same_bits("y in bf16", c_read(c, &rounded), expected, n);
  C_RUN(mpt_embedding_backward, c->queue, device_ids, &tgrad, &ttable, where);
  c_close("grad_table", c_read(c, &ttable), grad_table, vocabulary * columns, 1e-5);
  if (position)
    c_close("grad_position", c_read(c, &tplaces), grad_places, length * columns, 1e-5);
  float *in_fp32 = c_read(c, &ttable);
  mpt_tensor halves = c_tensor(c, MPT_BF16, grad, C_SHAPE(batch, length, columns));
  mpt_tensor again = c_tensor(c, MPT_FP32, table, C_SHAPE(vocabulary, columns));
  C_RUN(mpt_embedding_backward, c->queue, device_ids, &halves, &again, NULL);
  c_same_bits("grad_table from bf16", c_read(c, &again), in_fp32, vocabulary * columns);
}

static void embedding_and_gradients(contract *c) {
  check_embedding(c, 1, 1, 1, 1, true);
  check_embedding(c, 3, 5, 7, 9, true);
  check_embedding(c, 2, 1, 30, 17, false);
  check_embedding(c, 9, 65, 50, 41, true); /* many rows with one id, in several tasks */
  check_embedding(c, 4, 600, 3, 40, true); /* runs of one id that go on and on */
  check_embedding(c, 5, 700, 5000, 8, true);
}

CONTRACT_MAIN(CONTRACT_TEST(softmax_and_gradient), CONTRACT_TEST(softmax_survives_large_values),
              CONTRACT_TEST(layernorm_and_gradients),
              CONTRACT_TEST(layernorm_parameter_gradients_sum_all_rows),
              CONTRACT_TEST(stored_formats_change_nothing_but_rounding),
              CONTRACT_TEST(embedding_and_gradients))
