/* Measured profiles: how figures are summed up, and the file. Measuring itself needs a GPU. */
#include "workload/measure.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void a_figure_is_the_median_of_its_rounds(void **state) {
  (void)state;
  measured m = {.count = 0};
  assert_true(isnan(measured_median(&m)) && measured_spread(&m) == 0.0);
  measured_add(&m, 3.0);
  assert_true(measured_median(&m) == 3.0 && measured_spread(&m) == 0.0);
  measured_add(&m, 1.0);
  assert_true(measured_median(&m) == 2.0 && measured_spread(&m) == 1.0);
  measured_add(&m, 1.5);
  assert_true(measured_median(&m) == 1.5);
  assert_true(fabs(measured_spread(&m) - 2.0 / 1.5) < 1e-15);
  measured_add(&m, 100.0); /* there is room for three */
  assert_true(measured_median(&m) == 1.5);
}

static void the_shapes_make_a_grid(void **state) {
  (void)state;
  for (int quick = 0; quick < 2; quick++) {
    measure_gemms g;
    assert_int_equal(measure_gemms_begin(&g, quick, NULL), MPT_OK);
    assert_int_equal(g.count, quick ? 26 : 124);
    profile p = {.gemm = g.rows, .gemm_count = g.count};
    for (int i = 0; i < g.count; i++)
      g.rows[i].seconds[GEMM_FP32] = 1.0;
    assert_int_equal(profile_make_grid(&p, NULL), MPT_OK);
    assert_true(profile_gemm(&p, GEMM_FP32, 1000, 1000, 1000).seconds > 0.0);
    profile_free_grid(&p);
    measure_gemms_free(&g);
  }
}

static bool same(double a, double b) {
  return fabs(a - b) <= 1e-12 * fabs(b);
}

static void a_saved_profile_reads_back(void **state) {
  (void)state;
  gemm_row rows[8] = {{.m = 0}};
  pass_row passes[] = {{PASS_REDUCTION, 32, 65536, 2.345e-6}, {PASS_LOSS, 16, 1 << 28, 64.25e-6}};
  attention_row attention[] = {{MPT_FP32, 64, 1024, 2064.4e-6, 7129e-6},
                               {MPT_BF16, 128, 4096, 9.123e-6, 31.25e-6}};
  profile p = {.name = "a-card",
               .device = "A Card: 1\u00b2",
               .compute_capability = "9.0",
               .driver = "580.1",
               .cuda = "13.0",
               .cublaslt = "130101",
               .measured = "2026-11-24",
               .formats = 1u << MPT_FP32 | 1u << MPT_BF16,
               .gemm = rows,
               .gemm_count = 8,
               .copy_bandwidth = 4.1863e12,
               .pass_floor = 1.5e-6,
               .passes = passes,
               .pass_count = 2,
               .attention = attention,
               .attention_count = 2};
  p.gemm_factors[MPT_WGRAD][GEMM_BF16] = 1.125;
  for (int i = 0; i < 8; i++) {
    rows[i] = (gemm_row){.m = i & 4 ? 128 : 64, .n = i & 2 ? 128 : 64, .k = i & 1 ? 128 : 64};
    for (int c = 0; c < GEMM_COLUMN_COUNT; c++)
      rows[i].seconds[c] = c == GEMM_FP32 ? 1e-6 * (1 + i) : c == GEMM_BF16 ? 1e-3 + i * 1e-8 : NAN;
  }
  rows[3].seconds[GEMM_BF16] = NAN;
  profile_provenance provenance = {.gemm = "a remark: with 'quotes', \"more\", # and words enough "
                                           "that its line has to be broken at least once or twice, "
                                           "or even three times",
                                   .warning = "noise"};
  char path[] = "/tmp/mptune-measure-XXXXXX.yaml";
  const int file = mkstemps(path, 5);
  assert_true(file >= 0);
  close(file);
  mpt_error error = {0};
  assert_int_equal(profile_save(&p, &provenance, path, &error), MPT_OK);
  profile *q = NULL;
  if (profile_load(path, &q, &error) != MPT_OK)
    fail_msg("%s:%d:%d: %s", error.file, error.line, error.column, error.message);
  unlink(path);
  assert_string_equal(q->name, p.name);
  assert_string_equal(q->device, p.device);
  assert_string_equal(q->compute_capability, p.compute_capability);
  assert_string_equal(q->driver, p.driver);
  assert_string_equal(q->cuda, p.cuda);
  assert_string_equal(q->cublaslt, p.cublaslt);
  assert_string_equal(q->measured, p.measured);
  assert_true(q->formats == p.formats && !q->synthetic);
  assert_true(q->copy_bandwidth == 4.186e12 && q->pass_floor == 1.5e-6);
  assert_int_equal(q->pass_count, 2);
  assert_int_equal(q->attention_count, 2);
  for (int i = 0; i < 2; i++) {
    const pass_row *pass = &q->passes[i];
    const attention_row *head = &q->attention[i];
    assert_true(pass->kind == passes[i].kind && pass->bits == passes[i].bits);
    assert_true(pass->bytes == passes[i].bytes && same(pass->seconds, passes[i].seconds));
    assert_true(head->format == attention[i].format && head->channels == attention[i].channels);
    assert_true(head->tokens == attention[i].tokens && same(head->forward, attention[i].forward));
    assert_true(same(head->backward, attention[i].backward));
  }
  assert_true(q->gemm_factors[MPT_WGRAD][GEMM_BF16] == 1.125);
  assert_true(q->gemm_factors[MPT_FPROP][GEMM_BF16] == 0.0);
  assert_int_equal(q->gemm_count, 8);
  for (int i = 0; i < 8; i++) {
    assert_true(q->gemm[i].m == rows[i].m && q->gemm[i].n == rows[i].n &&
                q->gemm[i].k == rows[i].k);
    for (int c = 0; c < GEMM_COLUMN_COUNT; c++) {
      const double was = rows[i].seconds[c], is = q->gemm[i].seconds[c];
      assert_true(isnan(was) ? isnan(is) : fabs(is - was) <= 1e-4 * was);
    }
  }
  profile_free(q);
  assert_int_not_equal(profile_save(&p, &provenance, "/nonexistent/x.yaml", &error), MPT_OK);
}

