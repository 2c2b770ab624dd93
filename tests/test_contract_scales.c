/* Scales of low-precision copies: measured, used by quantize, and moved when a step begins, which
 * moves the loss scale too. Expectations are worked out by rules written down again here. */
#include "contract.h"
#include "format_reference.h"
#include "statistics_reference.h"

/* ---- a scale in device memory ---- */
static mpt_scale scale_of(mpt_format format) {
  return (mpt_scale){.scale = 1,
                     .inverse = 1,
                     .format = (int32_t)format,
                     .max_finite = mpt_format_get(format)->max_finite};
}

static mpt_scale *put_scale(contract *c, mpt_scale scale) {
  return c_upload_bits(c, &scale, sizeof scale);
}

static mpt_scale get_scale(contract *c, const mpt_scale *device) {
  mpt_scale scale;
  C_RUN(mpt_queue_synchronize, c->queue);
  C_RUN(mpt_memory_download, c->queue, device, sizeof scale, &scale); /* holds an address */
  c_hash(c, &scale.scale, sizeof scale.scale);
  c_hash(c, &scale.amax_bits, sizeof scale.amax_bits);
  c_hash(c, &scale.counts, sizeof scale.counts);
  return scale;
}

/* floor(log2(largest / amax)) - margin within +-126, by logarithms of doubles, which are exact at
 * powers of two and far from them elsewhere. */
static int expected_exponent(double largest, double amax, int margin) {
  if (amax == 0 || !isfinite(amax))
    return 0;
  int e = (int)floor(log2(largest / amax));
  if (ldexp(amax, e) > largest) /* the quotient was rounded up to a power of two */
    e--;
  e -= margin;
  return e > 126 ? 126 : e < -126 ? -126 : e;
}

static uint32_t amax_bits_of(const float *x, int64_t n) {
  double unused;
  return plain_statistics(x, n, &unused).amax_bits;
}

static void a_measured_scale_suits_its_tensor(contract *c) {
  for (int format = MPT_FP16; format < MPT_FORMAT_COUNT; format++)
    for (int i = 0; i < 30; i++) {
      int64_t n = c_integer(c, 1, 5000);
      float *x = c_floats(c, n);
      draw_values(c_bits(c), c_integer(c, -140, 120), c_integer(c, 1, 9), i % 5 == 0 ? 2 : 0, x, n);
      if (i == 1)
        memset(x, 0, (size_t)n * sizeof *x);
      mpt_scale before = scale_of((mpt_format)format);
      before.margin = 3; /* not the measured's: delayed is 0 */
      before.amax_bits = i % 3 == 0 ? 0x3F800000 : 0;
      mpt_scale *device = put_scale(c, before);
      mpt_tensor tx = c_tensor(c, MPT_FP32, x, C_SHAPE(n));
      C_RUN(mpt_scale_measure, c->queue, &tx, device);
      mpt_scale got = get_scale(c, device);
      uint32_t bits = amax_bits_of(x, n);
      int e = expected_exponent((double)before.max_finite, (double)float_of(bits), 0);
      assert_true(got.scale == ldexpf(1, e) && got.inverse == ldexpf(1, -e));
      assert_int_equal(got.amax_bits, bits > before.amax_bits ? bits : before.amax_bits);
      assert_int_equal(got.counts.count, 0);
      /* and so does one from what its writer saw */
      mpt_lite none = {0}, *lite = c_upload_bits(c, &none, sizeof none);
      mpt_tensor written = c_tensor(c, MPT_FP32, NULL, C_SHAPE(n));
      written.lite = lite;
      C_RUN(mpt_copy, c->queue, &tx, &written);
      device = put_scale(c, before);
      C_RUN(mpt_scale_from_lite, c->queue, lite, device);
      mpt_scale again = get_scale(c, device);
      assert_memory_equal(&again, &got, sizeof got);
    }
}

/* ---- quantize ---- */
typedef struct quantize_case {
  int64_t rows, columns;
  int64_t x_row, y_row, t_row; /* what rows are apart beyond their length, in elements */
  mpt_format from, to;
  unsigned flags;
  bool y, transposed;
} quantize_case;

