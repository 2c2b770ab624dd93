/* The memory of a network: tensors share it only where nobody sees that, it is as little as the
 * plan says, and a device that has less names what did not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/kernels.h"
#include "memory_apart.h"
#include "train/network_memory.h"
#include "train/scores.h"
#include "train_model.h"
#include <math.h>
#include <stdlib.h>

static void require(mpt_status status, const mpt_error *error) {
  if (status != MPT_OK)
    fail_msg("%s", error->message);
}

/* Allocations beyond it fail; 0: no limit. */
static size_t limit;
/* What the device is said to have; 0: what it has. */
static int64_t device_bytes;

mpt_status __real_mpt_device_describe(const char *backend, int index, mpt_device_info *info,
                                      mpt_error *error);
mpt_status __wrap_mpt_device_describe(const char *backend, int index, mpt_device_info *info,
                                      mpt_error *error);
mpt_status __wrap_mpt_device_describe(const char *backend, int index, mpt_device_info *info,
                                      mpt_error *error) {
  const mpt_status status = __real_mpt_device_describe(backend, index, info, error);
  if (status == MPT_OK && device_bytes > 0)
    info->memory_bytes = device_bytes;
  return status;
}

/* The last block of that size, which is a network's tensors. */
static struct {
  size_t bytes;
  char *at;
} block;

mpt_status __real_mpt_memory_allocate(mpt_queue *queue, size_t bytes, void **data,
                                      mpt_error *error);
mpt_status __wrap_mpt_memory_allocate(mpt_queue *queue, size_t bytes, void **data,
                                      mpt_error *error);
mpt_status __wrap_mpt_memory_allocate(mpt_queue *queue, size_t bytes, void **data,
                                      mpt_error *error) {
  if (limit == 0 || bytes <= limit) {
    mpt_status status = __real_mpt_memory_allocate(queue, bytes, data, error);
    if (status == MPT_OK && bytes == block.bytes)
      block.at = *data;
    return status;
  }
  if (error != NULL)
    snprintf(error->message, sizeof error->message, "out of memory");
  return MPT_ERROR_MEMORY;
}

/* ---- buffers ---- */

static bool together(const memory_buffer *a, const memory_buffer *b) {
  for (int i = 0; i < MEMORY_SPANS; i++)
    for (int t = a->spans[i].first; t <= a->spans[i].last; t++)
      for (int k = 0; k < MEMORY_SPANS; k++)
        if (t >= b->spans[k].first && t <= b->spans[k].last)
          return true;
  return false;
}

static unsigned drawn = 1;
static int draw(int below) {
  drawn = drawn * 1664525u + 1013904223u;
  return (int)(drawn >> 8) % below;
}

static void buffers_in_use_together_are_apart(void **state) {
  (void)state;
  enum { COUNT = 60, TIMES = 40 };
  for (int round = 0; round < 50; round++) {
    memory_buffer b[COUNT], again[COUNT];
    for (int i = 0; i < COUNT; i++) {
      int first = draw(TIMES), second = draw(TIMES);
      b[i] = (memory_buffer){.bytes = (size_t)draw(5000) + 1,
                             .spans = {{first, first + draw(8)}, {1, 0}}};
      if (i % 3 == 0)
        b[i].spans[1] = (memory_span){second, second + draw(4)};
      again[i] = b[i];
    }
    size_t bytes, bytes_again, least = 0;
    mpt_error error;
    require(memory_fit(b, COUNT, &bytes, &error), &error);
    require(memory_fit(again, COUNT, &bytes_again, &error), &error);
    assert_int_equal(bytes, bytes_again);
    for (int t = 0; t < TIMES + 8; t++) {
      const memory_buffer now = {.spans = {{t, t}, {1, 0}}};
      size_t sum = 0;
      for (int i = 0; i < COUNT; i++)
        sum += together(&now, &b[i]) ? (b[i].bytes + 255) / 256 * 256 : 0;
      least = sum > least ? sum : least;
    }
    size_t in_use = 0;
    require(memory_in_use(b, COUNT, &in_use, &error), &error);
    assert_int_equal(in_use, least);
    assert_true(bytes >= least && bytes <= 2 * least);
    for (int i = 0; i < COUNT; i++) {
      assert_int_equal(b[i].offset, again[i].offset);
      assert_int_equal(b[i].offset % 256, 0);
      assert_true(b[i].offset + b[i].bytes <= bytes);
      for (int k = 0; k < i; k++)
        if (together(&b[i], &b[k]))
          assert_true(b[i].offset + b[i].bytes <= b[k].offset ||
                      b[k].offset + b[k].bytes <= b[i].offset);
    }
  }
}

