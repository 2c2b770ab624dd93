/* The graph: shapes, parameters, GEMMs and passes; and what does not fit
 * together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "train_model.h"
#include <math.h>
#include <stdlib.h>

static graph *build(test_model *m, int64_t batch) {
  graph *g = NULL;
  mpt_error error = {0};
  if (test_graph(m, batch, &g, &error) != MPT_OK)
    fail_msg("%s", error.message);
  return g;
}

static void an_mlp_has_its_sizes(void **state) {
  (void)state;
  test_model m;
  test_mlp(&m, 7, 5, 3);
  graph *g = build(&m, 4);
  assert_int_equal(g->parameters, 7 * 5 + 5 + 5 * 5 + 5 + 5 * 3 + 3);
  assert_int_equal(g->rows, 4);
  const graph_layer *fc1 = &g->layers[graph_find(g, "fc1")];
  assert_true(fc1->has_gemm && fc1->has_format);
  assert_int_equal(fc1->gemm.m, 4);
  assert_int_equal(fc1->gemm.n, 5);
  assert_int_equal(fc1->gemm.k, 7);
  assert_int_equal(fc1->info.shape[0], 5);
  assert_int_equal(fc1->info.shape[1], 7);
  assert_int_equal(fc1->info.rows, 4);
  assert_false(g->tensors[g->input].gradient); /* the first layer has no dgrad */
  assert_true(g->tensors[fc1->output].gradient);
  assert_int_equal(graph_find(g, "nothing"), -1);
  graph_free(g);
}

static void a_cnn_lowers_to_products(void **state) {
  (void)state;
  test_model m;
  test_cnn(&m, 8, 6, 3);
  graph *g = build(&m, 4);
  const graph_layer *conv2 = &g->layers[graph_find(g, "conv2")];
  assert_int_equal(conv2->gemm.m, 4 * 2 * 2); /* 8 -> pool 4 -> stride 2 */
  assert_int_equal(conv2->gemm.n, 6);
  assert_int_equal(conv2->gemm.k, 6 * 9);
  assert_int_equal(conv2->info.rank, 4);
  assert_int_equal(g->layers[graph_find(g, "head")].gemm.k, 6 * 2 * 2);
  graph_free(g);
}

static void a_gpt_has_its_sizes_tied_or_not(void **state) {
  (void)state;
  test_model m;
  const int64_t v = 11, t = 8, c = 16,
                block = 2 * c + 3 * c * c + 3 * c + c * c + c + 2 * 4 * c * c + 5 * c;
  test_gpt(&m, v, t, c, 2, false);
  graph *g = build(&m, 3);
  assert_int_equal(g->parameters, v * c + t * c + 2 * block + 2 * c + v * c);
  assert_int_equal(g->rows, 3 * t);
  assert_int_equal(g->layers[graph_find(g, "blocks.1.attn.core")].input_count, 1);
  graph_free(g);
  test_gpt(&m, v, t, c, 2, true);
  g = build(&m, 3);
  assert_int_equal(g->parameters, v * c + t * c + 2 * block + 2 * c);
  assert_int_equal(g->layers[graph_find(g, "head")].tied_to, graph_find(g, "embed"));
  /* the stream is read by the norm and by the sum, last by the sum */
  const graph_tensor *stream = &g->tensors[g->layers[graph_find(g, "embed")].output];
  assert_int_equal(stream->consumer_count, 2);
  assert_int_equal(stream->last_consumer, graph_find(g, "blocks.0.add"));
  graph_free(g);
}

static void edges_are_stored_as_the_design_says(void **state) {
  (void)state;
  test_model m;
  test_mlp(&m, 7, 5, 3);
  graph *g = build(&m, 4);
  mpt_layer_policy a[8];
  for (int i = 0; i < g->layer_count; i++)
    a[i] = mpt_layer_policy_of(MPT_PRECISION_BF16);
  int fc1 = graph_find(g, "fc1"), fc2 = graph_find(g, "fc2"), relu = graph_find(g, "relu1");
  a[fc1] = mpt_layer_policy_of(MPT_PRECISION_TF32);
  a[fc2].gemm[MPT_DGRAD] = mpt_gemm_policy_of(MPT_DGRAD, MPT_PRECISION_FP16);
  assert_int_equal(graph_tensor_format(g, a, g->input), MPT_FP32);
  assert_int_equal(graph_tensor_format(g, a, fc1 + 1), MPT_FP32); /* tf32 stores fp32 */
  assert_int_equal(graph_tensor_format(g, a, relu + 1), MPT_BF16);
  assert_int_equal(graph_gradient_format(g, a, relu + 1), MPT_FP16);  /* fc2's dgrad */
  assert_int_equal(graph_gradient_format(g, a, g->output), MPT_BF16); /* as the output */
  graph_free(g);
}

