/* Number formats against the integers of format_reference.h: a stride through all inputs, every
 * boundary, every encoding, on every vector width that this processor has. */
#include "format/rounding.h"
#include "format_reference.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BLOCK = 4096 + 37 }; /* with a tail for every vector width */

static void check_block(mpt_format format, const uint32_t *inputs, size_t count) {
  static float in[BLOCK], out[BLOCK];
  memcpy(in, inputs, count * sizeof *in);
  for (size_t i = 0; i < count; i++) {
    for (int saturate = 0; saturate < 2; saturate++) {
      uint32_t expected = reference_encode(format, inputs[i], saturate);
      uint32_t encoded = mpt_format_encode(format, in[i], saturate);
      if (encoded != expected)
        fail_msg("%s: encode(0x%08x, %d) is 0x%x, not 0x%x", mpt_format_get(format)->name,
                 inputs[i], saturate, encoded, expected);
      uint32_t rounded = mpt_float_bits(mpt_format_round(format, in[i], saturate));
      if (rounded != reference_decode(format, expected))
        fail_msg("%s: round(0x%08x, %d) is 0x%08x, not 0x%08x", mpt_format_get(format)->name,
                 inputs[i], saturate, rounded, reference_decode(format, expected));
    }
  }
  for (mpt_vectors v = MPT_VECTORS_BASELINE; v <= mpt_vectors_widest(); v++) {
    mpt_format_round_array_with(v, format, in, 1.0f, out, count);
    for (size_t i = 0; i < count; i++) {
      uint32_t expected = reference_round(format, inputs[i], true);
      if (mpt_float_bits(out[i]) != expected)
        fail_msg("%s: round_array, vectors %d, of 0x%08x is 0x%08x, not 0x%08x",
                 mpt_format_get(format)->name, (int)v, inputs[i], mpt_float_bits(out[i]), expected);
    }
  }
}

static void rounds_a_stride_through_all_inputs(void **state) {
  (void)state;
  static uint32_t inputs[BLOCK];
  for (mpt_format format = 0; format < MPT_FORMAT_COUNT; format++) {
    uint32_t x = 0;
    for (int block = 0; block < 128; block++) {
      for (size_t i = 0; i < BLOCK; i++, x += 2654435761u) /* a prime: ends up everywhere */
        inputs[i] = x;
      check_block(format, inputs, BLOCK);
    }
  }
}

/* Around `magnitude` in both signs. */
static size_t add_neighbours(uint32_t *inputs, size_t count, uint32_t magnitude) {
  for (uint32_t d = 0; d < 5; d++) {
    uint32_t m = (magnitude + d - 2) & 0x7FFFFFFF;
    inputs[count++] = m;
    inputs[count++] = m | 0x80000000;
  }
  return count;
}

static void rounds_every_boundary(void **state) {
  (void)state;
  static uint32_t inputs[BLOCK];
  for (mpt_format format = 0; format < MPT_FORMAT_COUNT; format++) {
    const mpt_format_info *f = mpt_format_get(format);
    size_t count = 0;
    const float limits[] = {f->max_finite,
                            f->min_normal,
                            f->min_subnormal,
                            f->min_subnormal / 2,
                            f->min_subnormal * 1.5f,
                            0.0f,
                            1.0f};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
      count = add_neighbours(inputs, count, mpt_float_bits(limits[i]));
    const uint32_t bits[] = {0x7F800000, 0x7F800001, 0x7FBFFFFF, 0x7FC00000,
                             0x7FFFFFFF, 0x00000001, 0x007FFFFF, 0x00800000};
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
      count = add_neighbours(inputs, count, bits[i]);
    check_block(format, inputs, count);
  }
}

/* Every value of a 16- or 8-bit format, the middle to the next one, and their neighbours. */
static void rounds_every_tie(void **state) {
  (void)state;
  static uint32_t inputs[BLOCK];
  for (mpt_format format = 0; format < MPT_FORMAT_COUNT; format++) {
    int bits = mpt_format_get(format)->bits;
    if (bits == 32)
      continue;
    size_t count = 0;
    for (uint32_t e = 0; e + 1 < 1u << (bits - 1); e++) {
      uint32_t low = reference_decode(format, e), high = reference_decode(format, e + 1);
      float middle = (mpt_bits_float(low) + mpt_bits_float(high)) / 2;
      count = add_neighbours(inputs, count, low);
      count = add_neighbours(inputs, count, mpt_float_bits(middle));
      if (count + 20 > BLOCK || e + 2 == 1u << (bits - 1)) {
        check_block(format, inputs, count);
        count = 0;
      }
    }
  }
}