/* A view of [rows, columns] in a wider tensor of twos. */
static mpt_tensor in_wider(contract *c, mpt_format format, int64_t rows, int64_t columns,
                           int64_t beyond, mpt_tensor *whole) {
  float *twos = c_floats(c, rows * (columns + beyond));
  for (int64_t i = 0; i < rows * (columns + beyond); i++)
    twos[i] = 2;
  *whole = c_tensor(c, format, twos, C_SHAPE(rows, columns + beyond));
  mpt_tensor view = *whole;
  view.shape[1] = columns;
  return view;
}

/* What is expected in the view, and twos beside it. */
static void check_wider(contract *c, const char *what, const mpt_tensor *whole, int64_t columns,
                        const float *expected, bool transposed) {
  int64_t rows = whole->shape[0], wide = whole->shape[1];
  float *values = c_floats(c, rows * wide);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t i = 0; i < wide; i++)
      values[r * wide + i] =
          i >= columns ? 2 : expected[transposed ? i * rows + r : r * columns + i];
  c_same_bits(what, c_read(c, whole), values, rows * wide);
}

static void check_quantize(contract *c, quantize_case k) {
  int64_t n = k.rows * k.columns;
  float *x = c_floats(c, n), *expected = c_floats(c, n);
  draw_values(c_bits(c), 0, c_integer(c, 1, 40), c_integer(c, 0, 2), x, n);
  int exponent = c_integer(c, -12, 12);
  mpt_cast_counts counted = {3, 5, 7};
  for (int64_t i = 0; i < n; i++) {
    x[i] = mpt_format_round(k.from, x[i], true);
    uint32_t scaled = reference_scale(bits_of(x[i]), exponent);
    expected[i] = float_of(reference_round(k.to, scaled, true));
    uint32_t rounded = reference_round(k.to, scaled, false) & 0x7FFFFFFF;
    counted.saturated += !isnan(x[i]) && rounded >= 0x7F800000;
    counted.vanished += x[i] != 0 && rounded == 0;
  }
  counted.count += (uint64_t)n;
  mpt_scale before = scale_of(k.to);
  before.scale = ldexpf(1, exponent);
  before.inverse = ldexpf(1, -exponent);
  before.counts = (mpt_cast_counts){3, 5, 7};
  before.amax_bits = c_integer(c, 0, 1) ? 0x40000000 : 0;
  mpt_scale *device = put_scale(c, before);
  mpt_tensor whole_x, whole_y, whole_t;
  mpt_tensor tx = in_wider(c, k.from, k.rows, k.columns, k.x_row, &whole_x);
  float *wide = c_floats(c, k.rows * whole_x.shape[1]);
  for (int64_t r = 0; r < k.rows; r++)
    memcpy(wide + r * whole_x.shape[1], x + r * k.columns, (size_t)k.columns * sizeof *x);
  C_RUN(mpt_tensor_upload, c->queue, wide, &whole_x);
  mpt_tensor ty = in_wider(c, k.to, k.rows, k.columns, k.y_row, &whole_y);
  mpt_tensor tt = in_wider(c, k.to, k.columns, k.rows, k.t_row, &whole_t);
  C_RUN(mpt_quantize, c->queue, &tx, device, k.flags, k.y ? &ty : NULL, k.transposed ? &tt : NULL);
  if (k.y)
    check_wider(c, "y", &whole_y, k.columns, expected, false);
  if (k.transposed)
    check_wider(c, "y_transposed", &whole_t, k.rows, expected, true);
  mpt_scale got = get_scale(c, device);
  if (!(k.flags & MPT_QUANTIZE_COUNT))
    counted = before.counts;
  uint32_t amax = k.flags & MPT_QUANTIZE_AMAX ? amax_bits_of(x, n) : 0;
  assert_true(got.scale == before.scale && got.inverse == before.inverse);
  assert_int_equal(got.counts.count, counted.count);
  assert_int_equal(got.counts.saturated, counted.saturated);
  assert_int_equal(got.counts.vanished, counted.vanished);
  assert_int_equal(got.amax_bits, amax > before.amax_bits ? amax : before.amax_bits);
}

static const mpt_format stored_in[] = {MPT_FP32, MPT_BF16,     MPT_FP16,
                                       MPT_TF32, MPT_FP8_E4M3, MPT_FP8_E5M2};