static double total(const graph *g, mpt_precision precision, const optimizer_spec *optimizer,
                    double *operations) {
  mpt_layer_policy a[TEST_MAX_LAYERS];
  graph_pass passes[256];
  for (int i = 0; i < g->layer_count; i++)
    a[i] = mpt_layer_policy_of(precision);
  int count = graph_passes(g, a, passes, 256, optimizer);
  assert_in_range(count, 1, 256);
  assert_int_equal(count, graph_passes(g, a, NULL, 0, optimizer));
  double bytes = 0.0;
  *operations = 0.0;
  for (int i = 0; i < count; i++) {
    bytes += passes[i].bytes;
    *operations += passes[i].operations;
    assert_non_null(passes[i].name);
    assert_in_range(passes[i].layer + 1, 0, g->layer_count);
  }
  return bytes;
}

/* all-FORMAT: what has a format of its own in it, what follows stored alike, and what only passes
 * the data on in fp32, unless it is pinned. */
static void a_uniform_policy_leaves_the_data_alone(void **state) {
  (void)state;
  test_model m;
  test_model_begin(&m, LOSS_CROSS_ENTROPY);
  m.info = (dataset_info){.rank = 3, .shape = {1, 4, 4}, .classes = 3};
  test_layer(&m, "flatten", "flat", NULL);
  test_linear(&m, "fc1", 16);
  test_layer(&m, "relu", "act", NULL);
  test_linear(&m, "head", 3);
  graph *g = build(&m, 4);
  pin_spec pin = {.layers = "flat", .precision = MPT_PRECISION_BF16};
  static const mpt_precision stored[MPT_PRECISION_COUNT] = {
      [MPT_PRECISION_FP32] = MPT_PRECISION_FP32,
      [MPT_PRECISION_TF32] = MPT_PRECISION_FP32,
      [MPT_PRECISION_BF16] = MPT_PRECISION_BF16,
      [MPT_PRECISION_FP16] = MPT_PRECISION_FP16,
      [MPT_PRECISION_FP8] = MPT_PRECISION_BF16};
  for (int q = 0; q < MPT_PRECISION_COUNT; q++) {
    for (int fast = 0; fast < 2; fast++) {
      mpt_layer_policy all[4], gemm = mpt_layer_policy_of((mpt_precision)q),
                               fp32 = mpt_layer_policy_of(MPT_PRECISION_FP32),
                               follower = mpt_layer_policy_of(stored[q]);
      if (fast && q == MPT_PRECISION_FP8)
        gemm.gemm[MPT_FPROP].accumulate = MPT_ACCUMULATE_FAST;
      graph_uniform(&m.w, g, (mpt_precision)q, fast, all);
      assert_true(mpt_layer_policy_equal(&all[0], &fp32));
      assert_true(mpt_layer_policy_equal(&all[1], &gemm));
      assert_true(mpt_layer_policy_equal(&all[2], &follower));
      assert_true(mpt_layer_policy_equal(&all[3], &gemm));
      m.w.pins = &pin, m.w.pin_count = 1;
      assert_true(graph_is_chosen(&m.w, g, 0));
      graph_uniform(&m.w, g, (mpt_precision)q, fast, all);
      assert_true(mpt_layer_policy_equal(&all[0], &follower));
      m.w.pin_count = 0;
      assert_false(graph_is_chosen(&m.w, g, 0));
    }
  }
  graph_free(g);
}

/* The bytes of an MLP by hand: relu, tanh and bias gradients, loss, adam. Gradients are cleared and
 * looked at. */
