/* Conversion and statistics of tensors: cast, amax, collect, quantization_error, and fill and copy
 * of rows that are not contiguous. */
#include "contract.h"
#include "format_reference.h"
#include "statistics_reference.h"

static const int64_t counts[] = {1, 2, 15, 16, 17, 63, 1001, 4097, 70001};
enum { COUNTS = sizeof counts / sizeof counts[0], WIDTH = 77, OFFSET = 5 };

static float *draw(contract *c, int64_t n, int special) {
  float *values = c_floats(c, n);
  draw_values(c_bits(c), c_integer(c, -40, 40), c_integer(c, 1, 60), special, values, n);
  return values;
}

/* The columns from OFFSET on of a tensor WIDTH wider than they are. */
static mpt_tensor middle(const mpt_tensor *whole) {
  mpt_tensor one = mpt_tensor_of(NULL, whole->format, C_SHAPE(1)), view = *whole;
  one.device = whole->device;
  view.data = (char *)whole->data + OFFSET * mpt_tensor_bytes(&one);
  view.shape[1] -= WIDTH;
  return view;
}

static mpt_cast_counts *make_counts(contract *c, mpt_cast_counts begin) {
  return c_upload_bits(c, &begin, sizeof begin);
}

/* What was counted is added to what was there. */
static void check_counts(contract *c, const mpt_cast_counts *device, mpt_cast_counts before,
                         mpt_cast_counts expected) {
  mpt_cast_counts got;
  c_download_bits(c, device, &got, sizeof got);
  assert_int_equal(got.count, before.count + expected.count);
  assert_int_equal(got.saturated, before.saturated + expected.saturated);
  assert_int_equal(got.vanished, before.vanished + expected.vanished);
}

static mpt_cast_counts expect_cast(mpt_format format, const float *x, int exponent, int64_t n,
                                   float *y) {
  mpt_cast_counts counted = {.count = (uint64_t)n};
  for (int64_t i = 0; i < n; i++) {
    uint32_t scaled = reference_scale(bits_of(x[i]), exponent);
    y[i] = float_of(reference_round(format, scaled, true));
    /* What does not round to a finite value without saturation, and is no NaN. */
    uint32_t rounded = reference_round(format, scaled, false) & 0x7FFFFFFF;
    if (!isnan(x[i]) && rounded >= 0x7F800000)
      counted.saturated++;
    if (x[i] != 0 && rounded == 0)
      counted.vanished++;
  }
  return counted;
}

static void cast_rounds_scales_and_counts(contract *c) {
  const int exponents[] = {0, 1, -1, 9, -14, 100, -126, 126};
  for (int format = 0; format < MPT_FORMAT_COUNT; format++)
    for (int i = 0; i < COUNTS; i++) {
      int64_t n = counts[i];
      int exponent = exponents[c_integer(c, 0, 7)];
      float *x = draw(c, n, i % 3), *expected = c_floats(c, n);
      mpt_cast_counts e = expect_cast((mpt_format)format, x, exponent, n, expected);
      mpt_cast_counts before = {5, INT64_C(1) << 40, 7}, *got = make_counts(c, before);
      mpt_tensor tx = c_tensor(c, MPT_FP32, x, C_SHAPE(n));
      mpt_tensor y = c_tensor(c, (mpt_format)format, NULL, C_SHAPE(n));
      C_RUN(mpt_cast, c->queue, &tx, exponent, &y, got);
      c_same_bits("y", c_read(c, &y), expected, n);
      check_counts(c, got, before, e);
      mpt_tensor z = c_tensor(c, (mpt_format)format, NULL, C_SHAPE(n));
      C_RUN(mpt_cast, c->queue, &tx, exponent, &z, NULL);
      c_same_bits("y without counts", c_read(c, &z), expected, n);
    }
}