static void quantize_writes_a_copy_and_its_transpose(contract *c) {
  static const int64_t shapes[][2] = {{1, 1}, {16, 16}, {128, 64}, {144, 200}, {33, 47}, {17, 128}};
  for (int s = 0; s < 6; s++)
    for (int format = 0; format < MPT_FORMAT_COUNT; format++)
      for (int outputs = 1; outputs <= 3; outputs++)
        check_quantize(c, (quantize_case){.rows = shapes[s][0],
                                          .columns = shapes[s][1],
                                          .from = stored_in[c_integer(c, 0, 5)],
                                          .to = (mpt_format)format,
                                          .flags = c_bits(c) & 3,
                                          .y = outputs & 1,
                                          .transposed = outputs & 2});
}

static void quantize_honours_distances_of_rows(contract *c) {
  for (int i = 0; i < 60; i++) {
    int64_t unit = i % 2 == 0 ? 16 : 1;
    check_quantize(c, (quantize_case){.rows = unit * c_integer(c, 1, i % 2 == 0 ? 12 : 90),
                                      .columns = unit * c_integer(c, 1, i % 2 == 0 ? 12 : 90),
                                      .x_row = unit * c_integer(c, 0, 3),
                                      .y_row = unit * c_integer(c, 0, 3),
                                      .t_row = unit * c_integer(c, 0, 3),
                                      .from = stored_in[i % 3],
                                      .to = (mpt_format)c_integer(c, 0, MPT_FORMAT_COUNT - 1),
                                      .flags = c_bits(c) & 3,
                                      .y = true,
                                      .transposed = i % 5 != 0});
  }
}

/* ---- the beginning of a step ---- */
enum { SCALES = 40, LONGEST = 20 };

typedef struct expected_scale {
  double seen[200]; /* finite amax above zero, the latest last */
  int count, exponent;
  bool nonfinite;
  int64_t nonfinite_step;
} expected_scale;

static void step_begin_moves_the_scales(contract *c) {
  mpt_scale scales[SCALES];
  static expected_scale expected[SCALES];
  memset(expected, 0, sizeof expected);
  for (int i = 0; i < SCALES; i++) {
    scales[i] = scale_of(i % 3 == 0 ? MPT_FP8_E5M2 : i % 3 == 1 ? MPT_FP8_E4M3 : MPT_FP16);
    scales[i].delayed = i % 4 != 0;
    scales[i].margin = c_integer(c, -2, 3);
    scales[i].length = i == 1 ? 1 : c_integer(c, 1, LONGEST);
    scales[i].history = scales[i].delayed ? c_device(c, LONGEST * sizeof(uint32_t)) : NULL;
    expected[i].exponent = c_integer(c, -5, 5);
    scales[i].scale = ldexpf(1, expected[i].exponent);
    scales[i].inverse = ldexpf(1, -expected[i].exponent);
  }
  mpt_scale *device = c_upload_bits(c, scales, sizeof scales);
  mpt_step_state begin = {.loss_scale = 1, .first_step = 100};
  mpt_step_state *state = c_upload_state(c, begin);
  for (int step = 0; step < 60; step++) {
    bool ended = step % 7 != 3; /* a step that was not ended is not counted */
    for (int i = 0; i < SCALES; i++) {
      expected_scale *e = &expected[i];
      int kind = c_integer(c, 0, 9);
      double amax = kind == 0                ? 0
                    : kind == 1 && step > 20 ? (double)INFINITY
                                             : ldexp(1 + c_uniform(c), c_integer(c, -9, 9));
      uint32_t bits = bits_of((float)amax);
      C_RUN(mpt_memory_upload, c->queue, &bits, sizeof bits, &device[i].amax_bits);
      if (!ended)
        continue;
      if (isinf(amax)) {
        if (!e->nonfinite)
          e->nonfinite_step = begin.first_step + begin.steps;
        e->nonfinite = true;
      } else if (amax > 0 && scales[i].delayed) {
        e->seen[e->count++] = (double)(float)amax;
        double largest = 0;
        for (int j = e->count - scales[i].length; j < e->count; j++)
          largest = j >= 0 ? fmax(largest, e->seen[j]) : largest;
        e->exponent = expected_exponent((double)scales[i].max_finite, largest, scales[i].margin);
      }
    }
    int32_t pending = ended;
    C_RUN(mpt_memory_upload, c->queue, &pending, sizeof pending, &state->pending);
    C_RUN(mpt_step_begin, c->queue, state, device, SCALES);
    begin.steps += ended;
    for (int i = 0; i < SCALES; i++) {
      mpt_scale got = get_scale(c, &device[i]);
      if (got.scale != ldexpf(1, expected[i].exponent))
        fail_msg("step %d: scale %d is %g, expected 2^%d", step, i, (double)got.scale,
                 expected[i].exponent);
      assert_true(got.inverse == ldexpf(1, -expected[i].exponent));
      assert_int_equal(got.amax_bits, 0);
      assert_int_equal(got.nonfinite != 0, expected[i].nonfinite);
      assert_int_equal(got.nonfinite_step, expected[i].nonfinite_step);
    }
  }
}