static void passes_count_what_is_read_and_written(void **state) {
  (void)state;
  test_model m;
  double operations;
  test_mlp(&m, 7, 5, 3);
  m.w.optimizer.kind = OPTIMIZER_ADAM;
  graph *g = build(&m, 4);
  double hidden = 4 * 5, logits = 4 * 3, parameters = (double)g->parameters;
  double elements = 2 * (2 + 3) * hidden  /* two activations, forward and backward */
                    + 2 * hidden + logits /* bias gradients */
                    + 2 * logits;         /* loss */
  assert_true(total(g, MPT_PRECISION_FP32, &m.w.optimizer, &operations) ==
              4 * elements + (8 + 28) * parameters);
  assert_true(total(g, MPT_PRECISION_FP8, &m.w.optimizer, &operations) ==
              2 * elements + (8 + 28) * parameters);
  assert_true(operations == 0.0);
  m.w.optimizer.kind = OPTIMIZER_SGD;
  m.w.optimizer.clip = 1.0;
  assert_true(total(g, MPT_PRECISION_FP32, &m.w.optimizer, &operations) ==
              4 * elements + (8 + 12) * parameters);
  graph_free(g);
}

static void attention_has_its_operations(void **state) {
  (void)state;
  test_model m;
  double operations;
  test_gpt(&m, 11, 8, 16, 2, false);
  graph *g = build(&m, 3);
  total(g, MPT_PRECISION_BF16, &m.w.optimizer, &operations);
  assert_true(operations == 2 * 7 * 2.0 * 3 * 8 * 8 * 16 / 2); /* causal */
  graph_free(g);
}

/* The passes of one layer under bf16, as bytes of elements. */
static double bytes_of_layer(const graph *g, const char *name, const char *pass) {
  mpt_layer_policy a[TEST_MAX_LAYERS];
  graph_pass passes[256];
  double bytes = 0.0;
  for (int i = 0; i < g->layer_count; i++)
    a[i] = mpt_layer_policy_of(MPT_PRECISION_BF16);
  const int count = graph_passes(g, a, passes, 256, NULL), layer = graph_find(g, name);
  assert_in_range(layer, 0, g->layer_count - 1);
  for (int i = 0; i < count; i++)
    if (passes[i].layer == layer && strstr(passes[i].name, pass) != NULL)
      bytes += passes[i].bytes;
  return bytes;
}

/* The norm adds to the gradient that the residual behind it has written; a gelu cannot. */
static void gradients_of_several_readers_are_added(void **state) {
  (void)state;
  test_model m;
  test_model_begin(&m, LOSS_CROSS_ENTROPY);
  m.info = (dataset_info){.rank = 1, .shape = {8}, .classes = 8};
  test_linear(&m, "fc", 8);
  test_layer(&m, "layernorm", "norm", "fc", NULL);
  test_layer(&m, "gelu", "act", "fc", NULL);
  test_layer(&m, "residual", "sum", "norm", "act", NULL);
  test_layer(&m, "residual", "out", "fc", "sum", NULL);
  graph *g = build(&m, 4);
  const double n = 4 * 8;
  assert_true(bytes_of_layer(g, "norm", "forward") == 2 * 2 * n);
  assert_true(bytes_of_layer(g, "norm", "backward") == 2 * (2 + 2) * n); /* reads and writes it */
  assert_true(bytes_of_layer(g, "act", "backward") == 2 * 2 * n + 4 * n);
  assert_true(bytes_of_layer(g, "act", "sum of gradients") == 4 * n + 2 * 2 * n);
  /* Gradients of a sum are its output's. */
  assert_true(bytes_of_layer(g, "sum", "") == 2 * 3 * n);
  assert_true(bytes_of_layer(g, "out", "") == 2 * 3 * n);
  graph_free(g);
}

/* 2 x 4 x 4 images, kernels of 3 x 3, padded: 18 columns a pixel. */
static void a_convolution_writes_its_columns(void **state) {
  (void)state;
  test_model m;
  test_cnn(&m, 4, 5, 3);
  graph *g = build(&m, 2);
  const double image = 2 * 2 * 16, rows = 2 * 16, columns = rows * 18, out = rows * 5;
  /* The data is fp32, and has no gradient. */
  assert_true(bytes_of_layer(g, "conv1", "columns") == 4 * (image + columns));
  assert_true(bytes_of_layer(g, "conv1", "rows") == 2 * (2 * out) + 2 * (2 * out));
  const double pooled = 2 * 5 * 4, rows2 = 2 * 1, columns2 = rows2 * 45;
  assert_true(bytes_of_layer(g, "conv2", "columns") == 2 * 2 * (pooled + columns2));
  graph_free(g);
}

