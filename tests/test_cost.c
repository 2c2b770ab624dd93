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
  const mpt_status status = test_graph(m, batch, &g, &error);
  if (status != MPT_OK)
    fail_msg("%s", error.message);
  return g;
}

static bool close_to(double a, double b) {
  return fabs(a - b) <= 1e-12 * fabs(b);
}

/* One linear layer of 32 features to 48 after another of 16 to 32, batch 64, without Adam. GEMMs
 * run at 1, 2, 4 operations a picosecond in fp32, bf16, fp8; a byte takes a picosecond. */
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
  const double biases = 6e-12 * (32 + 48); /* rounded to 16 bits for a 16-bit output */
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
  assert_true(close_to(parts.gemms, 0.5e-12 * (2 * first + 3 * second) + biases));
  assert_true(close_to(parts.copies, 6e-12 * (64 * 16 + 16 * 32 + 32 * 48)));
  /* fp8 in the second: its input, which a product writes, is read twice from bf16 (amax, cast) and
   * written twice (plain, transposed), so is its weight from fp32. The loss has looked at the
   * gradient. */
  a[1] = mpt_layer_policy_of(MPT_PRECISION_FP8);
  assert_int_equal(cost_predict(g, p, &m.w.optimizer, a, &parts, NULL), MPT_OK);
  assert_true(close_to(parts.gemms, 1e-12 * (0.5 * 2 * first + 0.25 * 3 * second) + biases));
  const double first_copies = 6e-12 * (64 * 16 + 16 * 32);
  assert_true(
      close_to(parts.copies, first_copies + 1e-12 * (6 * 64 * 32 + 4 * 64 * 48 + 10 * 32 * 48)));
  /* Another loss does not look. */
  g->loss = LOSS_NLL;
  assert_int_equal(cost_predict(g, p, &m.w.optimizer, a, &parts, NULL), MPT_OK);
  assert_true(
      close_to(parts.copies, first_copies + 1e-12 * (6 * 64 * 32 + 6 * 64 * 48 + 10 * 32 * 48)));
  /* Delayed scaling needs no amax first. */
  a[1].scaling.mode = MPT_SCALING_DELAYED;
  assert_int_equal(cost_predict(g, p, &m.w.optimizer, a, &parts, NULL), MPT_OK);
  assert_true(
      close_to(parts.copies, first_copies + 1e-12 * (4 * (64 * 32 + 64 * 48) + 6 * 32 * 48)));
  graph_free(g);
  profile_free(p);
}

/* Adam writes what its pass can write, at its own rate; the first layer makes no dgrad. */
static void test_copies_of_weights_by_adam(void **state) {
  (void)state;
  profile *p = load("synthetic-bits");
  test_model m;
  test_mlp(&m, 16, 32, 48);
  m.w.optimizer.kind = OPTIMIZER_ADAMW;
  graph *g = build(&m, 64);
  const optimizer_spec *adam = &m.w.optimizer;
  const mpt_layer_policy bf16 = mpt_layer_policy_of(MPT_PRECISION_BF16);
  mpt_layer_policy fp8 = mpt_layer_policy_of(MPT_PRECISION_FP8);
  const double count = 32 * 32;
  assert_true(close_to(cost_weight_copies(g, p, adam, 2, &bf16), 2e-12 * count));
  /* current scaling: Adam knows the amax, the cast reads fp32 and writes two bytes */
  assert_true(close_to(cost_weight_copies(g, p, adam, 2, &fp8), 6e-12 * count));
  assert_true(close_to(cost_weight_copies(g, p, adam, 0, &fp8), 5e-12 * 16 * 32));
  p->pass_floor = 1e-9; /* of the kernel that makes the scale of it */
  assert_true(close_to(cost_weight_copies(g, p, adam, 2, &fp8), 1e-9 + 6e-12 * count));
  p->pass_floor = 0;
  fp8.scaling.mode = MPT_SCALING_DELAYED;
  assert_true(close_to(cost_weight_copies(g, p, adam, 2, &fp8), 2e-12 * count));
  /* a device on which Adam with copies in fp8 takes 60 ps a weight, and 42 without */
  const double all = (double)g->parameters;
  pass_row rows[] = {{PASS_OPTIMIZER, 32, 28 * all, 42e-12 * all},
                     {PASS_OPTIMIZER_FP8, 32, 30 * all, 60e-12 * all}};
  p->passes = rows, p->pass_count = 2;
  assert_true(close_to(cost_weight_copies(g, p, adam, 2, &fp8), 18e-12 * count));
  assert_true(close_to(cost_weight_copies(g, p, adam, 2, &bf16), 3e-12 * count));
  assert_true(close_to(cost_optimizer(g, p, adam), (42e-12 + 8e-12) * all));
  p->passes = NULL, p->pass_count = 0;
  graph_free(g);
  profile_free(p);
}

