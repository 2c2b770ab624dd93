/* Whole training steps: losses over long rows in place, many gradients at one call, Adam on many
 * parameters with their copies. */
#include "contract.h"
#include "statistics_reference.h"

/* ---- cross-entropy where the logits become their gradient ---- */
static double softmax_and_loss(const float *x, int64_t n, int32_t label, double *softmax) {
  double largest = (double)x[0], sum = 0;
  for (int64_t i = 1; i < n; i++)
    largest = fmax(largest, (double)x[i]);
  for (int64_t i = 0; i < n; i++)
    sum += softmax[i] = exp((double)x[i] - largest);
  for (int64_t i = 0; i < n; i++)
    softmax[i] /= sum;
  return log(sum) + largest - (double)x[label];
}

static void check_in_place(contract *c, mpt_format format, int64_t rows, int64_t classes) {
  const double tolerance = format == MPT_FP32 ? 1e-5 : format == MPT_FP16 ? 0x1p-10 : 0x1p-7;
  int64_t n = rows * classes;
  float *x = c_random_in(c, format, n);
  double *expected = c_doubles(c, n), loss = 0, got_loss;
  int32_t *labels = c_host(c, (size_t)rows * sizeof *labels);
  int64_t correct = 0, got_correct;
  for (int64_t r = 0; r < rows; r++) {
    double *row = expected + r * classes;
    labels[r] = c_integer(c, 0, (int)classes - 1);
    int64_t best = 0;
    for (int64_t i = 1; i < classes; i++)
      best = x[r * classes + i] > x[r * classes + best] ? i : best;
    if (r % 3 == 0)
      labels[r] = (int32_t)best;
    correct += labels[r] == best;
    loss += softmax_and_loss(x + r * classes, classes, labels[r], row) / (double)rows;
    row[labels[r]] -= 1;
    for (int64_t i = 0; i < classes; i++)
      row[i] *= 512 / (double)rows;
  }
  mpt_tensor logits = c_tensor(c, format, x, C_SHAPE(rows, classes));
  mpt_tensor apart = c_tensor(c, format, NULL, C_SHAPE(rows, classes));
  int32_t *device_labels = c_upload_bits(c, labels, (size_t)rows * sizeof *labels);
  mpt_step_state state = {.loss_scale = 256};
  mpt_step_state *device_state = c_upload_state(c, state);
  double *device_loss = c_device(c, sizeof loss);
  int64_t *device_correct = c_device(c, sizeof correct);
  C_RUN(mpt_cross_entropy, c->queue, &logits, device_labels, 2, device_state, NULL, NULL, &apart);
  C_RUN(mpt_cross_entropy, c->queue, &logits, device_labels, 2, device_state, device_loss,
        device_correct, &logits);
  c_download_bits(c, device_loss, &got_loss, sizeof got_loss);
  c_download_bits(c, device_correct, &got_correct, sizeof got_correct);
  if (!(fabs(got_loss - loss) <= 1e-6 * fabs(loss)))
    fail_msg("loss is %.12g, expected %.12g", got_loss, loss);
  assert_int_equal(got_correct, correct);
  float *got = c_read(c, &logits);
  c_near("the gradient", got, expected, n, tolerance, 0.1 / (double)rows);
  c_same_bits("the gradient apart", c_read(c, &apart), got, n);
}

static void long_rows_become_their_gradient(contract *c) {
  static const mpt_format formats[] = {MPT_FP32, MPT_BF16, MPT_FP16};
  for (int i = 0; i < 3; i++) {
    check_in_place(c, formats[i], 3, 50304);
    check_in_place(c, formats[i], 3, 50257);  /* rows begin anywhere */
    check_in_place(c, formats[i], 2, 130048); /* longer than a multiprocessor's shared memory */
    check_in_place(c, formats[i], 2, 130049);
  }
  check_in_place(c, MPT_BF16, 5000, 136); /* more rows than blocks */
  check_in_place(c, MPT_BF16, 5000, 139);
  if (c_on_gpu(c)) {
    check_in_place(c, MPT_BF16, 281, 50257);
    check_in_place(c, MPT_BF16, 141, 130049);
  }
}

