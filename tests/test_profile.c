/* Device profiles: interpolation, what lies outside the table, and bad files. */
#include "base/json.h"
#include "bench/measure.h"
#include "cli/commands.h"
#include "cli/json_document.h"
#include "profile/profile.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[64];

static void write_file(const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static profile *load(const char *name) {
  profile *p = NULL;
  mpt_error error;
  if (profile_load(name, &p, &error) != MPT_OK)
    fail_msg("%s:%d:%d: %s", error.file, error.line, error.column, error.message);
  return p;
}

static bool near(double a, double b, double relative) {
  return fabs(a - b) <= relative * fabs(b);
}

static void measured_shapes_cost_what_was_measured(void **state) {
  (void)state;
  profile *p = load("nvidia-h200");
  assert_int_equal(p->gemm_count, 124);
  assert_int_equal(p->formats, 1u << MPT_FP32 | 1u << MPT_TF32 | 1u << MPT_BF16 | 1u << MPT_FP16 |
                                   1u << MPT_FP8_E4M3 | 1u << MPT_FP8_E5M2);
  /* Its datasheet says 4.8 TB/s and 989 TFLOP/s in bf16, which nothing passes. */
  assert_true(!p->synthetic && p->copy_bandwidth > 3.5e12 && p->copy_bandwidth < 4.8e12);
  for (int i = 0; i < p->gemm_count; i++)
    for (int c = 0; c < GEMM_COLUMN_COUNT; c++) {
      const gemm_row *row = &p->gemm[i];
      gemm_price price = profile_gemm(p, (gemm_column)c, row->m, row->n, row->k);
      assert_true(isnan(row->seconds[c]) || near(price.seconds, row->seconds[c], 1e-12));
      assert_true(price.extrapolated == (bool)isnan(row->seconds[c]));
      assert_true(price.seconds > 0.0 && isfinite(price.seconds));
      double rate = 2.0 * (double)row->m * (double)row->n * (double)row->k / price.seconds;
      assert_true(rate < (c >= GEMM_FP8_FAST ? 1979e12 : 989e12));
    }
  profile_free(p);
}

/* A launch, the traffic of three matrices, the operations. */
static double model(int64_t m, int64_t n, int64_t k) {
  double x = (double)m, y = (double)n, z = (double)k;
  return 2e-6 + 1e-12 * (x * y + 2.0 * x * z + 3.0 * y * z) + 1e-14 * x * y * z;
}

static void launch_traffic_and_operations_are_interpolated_exactly(void **state) {
  (void)state;
  static const int64_t sizes[] = {64, 256, 1024};
  gemm_row rows[27];
  profile p = {.gemm = rows};
  for (int i = 0; i < 27; i++) {
    gemm_row *row = &rows[p.gemm_count++];
    *row = (gemm_row){.m = sizes[i / 9], .n = sizes[i / 3 % 3], .k = sizes[i % 3]};
    for (int c = 0; c < GEMM_COLUMN_COUNT; c++)
      row->seconds[c] = c == GEMM_FP16 ? NAN : model(row->m, row->n, row->k);
  }
  assert_int_equal(profile_make_grid(&p, NULL), MPT_OK);
  for (int64_t m = 64; m <= 1024; m += 96)
    for (int64_t n = 64; n <= 1024; n += 120)
      for (int64_t k = 64; k <= 1024; k += 80) {
        gemm_price price = profile_gemm(&p, GEMM_BF16, m, n, k);
        assert_true(near(price.seconds, model(m, n, k), 1e-10) && !price.extrapolated);
      }
  assert_true(isnan(profile_gemm(&p, GEMM_FP16, 64, 64, 64).seconds));

  /* Below: as the smallest. Above: by operations. */
  gemm_price smallest = profile_gemm(&p, GEMM_BF16, 64, 256, 1024);
  gemm_price below = profile_gemm(&p, GEMM_BF16, 3, 256, 1024);
  assert_true(below.seconds == smallest.seconds && below.extrapolated);
  gemm_price largest = profile_gemm(&p, GEMM_BF16, 1024, 256, 1024);
  gemm_price above = profile_gemm(&p, GEMM_BF16, 5000, 256, 1024);
  assert_true(near(above.seconds, largest.seconds * 5000 / 1024, 1e-12) && above.extrapolated);
  profile_free_grid(&p);
}

static void a_missing_shape_is_filled_from_its_neighbours(void **state) {
  (void)state;
  profile *p = load("nvidia-h200");
  gemm_price corner = profile_gemm(p, GEMM_BF16, 32768, 16384, 16384);
  double rate = 2.0 * 32768 * 16384 * 16384 / corner.seconds, product = 1.0;
  static const int64_t beside[3][3] = {
      {8192, 16384, 16384}, {32768, 4096, 16384}, {32768, 16384, 4096}};
  for (int i = 0; i < 3; i++)
    product *= 2.0 * (double)(beside[i][0] * beside[i][1] * beside[i][2]) /
               profile_gemm(p, GEMM_BF16, beside[i][0], beside[i][1], beside[i][2]).seconds;
  assert_true(near(rate, cbrt(product), 1e-9));
  assert_true(corner.extrapolated);
  assert_true(profile_gemm(p, GEMM_BF16, 30000, 16384, 15000).extrapolated);
  assert_false(profile_gemm(p, GEMM_BF16, 8192, 16000, 16000).extrapolated);
  /* The head of a GPT lies above the table. */
  gemm_price head = profile_gemm(p, GEMM_BF16, 16384, 50304, 2048);
  assert_true(head.extrapolated && head.seconds > 3e-3 && head.seconds < 8e-3);
  profile_free(p);
}

static void the_synthetic_device_prices_bits(void **state) {
  (void)state;
  profile *p = load("synthetic-bits");
  assert_true(p->synthetic);
  double fp8 = profile_gemm(p, GEMM_FP8_SPLIT, 3, 5, 7).seconds;
  assert_true(near(profile_gemm(p, GEMM_FP32, 3, 5, 7).seconds, 4 * fp8, 1e-12));
  assert_true(near(profile_gemm(p, GEMM_TF32, 3, 5, 7).seconds, 2 * fp8, 1e-12));
  assert_true(near(profile_gemm(p, GEMM_BF16, 3, 5, 7).seconds, 2 * fp8, 1e-12));
  assert_true(near(profile_gemm(p, GEMM_FP16, 3, 5, 7).seconds, 2 * fp8, 1e-12));
  assert_true(near(profile_gemm(p, GEMM_FP8_MIXED_SPLIT, 3, 5, 7).seconds, fp8, 1e-12));
  assert_true(near(profile_gemm(p, GEMM_FP8_FAST, 300, 50, 7).seconds, 1000 * fp8, 1e-12));
  assert_false(profile_gemm(p, GEMM_FP8_FAST, 1, 1, 1).extrapolated);
  assert_true(profile_pass(p, PASS_LOSS, 32, 1.0) == 1e-12);
  profile_free(p);
}

static const char good[] = "schema: mptune/device@1\n"
                           "name: small\n"
                           "device: a device\n"
                           "formats: [fp32, bf16]\n"
                           "copy_bandwidth: 1e12\n"
                           "gemm:\n"
                           "  columns: [m, n, k, fp32, bf16]\n"
                           "  microseconds:\n"
                           "    - [128, 128, 128, 4, 2]\n"
                           "    - [256, 128, 128, 8, null]\n";

static const char tables[] = "schema: mptune/device@1\n"
                             "name: small\n"
                             "device: a device\n"
                             "formats: [fp32, bf16]\n"
                             "copy_bandwidth: 1e12\n"
                             "pass_floor: 2e-6\n"
                             "passes:\n"
                             "  - [loss, 16, 4e6, 10]\n"
                             "  - [loss, 16, 1e6, 4]\n"
                             "  - [loss, 16, 2e6, 5]\n"
                             "  - [quantize, 32, 1e6, 7]\n"
                             "attention:\n"
                             "  - [bf16, 128, 1024, 100, 300]\n"
                             "  - [bf16, 64, 1024, 80, 200]\n"
                             "  - [bf16, 64, 4096, 200, 680]\n"
                             "gemm:\n"
                             "  columns: [m, n, k, fp32, bf16]\n"
                             "  step_factors:\n"
                             "    fprop: [1.5, 1.1]\n"
                             "    wgrad: [null, 1.25]\n"
                             "  microseconds:\n"
                             "    - [128, 128, 128, 4, 2]\n";

static void without_tables_passes_cost_their_bytes_and_at_least_a_launch(void **state) {
  (void)state;
  write_file(good);
  profile *p = load(path);
  assert_true(profile_pass(p, PASS_LOSS, 16, 1.0) == 1.5e-6);
  assert_true(near(profile_pass(p, PASS_LOSS, 16, 1e9), 1e9 / 0.85e12, 1e-12));
  assert_true(near(profile_pass(p, PASS_QUANTIZE, 16, 1e9), 1e9 / 0.85e12, 1e-12));
  assert_true(isnan(profile_attention(p, MPT_BF16, 1024, 1024, 1, 64, true, false)));
  assert_true(profile_gemm_in_step(p, MPT_WGRAD, GEMM_BF16, 3e-6) == 3e-6);
  profile_free(p);
  char text[1024];
  sprintf(text, "%spass_efficiency: 0.25\n", good);
  write_file(text);
  p = load(path); /* a cast reaches what a pass does */
  assert_true(near(profile_pass(p, PASS_QUANTIZE, 16, 1e9), 4e-3, 1e-12));
  profile_free(p);
  sprintf(text, "%squantize_efficiency: 0.5\npass_efficiency: 0.25\n", good);
  write_file(text);
  p = load(path);
  assert_true(near(profile_pass(p, PASS_ELEMENTWISE, 32, 1e9), 4e-3, 1e-12));
  assert_true(near(profile_pass(p, PASS_QUANTIZE_PAIR, 16, 1e9), 2e-3, 1e-12));
  profile_free(p);
  /* Given, though it is 0 or the default. */
  sprintf(text, "%squantize_efficiency: 0.85\npass_efficiency: 0.25\npass_floor: 0\n", good);
  write_file(text);
  p = load(path);
  assert_true(near(profile_pass(p, PASS_QUANTIZE, 16, 8.5e8), 1e-3, 1e-12));
  assert_true(near(profile_pass(p, PASS_ELEMENTWISE, 16, 250.0), 1e-9, 1e-12));
  profile_free(p);
}

static void passes_lie_on_lines_between_the_measured_sizes(void **state) {
  (void)state;
  write_file(tables);
  profile *p = load(path);
  assert_int_equal(p->pass_count, 4);
  const struct {
    double bytes, microseconds;
  } expected[] = {{1e6, 4}, {2e6, 5}, {4e6, 10}, {1, 4}, {1.5e6, 4.5}, {3e6, 7.5}, {8e6, 20}};
  for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
    assert_true(near(profile_pass(p, PASS_LOSS, 16, expected[i].bytes),
                     1e-6 * expected[i].microseconds, 1e-12));
  /* fp8 is read as 16 bits; what the table lacks costs its bytes; one size alone grows with them */
  assert_true(near(profile_pass(p, PASS_LOSS, 8, 3e6), 7.5e-6, 1e-12));
  assert_true(near(profile_pass(p, PASS_LOSS, 32, 85e6), 1e-4, 1e-12));
  assert_true(near(profile_pass(p, PASS_QUANTIZE, 32, 1.0), 7e-6, 1e-12));
  assert_true(near(profile_pass(p, PASS_QUANTIZE, 32, 3e6), 21e-6, 1e-12));
  profile_free(p);
}

static void a_table_has_ten_thousand_rows_at_most(void **state) {
  (void)state;
  enum { ROWS = 10001, LINE = 40 };
  char *text = malloc(sizeof good + ROWS * LINE);
  mpt_error error = {0};
  profile *p = NULL;
  for (int rows = ROWS - 1; rows <= ROWS; rows++) {
    size_t length = (size_t)sprintf(text, "%spasses:\n", good);
    for (int i = 1; i <= rows; i++)
      length += (size_t)sprintf(text + length, "  - [loss, 16, %d, 1]\n", i);
    write_file(text);
    const mpt_status status = profile_load(path, &p, &error);
    assert_int_equal(status, rows == ROWS ? MPT_ERROR_SYNTAX : MPT_OK);
    if (rows == ROWS)
      assert_non_null(strstr(error.message, "10001 rows"));
    else
      profile_free(p);
  }
  free(text);
}

/* Noise can make the larger of two small passes the faster one. */
static void a_line_that_falls_does_not_go_on(void **state) {
  (void)state;
  char text[1024];
  sprintf(text, "%spasses: [[loss, 16, 1e6, 9], [loss, 16, 2e6, 6]]\n", good);
  write_file(text);
  profile *p = load(path);
  assert_true(near(profile_pass(p, PASS_LOSS, 16, 1.5e6), 7.5e-6, 1e-12));
  assert_true(near(profile_pass(p, PASS_LOSS, 16, 1e9), 6e-6, 1e-12));
  profile_free(p);
}

static void attention_lies_on_lines_between_sequences(void **state) {
  (void)state;
  write_file(tables);
  profile *p = load(path);
  const double tokens = ATTENTION_TOKENS;
  const struct {
    double tokens;
    int64_t sequence, heads, channels;
    bool causal, backward;
    double microseconds;
  } expected[] = {
      {tokens, 1024, 16, 64, true, false, 80},     /* measured */
      {tokens, 4096, 16, 64, true, true, 680},     /* measured */
      {tokens, 2048, 16, 64, true, false, 120},    /* a third of the way */
      {tokens, 8192, 16, 64, true, false, 400},    /* beyond: as the sequence grows */
      {tokens, 100, 16, 64, true, true, 200},      /* below: as the shortest */
      {tokens / 2, 1024, 16, 64, true, false, 40}, /* half the tokens */
      {tokens, 1024, 8, 64, true, false, 40},      /* half the width */
      {tokens, 1024, 16, 64, false, false, 160},   /* no mask */
      {tokens, 1024, 16, 32, true, false, 80},     /* a smaller head costs what one of 64 does */
      {tokens, 1024, 8, 96, true, true, 300},      /* as one of 128 */
      {tokens, 1024, 4, 256, true, true, 300},     /* above the largest: by its channels */
      {tokens, 2048, 8, 128, true, false, 200},    /* one length alone: as the sequence grows */
      {1, 1024, 1, 64, true, false, 2},            /* at least a launch */
  };
  for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
    if (!near(profile_attention(p, MPT_BF16, expected[i].tokens, expected[i].sequence,
                                expected[i].heads, expected[i].channels, expected[i].causal,
                                expected[i].backward),
              1e-6 * expected[i].microseconds, 1e-12))
      fail_msg("%zu", i);
  assert_true(isnan(profile_attention(p, MPT_FP32, tokens, 1024, 16, 64, true, false)));
  profile_free(p);
}

static void products_of_a_step_have_factors(void **state) {
  (void)state;
  write_file(tables);
  profile *p = load(path);
  /* The smallest product takes 4 us in fp32 and 2 in bf16. */
  const struct {
    mpt_gemm_kind gemm;
    gemm_column column;
    double microseconds, expected;
  } cases[] = {
      {MPT_FPROP, GEMM_FP32, 10, 4 + 1.5 * 6},
      {MPT_FPROP, GEMM_BF16, 12, 2 + 1.1 * 10},
      {MPT_DGRAD, GEMM_BF16, 12, 12},
      {MPT_WGRAD, GEMM_FP32, 10, 10},
      {MPT_WGRAD, GEMM_BF16, 2, 2},
      {MPT_WGRAD, GEMM_BF16, 6, 2 + 1.25 * 4},
      {MPT_WGRAD, GEMM_BF16, 1, 1},
      {MPT_FPROP, GEMM_TF32, 10, 10},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_true(
        near(profile_gemm_in_step(p, cases[i].gemm, cases[i].column, 1e-6 * cases[i].microseconds),
             1e-6 * cases[i].expected, 1e-12));
  profile_free(p);
}

typedef struct change {
  const char *old, *new;
  int line, column;
  const char *says;
} change;

static void assert_refused(const char *whole, const change *changes, size_t count) {
  for (size_t i = 0; i < count; i++) {
    char text[1024];
    profile *p = NULL;
    mpt_error error = {.message = ""};
    const char *at = strstr(whole, changes[i].old);
    assert_non_null(at);
    sprintf(text, "%.*s%s%s", (int)(at - whole), whole, changes[i].new,
            at + strlen(changes[i].old));
    write_file(text);
    mpt_status status = profile_load(path, &p, &error);
    if (status == MPT_OK || error.line != changes[i].line || error.column != changes[i].column ||
        strstr(error.message, changes[i].says) == NULL)
      fail_msg("wanted %d:%d '%s', got %s %d:%d '%s'", changes[i].line, changes[i].column,
               changes[i].says, mpt_status_name(status), error.line, error.column, error.message);
    assert_null(p);
  }
}

static void bad_profiles_are_refused_at_their_place(void **state) {
  (void)state;
  static const change changes[] = {
      {"device@1", "device@7", 1, 9, "this mptune reads"},
      {"name: small\n", "", 1, 1, "'name'"},
      {"name: small", "nmae: small", 2, 1, "did you mean 'name'"},
      {"[fp32, bf16]\n", "[fp32, bf61]\n", 4, 17, "did you mean 'bf16'"},
      {"[fp32, bf16]\n", "[bf16]\n", 4, 10, "lacks fp32"},
      {"[fp32, bf16]\n", "[fp32, bf16, fp16]\n", 7, 3, "no time for 'fp16'"},
      {"1e12", ".nan", 5, 17, "copy_bandwidth"},
      {"1e12", "-1", 5, 17, "above 0"},
      {"fp32, bf16]\n  micro", "fp32, fp61]\n  micro", 7, 28, "unknown column 'fp61'"},
      {"fp32, bf16]\n  micro", "fp32, fp32]\n  micro", 7, 28, "twice"},
      {"[m, n, k", "[m, k, n", 7, 16, "first three are m, n, k"},
      {"128, 4, 2]", "128, 4]", 9, 7, "4 values; there are 5 columns"},
      {"128, 4, 2]", "128, 4, 0]", 9, 26, "above 0"},
      {"128, 4, 2]", "128, 4, -2]", 9, 26, "a time"},
      {"128, 4, 2]", "128, 4, fast]", 9, 26, "a time"},
      {"[128, 128", "[-128, 128", 9, 8, "a size"},
      {"[256, 128, 128, 8", "[128, 128, 128, 8", 9, 5, "there twice"},
      {"[256, 128, 128, 8", "[512, 129, 127, 8", 9, 5, "measure a grid"},
      {"columns: [m", "column: [m", 7, 3, "did you mean 'columns'"},
      {"  columns", "  rates: {fp32: 1}\n  columns", 8, 3, "unknown key 'columns'"},
  };
  assert_refused(good, changes, sizeof changes / sizeof *changes);
}

static void bad_tables_are_refused_at_their_place(void **state) {
  (void)state;
  static const change changes[] = {
      {"[loss, 16, 4e6, 10]", "[los, 16, 4e6, 10]", 8, 6, "did you mean 'loss'"},
      {"[loss, 16, 4e6, 10]", "[loss, 24, 4e6, 10]", 8, 12, "16 or 32"},
      {"[loss, 16, 4e6, 10]", "[loss, 16, 0, 10]", 8, 16, "above 0"},
      {"[loss, 16, 4e6, 10]", "[loss, 16, 4e6, -1]", 8, 21, "a time"},
      {"[loss, 16, 4e6, 10]", "[loss, 16, 4e6, .nan]", 8, 21, "a time"},
      {"[loss, 16, 4e6, 10]", "[loss, 16, 4e6]", 8, 5, "3 values, not 4"},
      {"[loss, 16, 4e6, 10]", "loss", 8, 5, "a row"},
      {"passes:\n  - [loss, 16, 4e6, 10]\n  - [loss, 16, 1e6, 4]\n  - [loss, 16, 2e6, 5]\n"
       "  - [quantize, 32, 1e6, 7]\n",
       "passes: []\n", 7, 9, "0 rows"},
      {"[loss, 16, 4e6, 10]", "[loss, 16, 1e6, 10]", 8, 3, "there twice"},
      {"[bf16, 128, 1024, 100, 300]", "[fp8_e4m3, 128, 1024, 100, 300]", 13, 6, "unknown format"},
      {"[bf16, 128, 1024, 100, 300]", "[bf16, 0, 1024, 100, 300]", 13, 12, "channels"},
      {"[bf16, 128, 1024, 100, 300]", "[bf16, 128, 1.5, 100, 300]", 13, 17, "tokens"},
      {"[bf16, 128, 1024, 100, 300]", "[bf16, 128, 1024, 100, 0]", 13, 28, "above 0"},
      {"[bf16, 128, 1024, 100, 300]", "[bf16, 64, 1024, 100, 300]", 13, 3, "there twice"},
      {"fprop: [1.5, 1.1]", "fprop: [1.5]", 19, 12, "1 factors; there are 2 columns"},
      {"fprop: [1.5, 1.1]", "fprop: [1.5, 0]", 19, 18, "above 0"},
      {"fprop: [1.5, 1.1]", "fprob: [1.5, 1.1]", 19, 5, "did you mean 'fprop'"},
  };
  assert_refused(tables, changes, sizeof changes / sizeof *changes);
}

static void profiles_are_found_by_name_file_and_folder(void **state) {
  (void)state;
  profile *p = NULL;
  mpt_error error;
  assert_int_equal(profile_load("nvidia-h100", &p, &error), MPT_ERROR_NOT_FOUND);
  assert_non_null(strstr(error.message, "nvidia-h200"));
  assert_non_null(strstr(error.message, "synthetic-bits"));
  assert_int_equal(profile_load("/nonexistent.yaml", &p, &error), MPT_ERROR_NOT_FOUND);
  assert_int_not_equal(profile_load("/", &p, &error), MPT_OK);
  assert_int_equal(profile_load("", &p, &error), MPT_ERROR_ARGUMENT);

  char folder[] = "/tmp/mptune-profiles-XXXXXX", file[64];
  assert_non_null(mkdtemp(folder));
  sprintf(file, "%s/small.yaml", folder);
  FILE *out = fopen(file, "w");
  fputs(good, out);
  fclose(out);
  setenv("MPTUNE_PROFILES", folder, 1);
  p = load("small");
  assert_string_equal(p->path, file);
  assert_string_equal(p->device, "a device");
  assert_true(p->pass_floor == 1.5e-6 && p->pass_efficiency == 0.85);
  assert_true(isnan(profile_gemm(p, GEMM_FP8_SPLIT, 128, 128, 128).seconds));
  profile_free(p);
  unsetenv("MPTUNE_PROFILES");
  unlink(file);
  rmdir(folder);
}

static void a_profile_of_another_device_or_version_is_told_from_this(void **state) {
  (void)state;
  const mpt_device_info here = {
      .name = "a device", .capability = "9.0", .driver = "580.1", .cuda = "13.0"};
  profile p = {.name = "small", .device = "a device"};
  mpt_error error = {0};
  /* What the profile does not say differs from nothing. */
  assert_int_equal(profile_check_device(&p, &here, &error), MPT_OK);
  strcpy(p.compute_capability, "9.0");
  strcpy(p.driver, "580.1");
  strcpy(p.cuda, "13.0");
  assert_int_equal(profile_check_device(&p, &here, &error), MPT_OK);

  static const struct {
    size_t offset;
    const char *says;
  } differences[] = {
      {offsetof(profile, device), "the device is a device here and other in the profile"},
      {offsetof(profile, compute_capability), "compute capability is 9.0 here and other"},
      {offsetof(profile, driver), "the driver is 580.1 here and other"},
      {offsetof(profile, cuda), "CUDA is 13.0 here and other"},
      {offsetof(profile, cublaslt), "cuBLASLt is unknown here and other"},
  };
  for (size_t i = 0; i < sizeof differences / sizeof *differences; i++) {
    profile other = p;
    strcpy((char *)&other + differences[i].offset, "other");
    assert_int_equal(profile_check_device(&other, &here, &error), MPT_ERROR_MISMATCH);
    if (strstr(error.message, differences[i].says) == NULL || strstr(error.message, "; the "))
      fail_msg("'%s'", error.message);
  }
  /* All of them are named. */
  strcpy(p.driver, "1");
  strcpy(p.cuda, "2");
  assert_int_equal(profile_check_device(&p, &here, &error), MPT_ERROR_MISMATCH);
  assert_non_null(strstr(error.message, "driver is 580.1"));
  assert_non_null(strstr(error.message, "CUDA is 13.0"));
  profile made_up = {.name = "x", .device = "a device", .synthetic = true};
  assert_int_equal(profile_check_device(&made_up, &here, &error), MPT_ERROR_MISMATCH);
}

static int make_path(void **state) {
  (void)state;
  strcpy(path, "/tmp/mptune-test-XXXXXX");
  int file = mkstemp(path);
  if (file < 0)
    return 1;
  close(file);
  unlink(path);
  strcat(path, ".yaml");
  return 0;
}

/* bench needs a GPU; what it prints is made of any profile. */
static void bench_prints_what_its_document_names(void **state) {
  (void)state;
  profile *p = load("nvidia-h200");
  const profile_provenance provenance = {.warning = ""};
  json_t *json = cli_bench_json(p, &provenance, path);
  mpt_json_set(&json, "schema", json_string(CLI_BENCH_SCHEMA));
  assert_int_equal(document_compare(MPTUNE_SOURCE_DIR "/docs/json.md", json), 0);
  json_decref(json);
  profile_free(p);
}

static int remove_path(void **state) {
  (void)state;
  return unlink(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(measured_shapes_cost_what_was_measured),
      cmocka_unit_test(launch_traffic_and_operations_are_interpolated_exactly),
      cmocka_unit_test(a_missing_shape_is_filled_from_its_neighbours),
      cmocka_unit_test(without_tables_passes_cost_their_bytes_and_at_least_a_launch),
      cmocka_unit_test(passes_lie_on_lines_between_the_measured_sizes),
      cmocka_unit_test(a_table_has_ten_thousand_rows_at_most),
      cmocka_unit_test(a_line_that_falls_does_not_go_on),
      cmocka_unit_test(attention_lies_on_lines_between_sequences),
      cmocka_unit_test(products_of_a_step_have_factors),
      cmocka_unit_test(the_synthetic_device_prices_bits),
      cmocka_unit_test(bad_profiles_are_refused_at_their_place),
      cmocka_unit_test(bad_tables_are_refused_at_their_place),
      cmocka_unit_test(profiles_are_found_by_name_file_and_folder),
      cmocka_unit_test(bench_prints_what_its_document_names),
      cmocka_unit_test(a_profile_of_another_device_or_version_is_told_from_this),
  };
  return cmocka_run_group_tests(tests, make_path, remove_path);
}
