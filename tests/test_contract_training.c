/* Losses and optimizers. Losses against sums in double, their gradients against central
 * differences; optimizers against their papers' formulas in double, several steps long. */
#include "contract.h"

typedef struct loss_context {
  int64_t rows, columns;
  const int32_t *labels;
  const double *targets;
} loss_context;

/* Where an operation leaves a double, an integer. */
typedef struct loss_outputs {
  double *loss;
  int64_t *correct;
} loss_outputs;

static loss_outputs make_outputs(contract *c) {
  double nan = NAN;
  int64_t none = -1;
  return (loss_outputs){c_upload_bits(c, &nan, sizeof nan), c_upload_bits(c, &none, sizeof none)};
}

static double read_loss(contract *c, loss_outputs o) {
  double loss;
  c_download_bits(c, o.loss, &loss, sizeof loss);
  return loss;
}

static void assert_loss(contract *c, loss_outputs o, double expected) {
  double got = read_loss(c, o);
  if (!(fabs(got - expected) <= 1e-6 * (fabs(expected) + 1e-3)))
    fail_msg("loss is %.12g, expected %.12g", got, expected);
}

static int32_t *random_labels(contract *c, int64_t rows, int64_t columns) {
  int32_t *labels = c_host(c, (size_t)rows * sizeof(int32_t));
  for (int64_t r = 0; r < rows; r++)
    labels[r] = c_integer(c, 0, (int)columns - 1);
  labels[0] = 0, labels[rows - 1] = (int32_t)columns - 1;
  return labels;
}

/* ---- cross-entropy ---- */
static double cross_entropy(const void *context, const double *x) {
  const loss_context *k = context;
  double loss = 0;
  for (int64_t r = 0; r < k->rows; r++, x += k->columns) {
    double largest = x[0], sum = 0;
    for (int64_t i = 0; i < k->columns; i++)
      largest = fmax(largest, x[i]);
    for (int64_t i = 0; i < k->columns; i++)
      sum += exp(x[i] - largest);
    loss += (log(sum) + largest - x[k->labels[r]]) / (double)k->rows;
  }
  return loss;
}

/* cross-entropy of probabilities */
static double nll(const void *context, const double *p) {
  const loss_context *k = context;
  double loss = 0;
  for (int64_t r = 0; r < k->rows; r++)
    loss -= log(fmax(p[r * k->columns + k->labels[r]], 0x1p-126)) / (double)k->rows;
  return loss;
}

static int64_t count_correct(const loss_context *k, const float *x) {
  int64_t correct = 0;
  for (int64_t r = 0; r < k->rows; r++, x += k->columns) {
    int64_t best = 0;
    for (int64_t i = 1; i < k->columns; i++)
      if (x[i] > x[best])
        best = i;
    correct += best == k->labels[r];
  }
  return correct;
}

typedef mpt_status label_loss(mpt_queue *, const mpt_tensor *, const int32_t *, float,
                              const mpt_step_state *, double *, int64_t *, const mpt_tensor *,
                              mpt_error *);

typedef struct label_loss_context {
  label_loss *call;
  mpt_tensor x;
  const int32_t *labels;
  float scale;
  const mpt_step_state *state;
  loss_outputs out;
} label_loss_context;

static void run_label_loss(contract *c, const void *context, const mpt_tensor *grad) {
  const label_loss_context *k = context;
  C_RUN(k->call, c->queue, &k->x, k->labels, k->scale, k->state, k->out.loss, k->out.correct, grad);
}