/* ---- trainings ---- */

enum { MODELS = 7, STEPS = 6 };

/* Sums that cannot be shared, views, branches, every kind of layer and loss between them. */
static void make_model(test_model *m, int model) {
  layer_spec *layer;
  switch (model) {
  case 0:
    test_mlp(m, 12, 16, 5);
    test_layer(m, "dropout", "drop", NULL)->probability = 0.2;
    break;
  case 1:
    test_cnn(m, 12, 8, 5);
    break;
  case 2:
    test_gpt(m, 24, 8, 16, 2, false);
    break;
  case 3:
    test_gpt(m, 24, 8, 16, 2, true);
    m->w.optimizer.accumulate = 2;
    break;
  case 4: /* a view of what a backward pass reads is the output: its gradient lies elsewhere */
    test_model_begin(m, LOSS_CROSS_ENTROPY);
    m->info = (dataset_info){.rank = 3, .shape = {2, 8, 8}, .classes = 4};
    layer = test_layer(m, "conv2d", "conv", NULL);
    layer->channels = 4, layer->kernel = 3;
    test_layer(m, "maxpool", "pool", NULL)->kernel = 2;
    test_layer(m, "relu", "relu", NULL);
    test_layer(m, "flatten", "flatten", NULL);
    break;
  case 5: /* one tensor read by three layers and by its own sum */
    test_mlp(m, 12, 16, 5);
    m->model.layer_count = 2;
    test_layer(m, "linear", "a", "relu1", NULL)->features = 16;
    test_layer(m, "linear", "b", "relu1", NULL)->features = 16;
    test_layer(m, "residual", "sum", "a", "relu1", NULL);
    test_layer(m, "layernorm", "norm", "sum", NULL);
    test_layer(m, "residual", "sum2", "sum", "b", NULL);
    test_layer(m, "residual", "sum3", "norm", "sum2", NULL);
    test_layer(m, "scale", "scale", NULL)->output_scale = 0.5;
    test_layer(m, "sigmoid", "sigmoid", NULL);
    test_linear(m, "head", 5);
    break;
  default:
    test_cnn(m, 12, 8, 5);
    m->w.loss = LOSS_NLL;
    strcpy(m->layers[2].kind, "avgpool");
    test_layer(m, "softmax", "softmax", NULL);
  }
  m->w.metric = METRIC_ACCURACY;
  m->w.optimizer.kind = OPTIMIZER_ADAMW;
  m->w.optimizer.learning_rate = 5e-3;
}

static const mpt_precision precisions[] = {MPT_PRECISION_FP32, MPT_PRECISION_BF16,
                                           MPT_PRECISION_FP16, MPT_PRECISION_FP8,
                                           MPT_PRECISION_TF32};

enum { EACH_LAYER = 5, EACH_GEMM, TURNS };

static void assign(const graph *g, int turn, mpt_layer_policy *assignment) {
  for (int i = 0; i < g->layer_count; i++) {
    mpt_layer_policy other = mpt_layer_policy_of(precisions[(i + 2) % 5]);
    assignment[i] = mpt_layer_policy_of(precisions[turn < EACH_LAYER ? turn : i % 5]);
    for (int gemm = 0; gemm < MPT_GEMM_COUNT && turn == EACH_GEMM; gemm++)
      if (gemm != MPT_FPROP)
        assignment[i].gemm[gemm] = other.gemm[gemm];
  }
}

typedef struct fixture {
  test_model m;
  dataset *data;
  graph *g;
  mpt_layer_policy assignment[TEST_MAX_LAYERS];
  train_options options;
} fixture;

static void begin(fixture *f, int model, int turn) {
  mpt_error error = {0};
  make_model(&f->m, model);
  require(test_data(&f->m, f->m.info.tokens ? 2000 : 60, &f->data, &error), &error);
  f->m.info = *dataset_get_info(f->data);
  require(test_graph(&f->m, 8, &f->g, &error), &error);
  assign(f->g, turn, f->assignment);
  f->options = train_options_default();
  f->options.workload = &f->m.w;
  f->options.graph = f->g;
  f->options.data = f->data;
  f->options.assignment = f->assignment;
  f->options.steps = f->m.w.steps = STEPS;
}

static void end(fixture *f) {
  graph_free(f->g);
  dataset_close(f->data);
}

