/* Prices: counted by hand on the synthetic device, and of the right sign on the measured one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pricing_networks.h"
#include "train_model.h"
#include <math.h>

static profile *load(const char *name) {
  profile *p;
  assert_int_equal(profile_load(name, &p, NULL), MPT_OK);
  return p;
}

static graph *build(test_model *m, int64_t batch) {
  graph *g;
  mpt_error error;
  const mpt_status status = graph_build(&m->w, &m->model, batch, 1, &m->info, &g, &error);
  if (status != MPT_OK)
    fail_msg("%s", error.message);
  return g;
}

static bool close_to(double a, double b) {
  return fabs(a - b) <= 1e-12 * fabs(b);
}

/* One linear layer of 32 features to 48 after another of 16 to 32, batch 64. GEMMs run at 1, 2, 4
 * operations a picosecond in fp32, bf16, fp8; a byte takes a picosecond. */
static void test_a_linear_layer_by_hand(void **state) {
  (void)state;
  profile *p = load("synthetic-bits");
  test_model m;
  test_model_begin(&m, LOSS_CROSS_ENTROPY);
  m.info = (dataset_info){.rank = 1, .shape = {16}, .classes = 48};
  test_linear(&m, "first", 32);
  test_linear(&m, "second", 48);
  graph *g = build(&m, 64);
  const double first = 2.0 * 64 * 16 * 32, second = 2.0 * 64 * 32 * 48; /* operations of a GEMM */
  mpt_layer_policy a[2] = {mpt_layer_policy_of(MPT_PRECISION_FP32),
                           mpt_layer_policy_of(MPT_PRECISION_FP32)};
  cost_parts parts;
  /* The first layer makes no gradient of the data. */
  assert_int_equal(cost_predict(g, p, &m.w.optimizer, a, &parts, NULL), MPT_OK);
  assert_true(close_to(parts.gemms, 1e-12 * (2 * first + 3 * second)));
  assert_true(parts.copies == 0.0);
  /* tf32 reads what fp32 stores. */
  a[0] = a[1] = mpt_layer_policy_of(MPT_PRECISION_TF32);
  assert_int_equal(cost_predict(g, p, &m.w.optimizer, a, &parts, NULL), MPT_OK);
  assert_true(parts.copies == 0.0);
  /* bf16: the data and both weights are cast; activations are stored as they are read. */
  a[0] = a[1] = mpt_layer_policy_of(MPT_PRECISION_BF16);
  assert_int_equal(cost_predict(g, p, &m.w.optimizer, a, &parts, NULL), MPT_OK);
  assert_true(close_to(parts.gemms, 0.5e-12 * (2 * first + 3 * second)));
  assert_true(close_to(parts.copies, 6e-12 * (64 * 16 + 16 * 32 + 32 * 48)));
  /* fp8 in the second: its input and its gradient are read twice from bf16 (amax, cast) and written
   * twice (plain, transposed), so is its weight from fp32. */
  a[1] = mpt_layer_policy_of(MPT_PRECISION_FP8);
  assert_int_equal(cost_predict(g, p, &m.w.optimizer, a, &parts, NULL), MPT_OK);
  assert_true(close_to(parts.gemms, 1e-12 * (0.5 * 2 * first + 0.25 * 3 * second)));
  assert_true(close_to(parts.copies,
                       1e-12 * (6 * (64 * 16 + 16 * 32) + 6 * (64 * 32 + 64 * 48) + 10 * 32 * 48)));
  /* Delayed scaling needs no amax first. */
  a[1].scaling.mode = MPT_SCALING_DELAYED;
  assert_int_equal(cost_predict(g, p, &m.w.optimizer, a, &parts, NULL), MPT_OK);
  assert_true(close_to(parts.copies,
                       1e-12 * (6 * (64 * 16 + 16 * 32) + 4 * (64 * 32 + 64 * 48) + 6 * 32 * 48)));
  graph_free(g);
  profile_free(p);
}