/* Ties, subnormals, saturation and zeros, encoded by numpy 2 and ml_dtypes; beyond the largest
 * value those give infinity or NaN in fp8, and here stands the largest. */
static void rounds_as_numpy_and_ml_dtypes_do(void **state) {
  (void)state;
  static const struct {
    const char *text;
    uint32_t fp32, e4m3, e5m2, fp16, bf16;
  } rows[] = {
      {"448", 0x43e00000, 0x7e, 0x5f, 0x5f00, 0x43e0},
      {"464", 0x43e80000, 0x7e, 0x5f, 0x5f40, 0x43e8},
      {"464.01", 0x43e80148, 0x7e, 0x5f, 0x5f40, 0x43e8},
      {"480", 0x43f00000, 0x7e, 0x60, 0x5f80, 0x43f0},
      {"-0.0", 0x80000000, 0x80, 0x80, 0x8000, 0x8000},
      {"0.0009765625", 0x3a800000, 0x00, 0x14, 0x1400, 0x3a80},
      {"0.00097657", 0x3a800040, 0x01, 0x14, 0x1400, 0x3a80},
      {"65504", 0x477fe000, 0x7e, 0x7b, 0x7bff, 0x4780},
      {"65519.9", 0x477fefe6, 0x7e, 0x7b, 0x7bff, 0x4780},
      {"65520", 0x477ff000, 0x7e, 0x7b, 0x7c00, 0x4780},
      {"61440", 0x47700000, 0x7e, 0x7b, 0x7b80, 0x4770},
      {"61441", 0x47700100, 0x7e, 0x7b, 0x7b80, 0x4770},
      {"57344", 0x47600000, 0x7e, 0x7b, 0x7b00, 0x4760},
      {"2.98023223876953125e-08", 0x33000000, 0x00, 0x00, 0x0000, 0x3300},
      {"2.9803e-08", 0x330000bf, 0x00, 0x00, 0x0001, 0x3300},
      {"1.0625", 0x3f880000, 0x38, 0x3c, 0x3c40, 0x3f88},
      {"1.1875", 0x3f980000, 0x3a, 0x3d, 0x3cc0, 0x3f98},
      {"1.125", 0x3f900000, 0x39, 0x3c, 0x3c80, 0x3f90},
      {"1.375", 0x3fb00000, 0x3b, 0x3e, 0x3d80, 0x3fb0},
      {"-1.0625", 0xbf880000, 0xb8, 0xbc, 0xbc40, 0xbf88},
      {"240", 0x43700000, 0x77, 0x5c, 0x5b80, 0x4370},
      {"248", 0x43780000, 0x78, 0x5c, 0x5bc0, 0x4378},
      {"-447.99", 0xc3dffeb8, 0xfe, 0xdf, 0xdf00, 0xc3e0},
      {"0.001953125", 0x3b000000, 0x01, 0x18, 0x1800, 0x3b00},
      {"0.0029296875", 0x3b400000, 0x02, 0x1a, 0x1a00, 0x3b40},
      {"0.013671875", 0x3c600000, 0x07, 0x23, 0x2300, 0x3c60},
      {"0.015625", 0x3c800000, 0x08, 0x24, 0x2400, 0x3c80},
      {"-3.0517578125e-05", 0xb8000000, 0x80, 0x82, 0x8200, 0xb800},
      {"1.52587890625e-05", 0x37800000, 0x00, 0x01, 0x0100, 0x3780},
      {"7.62939453125e-06", 0x37000000, 0x00, 0x00, 0x0080, 0x3700},
      {"7.63e-06", 0x3700029a, 0x00, 0x01, 0x0080, 0x3700},
      {"6.103515625e-05", 0x38800000, 0x00, 0x04, 0x0400, 0x3880},
      {"6.097e-05", 0x387fba0a, 0x00, 0x04, 0x03ff, 0x3880},
      {"5.9604644775390625e-08", 0x33800000, 0x00, 0x00, 0x0001, 0x3380},
      {"3.3895313892515355e38", 0x7f7f0000, 0x7e, 0x7b, 0x7c00, 0x7f7f},
      {"3.3961775292304601e38", 0x7f7f8000, 0x7e, 0x7b, 0x7c00, 0x7f80},
      {"3.4028234663852886e38", 0x7f7fffff, 0x7e, 0x7b, 0x7c00, 0x7f80},
      {"1.1754943508222875e-38", 0x00800000, 0x00, 0x00, 0x0000, 0x0080},
      {"9.1835e-41", 0x00010000, 0x00, 0x00, 0x0000, 0x0001},
      {"4.5918e-41", 0x00008000, 0x00, 0x00, 0x0000, 0x0000},
      {"1.401298464324817e-45", 0x00000001, 0x00, 0x00, 0x0000, 0x0000},
      {"0.1", 0x3dcccccd, 0x1d, 0x2e, 0x2e66, 0x3dcd},
      {"3.14159274", 0x40490fdb, 0x45, 0x42, 0x4248, 0x4049},
      {"1e30", 0x7149f2ca, 0x7e, 0x7b, 0x7c00, 0x714a},
      {"-1e-30", 0x8da24260, 0x80, 0x80, 0x8000, 0x8da2},
      {"1.00390625", 0x3f808000, 0x38, 0x3c, 0x3c04, 0x3f80},
      {"1.01171875", 0x3f818000, 0x38, 0x3c, 0x3c0c, 0x3f82},
      {"1.0048828125", 0x3f80a000, 0x38, 0x3c, 0x3c05, 0x3f81},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const float value = strtof(rows[i].text, NULL);
    const struct {
      mpt_format format;
      uint32_t bits;
    } expected[] = {{MPT_FP32, rows[i].fp32},
                    {MPT_FP8_E4M3, rows[i].e4m3},
                    {MPT_FP8_E5M2, rows[i].e5m2},
                    {MPT_FP16, rows[i].fp16},
                    {MPT_BF16, rows[i].bf16}};
    for (size_t k = 0; k < sizeof expected / sizeof *expected; k++) {
      const uint32_t bits = mpt_format_encode(expected[k].format, value, true);
      if (bits != expected[k].bits)
        fail_msg("%s in %s: 0x%x, not 0x%x", rows[i].text, mpt_format_get(expected[k].format)->name,
                 bits, expected[k].bits);
    }
  }
}