/* What a product of a step takes over the table's: fprop with a bias alone, and by its column. */
static void test_products_of_a_step(void **state) {
  (void)state;
  profile *p = load("synthetic-bits");
  test_model m;
  test_mlp(&m, 16, 32, 48);
  m.layers[4].no_bias = true;
  graph *g = build(&m, 64);
  p->gemm_factors[MPT_FPROP][GEMM_TF32] = 1.5;
  p->gemm_factors[MPT_DGRAD][GEMM_TF32] = 2.0;
  p->gemm_factors[MPT_WGRAD][GEMM_TF32] = 4.0;
  const mpt_layer_policy tf32 = mpt_layer_policy_of(MPT_PRECISION_TF32);
  const mpt_layer_policy fp32 = mpt_layer_policy_of(MPT_PRECISION_FP32);
  const double middle = 2.0 * 64 * 32 * 32, head = 2.0 * 64 * 32 * 48;
  assert_true(close_to(cost_gemms(g, p, 2, &tf32, NULL), 0.5e-12 * (1.5 + 2 + 4) * middle));
  assert_true(close_to(cost_gemms(g, p, 4, &tf32, NULL), 0.5e-12 * (1 + 2 + 4) * head));
  assert_true(close_to(cost_gemms(g, p, 0, &tf32, NULL), 0.5e-12 * (1.5 + 4) * middle / 2));
  assert_true(close_to(cost_gemms(g, p, 2, &fp32, NULL), 1e-12 * 3 * middle));
  graph_free(g);
  profile_free(p);
}

/* fp8 products run in the column of their operands' formats, and of how they add. */
static void test_columns_of_fp8(void **state) {
  (void)state;
  profile *p = load("synthetic-bits");
  test_model m;
  test_mlp(&m, 16, 32, 48);
  m.layers[2].no_bias = true;
  graph *g = build(&m, 64);
  p->gemm_rate[GEMM_FP8_FAST] = 8e12;
  p->gemm_rate[GEMM_FP8_SPLIT] = 4e12;
  p->gemm_rate[GEMM_FP8_MIXED_SPLIT] = 2e12;
  mpt_layer_policy fp8 = mpt_layer_policy_of(MPT_PRECISION_FP8);
  const double middle = 2.0 * 64 * 32 * 32;
  /* dgrad and wgrad have gradients in e5m2. */
  assert_true(close_to(cost_gemms(g, p, 2, &fp8, NULL), (0.25 + 0.5 + 0.5) * 1e-12 * middle));
  fp8.gemm[MPT_FPROP].accumulate = MPT_ACCUMULATE_FAST;
  assert_true(close_to(cost_gemms(g, p, 2, &fp8, NULL), (0.125 + 0.5 + 0.5) * 1e-12 * middle));
  graph_free(g);
  profile_free(p);
}

/* What was measured multiplies the total; the parts stay as the profile has them. */
static void test_factors_multiply_the_parts(void **state) {
  (void)state;
  profile *p = load("synthetic-bits");
  test_model m;
  test_gpt(&m, 11, 8, 16, 1, false);
  m.w.optimizer.kind = OPTIMIZER_ADAMW;
  graph *g = build(&m, 3);
  mpt_layer_policy a[TEST_MAX_LAYERS];
  cost_parts plain, corrected;
  for (int i = 0; i < g->layer_count; i++)
    a[i] = mpt_layer_policy_of(MPT_PRECISION_FP8);
  assert_int_equal(cost_predict(g, p, &m.w.optimizer, a, &plain, NULL), MPT_OK);
  p->gemm_factor = 2, p->copy_factor = 3, p->pass_factor = 5;
  assert_int_equal(cost_predict(g, p, &m.w.optimizer, a, &corrected, NULL), MPT_OK);
  assert_true(close_to(corrected.gemms, plain.gemms) && close_to(corrected.copies, plain.copies) &&
              close_to(corrected.passes, plain.passes));
  assert_true(close_to(corrected.total, 2 * plain.gemms + 3 * plain.copies + 5 * plain.passes));
  assert_true(close_to(cost_uncorrected(&corrected), plain.total));
  graph_free(g);
  profile_free(p);
}

