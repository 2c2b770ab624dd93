/* Layers that run several times in a step: passes in flight together give the bits that they give
 * in micro-batches of their own. */
#include "session_rig.h"

enum { ROWS = 24, N = 16, K = 32, PASSES = 3, STEPS = 3, LAYERS = 2 };

typedef struct results {
  float y[PASSES][LAYERS][ROWS * N], grad_x[PASSES][LAYERS][ROWS * K];
  float grad_w[LAYERS][N * K], grad_b[LAYERS][N];
  mpt_statistics seen[LAYERS][MPT_OPERAND_COUNT];
  unsigned char state[4096];
  size_t state_bytes;
} results;

typedef struct model {
  rig r;
  float x[PASSES][ROWS * K], w[LAYERS][N * K], b[LAYERS][N], grad_y[PASSES][LAYERS][ROWS * N];
  mpt_call calls[PASSES][LAYERS];
  results out;
} model;

static void sink(void *context, int64_t step, int layer, mpt_operand operand,
                 const mpt_statistics *statistics) {
  (void)step;
  ((model *)context)->out.seen[layer][operand] = *statistics;
}

/* Two layers that read one tensor. */
static void open_model(model *m, const mpt_layer_policy *policies, int calls,
                       mpt_statistics_mode statistics) {
  memset(m, 0, sizeof *m);
  mpt_session_layer layers[LAYERS] = {linear("q", ROWS, N, K), linear("k", ROWS, N, K)};
  for (int i = 0; i < LAYERS; i++) {
    layers[i].calls = calls;
    strcpy(layers[i].input_name, "x");
  }
  mpt_session_config config = config_of(&m->r, policies);
  config.statistics = statistics;
  config.on_statistics = sink;
  config.context = m;
  open_session(&m->r, &config, layers, LAYERS);
}

/* Values of a step; those of later passes are larger, so that a scale or a copy of another pass
 * would be seen. */
static void draw(model *m, int step) {
  for (int p = 0; p < PASSES; p++) {
    fill(m->x[p], ROWS * K, (uint64_t)(100 * step + p + 1), (float)(1 + 40 * p), MPT_FP32);
    for (int i = 0; i < LAYERS; i++)
      fill(m->grad_y[p][i], ROWS * N, (uint64_t)(100 * step + 10 * i + p + 31),
           1.0f / (float)(1 + 30 * p), MPT_FP32);
  }
  for (int i = 0; i < LAYERS; i++) {
    fill(m->w[i], N * K, (uint64_t)step * 100 + 61 + (uint64_t)i, 1.0f, MPT_FP32);
    fill(m->b[i], N, (uint64_t)step * 100 + 71 + (uint64_t)i, 1.0f, MPT_FP32);
    memset(m->out.grad_w[i], 0, sizeof m->out.grad_w[i]);
    memset(m->out.grad_b[i], 0, sizeof m->out.grad_b[i]);
  }
}

static void forward(model *m, int pass, int layer, mpt_call *call) {
  mpt_tensor x = matrix(m->x[pass], ROWS, K, MPT_FP32), w = matrix(m->w[layer], N, K, MPT_FP32);
  mpt_tensor b = vector(m->b[layer], N);
  mpt_tensor y =
      matrix(m->out.y[pass][layer], ROWS, N, mpt_session_output_format(m->r.session, layer));
  OK(mpt_linear_forward_call(m->r.session, layer, &x, &w, &b, &y, call, &ok_error));
}

static void backward(model *m, int pass, int layer) {
  mpt_tensor x = matrix(m->x[pass], ROWS, K, MPT_FP32), w = matrix(m->w[layer], N, K, MPT_FP32);
  mpt_tensor grad_y = matrix(m->grad_y[pass][layer], ROWS, N, MPT_FP32);
  mpt_tensor grad_x = matrix(m->out.grad_x[pass][layer], ROWS, K,
                             mpt_session_grad_input_format(m->r.session, layer));
  mpt_tensor grad_w = matrix(m->out.grad_w[layer], N, K, MPT_FP32);
  mpt_tensor grad_b = vector(m->out.grad_b[layer], N);
  OK(mpt_linear_backward_call(m->r.session, layer, m->calls[pass][layer], &grad_y, &x, &w, &grad_x,
                              false, &grad_w, &grad_b, &ok_error));
}