/* Elements of minus infinity, as masks leave them, have no part in it. */
static void masked_classes_count_for_nothing(contract *c) {
  enum { N = 4096 };
  float *x = c_floats(c, N);
  for (int i = 0; i < N; i++)
    x[i] = i >= 1000 && i < 1010 ? 1.0f : -INFINITY;
  int32_t label = 1003;
  mpt_tensor logits = c_tensor(c, MPT_FP32, x, C_SHAPE(1, N));
  double *device_loss = c_device(c, sizeof *device_loss), loss;
  C_RUN(mpt_cross_entropy, c->queue, &logits, c_upload_bits(c, &label, sizeof label), 1, NULL,
        device_loss, NULL, &logits);
  c_download_bits(c, device_loss, &loss, sizeof loss);
  assert_true(fabs(loss - log(10)) < 1e-6);
  float *got = c_read(c, &logits);
  for (int i = 0; i < N; i++) {
    double expected = i >= 1000 && i < 1010 ? 0.1 - (i == label) : 0;
    assert_true(fabs((double)got[i] - expected) < 1e-6);
  }
}

/* ---- many gradients ---- */
/* `count` tensors of 1 to 40 elements, and one that is longer, side by side in `row`. */
static int64_t cut_row(contract *c, mpt_tensor *row, mpt_tensor *views, int count) {
  int64_t offset = 0;
  for (int i = 0; i < count; i++) {
    int64_t n = i == count / 2 ? 70001 : 1 + i % 40;
    views[i] = mpt_tensor_of(NULL, MPT_FP32, C_SHAPE(n));
    offset += n;
  }
  *row = c_tensor(c, MPT_FP32, c_random(c, offset), C_SHAPE(offset));
  offset = 0;
  for (int i = 0; i < count; i++) {
    views[i].device = row->device;
    views[i].data = (char *)row->data + (size_t)offset * sizeof(float);
    offset += mpt_tensor_count(&views[i]);
  }
  return offset;
}

static void check_many(contract *c, int count) {
  mpt_tensor row, *views = c_host(c, (size_t)count * sizeof *views);
  const mpt_tensor **list = c_host(c, (size_t)count * sizeof *list);
  int64_t n = cut_row(c, &row, views, count), *got = c_host(c, (size_t)count * sizeof *got);
  for (int i = 0; i < count; i++)
    list[i] = &views[i];
  float *values = c_read(c, &row);
  double squares = 0;
  for (int64_t i = 0; i < n; i++)
    squares += (double)values[i] * (double)values[i];
  mpt_step_state state = {.loss_scale = 4, .steps = 11};
  mpt_step_state *device = c_upload_state(c, state);
  int64_t *overflows = c_upload_bits(c, got, (size_t)count * sizeof *got);
  C_RUN(mpt_gradient_check, c->queue, list, count, 0, device, overflows);
  c_download_bits(c, device, &state, sizeof state);
  assert_int_equal(state.overflow, 0);
  assert_int_equal(state.pending, 1);
  assert_true(fabs((double)state.gradient_norm / (sqrt(squares) / 4) - 1) < 1e-6);
  const int bad[] = {0, count / 2, count - 1};
  for (int i = 0; i < 3; i++) {
    mpt_tensor last = views[bad[i]];
    last.data = (char *)last.data + (size_t)(mpt_tensor_count(&last) - 1) * sizeof(float);
    last.shape[0] = 1;
    C_RUN(mpt_fill, c->queue, &last, i == 0 ? NAN : INFINITY);
  }
  C_RUN(mpt_gradient_check, c->queue, list, count, 1, device, overflows);
  c_download_bits(c, device, &state, sizeof state);
  c_download_bits(c, overflows, got, (size_t)count * sizeof *got);
  assert_int_not_equal(state.overflow, 0);
  for (int i = 0; i < count; i++) {
    bool is_bad = i == bad[0] || i == bad[1] || i == bad[2];
    if (got[i] != (is_bad ? 12 : 0))
      fail_msg("overflows[%d of %d] is %lld", i, count, (long long)got[i]);
  }
}