static void check_label_loss(contract *c, label_loss *call, c_function *reference, bool positive,
                             int64_t rows, int64_t columns, bool gradient) {
  int64_t n = rows * columns, correct;
  float *x = c_random(c, n);
  for (int64_t i = 0; i < n; i++)
    x[i] = positive ? 0.01f + fabsf(x[i]) : 3 * x[i];
  int32_t *labels = random_labels(c, rows, columns);
  loss_context k = {rows, columns, labels, NULL};
  label_loss_context run = {call,
                            c_tensor(c, MPT_FP32, x, C_SHAPE(rows, columns)),
                            c_upload_bits(c, labels, (size_t)rows * sizeof(int32_t)),
                            4,
                            c_upload_state(c, (mpt_step_state){.loss_scale = 256}),
                            make_outputs(c)};
  mpt_tensor grad = c_tensor(c, MPT_FP32, NULL, C_SHAPE(rows, columns));
  double *wide = c_widen(c, x, n), expected = reference(&k, wide);
  run_label_loss(c, &run, &grad);
  float *got = c_read(c, &grad);
  assert_loss(c, run.out, expected);
  c_download_bits(c, run.out.correct, &correct, sizeof correct);
  assert_int_equal(correct, count_correct(&k, x));
  run.out = make_outputs(c);
  run_label_loss(c, &run, NULL);
  assert_loss(c, run.out, expected);
  C_RUN(call, c->queue, &run.x, run.labels, 1, NULL, NULL, NULL, NULL);
  c_rounds(c, run_label_loss, &run, C_SHAPE(rows, columns));
  if (!gradient)
    return;
  double *slopes = c_differences(c, reference, &k, wide, n);
  for (int64_t i = 0; i < n; i++)
    slopes[i] *= 1024;
  c_near("the gradient", got, slopes, n, 1e-5, positive ? 10.0 : 1024.0 / (double)rows);
}

static void cross_entropy_and_gradient(contract *c) {
  static const int64_t shapes[][2] = {{1, 1}, {1, 2}, {5, 3}, {7, 10}, {3, 33}};
  for (int i = 0; i < 5; i++)
    check_label_loss(c, mpt_cross_entropy, cross_entropy, false, shapes[i][0], shapes[i][1], true);
  check_label_loss(c, mpt_cross_entropy, cross_entropy, false, 301, 257, false);
}

static void nll_and_gradient(contract *c) {
  static const int64_t shapes[][2] = {{1, 1}, {1, 2}, {5, 3}, {7, 10}};
  for (int i = 0; i < 4; i++)
    check_label_loss(c, mpt_nll, nll, true, shapes[i][0], shapes[i][1], true);
  check_label_loss(c, mpt_nll, nll, true, 2001, 30, false);
}

static void ties_go_to_the_first_class(contract *c) {
  float x[6] = {2, 2, 1, 0, 3, 3};
  int32_t labels[2] = {0, 2};
  mpt_tensor logits = c_tensor(c, MPT_FP32, x, C_SHAPE(2, 3));
  loss_outputs out = make_outputs(c);
  C_RUN(mpt_cross_entropy, c->queue, &logits, c_upload_bits(c, labels, sizeof labels), 1, NULL,
        out.loss, out.correct, NULL);
  int64_t correct;
  c_download_bits(c, out.correct, &correct, sizeof correct);
  assert_int_equal(correct, 1);
}

static void a_vanished_probability_has_a_finite_loss(contract *c) {
  float p[2] = {0, 1};
  int32_t label = 0;
  mpt_tensor tp = c_tensor(c, MPT_FP32, p, C_SHAPE(1, 2));
  mpt_tensor grad = c_tensor(c, MPT_FP32, NULL, C_SHAPE(1, 2));
  loss_outputs out = make_outputs(c);
  C_RUN(mpt_nll, c->queue, &tp, c_upload_bits(c, &label, sizeof label), 1, NULL, out.loss, NULL,
        &grad);
  assert_loss(c, out, 126 * log(2));
  float *got = c_read(c, &grad);
  assert_true(got[0] == 0 && got[1] == 0);
}

static void a_nan_logit_makes_the_loss_nan(contract *c) {
  float x[3] = {1, NAN, 2};
  int32_t label = 2;
  mpt_tensor logits = c_tensor(c, MPT_FP32, x, C_SHAPE(1, 3));
  loss_outputs out = make_outputs(c);
  double zero = 0;
  out.loss = c_upload_bits(c, &zero, sizeof zero);
  C_RUN(mpt_cross_entropy, c->queue, &logits, c_upload_bits(c, &label, sizeof label), 1, NULL,
        out.loss, NULL, NULL);
  assert_true(isnan(read_loss(c, out)));
}