/* Three layers read one tensor: one copy of each kind serves them all. */
static void test_copies_are_shared(void **state) {
  (void)state;
  profile *p = load("synthetic-bits");
  test_model m;
  test_model_begin(&m, LOSS_CROSS_ENTROPY);
  m.info = (dataset_info){.rank = 1, .shape = {16}, .classes = 16};
  test_linear(&m, "first", 16);
  test_layer(&m, "linear", "q", "first", NULL)->features = 16;
  test_layer(&m, "linear", "k", "first", NULL)->features = 16;
  test_layer(&m, "residual", "sum", "q", "k", NULL);
  graph *g = build(&m, 16);
  const mpt_layer_policy bf16 = mpt_layer_policy_of(MPT_PRECISION_BF16),
                         fp8 = mpt_layer_policy_of(MPT_PRECISION_FP8);
  mpt_layer_policy none[4] = {bf16, bf16, bf16, bf16}, one[4] = {bf16, fp8, bf16, bf16},
                   both[4] = {bf16, fp8, fp8, bf16};
  const int tensor = g->layers[0].output;
  assert_true(cost_input_copies(g, p, tensor, none) == 0.0);
  assert_true(close_to(cost_input_copies(g, p, tensor, one), 1e-12 * 6 * 256));
  assert_true(close_to(cost_input_copies(g, p, tensor, both), 1e-12 * 6 * 256));
  /* Only wgrad in fp8: the transposed copy alone. */
  one[1].gemm[MPT_FPROP] = bf16.gemm[MPT_FPROP];
  assert_true(close_to(cost_input_copies(g, p, tensor, one), 1e-12 * 5 * 256));
  graph_free(g);
  profile_free(p);
}

/* fp8 GEMMs and copies have dimensions that are multiples of 16. */
static void test_padding_is_paid(void **state) {
  (void)state;
  profile *p = load("synthetic-bits");
  test_model m;
  test_model_begin(&m, LOSS_CROSS_ENTROPY);
  m.info = (dataset_info){.rank = 1, .shape = {10}, .classes = 2};
  test_linear(&m, "fc", 2);
  graph *g = build(&m, 17);
  const mpt_layer_policy fp8 = mpt_layer_policy_of(MPT_PRECISION_FP8),
                         fp32 = mpt_layer_policy_of(MPT_PRECISION_FP32);
  assert_true(close_to(cost_gemms(g, p, 0, &fp8, NULL), 0.25e-12 * 2 * (2.0 * 32 * 16 * 16)));
  assert_true(close_to(cost_gemms(g, p, 0, &fp32, NULL), 1e-12 * 2 * (2.0 * 17 * 2 * 10)));
  assert_true(close_to(cost_weight_copies(g, p, 0, &fp8), 1e-12 * (2 * 4 * 20 + 16 * 16)));
  graph_free(g);
  profile_free(p);
}

/* Micro-batches repeat everything but the casts of weights and the optimizer. */
static void test_gradient_accumulation(void **state) {
  (void)state;
  profile *p = load("synthetic-bits");
  test_model m;
  test_mlp(&m, 32, 64, 10);
  graph *g = build(&m, 16);
  mpt_layer_policy assignment[16];
  cost_parts one, four;
  double weights = 0.0;
  for (int i = 0; i < g->layer_count; i++) {
    assignment[i] = mpt_layer_policy_of(MPT_PRECISION_FP8);
    weights += cost_weight_copies(g, p, i, &assignment[i]);
  }
  const double optimizer = cost_optimizer(g, p, &m.w.optimizer);
  assert_int_equal(cost_predict(g, p, &m.w.optimizer, assignment, &one, NULL), MPT_OK);
  m.w.optimizer.accumulate = 4;
  assert_int_equal(cost_predict(g, p, &m.w.optimizer, assignment, &four, NULL), MPT_OK);
  assert_true(close_to(four.gemms, 4 * one.gemms));
  assert_true(close_to(four.copies - weights, 4 * (one.copies - weights)));
  assert_true(close_to(four.passes - optimizer, 4 * (one.passes - optimizer)));
  assert_true(close_to(four.total, four.gemms + four.copies + four.passes));
  graph_free(g);
  profile_free(p);
}

/* Measured with mptune's own step (docs/benchmarks/gpu-training.md): current scaling in fp8 hardly
 * pays at width 768, and pays well at 2048, most of all in MLP and QKV. */
static void test_fp8_hardly_pays_at_768_and_does_at_2048(void **state) {
  (void)state;
  profile *p = load("nvidia-h200");
  double small[PRICING_CASES], large[PRICING_CASES];
  graph *narrow = pricing_gpt(768, 12, 1024, 16), *wide = pricing_gpt(2048, 16, 2048, 8);
  for (int k = 0; k < PRICING_CASES; k++) {
    small[k] = pricing_predict(narrow, p, k).total;
    large[k] = pricing_predict(wide, p, k).total;
  }
  for (int k = 1; k < PRICING_CASES; k++) {
    assert_true(fabs(small[k] / small[0] - 1.0) < 0.03);
    assert_true(large[k] < 0.95 * large[0]);
  }
  assert_true(large[3] < large[2]);
  graph_free(narrow);
  graph_free(wide);
  profile_free(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_linear_layer_by_hand),
      cmocka_unit_test(test_copies_are_shared),
      cmocka_unit_test(test_padding_is_paid),
      cmocka_unit_test(test_gradient_accumulation),
      cmocka_unit_test(test_fp8_hardly_pays_at_768_and_does_at_2048),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