static void many_gradients_are_one(contract *c) {
  check_many(c, 3);
  check_many(c, 161);
  check_many(c, 2700);
}

/* ---- Adam on all parameters ---- */
enum { PARAMETERS = 345, ROWS = 4 }; /* weights, gradients, moments */

typedef struct adam_rows {
  mpt_tensor rows[ROWS], views[ROWS][PARAMETERS];
  mpt_adam_parameter parameters[PARAMETERS];
} adam_rows;

static adam_rows *make_rows(contract *c) {
  adam_rows *a = c_host(c, sizeof *a);
  for (int r = 0; r < ROWS; r++) {
    uint64_t drawn = c->drawn;
    cut_row(c, &a->rows[r], a->views[r], PARAMETERS);
    if (r == 3) { /* second moments are not negative */
      c->drawn = drawn;
      int64_t n = mpt_tensor_count(&a->rows[r]);
      float *values = c_random(c, n);
      for (int64_t i = 0; i < n; i++)
        values[i] = fabsf(values[i]);
      C_RUN(mpt_tensor_upload, c->queue, values, &a->rows[r]);
    }
  }
  for (int i = 0; i < PARAMETERS; i++)
    a->parameters[i] = (mpt_adam_parameter){.weight = &a->views[0][i],
                                            .gradient = &a->views[1][i],
                                            .first_moment = &a->views[2][i],
                                            .second_moment = &a->views[3][i],
                                            .weight_decay = i % 2 ? 0.1f : 0.0f};
  return a;
}

static void check_steps(contract *c, bool decoupled, int overflow) {
  uint64_t drawn = c->drawn;
  adam_rows *whole = make_rows(c);
  c->drawn = drawn;
  adam_rows *single = make_rows(c);
  float factor = 0.5f;
  mpt_adam_args args = {.learning_rate = 0.02f,
                        .learning_rate_factor = c_upload_bits(c, &factor, sizeof factor),
                        .beta1 = 0.9f,
                        .beta2 = 0.95f,
                        .epsilon = 1e-8f,
                        .weight_decay = 7, /* of no consequence: each has its own */
                        .decoupled = decoupled};
  mpt_step_state state = {.loss_scale = 8, .clip = 0.5f, .applied = 3, .overflow = overflow};
  mpt_step_state *device = c_upload_state(c, state);
  C_RUN(mpt_adam_steps, c->queue, whole->parameters, PARAMETERS, &args, device);
  for (int i = 0; i < PARAMETERS; i++) {
    mpt_adam_parameter *p = &single->parameters[i];
    args.weight_decay = p->weight_decay;
    C_RUN(mpt_adam_step, c->queue, p->weight, p->gradient, p->first_moment, p->second_moment, &args,
          device);
  }
  for (int r = 0; r < ROWS; r++)
    c_same_bits("a row", c_read(c, &whole->rows[r]), c_read(c, &single->rows[r]),
                mpt_tensor_count(&whole->rows[r]));
}

static void adam_steps_are_single_steps(contract *c) {
  check_steps(c, false, 0);
  check_steps(c, true, 0);
  check_steps(c, true, 1);
}

/* A weight [rows, columns], and what an update of it needs. */
typedef struct adam_weight {
  mpt_tensor weight, gradient, first, second;
  float *before;
} adam_weight;