/* From the table where it has the format, else by the rate of a large product. */
static void test_attention(void **state) {
  (void)state;
  profile *p = load("synthetic-bits");
  for (int tokens = 4; tokens <= 8; tokens += 4) {
    test_model m;
    test_gpt(&m, 11, tokens, 16, 1, false);
    graph *g = build(&m, 3);
    const int core = graph_find(g, "blocks.0.attn.core");
    mpt_layer_policy a[TEST_MAX_LAYERS];
    for (int i = 0; i < g->layer_count; i++)
      a[i] = mpt_layer_policy_of(MPT_PRECISION_FP32);
    /* 3 sequences of 4 or 8 tokens, 16 wide; seven products, half of each, at 1 operation a
     * picosecond; or the bytes, where they take longer: forward 4 tensors, backward 8 */
    const double n = 3 * tokens * 16;
    const double forward = fmax(2 * n * tokens, 4 * 4 * n);
    const double backward = fmax(5 * n * tokens, 4 * 8 * n);
    assert_true(close_to(cost_passes(g, p, core, a), 1e-12 * (forward + backward)));
    attention_row row = {MPT_FP32, 8, 16, 3e-3, 5e-3};
    p->attention = &row, p->attention_count = 1;
    const double share = 3.0 * tokens / ATTENTION_TOKENS * 16 / ATTENTION_WIDTH;
    assert_true(close_to(cost_passes(g, p, core, a), share * 8e-3));
    p->attention = NULL, p->attention_count = 0;
    graph_free(g);
  }
  profile_free(p);
}