static void end_step(model *m) {
  mpt_tensor grad_w = matrix(m->out.grad_w[0], N, K, MPT_FP32);
  const mpt_tensor *const gradients[] = {&grad_w};
  OK(mpt_session_step_end(m->r.session, gradients, 1, 0.0f, NULL, &ok_error));
  OK(mpt_session_deliver(m->r.session, &ok_error));
  m->out.state_bytes = mpt_session_state_bytes(m->r.session);
  assert_true(m->out.state_bytes <= sizeof m->out.state);
  OK(mpt_session_get_state(m->r.session, m->out.state, m->out.state_bytes, &ok_error));
}

typedef enum order { APART, TOGETHER, RECOMPUTED, LAYER_BY_LAYER } order;

/* All orders add parameter gradients up in the order of the passes. */
static void run_step(model *m, int step, order in) {
  draw(m, step);
  OK(mpt_session_step_begin(m->r.session, step, &ok_error));
  memset(m->calls, 0, sizeof m->calls);
  if (in == APART) {
    for (int p = 0; p < PASSES; p++) {
      OK(mpt_session_microbatch(m->r.session, &ok_error));
      for (int i = 0; i < LAYERS; i++)
        forward(m, p, i, &m->calls[p][i]);
      for (int i = 0; i < LAYERS; i++)
        backward(m, p, i);
    }
  } else {
    if (in == LAYER_BY_LAYER) {
      for (int i = 0; i < LAYERS; i++)
        for (int p = 0; p < PASSES; p++)
          forward(m, p, i, &m->calls[p][i]);
    } else {
      for (int p = 0; p < PASSES; p++)
        for (int i = 0; i < LAYERS; i++)
          forward(m, p, i, &m->calls[p][i]);
    }
    for (int p = 0; p < PASSES; p++) {
      if (in == RECOMPUTED)
        for (int i = 0; i < LAYERS; i++) {
          mpt_call same = m->calls[p][i];
          memset(m->out.y[p][i], 0, sizeof m->out.y[p][i]);
          forward(m, p, i, &m->calls[p][i]);
          assert_int_equal(m->calls[p][i], same);
        }
      for (int i = 0; i < LAYERS; i++)
        backward(m, p, i);
    }
  }
  end_step(m);
}

static void assert_same(const results *a, const results *b, const char *what) {
  if (memcmp(a->y, b->y, sizeof a->y) != 0)
    fail_msg("%s: outputs differ", what);
  if (memcmp(a->grad_x, b->grad_x, sizeof a->grad_x) != 0)
    fail_msg("%s: gradients of the input differ", what);
  if (memcmp(a->grad_w, b->grad_w, sizeof a->grad_w) != 0 ||
      memcmp(a->grad_b, b->grad_b, sizeof a->grad_b) != 0)
    fail_msg("%s: gradients of parameters differ", what);
  if (memcmp(a->state, b->state, a->state_bytes) != 0)
    fail_msg("%s: what goes to the next step differs", what);
  for (int i = 0; i < LAYERS; i++)
    for (int o = 0; o < MPT_OPERAND_COUNT; o++)
      if (a->seen[i][o].count != b->seen[i][o].count ||
          a->seen[i][o].amax_bits != b->seen[i][o].amax_bits ||
          a->seen[i][o].amin_bits != b->seen[i][o].amin_bits ||
          a->seen[i][o].zeros != b->seen[i][o].zeros)
        fail_msg("%s: statistics of layer %d's %s differ: %llu and %llu values", what, i,
                 mpt_operand_name((mpt_operand)o), (unsigned long long)a->seen[i][o].count,
                 (unsigned long long)b->seen[i][o].count);
}

static void assert_orders_agree(const mpt_layer_policy *policies, mpt_statistics_mode statistics,
                                order in, const char *what) {
  model *apart = calloc(1, sizeof *apart), *m = calloc(1, sizeof *m);
  assert_non_null(apart);
  assert_non_null(m);
  open_model(apart, policies, PASSES, statistics);
  open_model(m, policies, PASSES, statistics);
  for (int step = 0; step < STEPS; step++) {
    run_step(apart, step, APART);
    run_step(m, step, in);
    assert_same(&apart->out, &m->out, what);
  }
  close_session(&apart->r);
  close_session(&m->r);
  free(apart);
  free(m);
}