static void make_weight(contract *c, adam_weight *a, int64_t rows, int64_t columns) {
  int64_t n = rows * columns;
  a->before = c_random(c, n);
  a->weight = c_tensor(c, MPT_FP32, a->before, C_SHAPE(rows, columns));
  a->gradient = c_tensor(c, MPT_FP32, c_random(c, n), C_SHAPE(rows, columns));
  a->first = c_tensor(c, MPT_FP32, c_floats(c, n), C_SHAPE(rows, columns));
  a->second = c_tensor(c, MPT_FP32, c_floats(c, n), C_SHAPE(rows, columns));
}

/* Updates it once, with those copies made and `lite` added to, and begins the next step of
 * `scales`; returns the new weights. */
static float *update_weight(contract *c, const adam_weight *a, const mpt_weight_copy copies[2],
                            mpt_scale *scales, mpt_lite *lite, int overflow) {
  mpt_adam_parameter p = {&a->weight, &a->gradient,           &a->first, &a->second,
                          0.1f,       {copies[0], copies[1]}, lite};
  mpt_adam_args args = {
      .learning_rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.99f, .epsilon = 1e-8f, .decoupled = true};
  mpt_step_state state = {.loss_scale = 1, .clip = 1, .overflow = overflow, .pending = 1};
  mpt_step_state *device = c_upload_state(c, state);
  C_RUN(mpt_adam_steps, c->queue, &p, 1, &args, device);
  C_RUN(mpt_step_begin, c->queue, device, scales, 2);
  float *got = c_read(c, &a->weight);
  int64_t n = mpt_tensor_count(&a->weight);
  assert_true((memcmp(got, a->before, (size_t)n * sizeof *got) == 0) == (overflow != 0));
  return got;
}

static mpt_scale download_scale(contract *c, const mpt_scale *device) {
  mpt_scale scale;
  C_RUN(mpt_queue_synchronize, c->queue);
  C_RUN(mpt_memory_download, c->queue, device, sizeof scale, &scale); /* holds an address */
  c_hash(c, &scale.scale, sizeof scale.scale);
  c_hash(c, &scale.counts, sizeof scale.counts);
  return scale;
}

/* As mpt_quantize would make it of these weights in the step that has begun. */
static void same_as_quantized(contract *c, const float *w, const mpt_weight_copy *copy,
                              const mpt_scale *device) {
  const mpt_tensor *shape = copy->tensor;
  int64_t rows = shape->shape[0], columns = shape->shape[1], n = rows * columns;
  mpt_scale scale = download_scale(c, device), fresh = scale;
  fresh.counts = (mpt_cast_counts){0};
  fresh.amax_bits = 0;
  mpt_scale *again = c_upload_bits(c, &fresh, sizeof fresh);
  mpt_tensor weight = c_tensor(c, MPT_FP32, w, C_SHAPE(rows, columns));
  mpt_tensor expected = c_tensor(c, shape->format, NULL, C_SHAPE(rows, columns));
  mpt_tensor turned = c_tensor(c, shape->format, NULL, C_SHAPE(columns, rows));
  C_RUN(mpt_quantize, c->queue, &weight, again, MPT_QUANTIZE_COUNT | MPT_QUANTIZE_AMAX, &expected,
        &turned);
  fresh = download_scale(c, again);
  c_same_bits("the copy", c_read(c, copy->tensor), c_read(c, &expected), n);
  if (copy->transposed != NULL)
    c_same_bits("its transpose", c_read(c, copy->transposed), c_read(c, &turned), n);
  assert_memory_equal(&scale.counts, &fresh.counts, sizeof scale.counts);
  assert_int_equal(scale.amax_bits, copy->flags & MPT_QUANTIZE_AMAX ? fresh.amax_bits : 0);
}

/* Copies hold the new weights, rounded, under the scale that the next step begins with. The one
 * that is delayed leaves some saturated, and is seen in that step's amax. */