/* ---- losses over elements ---- */
static double binary_cross_entropy(const void *context, const double *x) {
  const loss_context *k = context;
  double loss = 0;
  for (int64_t i = 0; i < k->rows * k->columns; i++)
    loss += fmax(x[i], 0) - x[i] * k->targets[i] + log1p(exp(-fabs(x[i])));
  return loss / (double)(k->rows * k->columns);
}

static double mean_squared_error(const void *context, const double *x) {
  const loss_context *k = context;
  double loss = 0;
  for (int64_t i = 0; i < k->rows * k->columns; i++)
    loss += (x[i] - k->targets[i]) * (x[i] - k->targets[i]);
  return loss / (double)(k->rows * k->columns);
}

typedef mpt_status element_loss(mpt_queue *, const mpt_tensor *, const mpt_tensor *, float,
                                const mpt_step_state *, double *, const mpt_tensor *, mpt_error *);

typedef struct element_loss_context {
  element_loss *call;
  mpt_tensor x, targets;
  const mpt_step_state *state;
  loss_outputs out;
} element_loss_context;

static void run_element_loss(contract *c, const void *context, const mpt_tensor *grad) {
  const element_loss_context *k = context;
  C_RUN(k->call, c->queue, &k->x, &k->targets, 2, k->state, k->out.loss, grad);
}

static void check_element_loss(contract *c, element_loss *call, c_function *reference, int64_t rows,
                               int64_t columns, bool gradient) {
  int64_t n = rows * columns;
  float *x = c_random(c, n), *targets = c_floats(c, n);
  for (int64_t i = 0; i < n; i++) {
    targets[i] = (float)c_uniform(c);
    x[i] *= 3;
  }
  loss_context k = {rows, columns, NULL, c_widen(c, targets, n)};
  element_loss_context run = {call, c_tensor(c, MPT_FP32, x, C_SHAPE(rows, columns)),
                              c_tensor(c, MPT_FP32, targets, C_SHAPE(rows, columns)),
                              c_upload_state(c, (mpt_step_state){.loss_scale = 256}),
                              make_outputs(c)};
  mpt_tensor grad = c_tensor(c, MPT_FP32, NULL, C_SHAPE(rows, columns));
  double *wide = c_widen(c, x, n), expected = reference(&k, wide);
  run_element_loss(c, &run, &grad);
  float *got = c_read(c, &grad);
  assert_loss(c, run.out, expected);
  C_RUN(call, c->queue, &run.x, &run.targets, 1, NULL, NULL, NULL);
  c_rounds(c, run_element_loss, &run, C_SHAPE(rows, columns));
  if (!gradient)
    return;
  double *slopes = c_differences(c, reference, &k, wide, n);
  for (int64_t i = 0; i < n; i++)
    slopes[i] *= 512;
  c_near("the gradient", got, slopes, n, 1e-5, 512.0 / (double)n);
}

static void element_losses_and_gradients(contract *c) {
  static const int64_t shapes[][2] = {{1, 1}, {3, 1}, {1, 17}, {9, 7}};
  for (int i = 0; i < 4; i++) {
    check_element_loss(c, mpt_binary_cross_entropy, binary_cross_entropy, shapes[i][0],
                       shapes[i][1], true);
    check_element_loss(c, mpt_mean_squared_error, mean_squared_error, shapes[i][0], shapes[i][1],
                       true);
  }
  check_element_loss(c, mpt_binary_cross_entropy, binary_cross_entropy, 999, 31, false);
  check_element_loss(c, mpt_mean_squared_error, mean_squared_error, 999, 31, false);
}

/* ---- curvature ---- */
typedef struct signs_context {
  mpt_curvature kind;
  mpt_tensor x;
  const mpt_step_state *state;
} signs_context;

static void run_signs(contract *c, const void *context, const mpt_tensor *u) {
  const signs_context *k = context;
  C_RUN(mpt_curvature_signs, c->queue, k->kind, &k->x, 2, k->state, ((mpt_dropout_key){7, 5, 3}),
        u);
}