/* Each pass runs as it is timed: its tensors have the shapes that operations want. */
static void what_is_timed_runs(void **state) {
  (void)state;
  mpt_queue_config config = mpt_queue_config_default();
  mpt_queue *queue;
  mpt_error error = {0};
  bool ran[PASS_KIND_COUNT][2], attended[2];
  config.backend = "cpu";
  assert_int_equal(mpt_queue_open(&config, &queue, NULL), MPT_OK);
  if (measure_pass_once(queue, ran, attended, &error) != MPT_OK)
    fail_msg("%s", error.message);
  mpt_queue_close(queue);
  for (int kind = 0; kind < PASS_KIND_COUNT; kind++) {
    const bool masters = kind == PASS_OPTIMIZER || kind == PASS_OPTIMIZER_FP8;
    if (ran[kind][0] != !masters || !ran[kind][1])
      fail_msg("%s: %d %d", pass_kind_name((pass_kind)kind), ran[kind][0], ran[kind][1]);
  }
  assert_true(attended[0] && attended[1]);
}

/* Elements that each pass reads and writes, in their formats. */
static void bytes_are_those_that_a_pass_moves(void **state) {
  (void)state;
  assert_true(measure_pass_bytes(PASS_ELEMENTWISE, 0, 100) == 600);
  assert_true(measure_pass_bytes(PASS_NORM_BACKWARD, 1, 100) == 1600);
  assert_true(measure_pass_bytes(PASS_LOSS, 0, 100) == 400);
  assert_true(measure_pass_bytes(PASS_EMBEDDING_BACKWARD, 0, 100) == 1000);
  assert_true(measure_pass_bytes(PASS_QUANTIZE_PAIR, 0, 100) == 400);
  assert_true(measure_pass_bytes(PASS_QUANTIZE, 1, 100) == 500);
  assert_true(measure_pass_bytes(PASS_OPTIMIZER, 1, 100) == 3000);
}

static void nothing_is_measured_without_a_gpu(void **state) {
  (void)state;
  profile *p = NULL;
  profile_provenance provenance;
  mpt_error error = {0};
  int count = 0;
  if (mpt_device_count("cuda", &count, &error) == MPT_OK)
    skip();
  const measure_options o = {.budget = 1};
  assert_int_equal(profile_measure(&o, &p, &provenance, &error), MPT_ERROR_UNSUPPORTED);
  assert_null(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_figure_is_the_median_of_its_rounds),
      cmocka_unit_test(the_shapes_make_a_grid),
      cmocka_unit_test(a_saved_profile_reads_back),
      cmocka_unit_test(what_is_timed_runs),
      cmocka_unit_test(bytes_are_those_that_a_pass_moves),
      cmocka_unit_test(nothing_is_measured_without_a_gpu),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