/* A step with one delayed scale: what runs is the same in every step, on a GPU from a recording. */
typedef struct delayed_step {
  mpt_step_state *state;
  mpt_scale *scale;
  mpt_tensor x, copy, transposed;
  mpt_lite *lite; /* of x, or NULL: it is measured */
  mpt_recording *recording;
} delayed_step;

static void run_delayed_operations(contract *c, const delayed_step *d) {
  C_RUN(mpt_step_begin, c->queue, d->state, d->scale, 1);
  if (d->lite != NULL)
    C_RUN(mpt_scale_from_lite, c->queue, d->lite, d->scale);
  else
    C_RUN(mpt_scale_measure, c->queue, &d->x, d->scale);
  C_RUN(mpt_quantize, c->queue, &d->x, d->scale, MPT_QUANTIZE_AMAX, &d->copy, &d->transposed);
}

static void run_delayed_step(contract *c, delayed_step *d, const float *x, mpt_lite seen) {
  C_RUN(mpt_tensor_upload, c->queue, x, &d->x);
  if (d->lite != NULL)
    C_RUN(mpt_memory_upload, c->queue, &seen, sizeof seen, d->lite);
  if (!c_on_gpu(c)) {
    run_delayed_operations(c, d);
  } else {
    if (d->recording == NULL) {
      C_RUN(mpt_queue_record_begin, c->queue);
      run_delayed_operations(c, d);
      C_RUN(mpt_queue_record_end, c->queue, &d->recording);
    }
    C_RUN(mpt_queue_replay, c->queue, d->recording);
  }
  const int32_t pending = 1;
  C_RUN(mpt_memory_upload, c->queue, &pending, sizeof pending, &d->state->pending);
}

/* Whatever was zero or not finite before it, the first tensor that says something is scaled by
 * itself, and those after it by the largest of the steps before. */