/* In fp8_e4m3: 448 is the largest, 464 rounds to it; 2^-10 is a tie that goes to zero. */
static void cast_counts_at_the_limits(contract *c) {
  const float x[] = {448,   464,      0x1.d00002p8f, -INFINITY,       NAN,    0.0f,
                     -0.0f, 0x1p-10f, -0x1p-10f,     0x1.000002p-10f, 1e-30f, 0x1p-149f};
  const float y[] = {448, 448, 448, -448, 0, 0.0f, -0.0f, 0.0f, -0.0f, 0x1p-9f, 0.0f, 0.0f};
  const int64_t n = sizeof x / sizeof *x;
  mpt_tensor tx = c_tensor(c, MPT_FP32, x, C_SHAPE(n));
  mpt_tensor ty = c_tensor(c, MPT_FP8_E4M3, NULL, C_SHAPE(n));
  mpt_cast_counts *got = make_counts(c, (mpt_cast_counts){0});
  C_RUN(mpt_cast, c->queue, &tx, 0, &ty, got);
  float *read = c_read(c, &ty);
  assert_true(isnan(read[4]));
  read[4] = 0;
  c_same_bits("y", read, y, n);
  /* saturated: the one above 464, and the infinity */
  check_counts(c, got, (mpt_cast_counts){0}, (mpt_cast_counts){(uint64_t)n, 2, 4});
}

static uint32_t amax_of(contract *c, const mpt_tensor *x) {
  uint32_t amax = 1, *device = c_upload_bits(c, &amax, sizeof amax);
  C_RUN(mpt_amax, c->queue, x, device);
  c_download_bits(c, device, &amax, sizeof amax);
  return amax;
}

/* What was there before does not matter. */
static mpt_statistics collect_of(contract *c, const mpt_tensor *x, bool full) {
  mpt_statistics s;
  memset(&s, 0xA5, sizeof s);
  mpt_statistics *device = c_upload_bits(c, &s, sizeof s);
  C_RUN(mpt_collect, c->queue, x, full, device);
  c_download_bits(c, device, &s, sizeof s);
  return s;
}

/* Of sums, relative to the sum of what is added. Elsewhere than here they are near (statistics.h),
 * since a GPU adds some of them in fp32. */
static double sum_tolerance(const contract *c) {
  return c_on_gpu(c) ? 1e-6 : 1e-9;
}

/* Rows of wider tensors, read and written; what is beside them stays as it was. */
static void views_of_rows_are_honoured(contract *c) {
  for (int format = 0; format < MPT_FORMAT_COUNT; format++) {
    mpt_format f = (mpt_format)format;
    int64_t rows = c_integer(c, 1, 200), columns = c_integer(c, 1, 300), n = rows * columns;
    int64_t wide = columns + WIDTH;
    float *x = draw(c, rows * wide, 0), *inner = c_floats(c, n), *rounded = c_floats(c, n);
    for (int64_t r = 0; r < rows; r++)
      memcpy(inner + r * columns, x + r * wide + OFFSET, (size_t)columns * sizeof *x);
    mpt_cast_counts e = expect_cast(f, inner, 3, n, rounded);
    mpt_cast_counts *got = make_counts(c, (mpt_cast_counts){0});

    mpt_tensor whole_x = c_tensor(c, MPT_FP32, x, C_SHAPE(rows, wide)), tx = middle(&whole_x);
    float *twos = c_floats(c, rows * wide);
    for (int64_t i = 0; i < rows * wide; i++)
      twos[i] = 2;
    mpt_tensor whole_y = c_tensor(c, f, twos, C_SHAPE(rows, wide)), ty = middle(&whole_y);
    C_RUN(mpt_cast, c->queue, &tx, 3, &ty, got);
    check_counts(c, got, (mpt_cast_counts){0}, e);
    for (int64_t r = 0; r < rows; r++)
      memcpy(twos + r * wide + OFFSET, rounded + r * columns, (size_t)columns * sizeof *x);
    c_same_bits("cast", c_read(c, &whole_y), twos, rows * wide);

    expect_cast(f, inner, 0, n, rounded);
    C_RUN(mpt_copy, c->queue, &tx, &ty);
    for (int64_t r = 0; r < rows; r++)
      memcpy(twos + r * wide + OFFSET, rounded + r * columns, (size_t)columns * sizeof *x);
    c_same_bits("copy", c_read(c, &whole_y), twos, rows * wide);

    C_RUN(mpt_fill, c->queue, &ty, -1.7f);
    for (int64_t i = 0; i < rows * wide; i++)
      if (i % wide >= OFFSET && i % wide < OFFSET + columns)
        twos[i] = mpt_format_round(f, -1.7f, true);
    c_same_bits("fill", c_read(c, &whole_y), twos, rows * wide);

    double absolute;
    mpt_statistics plain = plain_statistics(inner, n, &absolute);
    assert_int_equal(amax_of(c, &tx), plain.amax_bits);
    mpt_statistics s = collect_of(c, &tx, true);
    assert_int_equal(s.count, n);
    assert_memory_equal(s.histogram, plain.histogram, sizeof s.histogram);
    assert_true(fabs(s.sum - plain.sum) <= sum_tolerance(c) * absolute);
  }
}