static double sign_of(mpt_dropout_key key, int64_t i) {
  uint32_t words[4];
  mpt_philox(key.seed, (uint64_t)(i / 128) | (uint64_t)key.layer << 40, key.step, words);
  return words[i % 128 / 32] >> i % 32 & 1 ? 1 : -1;
}

/* What ops.h and the kernels' formulas say, in double; times 512 = scale * loss_scale. */
static void expected_signs(mpt_curvature kind, const double *x, int64_t rows, int64_t n,
                           double *u) {
  const bool labels = kind == MPT_CURVATURE_CROSS_ENTROPY || kind == MPT_CURVATURE_NLL;
  const double c = 512.0 / (double)(labels ? rows : rows * n);
  for (int64_t r = 0; r < rows; r++) {
    double largest = -INFINITY, sum = 0, mean = 0;
    for (int64_t i = r * n; i < (r + 1) * n; i++)
      largest = fmax(largest, x[i]);
    for (int64_t i = r * n; i < (r + 1) * n; i++)
      sum += exp(x[i] - largest);
    for (int64_t i = r * n; i < (r + 1) * n; i++)
      mean += sqrt(exp(x[i] - largest) / sum) * sign_of((mpt_dropout_key){7, 5, 3}, i);
    for (int64_t i = r * n; i < (r + 1) * n; i++) {
      const double s = sign_of((mpt_dropout_key){7, 5, 3}, i), p = exp(x[i] - largest) / sum;
      const double q = 1 / (1 + exp(-x[i]));
      u[i] = c * (kind == MPT_CURVATURE_CROSS_ENTROPY ? sqrt(p) * s - p * mean
                  : kind == MPT_CURVATURE_NLL         ? s / sqrt(x[i])
                  : kind == MPT_CURVATURE_BINARY      ? sqrt(q * (1 - q)) * s
                                                      : sqrt(2) * s);
    }
  }
}

static void signs_of_the_curvature(contract *c) {
  static const int64_t shapes[][2] = {{1, 1}, {1, 2}, {5, 3}, {7, 130}, {3, 1500}, {300, 31}};
  for (int kind = MPT_CURVATURE_CROSS_ENTROPY; kind <= MPT_CURVATURE_SQUARED; kind++)
    for (int i = 0; i < 6; i++) {
      const int64_t rows = shapes[i][0], columns = shapes[i][1], n = rows * columns;
      float *x = c_random(c, n);
      for (int64_t j = 0; j < n; j++)
        x[j] = kind == MPT_CURVATURE_NLL ? 0.01f + fabsf(x[j]) : 3 * x[j];
      signs_context k = {(mpt_curvature)kind, c_tensor(c, MPT_FP32, x, C_SHAPE(rows, columns)),
                         c_upload_state(c, (mpt_step_state){.loss_scale = 256})};
      mpt_tensor u = c_tensor(c, MPT_FP32, NULL, C_SHAPE(rows, columns));
      double *expected = c_doubles(c, n);
      expected_signs(k.kind, c_widen(c, x, n), rows, columns, expected);
      run_signs(c, &k, &u);
      c_near("u", c_read(c, &u), expected, n, 3e-6, 512.0 / (double)rows);
      c_rounds(c, run_signs, &k, C_SHAPE(rows, columns));
      run_signs(c, &k, &k.x); /* in place */
      c_near("u in place", c_read(c, &k.x), expected, n, 3e-6, 512.0 / (double)rows);
    }
}