static void same(double a, double b) {
  assert_memory_equal(&a, &b, sizeof a);
}

/* Every buffer has its own place, and is NaN as soon as the plan says that it is free: a layer that
 * reads more than its kind says, or before anything was written, reads that. */
static struct {
  memory_buffer buffers[2][4 * TEST_MAX_LAYERS];
  int counts[2], plans;
  const layer_kind *kinds[TEST_MAX_LAYERS];
  layer_kind wrapped[TEST_MAX_LAYERS];
} poison;

static void remember_plan(const memory_buffer *buffers, int count, size_t bytes) {
  int which = poison.plans++ % 2; /* training, then forward alone */
  assert_true(count <= 4 * TEST_MAX_LAYERS);
  memcpy(poison.buffers[which], buffers, (size_t)count * sizeof *buffers);
  poison.counts[which] = count;
  block.bytes = which == 0 || bytes > block.bytes ? bytes : block.bytes;
}

/* What holds nothing that is written before `time` and read then or later. */
static void poison_what_is_free(const layer_run *run, int time) {
  int which = run->training ? 0 : 1;
  for (int i = 0; i < poison.counts[which]; i++) {
    const memory_buffer *b = &poison.buffers[which][i];
    bool holds = false;
    for (int k = 0; k < MEMORY_SPANS; k++)
      holds = holds || (b->spans[k].first < time && b->spans[k].last >= time);
    if (!holds)
      memset(block.at + b->offset, 0xff, b->bytes);
  }
}

static mpt_status forward(layer_run *run, mpt_error *error) {
  poison_what_is_free(run, run->index);
  mpt_status status = poison.kinds[run->index]->forward(run, error);
  if (run->index == run->graph->layer_count - 1) /* the loss is next */
    poison_what_is_free(run, run->graph->layer_count);
  return status;
}

static mpt_status backward(layer_run *run, mpt_error *error) {
  poison_what_is_free(run, 2 * run->graph->layer_count - run->index);
  return poison.kinds[run->index]->backward(run, error);
}

static void train_poisoned(fixture *f, train_result *result) {
  mpt_error error = {0};
  memory_is_apart = true;
  memory_seen = remember_plan;
  poison.plans = 0;
  for (int i = 0; i < f->g->layer_count; i++) {
    poison.kinds[i] = f->g->layers[i].kind;
    poison.wrapped[i] = *f->g->layers[i].kind;
    poison.wrapped[i].forward = forward;
    poison.wrapped[i].backward = backward;
    f->g->layers[i].kind = &poison.wrapped[i];
  }
  require(train_run(&f->options, result, &error), &error);
  memory_is_apart = false;
  memory_seen = NULL;
  block.bytes = 0;
}

/* Held-out metrics follow from the last weights, and the output check from both passes. */
static void sharing_changes_no_bit(void **state) {
  (void)state;
  for (int model = 0; model < MODELS; model++)
    for (int turn = 0; turn < TURNS; turn++) {
      fixture f;
      train_result packed, apart;
      mpt_error error = {0};
      begin(&f, model, turn);
      require(train_run(&f.options, &packed, &error), &error);
      train_poisoned(&f, &apart);
      assert_int_equal(packed.steps_done, STEPS);
      if (apart.steps_done != STEPS)
        fail_msg("model %d, turn %d: %s", model, turn, apart.failure);
      assert_memory_equal(packed.losses, apart.losses, STEPS * sizeof *packed.losses);
      same(packed.held_out_loss, apart.held_out_loss);
      same(packed.metric, apart.metric);
      same(packed.metric_plain, apart.metric_plain);
      same(packed.output_difference, apart.output_difference);
      assert_true(packed.memory_bytes < apart.memory_bytes);
      train_result_clear(&packed);
      train_result_clear(&apart);
      end(&f);
    }
}

/* ---- what it takes ---- */

static void what_is_predicted_is_taken(void **state) {
  (void)state;
  for (int model = 0; model < MODELS; model++)
    for (int turn = 0; turn < TURNS; turn++) {
      fixture f;
      network *n;
      size_t all, half;
      mpt_error error = {0};
      begin(&f, model, turn);
      f.m.w.optimizer.kind = turn == 0 ? OPTIMIZER_SGD : OPTIMIZER_ADAMW;
      require(network_open(&f.options, &n, &error), &error);
      require(network_needs(n, &f.options, f.g->batch, &all, &error), &error);
      require(network_needs(n, &f.options, f.g->batch / 2, &half, &error), &error);
      assert_int_equal(n->memory_bytes, all);
      assert_true(half < all);
      network_close(n);
      end(&f);
    }
}