static void an_empty_history_leaves_the_tensor_its_own_scale(contract *c) {
  enum { ROWS = 48, COLUMNS = 80, SIZE = ROWS * COLUMNS, STEPS = 9, LENGTH = 2, MARGIN = 1 };
  static const float amax[STEPS] = {0, 0, INFINITY, 0, 1e-6f, 0, 1e-5f, 700, 0.5f};
  for (int lite = 0; lite < 2; lite++) {
    mpt_scale scale = scale_of(MPT_FP8_E4M3);
    scale.delayed = 1;
    scale.margin = MARGIN;
    scale.length = LENGTH;
    scale.history = c_device(c, LENGTH * sizeof(uint32_t));
    mpt_step_state begin = {.loss_scale = 1};
    mpt_lite none = {0};
    delayed_step d = {.state = c_upload_state(c, begin),
                      .scale = put_scale(c, scale),
                      .x = c_tensor(c, MPT_FP32, NULL, C_SHAPE(ROWS, COLUMNS)),
                      .copy = c_tensor(c, MPT_FP8_E4M3, NULL, C_SHAPE(ROWS, COLUMNS)),
                      .transposed = c_tensor(c, MPT_FP8_E4M3, NULL, C_SHAPE(COLUMNS, ROWS)),
                      .lite = lite ? c_upload_bits(c, &none, sizeof none) : NULL};
    double seen[STEPS] = {0};
    int count = 0;
    for (int step = 0; step < STEPS; step++) {
      float *x = c_floats(c, SIZE), *expected = c_floats(c, SIZE);
      for (int i = 0; i < SIZE; i++)
        x[i] = isfinite(amax[step]) ? amax[step] * (float)c_uniform(c) : (float)c_uniform(c);
      x[SIZE / 2] = -amax[step];
      double from = (double)amax[step]; /* the tensor's own, or ... */
      if (count > 0)
        from = count > 1 ? fmax(seen[count - 1], seen[count - 2]) : seen[0];
      int e = expected_exponent(448, from, from > 0 && isfinite(from) ? MARGIN : 0);
      for (int i = 0; i < SIZE; i++)
        expected[i] =
            float_of(reference_round(MPT_FP8_E4M3, reference_scale(bits_of(x[i]), e), true));
      run_delayed_step(c, &d, x, (mpt_lite){.count = SIZE, .amax_bits = bits_of(amax[step])});
      mpt_scale got = get_scale(c, d.scale);
      if (got.scale != ldexpf(1, e) || got.inverse != ldexpf(1, -e))
        fail_msg("step %d: the scale is %g, expected 2^%d", step, (double)got.scale, e);
      assert_int_equal(got.filled, count < LENGTH ? count : LENGTH);
      assert_int_equal(got.amax_bits, bits_of(amax[step]));
      c_same_bits("the copy", c_read(c, &d.copy), expected, SIZE);
      if (amax[step] > 0 && isfinite(amax[step]))
        seen[count++] = (double)amax[step];
    }
    mpt_recording_free(c->queue, d.recording);
  }
}

/* Steps by their outcome: g(ood), o(verflow), e(valuation: no gradients), u(nfinished). */
static void step_begin_moves_the_loss_scale(contract *c) {
  static const char outcomes[] = "gggoogueggggggggggggooooooooooooogggogg";
  for (int dynamic = 0; dynamic < 2; dynamic++) {
    mpt_step_state begin = {.loss_scale = 64,
                            .dynamic = dynamic,
                            .floor = 1,
                            .ceiling = 256,
                            .interval = 3,
                            .first_step = 10,
                            .applied = 5};
    mpt_step_state *device = c_upload_state(c, begin), got;
    double scale = 64;
    int64_t good = 0, applied = 5, skipped = 0, steps = 0;
    int at_floor = 0;
    for (const char *o = outcomes; *o != '\0'; o++) {
      C_RUN(mpt_memory_download, c->queue, device, sizeof got, &got);
      got.overflow = *o == 'o' ? 1 : 0;
      got.pending = *o == 'e' ? 2 : *o == 'u' ? 0 : 1;
      got.clip = 0.25f;
      got.gradient_norm = 8;
      C_RUN(mpt_memory_upload, c->queue, &got, sizeof got, device);
      C_RUN(mpt_step_begin, c->queue, device, NULL, 0);
      steps += *o != 'u';
      applied += *o == 'g';
      skipped += *o == 'o';
      if (dynamic && *o == 'o') {
        at_floor = scale == 1;
        scale = scale > 1 ? scale / 2 : 1;
        good = 0;
      } else if (dynamic && *o != 'u') {
        at_floor = 0;
        if (++good == 3) {
          scale = scale < 256 ? 2 * scale : 256;
          good = 0;
        }
      }
      c_download_bits(c, device, &got, sizeof got);
      assert_true((double)got.loss_scale == scale);
      assert_int_equal(got.steps, steps);
      assert_int_equal(got.applied, applied);
      assert_int_equal(got.skipped, skipped);
      assert_int_equal(got.at_floor, at_floor);
      assert_int_equal(got.overflow, 0);
      assert_int_equal(got.pending, 0);
      assert_true(got.clip == 1 && got.gradient_norm == 0);
    }
  }
}

CONTRACT_MAIN(CONTRACT_TEST(a_measured_scale_suits_its_tensor),
              CONTRACT_TEST(quantize_writes_a_copy_and_its_transpose),
              CONTRACT_TEST(quantize_honours_distances_of_rows),
              CONTRACT_TEST(step_begin_moves_the_scales),
              CONTRACT_TEST(an_empty_history_leaves_the_tensor_its_own_scale),
              CONTRACT_TEST(step_begin_moves_the_loss_scale))