/* E[u u'] = H / divisor, H of the cross-entropy being (diag(p) - p p') / rows, over 4096 keys. */
static void signs_have_the_curvature(contract *c) {
  enum { ROWS = 2, N = 3, KEYS = 4096 };
  const float x[ROWS * N] = {1, -0.5f, 0.25f, 6, 0, -3};
  double sums[ROWS * N][ROWS * N] = {{0}}, p[ROWS][N];
  mpt_tensor tx = c_tensor(c, MPT_FP32, x, C_SHAPE(ROWS, N));
  mpt_tensor u = c_tensor(c, MPT_FP32, NULL, C_SHAPE(ROWS, N));
  for (int key = 0; key < KEYS; key++) {
    float got[ROWS * N];
    mpt_error error = {0};
    C_RUN(mpt_curvature_signs, c->queue, MPT_CURVATURE_CROSS_ENTROPY, &tx, 1, NULL,
          ((mpt_dropout_key){1, (uint64_t)key, 0}), &u);
    c_check(mpt_tensor_download(c->queue, &u, got, &error), &error);
    for (int i = 0; i < ROWS * N; i++)
      for (int j = 0; j < ROWS * N; j++)
        sums[i][j] += (double)got[i] * (double)got[j] / KEYS;
  }
  for (int r = 0; r < ROWS; r++) {
    double sum = 0;
    for (int i = 0; i < N; i++)
      sum += p[r][i] = exp((double)x[r * N + i]);
    for (int i = 0; i < N; i++)
      p[r][i] /= sum;
  }
  for (int i = 0; i < ROWS * N; i++)
    for (int j = 0; j < ROWS * N; j++) {
      const int r = i / N, s = j / N;
      const double h = r != s ? 0 : (i == j ? p[r][i % N] : 0) - p[r][i % N] * p[r][j % N];
      const double expected = h / ROWS / ROWS;
      if (fabs(sums[i][j] - expected) > 0.006)
        fail_msg("E[u u'] at %d, %d is %g, expected %g", i, j, sums[i][j], expected);
    }
}

/* ---- the check of gradients ---- */
static mpt_step_state read_state(contract *c, mpt_step_state *device) {
  mpt_step_state state;
  c_download_bits(c, device, &state, sizeof state);
  return state;
}

static void gradient_norm_and_clip(contract *c) {
  static const int64_t sizes[] = {1, 17, 30011};
  mpt_tensor tensors[3];
  const mpt_tensor *gradients[3] = {&tensors[0], &tensors[1], &tensors[2]};
  double squares = 0;
  for (int i = 0; i < 3; i++) {
    float *values = c_random(c, sizes[i]);
    for (int64_t j = 0; j < sizes[i]; j++)
      squares += (double)values[j] * (double)values[j];
    tensors[i] = c_tensor(c, MPT_FP32, values, C_SHAPE(sizes[i]));
  }
  double norm = sqrt(squares) / 256;
  static const double limits[] = {0, 1e9, 0.125};
  for (int i = 0; i < 3; i++) {
    mpt_step_state *device = c_upload_state(
        c, (mpt_step_state){.loss_scale = 256, .overflow = 1, .applied = 7, .clip = NAN});
    C_RUN(mpt_gradient_check, c->queue, gradients, 3, (float)limits[i], device, NULL);
    mpt_step_state state = read_state(c, device);
    assert_int_equal(state.overflow, 0);
    assert_int_equal(state.applied, 7);
    assert_true(fabs((double)state.gradient_norm / norm - 1) < 1e-6);
    double clip = i == 2 ? limits[2] / norm : 1;
    assert_true(fabs((double)state.clip / clip - 1) < 1e-6);
  }
}

static void one_bad_gradient_is_seen_wherever_it_is(contract *c) {
  static const float bad[] = {INFINITY, -INFINITY, NAN};
  for (int i = 0; i < 12; i++) {
    int64_t n = i < 6 ? 37 : 40000;
    float *values = c_random(c, n);
    values[i % 2 ? n - 1 : c_integer(c, 0, (int)n - 1)] = bad[i % 3];
    mpt_tensor t = c_tensor(c, MPT_FP32, values, C_SHAPE(n));
    mpt_step_state *device = c_upload_state(c, (mpt_step_state){.loss_scale = 1});
    C_RUN(mpt_gradient_check, c->queue, (const mpt_tensor *[]){&t}, 1, 1, device, NULL);
    assert_int_not_equal(read_state(c, device).overflow, 0);
  }
}