/* A convolution's operands are columns and rows of its own, which nobody has looked at. */
static void test_copies_of_a_convolution(void **state) {
  (void)state;
  profile *p = load("synthetic-bits");
  test_model m;
  test_cnn(&m, 4, 16, 3);
  graph *g = build(&m, 2);
  const mpt_layer_policy fp8 = mpt_layer_policy_of(MPT_PRECISION_FP8);
  mpt_layer_policy a[TEST_MAX_LAYERS];
  for (int i = 0; i < g->layer_count; i++)
    a[i] = fp8;
  /* conv2: [2, 16, 2, 2] stored in bf16; one window an image, of 144, padded to 16 rows */
  const int conv2 = graph_find(g, "conv2"), pooled = g->layers[conv2].inputs[0];
  assert_true(cost_input_copies(g, p, pooled, a) == 0.0);
  assert_true(close_to(cost_column_copies(g, p, conv2, a), 1e-12 * (4 * 2 * 144 + 2 * 16 * 144)));
  /* 32 rows of 16 channels; relu has looked at the image, not at the rows */
  const int first = g->layers[0].output;
  assert_true(close_to(cost_gradient_copies(g, p, first, a), 1e-12 * (2 * 2 + 1) * 32 * 16));
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
  /* It takes the kernel that transposes, here 10 ps a byte. */
  pass_row pair = {PASS_QUANTIZE_PAIR, 16, 3 * 256, 10e-12 * 3 * 256};
  p->passes = &pair, p->pass_count = 1;
  assert_true(close_to(cost_input_copies(g, p, tensor, one), 1e-12 * (10 * 3 + 2) * 256));
  p->passes = NULL, p->pass_count = 0;
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
  assert_true(
      close_to(cost_gemms(g, p, 0, &fp8, NULL), 0.25e-12 * 2 * (2.0 * 32 * 16 * 16) + 6e-12 * 2));
  assert_true(close_to(cost_gemms(g, p, 0, &fp32, NULL), 1e-12 * 2 * (2.0 * 17 * 2 * 10)));
  assert_true(
      close_to(cost_weight_copies(g, p, &m.w.optimizer, 0, &fp8), 1e-12 * (2 * 4 * 20 + 16 * 16)));
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
    weights += cost_weight_copies(g, p, &m.w.optimizer, i, &assignment[i]);
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

/* As they are measured (docs/benchmarks/pricing.md): each format is faster than the one before. */
static void test_formats_of_two_gpts_are_in_order(void **state) {
  (void)state;
  static const char *const names[] = {"gpt2-124m", "gpt-800m"};
  static const int order[] = {0, 2, 1, 3, 4}; /* tf32, fp16, bf16, fp8, with delayed scaling */
  profile *p = load("nvidia-h200");
  for (int n = 0; n < 2; n++) {
    pricing_network network = pricing_open(MPTUNE_SOURCE_DIR, names[n]);
    for (int k = 0; k < 4; k++)
      assert_true(pricing_predict(&network, p, order[k]).total >
                  pricing_predict(&network, p, order[k + 1]).total);
    pricing_close(&network);
  }
  profile_free(p);
}

/* Of a program nothing is known but its layers: each product reads fp32 of its own, makes dgrad,
 * and is looked at by nobody; what is no product follows, for nothing. */
static void test_a_program_s_layers_stand_apart(void **state) {
  (void)state;
  static const mpt_layer_info layers[] = {
      {.name = "a", .kind = "linear", .rank = 2, .shape = {32, 16}, .rows = 64},
      {.name = "b", .kind = "conv2d", .rank = 4, .shape = {48, 8, 2, 2}}, /* [48, 32] */
      {.name = "s", .kind = "rmsnorm", .rank = 1, .shape = {48}},
  };
  const optimizer_spec sgd = {.kind = OPTIMIZER_SGD, .accumulate = 1};
  profile *p = load("synthetic-bits");
  graph *g = NULL;
  assert_int_equal(graph_apart(layers, 3, &g, NULL), MPT_OK);
  assert_int_equal(g->layers[1].gemm.m, 64); /* not known: the most of the others */
  assert_int_equal(g->parameters, 32 * 16 + 48 * 32);
  mpt_layer_policy a[3];
  cost_parts parts;
  const double products = 3 * 2.0 * 64 * (16 * 32 + 32 * 48), inputs = 64 * (16 + 32),
               outputs = 64 * (32 + 48), weights = 16 * 32 + 32 * 48;
  for (int q = 0; q < MPT_PRECISION_COUNT; q++) {
    for (int i = 0; i < 3; i++) {
      const mpt_layer_policy own = mpt_layer_policy_of((mpt_precision)q);
      a[i] = mpt_layer_policy_for(layers[i].kind, &own);
    }
    assert_int_equal(cost_predict(g, p, &sgd, a, &parts, NULL), MPT_OK);
    const double speed[] = {1, 2, 2, 2, 4};
    assert_true(close_to(parts.gemms, 1e-12 * products / speed[q]));
    if (q == MPT_PRECISION_FP32 || q == MPT_PRECISION_TF32)
      assert_true(parts.copies == 0);
    else if (q == MPT_PRECISION_FP8) /* amax, cast, and the other way round */
      assert_true(close_to(parts.copies, 1e-12 * (10 * inputs + 6 * outputs + 10 * weights)));
    else
      assert_true(close_to(parts.copies, 6e-12 * (inputs + weights)));
    assert_true(parts.passes > 0 && parts.passes < 1e-12 * 40 * weights); /* of the optimizer */
  }
  graph_free(g);
  profile_free(p);
}

static void test_a_program_s_layer_may_be_too_large(void **state) {
  (void)state;
  const mpt_layer_info layer = {
      .name = "a", .kind = "conv2d", .rank = 4, .shape = {1000000000, 1000000000, 1000000000, 2}};
  mpt_error error = {0};
  graph *g = NULL;
  assert_int_equal(graph_apart(&layer, 1, &g, &error), MPT_ERROR_SHAPE);
  assert_string_equal(error.message, "layer 'a' of the program is too large to be priced");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_linear_layer_by_hand),
      cmocka_unit_test(test_a_program_s_layers_stand_apart),
      cmocka_unit_test(test_a_program_s_layer_may_be_too_large),
      cmocka_unit_test(test_copies_of_weights_by_adam),
      cmocka_unit_test(test_products_of_a_step),
      cmocka_unit_test(test_columns_of_fp8),
      cmocka_unit_test(test_factors_multiply_the_parts),
      cmocka_unit_test(test_attention),
      cmocka_unit_test(test_copies_of_a_convolution),
      cmocka_unit_test(test_copies_are_shared),
      cmocka_unit_test(test_padding_is_paid),
      cmocka_unit_test(test_gradient_accumulation),
      cmocka_unit_test(test_formats_of_two_gpts_are_in_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