/* What is found in passing: what norms, activations, attention, sums and the loss write. */
static void writers_that_look_are_known(void **state) {
  (void)state;
  test_model m;
  test_gpt(&m, 11, 8, 16, 1, false);
  graph *g = build(&m, 3);
  const struct {
    const char *layer;
    bool output, gradient;
  } expected[] = {
      {"embed", false, true},        /* the norm adds to its gradient last */
      {"blocks.0.ln1", true, false}, /* qkv's dgrad is a product */
      {"blocks.0.attn.qkv", false, true},
      {"blocks.0.attn.core", true, false},
      {"blocks.0.attn.proj", false, false}, /* the sum's gradient, which fc1's dgrad completes */
      {"blocks.0.add", true, false},
      {"blocks.0.mlp.fc1", false, true},
      {"blocks.0.mlp.gelu", true, false},
      {"blocks.0.mlp.fc2", false, true}, /* the sum's, which ln_f writes */
      {"ln_f", true, false},
      {"head", false, true},
  };
  for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
    const int tensor = g->layers[graph_find(g, expected[i].layer)].output;
    if (graph_is_seen(g, tensor, false) != expected[i].output ||
        graph_is_seen(g, tensor, true) != expected[i].gradient)
      fail_msg("%s", expected[i].layer);
  }
  assert_false(graph_is_seen(g, g->input, false));
  graph_free(g);
}

/* The pass of a layer (NULL: of loss or optimizer) whose name ends so. */
static graph_pass pass_of(const graph *g, const mpt_layer_policy *assignment,
                          const optimizer_spec *optimizer, const char *layer, const char *ending) {
  static graph_pass passes[256];
  const int count = graph_passes(g, assignment, passes, 256, optimizer);
  const int index = layer == NULL ? -1 : graph_find(g, layer);
  for (int i = 0; i < count; i++) {
    const size_t length = strlen(passes[i].name), end = strlen(ending);
    if (passes[i].layer == index && length >= end &&
        strcmp(passes[i].name + length - end, ending) == 0)
      return passes[i];
  }
  fail_msg("'%s' has no pass '%s'", layer == NULL ? "the step" : layer, ending);
  return passes[0];
}

typedef struct expected_pass {
  const char *layer, *ending;
  pass_kind kind;
  double bytes;
  mpt_format format;
} expected_pass;

static void check_passes(const graph *g, const optimizer_spec *optimizer,
                         const expected_pass *expected, size_t count) {
  mpt_layer_policy a[TEST_MAX_LAYERS];
  for (int i = 0; i < g->layer_count; i++)
    a[i] = mpt_layer_policy_of(MPT_PRECISION_BF16);
  for (size_t i = 0; i < count; i++) {
    const expected_pass *e = &expected[i];
    const graph_pass pass = pass_of(g, a, optimizer, e->layer, e->ending);
    if (pass.kind != e->kind || pass.bytes != e->bytes || pass.format != e->format)
      fail_msg("%s %s: kind %d, %.0f bytes, format %d", e->layer == NULL ? "" : e->layer, e->ending,
               (int)pass.kind, pass.bytes, (int)pass.format);
  }
}