/* overflows[i] is the step in which gradient i was last not finite, counted from 1. */
static void the_gradients_that_overflowed_are_noted(contract *c) {
  enum { GRADIENTS = 5 };
  mpt_tensor tensors[GRADIENTS];
  const mpt_tensor *gradients[GRADIENTS];
  for (int bad = 0; bad < 1 << GRADIENTS; bad++) {
    for (int i = 0; i < GRADIENTS; i++) {
      int64_t n = i == 2 ? 30011 : 3 * i + 1;
      float *values = c_random(c, n);
      if (bad >> i & 1)
        values[c_integer(c, 0, (int)n - 1)] = i & 1 ? NAN : -INFINITY;
      tensors[i] = c_tensor(c, MPT_FP32, values, C_SHAPE(n));
      gradients[i] = &tensors[i];
    }
    int64_t before[GRADIENTS] = {0, 3, 0, 5, 7}, got[GRADIENTS];
    int64_t *overflows = c_upload_bits(c, before, sizeof before);
    mpt_step_state *device = c_upload_state(c, (mpt_step_state){.loss_scale = 2, .steps = 41});
    C_RUN(mpt_gradient_check, c->queue, gradients, GRADIENTS, 1, device, overflows);
    mpt_step_state state = read_state(c, device);
    c_download_bits(c, overflows, got, sizeof got);
    assert_int_equal(state.overflow != 0, bad != 0);
    assert_int_equal(state.pending, 1);
    assert_int_equal(state.steps, 41);
    for (int i = 0; i < GRADIENTS; i++)
      assert_int_equal(got[i], bad >> i & 1 ? 42 : before[i]);
  }
}

static void the_largest_floats_are_no_overflow(contract *c) {
  float largest[3] = {3.4e38f, -3.4e38f, 3.4e38f};
  mpt_tensor t = c_tensor(c, MPT_FP32, largest, C_SHAPE(3));
  mpt_step_state *device = c_upload_state(c, (mpt_step_state){.loss_scale = 65536, .overflow = 1});
  C_RUN(mpt_gradient_check, c->queue, (const mpt_tensor *[]){&t}, 1, 0, device, NULL);
  assert_int_equal(read_state(c, device).overflow, 0);
}

/* ---- optimizers ---- */
typedef struct optimizer_case {
  int64_t n;
  double learning_rate, momentum, weight_decay;
  bool decoupled, overflow;
} optimizer_case;

static void check_sgd(contract *c, optimizer_case k) {
  float *w = c_random(c, k.n);
  double *weight = c_widen(c, w, k.n), *momentum = c_doubles(c, k.n);
  mpt_tensor tw = c_tensor(c, MPT_FP32, w, C_SHAPE(k.n));
  mpt_tensor tm = c_tensor(c, MPT_FP32, c_floats(c, k.n), C_SHAPE(k.n));
  mpt_step_state state = {.loss_scale = 8, .overflow = k.overflow, .clip = 0.5f};
  for (int step = 0; step < 4; step++) {
    float *grad = c_random(c, k.n);
    mpt_tensor tgrad = c_tensor(c, MPT_FP32, grad, C_SHAPE(k.n));
    C_RUN(mpt_sgd_step, c->queue, &tw, &tgrad, k.momentum > 0 ? &tm : NULL, (float)k.learning_rate,
          NULL, (float)k.momentum, (float)k.weight_decay, c_upload_state(c, state));
    for (int64_t i = 0; !k.overflow && i < k.n; i++) {
      double g = 0.5 * (double)grad[i] / 8 + k.weight_decay * weight[i];
      momentum[i] = k.momentum * momentum[i] + g;
      weight[i] -= k.learning_rate * momentum[i];
    }
  }
  float *got = c_read(c, &tw);
  if (k.overflow)
    c_same_bits("weight", got, w, k.n);
  else
    c_near("weight", got, weight, k.n, 1e-6, 1.0);
}

static void sgd_follows_its_formula(contract *c) {
  static const int64_t sizes[] = {1, 33, 20011};
  for (int i = 0; i < 3; i++) {
    check_sgd(c, (optimizer_case){sizes[i], 0.1, 0, 0, false, false});
    check_sgd(c, (optimizer_case){sizes[i], 0.1, 0.9, 0.01, false, false});
    check_sgd(c, (optimizer_case){sizes[i], 0.1, 0.9, 0.01, false, true});
  }
}