static void passes_in_flight_do_not_meet(void **unused) {
  (void)unused;
  static const char *const orders[] = {"apart", "together", "recomputed", "layer by layer"};
  mpt_layer_policy delayed = mpt_layer_policy_of(MPT_PRECISION_FP8);
  delayed.scaling = (mpt_scaling){MPT_SCALING_DELAYED, 4, 0};
  const mpt_layer_policy policies[][LAYERS] = {
      {mpt_layer_policy_of(MPT_PRECISION_FP8), mpt_layer_policy_of(MPT_PRECISION_FP8)},
      {delayed, delayed},
      {mpt_layer_policy_of(MPT_PRECISION_BF16), mpt_layer_policy_of(MPT_PRECISION_FP8)},
      {formats_of(MPT_PRECISION_FP16, MPT_PRECISION_FP8, MPT_PRECISION_BF16), delayed},
  };
  for (size_t p = 0; p < sizeof policies / sizeof *policies; p++)
    for (int in = TOGETHER; in <= LAYER_BY_LAYER; in++)
      for (int mode = MPT_STATISTICS_OFF; mode <= MPT_STATISTICS_FULL; mode++) {
        /* Run layer by layer, the layers' passes share no copy: an input is then counted for each.
         */
        if (in == LAYER_BY_LAYER && mode != MPT_STATISTICS_OFF)
          continue;
        char what[96];
        snprintf(what, sizeof what, "policies %zu, %s, statistics %d", p, orders[in], mode);
        assert_orders_agree(policies[p], (mpt_statistics_mode)mode, (order)in, what);
      }
}

static void backward_passes_come_in_any_order(void **unused) {
  (void)unused;
  const mpt_layer_policy fp8[LAYERS] = {mpt_layer_policy_of(MPT_PRECISION_FP8),
                                        mpt_layer_policy_of(MPT_PRECISION_FP8)};
  model *m = calloc(1, sizeof *m), *back = calloc(1, sizeof *back);
  assert_non_null(m);
  assert_non_null(back);
  open_model(m, fp8, PASSES, MPT_STATISTICS_OFF);
  open_model(back, fp8, PASSES, MPT_STATISTICS_OFF);
  run_step(m, 0, TOGETHER);
  draw(back, 0);
  OK(mpt_session_step_begin(back->r.session, 0, &ok_error));
  for (int p = 0; p < PASSES; p++)
    for (int i = 0; i < LAYERS; i++)
      forward(back, p, i, &back->calls[p][i]);
  for (int p = PASSES - 1; p >= 0; p--)
    for (int i = LAYERS - 1; i >= 0; i--)
      backward(back, p, i);
  end_step(back);
  assert_memory_equal(m->out.grad_x, back->out.grad_x, sizeof m->out.grad_x);
  assert_memory_equal(m->out.y, back->out.y, sizeof m->out.y);
  for (int j = 0; j < N * K; j++) /* summed in another order */
    assert_true(fabsf(m->out.grad_w[0][j] - back->out.grad_w[0][j]) <=
                1e-5f * fabsf(m->out.grad_w[0][j]) + 1e-3f);
  close_session(&m->r);
  close_session(&back->r);
  free(m);
  free(back);
}

