/* Measured profiles: how figures are summed up, what is asked of the device, and the file.
 * Measuring itself needs a GPU. */
#include "bench/measure.h"
#include "bench/measure_gemms.h"
#include "bench/measure_passes.h"
#include "mptune/ops.h"
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
  assert_true(measure_pass_bytes(PASS_OPTIMIZER_FP8, 1, 100) == 3000);
}

/* ---- products, on a made-up device ---- */
enum { MOST_TIMED = 256 };
static struct {
  mpt_gemm_shape products[MOST_TIMED];
  int count;
  mpt_status status;
  double rate; /* operations per second */
} made_up;

mpt_status __wrap_mpt_gemm_time(mpt_queue *queue, const mpt_gemm_shape *p, double *seconds,
                                mpt_error *error);

/* A bias, the layouts of dgrad and wgrad and an fp32 gradient take longer. */
mpt_status __wrap_mpt_gemm_time(mpt_queue *queue, const mpt_gemm_shape *p, double *seconds,
                                mpt_error *error) {
  (void)queue;
  assert_in_range(made_up.count, 0, MOST_TIMED - 1);
  made_up.products[made_up.count++] = *p;
  if (made_up.status != MPT_OK) {
    *error = (mpt_error){.status = made_up.status, .message = "made up"};
    return made_up.status;
  }
  *seconds = 2.0 * (double)p->m * (double)p->n * (double)p->k / made_up.rate;
  *seconds *= (p->bias ? 1.25 : 1) * (p->transpose_b ? 1 : 1.5) * (p->transpose_a ? 2 : 1);
  *seconds *= p->accumulate && p->out == MPT_FP32 ? 3 : 1;
  return MPT_OK;
}

static void a_table_leaves_out_what_is_not_there_or_takes_long(void **state) {
  (void)state;
  measure_gemms g;
  mpt_error error = {0};
  const uint32_t formats = 1u << MPT_FP32 | 1u << MPT_FP8_E4M3;
  assert_int_equal(measure_gemms_begin(&g, true, NULL), MPT_OK);
  const int last = g.count - 1; /* far larger than the one that is timed first */
  made_up.rate = 2.0 * 128 * 64 * 64 / 1e-3;
  static const mpt_status absent[] = {MPT_ERROR_UNSUPPORTED, MPT_ERROR_DEVICE_MEMORY};
  for (int i = 0; i < 2; i++) {
    made_up.status = absent[i];
    assert_int_equal(measure_gemm_row(NULL, &g, 0, formats, &error), MPT_OK);
  }
  made_up.status = MPT_ERROR_DEVICE;
  assert_int_equal(measure_gemm_row(NULL, &g, 0, formats, &error), MPT_ERROR_DEVICE);
  assert_string_equal(error.message, "made up");
  assert_int_equal(g.times[0][GEMM_FP32].count, 0);
  made_up.status = MPT_OK;
  made_up.count = 0;
  assert_int_equal(measure_gemm_row(NULL, &g, 0, formats, &error), MPT_OK);
  assert_int_equal(made_up.count, 3); /* no column that needs another format */
  assert_int_equal(measure_gemm_row(NULL, &g, last, formats, &error), MPT_OK);
  assert_int_equal(made_up.count, 3); /* more than a tenth of a second by what is known */
  for (int i = 0; i < 3; i++) {
    const mpt_gemm_shape *p = &made_up.products[i];
    assert_true(p->m == 128 && p->n == 64 && p->k == 64 && p->transpose_b && !p->transpose_a);
    assert_true(!p->bias && !p->accumulate && p->a == (i == 0 ? MPT_FP32 : MPT_FP8_E4M3));
    assert_true(p->b == p->a && p->out == (i == 0 ? MPT_FP32 : MPT_BF16) && p->fast == (i == 1));
  }
  assert_true(same(measured_median(&g.times[0][GEMM_FP8_FAST]), 1e-3));
  assert_int_equal(g.times[0][GEMM_TF32].count, 0);
  measure_gemms_free(&g);
}

/* Products of GPT-2 large's layers, each over the plain one of its shape. fp8 operands of dgrad and
 * wgrad are transposed copies, which lie as the table's do. */
static void products_of_a_step_are_timed_as_it_makes_them(void **state) {
  (void)state;
  static const int64_t layers[4][2] = {{3840, 1280}, {1280, 1280}, {5120, 1280}, {1280, 5120}};
  const measure_options options = {.budget = 1};
  measure_gemms g = {.count = 0};
  mpt_error error = {0};
  made_up.count = 0;
  made_up.status = MPT_OK;
  made_up.rate = 1e15;
  assert_int_equal(measure_gemm_factors(NULL, &options, &g, ~0u, &error), MPT_OK);
  const mpt_gemm_shape *p = made_up.products;
  for (int c = 0; c < GEMM_COLUMN_COUNT; c++) {
    const bool stored = c < GEMM_FP8_FAST;
    const double expected[MPT_GEMM_COUNT] = {
        [MPT_FPROP] = 1.25, [MPT_DGRAD] = 1.5, [MPT_WGRAD] = stored ? 9 : 3};
    for (int gemm = 0; gemm < MPT_GEMM_COUNT; gemm++) {
      const measured *factor = &g.factors[gemm][c];
      assert_int_equal(factor->count, stored || gemm != MPT_DGRAD);
      if (factor->count == 0)
        continue;
      assert_true(same(measured_median(factor), expected[gemm]));
      for (int i = 0; i < 4; i++, p += 2) {
        const int64_t n = layers[i][0], k = layers[i][1], rows = 16384;
        assert_int_equal(p->m, gemm == MPT_WGRAD ? n : rows);
        assert_int_equal(p->n, gemm == MPT_FPROP ? n : k);
        assert_int_equal(p->k, gemm == MPT_FPROP ? k : gemm == MPT_DGRAD ? n : rows);
        assert_true(p[1].m == p->m && p[1].n == p->n && p[1].k == p->k);
        assert_true(p[1].a == p->a && p[1].b == p->b && p[1].fast == p->fast);
        assert_int_equal(p[1].out, gemm == MPT_WGRAD ? MPT_FP32 : p->out);
      }
    }
  }
  assert_true(p == made_up.products + made_up.count);
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
      cmocka_unit_test(a_table_leaves_out_what_is_not_there_or_takes_long),
      cmocka_unit_test(products_of_a_step_are_timed_as_it_makes_them),
      cmocka_unit_test(nothing_is_measured_without_a_gpu),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