/* ---- too little ---- */

static void fails_with(fixture *f, size_t most, const char *const *parts) {
  network *n = NULL;
  mpt_error error = {0};
  limit = most;
  assert_int_equal(network_open(&f->options, &n, &error), MPT_ERROR_MEMORY);
  limit = 0;
  assert_null(n);
  for (int i = 0; parts[i] != NULL; i++)
    if (strstr(error.message, parts[i]) == NULL)
      fail_msg("'%s' is not in: %s", parts[i], error.message);
}

/* The limit is that of one block; the largest of scores are those of tensors and of products. */
static void scores_take_smaller_batches_where_memory_ends(void **state) {
  (void)state;
  fixture f;
  network_scores scores;
  mpt_error error = {0};
  const score_options o = {.batches = 2, .precisions = 1u << MPT_PRECISION_FP8, .seed = 1};
  begin(&f, 2, 0);
  require(train_score(&f.options, &o, &scores, &error), &error);
  assert_int_equal(scores.samples, 8);
  network_scores_clear(&scores);
  int seen = 0;
  for (size_t most = (size_t)1 << 22; most > 1000; most -= most / 8) {
    limit = most;
    const mpt_status status = train_score(&f.options, &o, &scores, &error);
    limit = 0;
    if (status == MPT_OK && scores.samples < 8) {
      assert_true(scores.layers[2].wgrad[MPT_PRECISION_FP8].variance > 0);
      seen |= 1 << scores.samples;
    } else if (status != MPT_OK) {
      assert_int_equal(status, MPT_ERROR_MEMORY);
      seen |= 1;
    }
    network_scores_clear(&scores);
  }
  assert_int_equal(seen & (1 | 1 << 4), 1 | 1 << 4); /* halved first, refused in the end */
  end(&f);
}

/* Rows of parameters are small here, the copies of bf16 larger, the tensors of fp32 the largest. */
static void what_does_not_fit_is_named(void **state) {
  (void)state;
  fixture f;
  network *n;
  mpt_error error = {0};
  begin(&f, 2, 1);
  const size_t parameters = network_parameter_bytes(f.g);
  require(network_open(&f.options, &n, &error), &error);
  device_bytes = (int64_t)n->memory_bytes - 1;
  network_close(n);
  fails_with(&f, parameters - 1,
             (const char *[]){"weights of 25 parameters, the largest 'blocks.0.mlp.fc1.weight' of "
                              "4 KiB: out of memory; a batch of 8 takes ",
                              NULL});
  fails_with(
      &f, parameters,
      (const char *[]){"copies in the policy's formats for a batch of 8: out of memory", NULL});
  end(&f);
  begin(&f, 2, 0);
  graph_free(f.g);
  require(test_graph(&f.m, 64, &f.g, &error), &error);
  f.options.graph = f.g;
  require(network_open(&f.options, &n, &error), &error);
  const size_t copies = mpt_session_workspace_bytes(n->session);
  assert_true(n->training.bytes > copies && n->training.bytes > parameters);
  device_bytes = (int64_t)n->memory_bytes - 1;
  network_close(n);
  fails_with(&f, parameters > copies ? parameters : copies,
             (const char *[]){"activations and gradients of a batch of 64, the largest the output "
                              "of 'blocks.0.mlp.fc1' [batch, 8, 64] in fp32, 128 KiB: out of "
                              "memory; a batch of 64 takes ",
                              " in all, one of 32 takes ",
                              ": make the batch smaller, and accumulate 2 of them for the same "
                              "step",
                              NULL});
  end(&f);
  device_bytes = 0;
}

/* A smaller batch is not what helps where a device would be large enough if it were free. */
static void memory_that_others_hold_is_said_to_be(void **state) {
  (void)state;
  fixture f;
  begin(&f, 2, 1);
  device_bytes = (int64_t)3 << 30;
  fails_with(&f, network_parameter_bytes(f.g) - 1,
             (const char *[]){"out of memory; a batch of 8 takes ",
                              " in all, of 3 GiB that the device has: other programs hold the "
                              "rest",
                              NULL});
  device_bytes = 0;
  end(&f);
}

static void no_plan(const memory_buffer *buffers, int count, size_t bytes) {
  (void)buffers, (void)bytes;
  fail_msg("a plan of %d buffers was made", count);
}