static void check_copies(contract *c, int64_t rows, int64_t columns, mpt_format a, mpt_format b,
                         int overflow) {
  bool fp8 = b == MPT_FP8_E4M3 || b == MPT_FP8_E5M2;
  uint32_t history[4];
  for (int i = 0; i < 4; i++) {
    float amax = 0.25f + (float)i / 8;
    memcpy(&history[i], &amax, sizeof amax);
  }
  adam_weight w;
  make_weight(c, &w, rows, columns);
  mpt_tensor plain = c_tensor(c, a, NULL, C_SHAPE(rows, columns));
  mpt_tensor scaled = c_tensor(c, b, NULL, C_SHAPE(rows, columns));
  mpt_tensor transposed = c_tensor(c, b, NULL, C_SHAPE(columns, rows));
  mpt_scale scales[2] = {
      {.scale = 1, .inverse = 1, .format = (int32_t)a, .max_finite = mpt_format_get(a)->max_finite},
      {.scale = 4,
       .inverse = 0.25f,
       .format = (int32_t)b,
       .max_finite = mpt_format_get(b)->max_finite,
       .delayed = 1,
       .length = 4,
       .filled = overflow ? 4 : 2,
       .next = 2,
       .history = c_upload_bits(c, history, sizeof history),
       .amax_bits = history[3]}};
  mpt_scale *device = c_upload_bits(c, scales, sizeof scales);
  mpt_weight_copy copies[2] = {
      {&plain, NULL, &device[0], MPT_QUANTIZE_COUNT},
      {&scaled, fp8 ? &transposed : NULL, &device[1], MPT_QUANTIZE_COUNT | MPT_QUANTIZE_AMAX}};
  mpt_lite nothing = {0}; /* copies are the same where the weights are looked at, too */
  mpt_lite *lite = c_integer(c, 0, 1) ? c_upload_bits(c, &nothing, sizeof nothing) : NULL;
  float *got = update_weight(c, &w, copies, device, lite, overflow);
  assert_true(download_scale(c, &device[0]).scale == 1);
  assert_true(!fp8 || download_scale(c, &device[1]).scale > 256);
  for (int k = 0; k < 2; k++)
    same_as_quantized(c, got, &copies[k], &device[k]);
}

static void copies_are_the_new_weights_rounded(contract *c) {
  static const int64_t sizes[][2] = {{1, 1},    {1, 37},   {37, 1},    {5, 12},
                                     {64, 128}, {80, 100}, {144, 203}, {271, 80}};
  for (int i = 0; i < 8; i++) {
    check_copies(c, sizes[i][0], sizes[i][1], MPT_BF16, MPT_FP8_E4M3, 0);
    check_copies(c, sizes[i][0], sizes[i][1], MPT_FP16, MPT_FP8_E5M2, 0);
    check_copies(c, sizes[i][0], sizes[i][1], MPT_FP16, MPT_FP8_E4M3, 1);
    check_copies(c, sizes[i][0], sizes[i][1], MPT_FP8_E5M2, MPT_BF16, 0);
  }
}

/* Of a scale that follows the weights themselves, the next step has what it would measure. */
static void check_measured_weight(contract *c, bool delayed) {
  static const float sizes[] = {0, 1, 1000, INFINITY};
  for (int i = 0; i < 8; i++) {
    mpt_lite nothing = {0}, *lite = i < 4 ? NULL : c_upload_bits(c, &nothing, sizeof nothing);
    adam_weight w;
    make_weight(c, &w, 30, 50);
    w.before = c_floats(c, 1500);
    w.before[700] = -sizes[i % 4];
    C_RUN(mpt_tensor_upload, c->queue, w.before, &w.weight);
    mpt_scale scales[2] = {{.scale = 2, .inverse = 0.5f, .max_finite = 448, .amax_bits = 1},
                           {.scale = 2, .inverse = 0.5f, .max_finite = 57344}};
    for (int k = 0; k < 2 && delayed; k++) { /* and nothing in their history yet */
      scales[k].delayed = 1;
      scales[k].margin = k + 1;
      scales[k].length = 3;
      scales[k].history = c_device(c, 3 * sizeof(uint32_t));
      scales[k].amax_bits = 0;
    }
    mpt_scale *device = c_upload_bits(c, scales, sizeof scales);
    mpt_scale *measured = c_upload_bits(c, scales, sizeof scales);
    const mpt_weight_copy copies[2] = {{NULL, NULL, &device[0], MPT_QUANTIZE_AMAX},
                                       {NULL, NULL, &device[1], MPT_QUANTIZE_AMAX}};
    update_weight(c, &w, copies, device, lite, 1);
    for (int k = 0; k < 2; k++) {
      C_RUN(mpt_scale_measure, c->queue, &w.weight, &measured[k]);
      mpt_scale got = download_scale(c, &device[k]), expected = download_scale(c, &measured[k]);
      assert_true(got.scale == expected.scale && got.inverse == expected.inverse);
      uint32_t bits;
      memcpy(&bits, &sizes[i % 4], sizeof bits);
      assert_int_equal(got.amax_bits, bits);
      assert_int_equal(got.filled, 0);
      assert_int_equal(got.comes, 0);
      assert_int_equal(got.counts.count, 0);
    }
  }
}