static void amax_is_the_integer_maximum(contract *c) {
  for (int i = 0; i < COUNTS; i++)
    for (int special = 0; special < 3; special++) {
      int64_t n = counts[i];
      float *x = draw(c, n, special);
      double unused;
      mpt_tensor tx = c_tensor(c, MPT_FP32, x, C_SHAPE(n));
      assert_int_equal(amax_of(c, &tx), plain_statistics(x, n, &unused).amax_bits);
    }
}

/* A single one anywhere, the largest of payloads. */
static void amax_sees_infinity_and_nan(contract *c) {
  const uint32_t odd[] = {0x7F800000, 0xFF800000, 0x7FC00000, 0xFFFFFFFF};
  for (int i = 0; i < 4; i++) {
    int64_t n = 3001;
    float *x = draw(c, n, 0);
    x[c_integer(c, 0, (int)n - 1)] = float_of(odd[i]);
    mpt_tensor tx = c_tensor(c, MPT_FP32, x, C_SHAPE(n));
    assert_int_equal(amax_of(c, &tx), odd[i] & 0x7FFFFFFF);
  }
}

static void check_statistics(contract *c, mpt_statistics s, const float *x, int64_t n, int full) {
  double absolute, near = sum_tolerance(c);
  mpt_statistics plain = plain_statistics(x, n, &absolute);
  c_same_counts(&s, &plain);
  assert_int_equal(s.full, full);
  if (!full)
    return;
  assert_memory_equal(s.histogram, plain.histogram, sizeof s.histogram);
  assert_true(fabs(s.sum - plain.sum) <= near * absolute);
  assert_true(fabs(s.sum_of_squares - plain.sum_of_squares) <= near * plain.sum_of_squares);
}

static void check_collect(contract *c, const float *x, int64_t n) {
  mpt_tensor tx = c_tensor(c, MPT_FP32, x, C_SHAPE(n));
  for (int full = 0; full < 2; full++)
    check_statistics(c, collect_of(c, &tx, full), x, n, full);
}

/* Of many tensors in one pass: more than one launch takes, of several formats, some of which begin
 * inside a word of 16 bytes. */
static void collect_all_is_collect_of_each(contract *c) {
  enum { MANY = 300 };
  static const mpt_format formats[] = {MPT_FP32, MPT_BF16, MPT_FP16, MPT_FP8_E5M2};
  static mpt_tensor x[MANY];
  static mpt_collection to[MANY];
  static float *values[MANY];
  static int64_t lengths[MANY];
  for (int full = 0; full < 2; full++) {
    for (int i = 0; i < MANY; i++) {
      mpt_format f = formats[i < MANY - 20 ? i / 100 : c_integer(c, 0, 3)];
      int64_t n = lengths[i] = counts[c_integer(c, 0, COUNTS - 1)] + 1;
      values[i] = draw(c, n, i % 3);
      for (int64_t k = 0; k < n; k++)
        values[i][k] = mpt_format_round(f, values[i][k], true);
      x[i] = c_tensor(c, f, values[i], C_SHAPE(n));
      if (i % 4 == 3) { /* all but the first */
        x[i].data = (char *)x[i].data + mpt_tensor_bytes(&x[i]) / (size_t)n;
        x[i].shape[0] = --lengths[i];
        values[i]++;
      }
      mpt_lite none = {0};
      to[i] = (mpt_collection){.x = &x[i]};
      if (full)
        to[i].full = c_device(c, sizeof(mpt_statistics));
      else
        to[i].lite = c_upload_bits(c, &none, sizeof none);
    }
    for (int times = 1; times <= 2; times++) { /* lite is added to */
      C_RUN(mpt_collect_all, c->queue, to, MANY);
      for (int i = 0; i < MANY; i++) {
        mpt_statistics s;
        mpt_lite lite;
        if (full) {
          c_download_bits(c, to[i].full, &s, sizeof s);
        } else {
          c_download_bits(c, to[i].lite, &lite, sizeof lite);
          s = mpt_lite_statistics(&lite);
          s.count /= (uint64_t)times, s.zeros /= (uint64_t)times;
          s.nans /= (uint64_t)times, s.infinities /= (uint64_t)times;
        }
        check_statistics(c, s, values[i], lengths[i], full);
      }
    }
  }
}

