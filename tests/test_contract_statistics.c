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
      mpt_cast_counts e = expect_cast((mpt_format)format, x, exponent, n, expected), got = {0};
      mpt_tensor tx = c_tensor(c, MPT_FP32, x, C_SHAPE(n));
      mpt_tensor y = c_tensor(c, (mpt_format)format, NULL, C_SHAPE(n));
      C_RUN(mpt_cast, c->queue, &tx, exponent, &y, &got);
      c_same_bits("y", c_read(c, &y), expected, n);
      assert_int_equal(got.count, e.count);
      assert_int_equal(got.saturated, e.saturated);
      assert_int_equal(got.vanished, e.vanished);
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
  mpt_cast_counts got = {0};
  C_RUN(mpt_cast, c->queue, &tx, 0, &ty, &got);
  float *read = c_read(c, &ty);
  assert_true(isnan(read[4]));
  read[4] = 0;
  c_same_bits("y", read, y, n);
  assert_int_equal(got.count, n);
  assert_int_equal(got.saturated, 2); /* the one above 464, and the infinity */
  assert_int_equal(got.vanished, 4);
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
    mpt_cast_counts e = expect_cast(f, inner, 3, n, rounded), got = {0};

    mpt_tensor whole_x = c_tensor(c, MPT_FP32, x, C_SHAPE(rows, wide)), tx = middle(&whole_x);
    float *twos = c_floats(c, rows * wide);
    for (int64_t i = 0; i < rows * wide; i++)
      twos[i] = 2;
    mpt_tensor whole_y = c_tensor(c, f, twos, C_SHAPE(rows, wide)), ty = middle(&whole_y);
    C_RUN(mpt_cast, c->queue, &tx, 3, &ty, &got);
    assert_int_equal(got.count, n);
    assert_int_equal(got.saturated, e.saturated);
    assert_int_equal(got.vanished, e.vanished);
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

    uint32_t amax;
    double absolute;
    mpt_statistics plain = plain_statistics(inner, n, &absolute), s;
    C_RUN(mpt_amax, c->queue, &tx, &amax);
    assert_int_equal(amax, plain.amax_bits);
    C_RUN(mpt_collect, c->queue, &tx, true, &s);
    assert_int_equal(s.count, n);
    assert_memory_equal(s.histogram, plain.histogram, sizeof s.histogram);
    assert_true(fabs(s.sum - plain.sum) <= 1e-9 * absolute);
  }
}

static void amax_is_the_integer_maximum(contract *c) {
  for (int i = 0; i < COUNTS; i++)
    for (int special = 0; special < 3; special++) {
      int64_t n = counts[i];
      float *x = draw(c, n, special);
      double unused;
      mpt_tensor tx = c_tensor(c, MPT_FP32, x, C_SHAPE(n));
      uint32_t amax = 1;
      C_RUN(mpt_amax, c->queue, &tx, &amax);
      assert_int_equal(amax, plain_statistics(x, n, &unused).amax_bits);
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
    uint32_t amax;
    C_RUN(mpt_amax, c->queue, &tx, &amax);
    assert_int_equal(amax, odd[i] & 0x7FFFFFFF);
  }
}

static void check_collect(contract *c, const float *x, int64_t n) {
  mpt_tensor tx = c_tensor(c, MPT_FP32, x, C_SHAPE(n));
  double absolute;
  mpt_statistics plain = plain_statistics(x, n, &absolute);
  for (int full = 0; full < 2; full++) {
    mpt_statistics s;
    memset(&s, 0xA5, sizeof s); /* what was there before does not matter */
    C_RUN(mpt_collect, c->queue, &tx, full, &s);
    assert_int_equal(s.count, plain.count);
    assert_int_equal(s.zeros, plain.zeros);
    assert_int_equal(s.nans, plain.nans);
    assert_int_equal(s.infinities, plain.infinities);
    assert_int_equal(s.amax_bits, plain.amax_bits);
    assert_int_equal(s.amin_bits, plain.amin_bits);
    assert_int_equal(s.full, full);
    if (full) {
      assert_memory_equal(s.histogram, plain.histogram, sizeof s.histogram);
      assert_true(fabs(s.sum - plain.sum) <= 1e-9 * absolute);
      assert_true(fabs(s.sum_of_squares - plain.sum_of_squares) <= 1e-9 * plain.sum_of_squares);
      c_hash(c, &s.sum, sizeof s.sum);
      c_hash(c, &s.sum_of_squares, sizeof s.sum_of_squares);
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

static void quantization_error_is_the_sum_of_squares(contract *c) {
  for (int format = 0; format < MPT_FORMAT_COUNT; format++)
    for (int i = 0; i < COUNTS; i++) {
      int64_t n = counts[i];
      int exponent = c_integer(c, -8, 8);
      float *x = c_floats(c, n);
      draw_values(c_bits(c), 0, c_integer(c, 1, 12), 0, x, n);
      if (n > 20) /* left out */
        x[3] = NAN, x[17] = INFINITY;
      double error = 0, signal = 0, got_error, got_signal;
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
      C_RUN(mpt_quantization_error, c->queue, &tx, (mpt_format)format, exponent, &got_error,
            &got_signal);
      assert_true(fabs(got_error - error) <= 1e-9 * error);
      assert_true(fabs(got_signal - signal) <= 1e-9 * signal);
      c_hash(c, &got_error, sizeof got_error);
    }
}

static void quantization_error_of_an_overflow(contract *c) {
  const float x[] = {1.0f, 1e6f};
  mpt_tensor tx = c_tensor(c, MPT_FP32, x, C_SHAPE(2));
  double error, signal;
  C_RUN(mpt_quantization_error, c->queue, &tx, MPT_FP16, 0, &error, &signal);
  assert_true(isinf(error) && signal == 1e12 + 1);
  C_RUN(mpt_quantization_error, c->queue, &tx, MPT_FP8_E4M3, 0, &error, &signal);
  assert_true(error == (1e6 - 448) * (1e6 - 448));
}

CONTRACT_MAIN(CONTRACT_TEST(cast_rounds_scales_and_counts),
              CONTRACT_TEST(cast_counts_at_the_limits), CONTRACT_TEST(views_of_rows_are_honoured),
              CONTRACT_TEST(amax_is_the_integer_maximum), CONTRACT_TEST(amax_sees_infinity_and_nan),
              CONTRACT_TEST(collect_counts_everything), CONTRACT_TEST(collect_of_one_kind_of_value),
              CONTRACT_TEST(quantization_error_is_the_sum_of_squares),
              CONTRACT_TEST(quantization_error_of_an_overflow))