/* Kinds, bytes and what is read of every pass of two networks under bf16. */
static void passes_are_of_their_kinds(void **state) {
  (void)state;
  test_model m;
  test_gpt(&m, 11, 8, 16, 1, false);
  m.w.optimizer.kind = OPTIMIZER_ADAMW;
  graph *g = build(&m, 3);
  const double n = 3 * 8 * 16, parameters = (double)g->parameters, logits = 3 * 8 * 11;
  const expected_pass gpt[] = {
      {"embed", "forward", PASS_EMBEDDING_FORWARD, (4 + 2) * n, MPT_BF16},
      {"embed", "backward", PASS_EMBEDDING_BACKWARD, (2 + 2 * 4) * n, MPT_BF16},
      {"blocks.0.ln1", "forward", PASS_NORM_FORWARD, 2 * 2 * n, MPT_BF16},
      {"blocks.0.ln1", "backward", PASS_NORM_BACKWARD, 2 * 4 * n, MPT_BF16},
      {"ln_f", "backward", PASS_NORM_BACKWARD, 2 * 3 * n, MPT_BF16},
      {"blocks.0.attn.qkv", "backward", PASS_COLUMN_SUM, 2 * 3 * n, MPT_BF16},
      {"blocks.0.attn.core", "forward", PASS_ELEMENTWISE, 2 * (3 + 1) * n, MPT_BF16},
      {"blocks.0.attn.core", "backward", PASS_ELEMENTWISE, 2 * (3 + 1 + 1 + 3) * n, MPT_BF16},
      {"blocks.0.add", "forward", PASS_ELEMENTWISE, 2 * 3 * n, MPT_BF16},
      {"blocks.0.mlp.gelu", "forward", PASS_ELEMENTWISE, 2 * 2 * 4 * n, MPT_BF16},
      {"blocks.0.mlp.gelu", "backward", PASS_ELEMENTWISE, 2 * 3 * 4 * n, MPT_BF16},
      {NULL, "loss", PASS_LOSS, 2 * 2 * logits, MPT_BF16},
      {NULL, "clear gradients", PASS_ELEMENTWISE, 4 * parameters, MPT_FP32},
      {NULL, "check gradients", PASS_REDUCTION, 4 * parameters, MPT_FP32},
      {NULL, "optimizer", PASS_OPTIMIZER, 28 * parameters, MPT_FP32},
  };
  check_passes(g, &m.w.optimizer, gpt, sizeof gpt / sizeof *gpt);
  /* Other losses read targets in fp32 too, and have no kernel that is timed. */
  g->loss = LOSS_MSE;
  const expected_pass mse = {NULL, "loss", PASS_ELEMENTWISE, (2 * 2 + 4) * logits, MPT_BF16};
  check_passes(g, NULL, &mse, 1);
  g->loss = LOSS_BINARY;
  check_passes(g, NULL, &mse, 1);
  graph_free(g);
  test_cnn(&m, 4, 5, 3);
  g = build(&m, 2);
  const double image = 2 * 5 * 16, pooled = image / 4;
  const expected_pass cnn[] = {
      {"conv1", "bias backward", PASS_COLUMN_SUM, 2 * image, MPT_BF16},
      {"relu1", "backward", PASS_ELEMENTWISE, 2 * 3 * image, MPT_BF16},
      {"pool1", "forward", PASS_ELEMENTWISE, 2 * (image + pooled), MPT_BF16},
      {"pool1", "backward", PASS_ELEMENTWISE, 2 * (2 * image + pooled), MPT_BF16},
  };
  check_passes(g, NULL, cnn, sizeof cnn / sizeof *cnn);
  graph_free(g);
}

/* A relu's backward pass reads what it wrote, a gelu's what it read; a sum stored otherwise than
 * its reader's gradient has to convert that. */
static void passes_read_what_is_stored_where_they_look(void **state) {
  (void)state;
  test_model m;
  test_model_begin(&m, LOSS_CROSS_ENTROPY);
  m.info = (dataset_info){.rank = 1, .shape = {8}, .classes = 8};
  test_linear(&m, "fc", 8);
  test_layer(&m, "relu", "relu", NULL);
  test_linear(&m, "fc2", 8);
  test_layer(&m, "gelu", "gelu", NULL);
  test_layer(&m, "residual", "sum", "relu", "gelu", NULL);
  test_linear(&m, "head", 8);
  graph *g = build(&m, 4);
  const mpt_layer_policy fp32 = mpt_layer_policy_of(MPT_PRECISION_FP32),
                         bf16 = mpt_layer_policy_of(MPT_PRECISION_BF16);
  const mpt_layer_policy a[] = {fp32, bf16, fp32, bf16, bf16, fp32};
  const double n = 4 * 8;
  /* Each writes the gradient of a product's output in its own format. */
  assert_true(pass_of(g, a, NULL, "relu", "backward").bytes == (2 + 2 + 2) * n);
  assert_true(pass_of(g, a, NULL, "gelu", "backward").bytes == (4 + 2 + 2) * n);
  assert_int_equal(pass_of(g, a, NULL, "gelu", "forward").format, MPT_FP32);
  /* head's dgrad is fp32, the gradients of the sum's inputs bf16 */
  const graph_pass sum = pass_of(g, a, NULL, "sum", "backward");
  assert_true(sum.bytes == (4 + 2) * n && sum.format == MPT_FP32);
  graph_free(g);
}