static void decodes_and_encodes_every_encoding(void **state) {
  (void)state;
  for (mpt_format format = 0; format < MPT_FORMAT_COUNT; format++) {
    const mpt_format_info *f = mpt_format_get(format);
    uint32_t step = f->bits < 32 ? 1 : format == MPT_TF32 ? 1u << 13 : 65537;
    uint64_t end = (uint64_t)1 << f->bits;
    for (uint64_t e = 0; e < end; e += step) {
      float value = mpt_format_decode(format, (uint32_t)e);
      uint32_t decoded = mpt_float_bits(value);
      assert_int_equal(decoded, reference_decode(format, (uint32_t)e));
      bool nan = (decoded & 0x7FFFFFFF) > 0x7F800000;
      if (nan && format != MPT_FP32)
        assert_int_equal(mpt_format_encode(format, value, true),
                         reference_encode(format, 0x7FFFFFFF, true));
      else if (!f->has_infinity || (decoded & 0x7FFFFFFF) != 0x7F800000)
        assert_int_equal(mpt_format_encode(format, value, true), e);
      if (!nan || format == MPT_FP32)
        assert_int_equal(mpt_format_encode(format, value, false), e);
    }
  }
}

static void scales_before_it_rounds(void **state) {
  (void)state;
  static float in[BLOCK], out[BLOCK];
  const int exponents[] = {-126, -125, -100, -24, -9, -1, 1, 8, 17, 100, 126, 127};
  for (mpt_format format = 0; format < MPT_FORMAT_COUNT; format++)
    for (size_t k = 0; k < sizeof exponents / sizeof *exponents; k++)
      for (mpt_vectors v = MPT_VECTORS_BASELINE; v <= mpt_vectors_widest(); v++) {
        uint32_t x = 12345, start = x;
        for (size_t i = 0; i < BLOCK; i++, x += 2654435761u)
          in[i] = mpt_bits_float(x);
        float scale = mpt_bits_float((uint32_t)(exponents[k] + 127) << 23);
        mpt_format_round_array_with(v, format, in, scale, out, BLOCK);
        x = start;
        for (size_t i = 0; i < BLOCK; i++, x += 2654435761u) {
          uint32_t expected = reference_round(format, reference_scale(x, exponents[k]), true);
          if (mpt_float_bits(out[i]) != expected)
            fail_msg("%s: round(0x%08x * 2^%d), vectors %d, is 0x%08x, not 0x%08x",
                     mpt_format_get(format)->name, x, exponents[k], (int)v, mpt_float_bits(out[i]),
                     expected);
        }
      }
}