static void a_measured_weight_sets_the_scale_that_follows_it(contract *c) {
  check_measured_weight(c, false);
  check_measured_weight(c, true);
}

/* What was there of something else, and the new weights: of rows and, transposed copies wanted, of
 * tiles. Weights that stay may be anything. */
static void check_lite(contract *c, int64_t rows, int64_t columns, bool tiles, int overflow) {
  adam_weight w;
  mpt_tensor turned = c_tensor(c, MPT_FP8_E4M3, NULL, C_SHAPE(columns, rows));
  mpt_scale scales[2] = {{.scale = 1, .inverse = 1, .max_finite = 448},
                         {.scale = 1, .inverse = 1, .max_finite = 448}};
  const mpt_weight_copy copies[2] = {{.transposed = tiles ? &turned : NULL}};
  mpt_lite before = {0}, raw;
  if (c_integer(c, 0, 1))
    before = (mpt_lite){100, 7, 3, 2, 0x3F000000u + c_bits(c) % 1000000, 0u - 0x30000000u};
  make_weight(c, &w, rows, columns);
  if (overflow) {
    draw_values(c_bits(c), 0, 8, (int)c_integer(c, 0, 1), w.before, rows * columns);
    C_RUN(mpt_tensor_upload, c->queue, w.before, &w.weight);
  }
  mpt_lite *lite = c_upload_bits(c, &before, sizeof before);
  mpt_scale *device = c_upload_bits(c, scales, sizeof scales);
  float *now = update_weight(c, &w, copies, device, lite, overflow);
  c_download_bits(c, lite, &raw, sizeof raw);
  double unused;
  mpt_statistics expected = plain_statistics(now, rows * columns, &unused);
  mpt_statistics there = mpt_lite_statistics(&before), got = mpt_lite_statistics(&raw);
  expected.full = false;
  mpt_statistics_merge(&expected, &there);
  c_same_counts(&got, &expected);
}

static void new_weights_are_counted(contract *c) {
  static const int64_t sizes[][2] = {{1, 1},    {1, 37},    {37, 1},   {5, 12},
                                     {80, 100}, {144, 203}, {271, 80}, {300, 320}};
  for (int i = 0; i < 8; i++)
    for (int k = 0; k < 4; k++)
      check_lite(c, sizes[i][0], sizes[i][1], k % 2 != 0, k / 2);
}

CONTRACT_MAIN(CONTRACT_TEST(long_rows_become_their_gradient),
              CONTRACT_TEST(masked_classes_count_for_nothing),
              CONTRACT_TEST(many_gradients_are_one), CONTRACT_TEST(adam_steps_are_single_steps),
              CONTRACT_TEST(copies_are_the_new_weights_rounded),
              CONTRACT_TEST(new_weights_are_counted),
              CONTRACT_TEST(a_measured_weight_sets_the_scale_that_follows_it))
