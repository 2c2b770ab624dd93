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
    assert_true(f->description[0] != '\0');
    mpt_format parsed = MPT_FORMAT_COUNT;
    assert_int_equal(mpt_format_parse(f->name, &parsed, NULL), MPT_OK);
    assert_int_equal(parsed, format);
  }
  assert_null(mpt_format_get(MPT_FORMAT_COUNT));
  assert_null(mpt_format_get((mpt_format)-1));
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
      cmocka_unit_test(decodes_and_encodes_every_encoding),
      cmocka_unit_test(scales_before_it_rounds),
      cmocka_unit_test(rounds_in_place_and_stays_inside),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