static void check_adam(contract *c, optimizer_case k) {
  float *w = c_random(c, k.n);
  double *weight = c_widen(c, w, k.n), *first = c_doubles(c, k.n), *second = c_doubles(c, k.n);
  mpt_tensor tw = c_tensor(c, MPT_FP32, w, C_SHAPE(k.n));
  mpt_tensor tfirst = c_tensor(c, MPT_FP32, c_floats(c, k.n), C_SHAPE(k.n));
  mpt_tensor tsecond = c_tensor(c, MPT_FP32, c_floats(c, k.n), C_SHAPE(k.n));
  mpt_adam_args args = {(float)k.learning_rate, 0.9f,        0.99f, 1e-8f,
                        (float)k.weight_decay,  k.decoupled, NULL};
  double b1 = (double)args.beta1, b2 = (double)args.beta2;
  mpt_step_state state = {.loss_scale = 8, .overflow = k.overflow, .clip = 0.5f};
  for (int step = 0; step < 5; step++, state.applied++) {
    float *grad = c_random(c, k.n);
    mpt_tensor tgrad = c_tensor(c, MPT_FP32, grad, C_SHAPE(k.n));
    C_RUN(mpt_adam_step, c->queue, &tw, &tgrad, &tfirst, &tsecond, &args, c_upload_state(c, state));
    for (int64_t i = 0; !k.overflow && i < k.n; i++) {
      double g = 0.5 * (double)grad[i] / 8;
      if (k.decoupled)
        weight[i] -= k.learning_rate * k.weight_decay * weight[i];
      else
        g += k.weight_decay * weight[i];
      first[i] = b1 * first[i] + (1 - b1) * g;
      second[i] = b2 * second[i] + (1 - b2) * g * g;
      double mean = first[i] / (1 - pow(b1, step + 1));
      weight[i] -= k.learning_rate * mean / (sqrt(second[i] / (1 - pow(b2, step + 1))) + 1e-8);
    }
  }
  float *got = c_read(c, &tw);
  if (k.overflow) {
    c_same_bits("weight", got, w, k.n);
    c_same_bits("first moment", c_read(c, &tfirst), c_floats(c, k.n), k.n);
  } else {
    c_near("weight", got, weight, k.n, 2e-6, 1.0);
    c_close("first moment", c_read(c, &tfirst), first, k.n, 2e-6);
    c_close("second moment", c_read(c, &tsecond), second, k.n, 2e-6);
  }
}

static void adam_follows_its_papers(contract *c) {
  static const int64_t sizes[] = {1, 33, 20011};
  for (int i = 0; i < 3; i++) {
    check_adam(c, (optimizer_case){sizes[i], 0.01, 0, 0, false, false});
    check_adam(c, (optimizer_case){sizes[i], 0.01, 0, 0.1, false, false});
    check_adam(c, (optimizer_case){sizes[i], 0.01, 0, 0.1, true, false});
    check_adam(c, (optimizer_case){sizes[i], 0.01, 0, 0.1, true, true});
  }
}

CONTRACT_MAIN(CONTRACT_TEST(signs_of_the_curvature), CONTRACT_TEST(signs_have_the_curvature),
              CONTRACT_TEST(cross_entropy_and_gradient), CONTRACT_TEST(nll_and_gradient),
              CONTRACT_TEST(ties_go_to_the_first_class),
              CONTRACT_TEST(a_vanished_probability_has_a_finite_loss),
              CONTRACT_TEST(a_nan_logit_makes_the_loss_nan),
              CONTRACT_TEST(element_losses_and_gradients), CONTRACT_TEST(gradient_norm_and_clip),
              CONTRACT_TEST(one_bad_gradient_is_seen_wherever_it_is),
              CONTRACT_TEST(the_gradients_that_overflowed_are_noted),
              CONTRACT_TEST(the_largest_floats_are_no_overflow),
              CONTRACT_TEST(sgd_follows_its_formula), CONTRACT_TEST(adam_follows_its_papers))