/* More than any machine has: said without a plan, which takes seconds for a thousand blocks. */
static void a_network_that_is_too_large_is_said_to_be(void **state) {
  (void)state;
  fixture f;
  mpt_error error = {0};
  begin(&f, 0, 0);
  graph_free(f.g);
  f.m.layers[0].features = INT64_C(1) << 42;
  require(test_graph(&f.m, 8, &f.g, &error), &error);
  f.options.graph = f.g;
  memory_seen = no_plan;
  fails_with(&f, 1 << 20,
             (const char *[]){"the largest 'fc2.weight'", "; weights, gradients and moments take ",
                              ", whatever the batch: the network is too large for this device",
                              NULL});
  memory_seen = NULL;
  end(&f);
}

/* A GPU, as far as a plan asks: elements are packed. Of a block's tensors the backward pass needs
 * the norm, queries, keys and values (3), attention, both sums, and the hidden layer before and
 * behind its activation (8): 15 rows of the width for each token. The outputs of both branches live
 * only until they are added, gradients from one layer to the next. */
static void plans_of_a_gpu_hold_what_is_read_again(void **state) {
  (void)state;
  mpt_backend backend = mpt_backend_cpu;
  backend.device_kind = MPT_DEVICE_CUDA;
  backend.gemm_wants_rows_of_k = true;
  mpt_queue queue = {.backend = &backend, .device = {MPT_DEVICE_CUDA, 0}, .threads = 1};
  test_model m;
  graph *g;
  mpt_error error = {0};
  const int64_t width = 2048, tokens = 16384, blocks = 12, vocabulary = 50304;
  test_gpt(&m, vocabulary, 2048, width, (int)blocks, false);
  m.w.optimizer.kind = OPTIMIZER_ADAMW;
  require(test_graph(&m, tokens / 2048, &g, &error), &error);
  const double row = (double)tokens * (double)width, logits = (double)tokens * (double)vocabulary;
  /* copies serve fp8 products: norm, activation and the sum before fc1 need not be kept */
  const double kept[] = {15, 15, 15, 9, 15};
  for (int turn = 0; turn < 5; turn++) {
    mpt_layer_policy assignment[TEST_MAX_LAYERS];
    train_options options = train_options_default();
    network n = {.graph = g, .queue = &queue};
    tensor_plan training, forward;
    mpt_session *session;
    size_t all;
    assign(g, turn, assignment);
    options.workload = &m.w, options.graph = g, options.assignment = assignment;
    options.steps = 1;
    require(network_needs(&n, &options, g->batch, &all, &error), &error);
    require(network_open_session(&n, &options, g->batch, &session, &error), &error);
    require(network_plan_tensors(&n, &options, session, g->batch, &training, &forward, &error),
            &error);
    double parameters = 4.0 * (double)network_parameter_bytes(g);
    double copies = (double)mpt_session_workspace_bytes(session);
    double element = mpt_precision_storage(precisions[turn]) == MPT_FP32 ? 4 : 2;
    double least = element * ((double)blocks * kept[turn] * row + logits);
    printf("all-%-5s %5.2f GB: parameters %.2f, copies %.2f, tensors %.2f (in use %.2f of least "
           "%.2f; evaluation %.2f)\n",
           mpt_precision_name(precisions[turn]), 1e-9 * (double)all, 1e-9 * parameters,
           1e-9 * copies, 1e-9 * (double)training.bytes, 1e-9 * (double)training.in_use,
           1e-9 * least, 1e-9 * (double)forward.bytes);
    assert_true((double)training.in_use >= least);
    assert_true((double)training.in_use <= 1.05 * least);
    assert_true((double)training.bytes <= 1.02 * (double)training.in_use);
    assert_true((double)forward.bytes <= 1.05 * 4.0 * (logits + 2.0 * row));
    mpt_session_close(session);
    tensor_plan_clear(&training);
    tensor_plan_clear(&forward);
  }
  graph_free(g);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(buffers_in_use_together_are_apart),
      cmocka_unit_test(sharing_changes_no_bit),
      cmocka_unit_test(what_is_predicted_is_taken),
      cmocka_unit_test(scores_take_smaller_batches_where_memory_ends),
      cmocka_unit_test(what_does_not_fit_is_named),
      cmocka_unit_test(memory_that_others_hold_is_said_to_be),
      cmocka_unit_test(a_network_that_is_too_large_is_said_to_be),
      cmocka_unit_test(plans_of_a_gpu_hold_what_is_read_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