static void tokens_that_do_not_serve_are_refused(void **unused) {
  (void)unused;
  const mpt_layer_policy fp8[LAYERS] = {mpt_layer_policy_of(MPT_PRECISION_FP8),
                                        mpt_layer_policy_of(MPT_PRECISION_FP8)};
  model *m = calloc(1, sizeof *m);
  assert_non_null(m);
  open_model(m, fp8, 2, MPT_STATISTICS_OFF);
  mpt_session *s = m->r.session;
  assert_false(mpt_session_keeps_input(s, 0)); /* another pass may take its place */
  draw(m, 0);
  OK(mpt_session_step_begin(s, 0, &ok_error));
  mpt_tensor x = matrix(m->x[0], ROWS, K, MPT_FP32), w = matrix(m->w[0], N, K, MPT_FP32);
  mpt_tensor y = matrix(m->out.y[0][0], ROWS, N, MPT_BF16);
  mpt_tensor grad_y = matrix(m->grad_y[0][0], ROWS, N, MPT_FP32);
  mpt_call call = 0, other = 0, third = 0;
  FAILS(mpt_linear_forward_call(s, 0, &x, &w, NULL, &y, NULL, &ok_error), MPT_ERROR_ARGUMENT,
        "token", "");
  OK(mpt_linear_forward_call(s, 0, &x, &w, NULL, &y, &call, &ok_error));
  OK(mpt_linear_forward_call(s, 0, &x, &w, NULL, &y, &other, &ok_error));
  assert_true(call != 0 && other != 0 && call != other);
  FAILS(mpt_linear_forward_call(s, 0, &x, &w, NULL, &y, &third, &ok_error), MPT_ERROR_ARGUMENT,
        "2 of its forward passes wait", "mpt_session_layer.calls");
  assert_int_equal(third, 0);
  mpt_call made_up = 12345;
  FAILS(mpt_linear_forward_call(s, 0, &x, &w, NULL, &y, &made_up, &ok_error), MPT_ERROR_ARGUMENT,
        "pass 12345", "no such pass");
  FAILS(mpt_linear_backward_call(s, 1, call, &grad_y, &x, &w, NULL, false, NULL, NULL, &ok_error),
        MPT_ERROR_ARGUMENT, "'k'", "no forward pass"); /* another layer's */
  FAILS(mpt_linear_backward_call(s, 0, 0, &grad_y, &x, &w, NULL, false, NULL, NULL, &ok_error),
        MPT_ERROR_ARGUMENT, "without a forward pass", "");
  OK(mpt_linear_backward_call(s, 0, call, &grad_y, &x, &w, NULL, false, NULL, NULL, &ok_error));
  FAILS(mpt_linear_backward_call(s, 0, call, &grad_y, &x, &w, NULL, false, NULL, NULL, &ok_error),
        MPT_ERROR_ARGUMENT, "no forward pass", "waits"); /* it had its backward pass */
  OK(mpt_linear_forward_call(s, 0, &x, &w, NULL, &y, &third, &ok_error)); /* there is room again */
  OK(mpt_session_microbatch(s, &ok_error));
  FAILS(mpt_linear_backward_call(s, 0, other, &grad_y, &x, &w, NULL, false, NULL, NULL, &ok_error),
        MPT_ERROR_ARGUMENT, "no forward pass", "micro-batch");
  OK(mpt_linear_forward(s, 0, &x, &w, NULL, &y, &ok_error));
  FAILS(mpt_linear_forward(s, 0, &x, &w, NULL, &y, &ok_error), MPT_ERROR_ARGUMENT, "twice",
        "mpt_linear_forward_call");
  OK(mpt_session_step_end(s, NULL, 0, 0.0f, NULL, &ok_error));
  close_session(&m->r);
  mpt_session_layer many = linear("a", ROWS, N, K);
  many.calls = -1;
  mpt_session_config config = config_of(&m->r, fp8);
  FAILS(mpt_session_open(&config, &many, 1, &m->r.session, &ok_error), MPT_ERROR_ARGUMENT, "'a'",
        "-1 calls");
  close_session(&m->r);
  free(m);
}

/* Where a forward pass waits for no other, any number of them may run. */
static void evaluation_needs_no_tokens(void **unused) {
  (void)unused;
  const mpt_layer_policy fp8[LAYERS] = {mpt_layer_policy_of(MPT_PRECISION_FP8),
                                        mpt_layer_policy_of(MPT_PRECISION_FP8)};
  model *m = calloc(1, sizeof *m);
  assert_non_null(m);
  open_model(m, fp8, 0, MPT_STATISTICS_OFF);
  run_step(m, 0, APART);
  float trained[ROWS * N];
  memcpy(trained, m->out.y[1][0], sizeof trained);
  OK(mpt_session_set_mode(m->r.session, MPT_RUN_EVALUATE, &ok_error));
  OK(mpt_session_step_begin(m->r.session, 1, &ok_error));
  for (int p = 0; p < PASSES; p++) {
    mpt_call call = 0;
    forward(m, p, 0, &call);
    assert_int_equal(call, 0);
  }
  assert_memory_equal(trained, m->out.y[1][0], sizeof trained);
  OK(mpt_session_step_end(m->r.session, NULL, 0, 0.0f, NULL, &ok_error));
  close_session(&m->r);
  free(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(passes_in_flight_do_not_meet),
      cmocka_unit_test(backward_passes_come_in_any_order),
      cmocka_unit_test(tokens_that_do_not_serve_are_refused),
      cmocka_unit_test(evaluation_needs_no_tokens),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