/* A kind that neither looks nor adds: what the network adds for it is looked at. */
static void a_sum_that_the_network_makes_is_looked_at(void **state) {
  (void)state;
  test_model m;
  for (int readers = 1; readers <= 2; readers++) {
    test_model_begin(&m, LOSS_CROSS_ENTROPY);
    m.info = (dataset_info){.rank = 1, .shape = {8}, .classes = 8};
    test_linear(&m, "fc", 8);
    test_layer(&m, "scale", "scale", "fc", NULL)->output_scale = 0.5;
    if (readers == 2)
      test_layer(&m, "residual", "sum", "scale", "fc", NULL);
    graph *g = build(&m, 4);
    assert_true(graph_is_seen(g, g->layers[graph_find(g, "fc")].output, true) == (readers == 2));
    graph_free(g);
  }
}

/* ---- what does not fit ---- */

static void refuse(test_model *m, mpt_status status, const char *part) {
  graph *g = NULL;
  mpt_error error = {0};
  assert_int_equal(test_graph(m, 4, &g, &error), status);
  assert_null(g);
  if (strstr(error.message, part) == NULL)
    fail_msg("'%s' is not in '%s'", part, error.message);
}

static void errors_name_the_layer_and_its_place(void **state) {
  (void)state;
  test_model m;
  mpt_error error = {0};
  graph *g = NULL;
  test_mlp(&m, 7, 5, 3);
  m.layers[2].heads = 2;
  m.layers[2].line = 12, m.layers[2].column = 7;
  assert_int_equal(test_graph(&m, 4, &g, &error), MPT_ERROR_SYNTAX);
  assert_string_equal(error.file, "test.yaml");
  assert_int_equal(error.line, 12);
  assert_int_equal(error.column, 7);
  assert_string_equal(error.message, "layer 'fc2': a linear takes no 'heads'");
}

/* What may end a network, by loss; behind a dropout, which changes nothing in it. */
static void logits_have_no_bounds(void **state) {
  (void)state;
  static const struct {
    const char *kind, *gives;
    bool cross_entropy, binary;
  } ends[] = {
      {"softmax", "a softmax gives values from 0 to 1", false, false},
      {"sigmoid", "a sigmoid gives values from 0 to 1", false, false},
      {"tanh", "a tanh gives values from -1 to 1", false, false},
      {"relu", "a relu gives none below 0", true, false},
      {"gelu", "a gelu gives none below -0.17", true, false},
      {"layernorm", NULL, true, true},
  };
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
    for (int loss = 0; loss < 3; loss++)
      for (int behind = 0; behind < 2; behind++) {
        test_model m;
        test_mlp(&m, 7, 5, loss == 0 ? 3 : 1);
        m.w.loss = loss == 0 ? LOSS_CROSS_ENTROPY : loss == 1 ? LOSS_BINARY : LOSS_MSE;
        if (loss > 0)
          m.info.classes = 0, m.info.targets = 1;
        test_layer(&m, ends[i].kind, "end", NULL);
        if (behind)
          test_layer(&m, "dropout", "drop", NULL)->probability = 0.5;
        if (loss == 2 || (loss == 0 ? ends[i].cross_entropy : ends[i].binary))
          graph_free(build(&m, 4));
        else
          refuse(&m, MPT_ERROR_SHAPE, ends[i].gives);
      }
  test_model m;
  test_mlp(&m, 7, 5, 3);
  test_layer(&m, "softmax", "end", NULL);
  refuse(&m, MPT_ERROR_SHAPE,
         "layer 'end': the loss cross_entropy reads logits, which are any "
         "numbers, and a softmax gives values from 0 to 1; leave it out, or "
         "use the loss nll");
  m.w.loss = LOSS_NLL;
  graph_free(build(&m, 4));
}