/* All lengths and alignments near a vector's, in place, and nothing beyond the end is touched. */
static void rounds_in_place_and_stays_inside(void **state) {
  (void)state;
  for (mpt_format format = 0; format < MPT_FORMAT_COUNT; format++)
    for (mpt_vectors v = MPT_VECTORS_BASELINE; v <= mpt_vectors_widest(); v++)
      for (size_t offset = 0; offset < 17; offset++)
        for (size_t count = 0; count < 70; count++) {
          float buffer[96];
          for (size_t i = 0; i < 96; i++)
            buffer[i] = 1.0f / 3.0f + (float)i;
          mpt_format_round_array_with(v, format, buffer + offset, 1.0f, buffer + offset, count);
          for (size_t i = 0; i < 96; i++) {
            float x = 1.0f / 3.0f + (float)i;
            bool inside = i >= offset && i < offset + count;
            uint32_t expected = mpt_float_bits(x);
            if (inside)
              expected = reference_round(format, expected, true);
            assert_int_equal(mpt_float_bits(buffer[i]), expected);
          }
        }
}

/* The figures of the descriptors follow from the widths of their fields. */
static void describes_each_format(void **state) {
  (void)state;
  for (mpt_format format = 0; format < MPT_FORMAT_COUNT; format++) {
    const mpt_format_info *f = mpt_format_get(format);
    const reference_format *r = &reference_formats[format];
    assert_int_equal(f->exponent_bits, r->exponent_bits);
    assert_int_equal(f->mantissa_bits, r->mantissa_bits);
    assert_int_equal(f->bits, r->fp32_storage ? 32 : 1 + f->exponent_bits + f->mantissa_bits);
    assert_int_equal(f->min_exponent, 1 - r->bias);
    uint32_t shift = format == MPT_TF32 ? 13 : 0;
    assert_int_equal(mpt_float_bits(f->max_finite), reference_decode(format, r->largest << shift));
    assert_int_equal(mpt_float_bits(f->min_subnormal), reference_decode(format, 1u << shift));
    assert_int_equal(mpt_float_bits(f->min_normal),
                     reference_decode(format, 1u << (f->mantissa_bits + (int)shift)));
    assert_int_equal((mpt_float_bits(f->max_finite) >> 23) - 127, f->max_exponent);
    assert_int_equal(f->has_infinity, r->infinity != 0);
    assert_int_equal(mpt_format_is_fp8(format), strncmp(f->name, "fp8_", 4) == 0);
    assert_true(f->description[0] != '\0');
    mpt_format parsed = MPT_FORMAT_COUNT;
    assert_int_equal(mpt_format_parse(f->name, &parsed, NULL), MPT_OK);
    assert_int_equal(parsed, format);
  }
  assert_null(mpt_format_get(MPT_FORMAT_COUNT));
  assert_null(mpt_format_get((mpt_format)-1));
  assert_false(mpt_format_is_fp8(MPT_FORMAT_COUNT) || mpt_format_is_fp8((mpt_format)-1));
}

static void refuses_unknown_names(void **state) {
  (void)state;
  const char *const names[] = {"fp9", "", "fp8", "FP32", "fp32 ", "fp8_e4m3fn"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    mpt_format format = MPT_BF16;
    mpt_error error = {0};
    assert_int_equal(mpt_format_parse(names[i], &format, &error), MPT_ERROR_NOT_FOUND);
    assert_int_equal(format, MPT_BF16);
    assert_non_null(strstr(error.message, names[i]));
    assert_non_null(strstr(error.message, "fp32, tf32, bf16, fp16, fp8_e4m3, fp8_e5m2"));
  }
  mpt_format format;
  assert_int_equal(mpt_format_parse(NULL, &format, NULL), MPT_ERROR_ARGUMENT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(describes_each_format),
      cmocka_unit_test(refuses_unknown_names),
      cmocka_unit_test(rounds_every_boundary),
      cmocka_unit_test(rounds_every_tie),
      cmocka_unit_test(rounds_a_stride_through_all_inputs),
      cmocka_unit_test(rounds_as_numpy_and_ml_dtypes_do),
      cmocka_unit_test(decodes_and_encodes_every_encoding),
      cmocka_unit_test(scales_before_it_rounds),
      cmocka_unit_test(rounds_in_place_and_stays_inside),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