static void collect_counts_everything(contract *c) {
  for (int i = 0; i < COUNTS; i++)
    for (int special = 0; special < 3; special++)
      check_collect(c, draw(c, counts[i], special), counts[i]);
}

static void collect_of_one_kind_of_value(contract *c) {
  const float kinds[] = {0.0f, -0.0f, 1.0f, -3e38f, 0x1p-149f, INFINITY, -INFINITY, NAN};
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
    for (int64_t n = 1; n < 5000; n = 3 * n + 1) {
      float *x = c_floats(c, n);
      for (int64_t i = 0; i < n; i++)
        x[i] = kinds[k];
      check_collect(c, x, n);
    }
}

typedef struct error_and_signal {
  double error, signal;
} error_and_signal;

static error_and_signal error_of(contract *c, const mpt_tensor *x, mpt_format format,
                                 int exponent) {
  error_and_signal got = {NAN, NAN}, *device = c_upload_bits(c, &got, sizeof got);
  C_RUN(mpt_quantization_error, c->queue, x, format, exponent, &device->error, &device->signal);
  c_download_bits(c, device, &got, sizeof got);
  return got;
}

static void quantization_error_is_the_sum_of_squares(contract *c) {
  for (int format = 0; format < MPT_FORMAT_COUNT; format++)
    for (int i = 0; i < COUNTS; i++) {
      int64_t n = counts[i];
      int exponent = c_integer(c, -8, 8);
      float *x = c_floats(c, n);
      draw_values(c_bits(c), 0, c_integer(c, 1, 12), 0, x, n);
      if (n > 20) /* left out */
        x[3] = NAN, x[17] = INFINITY;
      double error = 0, signal = 0;
      for (int64_t j = 0; j < n; j++) {
        if (!isfinite(x[j]))
          continue;
        uint32_t scaled = reference_scale(bits_of(x[j]), exponent);
        double rounded = (double)float_of(reference_round((mpt_format)format, scaled, true));
        double difference = ldexp(rounded, -exponent) - (double)x[j];
        error += difference * difference;
        signal += (double)x[j] * (double)x[j];
      }
      mpt_tensor tx = c_tensor(c, MPT_FP32, x, C_SHAPE(n));
      error_and_signal got = error_of(c, &tx, (mpt_format)format, exponent);
      assert_true(fabs(got.error - error) <= 1e-9 * error);
      assert_true(fabs(got.signal - signal) <= 1e-9 * signal);
    }
}