static void layers_that_do_not_fit_are_refused(void **state) {
  (void)state;
  test_model m;
  test_mlp(&m, 7, 5, 3);
  m.layers[0].features = 0;
  refuse(&m, MPT_ERROR_SYNTAX, "layer 'fc1': a linear needs 'features'");

  test_mlp(&m, 7, 5, 3);
  strcpy(m.layers[1].kind, "rleu");
  refuse(&m, MPT_ERROR_SYNTAX, "layer 'relu1': unknown kind 'rleu' (known: linear, conv2d");

  test_mlp(&m, 7, 5, 3);
  m.info.classes = 10;
  refuse(&m, MPT_ERROR_SHAPE, "layer 'head': it has 3 outputs, and the data has 10 classes");

  test_mlp(&m, 7, 5, 3);
  m.info.rank = 3, m.info.shape[1] = m.info.shape[2] = 4;
  refuse(&m, MPT_ERROR_SHAPE, "layer 'fc1': it cannot read an image [batch, 7, 4, 4]");

  test_cnn(&m, 8, 6, 3);
  m.layers[3].kernel = 9;
  refuse(&m, MPT_ERROR_SHAPE, "layer 'conv2': its kernel 9 does not fit in 4 x 4");

  test_cnn(&m, 8, 6, 3);
  m.layers[2].padding = 2;
  refuse(&m, MPT_ERROR_SHAPE, "layer 'pool1': its padding 2 is more than half of its kernel 2");

  test_mlp(&m, 7, 5, 3);
  test_layer(&m, "residual", "sum", "head", "fc1", NULL);
  refuse(&m, MPT_ERROR_SHAPE, "shapes [batch, 3] and [batch, 5]");

  test_mlp(&m, 7, 5, 3);
  test_layer(&m, "residual", "sum", NULL);
  refuse(&m, MPT_ERROR_SYNTAX, "layer 'sum': a residual reads 2 layers, not 1");

  test_mlp(&m, 7, 5, 3);
  test_layer(&m, "relu", "late", "nowhere", NULL);
  refuse(&m, MPT_ERROR_SYNTAX, "layer 'late': there is no layer 'nowhere' before it");

  test_mlp(&m, 7, 5, 3);
  test_layer(&m, "linear", "other", "fc1", NULL)->features = 3;
  refuse(&m, MPT_ERROR_SHAPE, "layer 'head': no layer reads it");

  test_mlp(&m, 7, 5, 3);
  m.w.loss = LOSS_NLL;
  refuse(&m, MPT_ERROR_SHAPE, "end with a softmax");

  test_mlp(&m, 7, 5, 3);
  m.w.loss = LOSS_MSE;
  refuse(&m, MPT_ERROR_SHAPE, "the loss needs float targets");

  test_mlp(&m, 7, 5, 3);
  strcpy(m.layers[4].tied_to, "fc1");
  refuse(&m, MPT_ERROR_SHAPE, "its weight is [3, 5], that of 'fc1', which it is tied to, [5, 7]");

  test_gpt(&m, 11, 8, 16, 1, false);
  m.layers[0].positions = 4;
  refuse(&m, MPT_ERROR_SHAPE, "layer 'embed': it has 4 positions for a sequence of 8");

  test_gpt(&m, 11, 8, 16, 1, false);
  m.layers[3].heads = 5;
  refuse(&m, MPT_ERROR_SHAPE, "its width 16 is not a multiple of 5 heads");

  test_gpt(&m, 11, 8, 16, 1, false);
  strcpy(m.layers[0].kind, "linear"), m.layers[0].vocabulary = m.layers[0].positions = 0;
  refuse(&m, MPT_ERROR_SHAPE, "layer 'embed': a linear cannot read token ids");

  test_mlp(&m, 7, 5, 3);
  test_layer(&m, "scale", "twice", NULL)->output_scale = 3.0;
  refuse(&m, MPT_ERROR_SHAPE, "layer 'twice': its output_scale 3 is not a power of two");

  test_mlp(&m, 7, 1000000000000, 3);
  m.layers[2].features = 1000000000000;
  refuse(&m, MPT_ERROR_SHAPE, "is too large");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_mlp_has_its_sizes),
      cmocka_unit_test(a_cnn_lowers_to_products),
      cmocka_unit_test(a_gpt_has_its_sizes_tied_or_not),
      cmocka_unit_test(edges_are_stored_as_the_design_says),
      cmocka_unit_test(a_uniform_policy_leaves_the_data_alone),
      cmocka_unit_test(passes_count_what_is_read_and_written),
      cmocka_unit_test(gradients_of_several_readers_are_added),
      cmocka_unit_test(a_convolution_writes_its_columns),
      cmocka_unit_test(writers_that_look_are_known),
      cmocka_unit_test(passes_are_of_their_kinds),
      cmocka_unit_test(passes_read_what_is_stored_where_they_look),
      cmocka_unit_test(a_sum_that_the_network_makes_is_looked_at),
      cmocka_unit_test(attention_has_its_operations),
      cmocka_unit_test(errors_name_the_layer_and_its_place),
      cmocka_unit_test(logits_have_no_bounds),
      cmocka_unit_test(layers_that_do_not_fit_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