/* Rows of different magnitudes, so that a sum over rows cannot hide one. */
static void comparison_is_the_sum_of_products(contract *c) {
  static const int64_t shapes[][2] = {{1, 1}, {3, 7}, {65, 129}, {300, 40}};
  for (int i = 0; i < 4; i++)
    for (int with = 0; with < 2; with++) {
      int64_t rows = shapes[i][0], columns = shapes[i][1], n = rows * columns;
      float *x = c_random(c, n), *y = c_random_in(c, MPT_BF16, n), *g = c_random(c, n);
      mpt_comparison e = {0}, got;
      for (int64_t r = 0; r < rows; r++) {
        double slope = 0;
        for (int64_t k = r * columns; k < (r + 1) * columns; k++) {
          g[k] *= (float)(r + 1);
          double d = (double)y[k] - (double)x[k];
          e.difference_squared += d * d;
          e.signal_squared += (double)x[k] * (double)x[k];
          slope += with ? (double)g[k] * d : 0;
        }
        e.slope += slope;
        e.slope_squared += slope * slope;
      }
      mpt_tensor tx = c_tensor(c, MPT_FP32, x, C_SHAPE(rows, columns));
      mpt_tensor ty = c_tensor(c, MPT_BF16, y, C_SHAPE(rows, columns));
      mpt_tensor tg = c_tensor(c, MPT_FP32, g, C_SHAPE(rows, columns));
      mpt_comparison *device = c_device(c, sizeof *device);
      C_RUN(mpt_compare, c->queue, &tx, &ty, with ? &tg : NULL, device);
      c_download_bits(c, device, &got, sizeof got);
      double size = sqrt(e.slope_squared * (double)rows);
      assert_true(fabs(got.difference_squared - e.difference_squared) <=
                  1e-12 * e.difference_squared);
      assert_true(fabs(got.signal_squared - e.signal_squared) <= 1e-12 * e.signal_squared);
      assert_true(fabs(got.slope - e.slope) <= 1e-11 * size);
      assert_true(fabs(got.slope_squared - e.slope_squared) <= 1e-11 * e.slope_squared);
    }
}

static void quantization_error_of_an_overflow(contract *c) {
  const float x[] = {1.0f, 1e6f};
  mpt_tensor tx = c_tensor(c, MPT_FP32, x, C_SHAPE(2));
  error_and_signal got = error_of(c, &tx, MPT_FP16, 0);
  assert_true(isinf(got.error) && got.signal == 1e12 + 1);
  got = error_of(c, &tx, MPT_FP8_E4M3, 0);
  assert_true(got.error == (1e6 - 448) * (1e6 - 448));
}

/* Merging is collecting of both at once, whatever was full, and empties what was merged. */
static void merged_statistics_are_those_of_both(contract *c) {
  const int64_t n = 3001;
  for (int i = 0; i < 24; i++) {
    float *x = draw(c, n, i % 3);
    int64_t cut = i < 2 ? 1 : c_integer(c, 1, (int)n - 1);
    bool full[2] = {i & 4, i & 8};
    mpt_tensor parts[2] = {c_tensor(c, MPT_FP32, x, C_SHAPE(cut)),
                           c_tensor(c, MPT_FP32, x + cut, C_SHAPE(n - cut))};
    mpt_statistics *device[2], into, from, zero = {0};
    for (int p = 0; p < 2; p++) {
      device[p] = c_device(c, sizeof(mpt_statistics));
      C_RUN(mpt_collect, c->queue, &parts[p], full[p], device[p]);
    }
    mpt_statistics *sum = c_device(c, sizeof *sum); /* zeroed: the statistics of nothing */
    C_RUN(mpt_merge_statistics, c->queue, sum, device[0]);
    C_RUN(mpt_merge_statistics, c->queue, sum, device[1]);
    c_download_bits(c, sum, &into, sizeof into);
    c_download_bits(c, device[1], &from, sizeof from);
    assert_memory_equal(&from, &zero, sizeof from);
    double absolute;
    mpt_statistics plain = plain_statistics(x, n, &absolute);
    c_same_counts(&into, &plain);
    assert_int_equal(into.full, full[0] && full[1]);
    if (into.full) {
      assert_memory_equal(into.histogram, plain.histogram, sizeof into.histogram);
      assert_true(fabs(into.sum - plain.sum) <= sum_tolerance(c) * absolute);
    }
  }
}

CONTRACT_MAIN(CONTRACT_TEST(cast_rounds_scales_and_counts),
              CONTRACT_TEST(cast_counts_at_the_limits), CONTRACT_TEST(views_of_rows_are_honoured),
              CONTRACT_TEST(amax_is_the_integer_maximum), CONTRACT_TEST(amax_sees_infinity_and_nan),
              CONTRACT_TEST(collect_counts_everything), CONTRACT_TEST(collect_of_one_kind_of_value),
              CONTRACT_TEST(collect_all_is_collect_of_each),
              CONTRACT_TEST(merged_statistics_are_those_of_both),
              CONTRACT_TEST(quantization_error_is_the_sum_of_squares),
              CONTRACT_TEST(comparison_is_the_sum_of_products),
              CONTRACT_TEST(quantization_error_of_an_overflow))
