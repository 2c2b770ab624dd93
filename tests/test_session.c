/* What a session does from step to step: scales, loss scale, modes, statistics, checkpoints. */
#include "session_rig.h"

enum { N = 16 };

/* One square layer whose weight is the identity, so that the output shows the input's copy. */
typedef struct mirror {
  rig r;
  float x[N * N], w[N * N], y[N * N], dy[N * N], dx[N * N], dw[N * N];
  mpt_format out;
} mirror;

static void mirror_open_with(mirror *m, const mpt_layer_policy *policy,
                             const mpt_session_config *given) {
  memset(m->w, 0, sizeof m->w);
  for (int i = 0; i < N; i++)
    m->w[i * N + i] = 1.0f;
  m->out = mpt_precision_storage(policy->gemm[MPT_FPROP].precision);
  mpt_session_layer layer = linear("fc", N, N, N);
  open_session(&m->r, given, &layer, 1);
}

static void mirror_open(mirror *m, const mpt_layer_policy *policy) {
  mpt_session_config config = config_of(&m->r, policy);
  mirror_open_with(m, policy, &config);
}

static void mirror_forward(mirror *m) {
  mpt_tensor x = matrix(m->x, N, N, MPT_FP32), w = matrix(m->w, N, N, MPT_FP32);
  mpt_tensor y = matrix(m->y, N, N, m->out);
  OK(mpt_linear_forward(m->r.session, 0, &x, &w, NULL, &y, &ok_error));
}

static void mirror_backward(mirror *m) {
  mpt_tensor x = matrix(m->x, N, N, MPT_FP32), w = matrix(m->w, N, N, MPT_FP32);
  mpt_tensor dy = matrix(m->dy, N, N, m->out), dw = matrix(m->dw, N, N, MPT_FP32);
  mpt_tensor dx = matrix(m->dx, N, N, mpt_session_grad_input_format(m->r.session, 0));
  OK(mpt_linear_backward(m->r.session, 0, &dy, &x, &w, &dx, false, &dw, NULL, &ok_error));
}

/* Ends a step whose only gradient is the given number. */
static const mpt_step_state *end_with(rig *r, float gradient) {
  float data[1] = {gradient};
  mpt_tensor g = vector(data, 1);
  const mpt_tensor *gradients[1] = {&g};
  const mpt_step_state *state;
  OK(mpt_session_step_end(r->session, gradients, 1, 0.0f, &state, &ok_error));
  return state;
}

static void begin(rig *r, int64_t step) {
  OK(mpt_session_step_begin(r->session, step, &ok_error));
}

/* The output must be the input rounded to e4m3 at this exponent. */
static void assert_scaled(const mirror *m, int exponent) {
  double expected[N * N];
  reference_operand(MPT_FP8_E4M3, exponent, m->x, expected, N * N);
  for (int i = 0; i < N * N; i++)
    if ((double)m->y[i] != expected[i])
      fail_msg("[%d] is %.9g, expected %.9g at 2^%d", i, (double)m->y[i], expected[i], exponent);
}

static mpt_layer_policy delayed_fp8(int history, int margin) {
  mpt_layer_policy policy = mpt_layer_policy_of(MPT_PRECISION_FP8);
  policy.scaling = (mpt_scaling){MPT_SCALING_DELAYED, history, margin};
  return policy;
}

/* 2^floor(log2(448 / amax)) for an amax of 2^a: 448 = 1.75 * 2^8. */
static int exponent_of(int a) {
  return 8 - a;
}

static void fill_to(mirror *m, int a, uint64_t key) {
  fill(m->x, N * N, key, ldexpf(0.9f, a), MPT_FP32);
  m->x[5] = ldexpf(1.0f, a);
}

/* Of the step that ended just before too, whose amax no later step has taken up. */
static void an_evaluation_takes_the_scales_of_all_steps_before(void **unused) {
  (void)unused;
  mpt_layer_policy policy = delayed_fp8(3, 0);
  mirror m = {0};
  mirror_open(&m, &policy);
  for (int step = 0; step < 2; step++) {
    fill_to(&m, 6 * step, (uint64_t)step);
    begin(&m.r, step);
    mirror_forward(&m);
    end_with(&m.r, 0.0f);
  }
  OK(mpt_session_set_mode(m.r.session, MPT_RUN_EVALUATE, &ok_error));
  fill_to(&m, 2, 7);
  begin(&m.r, 2);
  mirror_forward(&m);
  assert_scaled(&m, exponent_of(6));
  OK(mpt_session_step_end(m.r.session, NULL, 0, 0.0f, NULL, &ok_error));
  close_session(&m.r);
}

static void delayed_scales_follow_the_largest_of_the_steps_before(void **unused) {
  (void)unused;
  const int size[] = {0, 3, -2, -4, -5, -6, -6, 9};
  mpt_layer_policy policy = delayed_fp8(3, 1);
  mirror m = {0};
  mirror_open(&m, &policy);
  for (int step = 0; step < 8; step++) {
    fill_to(&m, size[step], (uint64_t)step);
    begin(&m.r, step);
    mirror_forward(&m);
    end_with(&m.r, 0.0f);
    int largest = step == 0 ? size[0] : size[step - 1];
    for (int back = 1; back <= 3 && back <= step; back++)
      largest = size[step - back] > largest ? size[step - back] : largest;
    assert_scaled(&m, exponent_of(largest) - 1);
  }
  mpt_layer_counters counters;
  OK(mpt_session_counters(m.r.session, 0, &counters, &ok_error));
  assert_true(counters.saturated[MPT_INPUT] > 0); /* the last step outgrew its scale */
  close_session(&m.r);
}

static void evaluation_leaves_scales_and_counters_alone(void **unused) {
  (void)unused;
  mpt_layer_policy policy = delayed_fp8(2, 0);
  mirror m = {0};
  mirror_open(&m, &policy);
  OK(mpt_session_set_mode(m.r.session, MPT_RUN_EVALUATE, &ok_error));
  fill_to(&m, 6, 1);
  begin(&m.r, 0);
  mirror_forward(&m);
  assert_scaled(&m, exponent_of(6)); /* with no history yet, the tensor's own amax */
  OK(mpt_session_step_end(m.r.session, NULL, 0, 0.0f, NULL, &ok_error));
  OK(mpt_session_set_mode(m.r.session, MPT_RUN_TRAIN, &ok_error));
  fill_to(&m, 0, 1);
  begin(&m.r, 0);
  mirror_forward(&m);
  end_with(&m.r, 0.0f);
  mpt_layer_counters before, after;
  OK(mpt_session_counters(m.r.session, 0, &before, &ok_error));
  OK(mpt_session_set_mode(m.r.session, MPT_RUN_EVALUATE, &ok_error));
  begin(&m.r, 0);
  for (int batch = 0; batch < 3; batch++) {
    OK(mpt_session_microbatch(m.r.session, &ok_error));
    fill_to(&m, 6, 2 + (uint64_t)batch);
    mirror_forward(&m);
    assert_scaled(&m, exponent_of(0)); /* saturates: the scale is that of training */
  }
  OK(mpt_session_step_end(m.r.session, NULL, 0, 0.0f, NULL, &ok_error));
  OK(mpt_session_set_mode(m.r.session, MPT_RUN_TRAIN, &ok_error));
  OK(mpt_session_counters(m.r.session, 0, &after, &ok_error));
  assert_memory_equal(&before, &after, sizeof before);
  assert_int_equal(mpt_session_get_report(m.r.session).steps, 1);
  for (int step = 1; step < 3; step++) { /* nor does it enter the history later */
    fill_to(&m, 0, 5);
    begin(&m.r, step);
    mirror_forward(&m);
    assert_scaled(&m, exponent_of(0));
    end_with(&m.r, 0.0f);
  }
  close_session(&m.r);
}

static void an_amax_that_is_not_finite_stays_out_of_the_history(void **unused) {
  (void)unused;
  mpt_layer_policy policy = delayed_fp8(2, 0);
  mirror m = {0};
  mirror_open(&m, &policy);
  for (int step = 0; step < 3; step++) {
    fill_to(&m, -3, 1);
    if (step == 1)
      m.x[7] = INFINITY;
    begin(&m.r, step);
    mirror_forward(&m);
    end_with(&m.r, 0.0f);
  }
  assert_scaled(&m, exponent_of(-3));
  mpt_session_report report = mpt_session_get_report(m.r.session);
  assert_int_equal(report.nonfinite_step, 1);
  assert_int_equal(report.nonfinite_layer, 0);
  assert_int_equal(report.nonfinite_operand, MPT_INPUT);
  close_session(&m.r);
  mirror_open(&m, &policy); /* at the beginning as well */
  for (int step = 0; step < 3; step++) {
    fill_to(&m, step, 1);
    if (step == 0)
      m.x[7] = NAN;
    begin(&m.r, step);
    mirror_forward(&m);
    end_with(&m.r, 0.0f);
    if (step > 0)
      assert_scaled(&m, exponent_of(1));
  }
  close_session(&m.r);
}

static void a_tensor_of_zeros_leaves_the_history_empty(void **unused) {
  (void)unused;
  mpt_layer_policy current = mpt_layer_policy_of(MPT_PRECISION_FP8), delayed = delayed_fp8(2, 3);
  const mpt_layer_policy *policies[2] = {&current, &delayed};
  for (int i = 0; i < 2; i++) {
    mirror m = {0};
    mirror_open(&m, policies[i]);
    for (int step = 0; step < 2; step++) {
      begin(&m.r, step);
      mirror_forward(&m);
      mirror_backward(&m);
      end_with(&m.r, 0.0f);
      for (int j = 0; j < N * N; j++)
        assert_true(m.y[j] == 0.0f && m.dx[j] == 0.0f && m.dw[j] == 0.0f);
    }
    for (int step = 2; step < 4; step++) { /* a first tensor, and one that outgrows it */
      fill_to(&m, 3 * (step - 2), 3);
      begin(&m.r, step);
      mirror_forward(&m);
      assert_scaled(&m, i == 1 ? exponent_of(0) - 3 : exponent_of(3 * (step - 2)));
      end_with(&m.r, 0.0f);
    }
    close_session(&m.r);
  }
}

/* ---- loss scale ---- */

static void the_loss_scale_halves_on_overflow_and_doubles_after_good_steps(void **unused) {
  (void)unused;
  mpt_layer_policy policy = formats_of(MPT_PRECISION_BF16, MPT_PRECISION_BF16, MPT_PRECISION_FP16);
  mirror m = {0};
  mpt_session_config config = config_of(&m.r, &policy);
  config.steps = 30; /* doubles after 3 good steps */
  mirror_open_with(&m, &policy, &config);
  const struct {
    float gradient, scale_after;
    int64_t applied;
  } steps[] = {{INFINITY, 32768, 0}, {1, 32768, 0},        {NAN, 16384, 1}, {1, 16384, 1},
               {1, 16384, 2},        {1, 32768, 3},        {1, 32768, 4},   {1, 32768, 5},
               {1, 65536, 6},        {-INFINITY, 32768, 7}};
  float scale = 65536.0f;
  for (int i = 0; i < 10; i++) {
    begin(&m.r, i);
    assert_true(mpt_session_loss_scale(m.r.session) == scale);
    const mpt_step_state *state = end_with(&m.r, steps[i].gradient);
    /* the optimizer sees the scale that the gradient has, and the updates before this one */
    assert_true(state->loss_scale == scale);
    assert_int_equal(state->overflow != 0, !isfinite(steps[i].gradient));
    assert_int_equal(state->applied, steps[i].applied);
    scale = steps[i].scale_after;
    assert_true(mpt_session_loss_scale(m.r.session) == scale);
  }
  mpt_session_report report = mpt_session_get_report(m.r.session);
  assert_int_equal(report.steps, 10);
  assert_int_equal(report.skipped, 3);
  assert_true(report.loss_scale == 32768.0f && !report.loss_scale_at_floor);
  assert_int_equal(report.nonfinite_step, -1); /* a dynamic loss scale is meant to overflow */

  for (int i = 10; i < 25; i++) { /* 2^15 to 1 */
    begin(&m.r, i);
    end_with(&m.r, INFINITY);
    assert_false(mpt_session_get_report(m.r.session).loss_scale_at_floor);
  }
  assert_true(mpt_session_loss_scale(m.r.session) == 1.0f);
  begin(&m.r, 25);
  end_with(&m.r, INFINITY);
  report = mpt_session_get_report(m.r.session);
  assert_true(report.loss_scale_at_floor && report.loss_scale == 1.0f);
  for (int i = 26; i < 26 + 3 * 30; i++) { /* up to 2^24, no further */
    begin(&m.r, i);
    end_with(&m.r, 1.0f);
  }
  report = mpt_session_get_report(m.r.session);
  assert_true(!report.loss_scale_at_floor && report.loss_scale == 16777216.0f);
  close_session(&m.r);
}

static void the_loss_scale_is_one_unless_a_gradient_is_fp16(void **unused) {
  (void)unused;
  const mpt_precision fp16 = MPT_PRECISION_FP16, bf16 = MPT_PRECISION_BF16;
  const struct {
    mpt_layer_policy linear, other;
    mpt_loss_scale_policy policy;
    float expected, after_overflow;
  } cases[] = {
      {mpt_layer_policy_of(fp16),
       mpt_layer_policy_of(bf16),
       {MPT_LOSS_SCALE_DYNAMIC, 0},
       65536,
       32768},
      {mpt_layer_policy_of(bf16), mpt_layer_policy_of(bf16), {MPT_LOSS_SCALE_DYNAMIC, 0}, 1, 1},
      {mpt_layer_policy_of(MPT_PRECISION_FP8),
       mpt_layer_policy_of(MPT_PRECISION_FP32),
       {MPT_LOSS_SCALE_STATIC, 8},
       1,
       1},
      {formats_of(bf16, fp16, bf16),
       mpt_layer_policy_of(bf16),
       {MPT_LOSS_SCALE_STATIC, 1024},
       1024,
       1024},
      {mpt_layer_policy_of(bf16),
       mpt_layer_policy_of(fp16),
       {MPT_LOSS_SCALE_DYNAMIC, 256},
       256,
       128},
      {mpt_layer_policy_of(fp16), mpt_layer_policy_of(fp16), {MPT_LOSS_SCALE_NONE, 0}, 1, 1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mpt_layer_policy assignment[2] = {cases[i].linear, cases[i].other};
    rig r = {0};
    mpt_session_config config = config_of(&r, assignment);
    config.loss_scale = cases[i].policy;
    mpt_session_layer layers[2] = {linear("fc", 4, 4, 4), {.info = {.kind = "relu"}}};
    strcpy(layers[1].info.name, "relu");
    open_session(&r, &config, layers, 2);
    begin(&r, 0);
    assert_true(mpt_session_loss_scale(r.session) == cases[i].expected);
    end_with(&r, INFINITY);
    assert_true(mpt_session_loss_scale(r.session) == cases[i].after_overflow);
    close_session(&r);
  }
}

static void the_layer_whose_gradient_overflowed_first_is_named(void **unused) {
  (void)unused;
  mpt_layer_policy policies[3] = {mpt_layer_policy_of(MPT_PRECISION_FP32),
                                  mpt_layer_policy_of(MPT_PRECISION_FP32),
                                  mpt_layer_policy_of(MPT_PRECISION_FP32)};
  rig r = {0};
  mpt_session_config config = config_of(&r, policies);
  mpt_session_layer layers[3] = {linear("a", 2, 2, 2), linear("b", 2, 2, 2), linear("c", 2, 2, 2)};
  open_session(&r, &config, layers, 3);
  float x[4] = {1, 2, 3, 4}, y[4], good[4] = {1, 1, 1, 1}, bad[4] = {1, INFINITY, 1, 1};
  float dw[3][4];
  mpt_tensor tx = matrix(x, 2, 2, MPT_FP32), ty = matrix(y, 2, 2, MPT_FP32), gradients[3];
  const mpt_tensor *list[3] = {&gradients[0], &gradients[1], &gradients[2]};
  for (int first_bad = 2; first_bad >= -1; first_bad--) {
    memset(dw, 0, sizeof dw);
    begin(&r, 2 - first_bad);
    for (int i = 0; i < 3; i++)
      OK(mpt_linear_forward(r.session, i, &tx, &tx, NULL, &ty, &ok_error));
    for (int i = 2; i >= 0; i--) {
      mpt_tensor dy = matrix(i <= first_bad ? bad : good, 2, 2, MPT_FP32);
      gradients[i] = matrix(dw[i], 2, 2, MPT_FP32);
      OK(mpt_linear_backward(r.session, i, &dy, &tx, &tx, NULL, false, &gradients[i], NULL,
                             &ok_error));
    }
    OK(mpt_session_step_end(r.session, list, 3, 0.0f, NULL, &ok_error));
    mpt_session_report report = mpt_session_get_report(r.session);
    assert_int_equal(report.skipped, first_bad >= 0 ? 3 - first_bad : 3);
    assert_int_equal(report.blamed_layer, first_bad >= 0 ? first_bad : 0);
    assert_int_equal(report.nonfinite_layer, 2); /* the first ever stays */
    assert_int_equal(report.nonfinite_step, 0);
  }
  close_session(&r);
}

/* ---- modes ---- */

static void plain_mode_is_fp32_whatever_the_policy(void **unused) {
  (void)unused;
  mpt_layer_policy fp8 = mpt_layer_policy_of(MPT_PRECISION_FP8),
                   fp32 = mpt_layer_policy_of(MPT_PRECISION_FP32);
  mirror a = {0}, b = {0};
  mirror_open(&a, &fp8);
  mirror_open(&b, &fp32);
  fill(a.x, N * N, 3, 1.0f, MPT_FP32);
  fill(a.w, N * N, 4, 1.0f, MPT_FP32);
  memcpy(b.x, a.x, sizeof a.x);
  memcpy(b.w, a.w, sizeof a.w);
  begin(&b.r, 0);
  mirror_forward(&b);
  OK(mpt_session_set_mode(a.r.session, MPT_RUN_PLAIN, &ok_error));
  assert_int_equal(mpt_session_output_format(a.r.session, 0), MPT_FP32);
  a.out = MPT_FP32;
  begin(&a.r, 0);
  mirror_forward(&a);
  OK(mpt_session_step_end(a.r.session, NULL, 0, 0.0f, NULL, &ok_error));
  assert_memory_equal(a.y, b.y, sizeof a.y);
  OK(mpt_session_set_mode(a.r.session, MPT_RUN_TRAIN, &ok_error));
  assert_int_equal(mpt_session_output_format(a.r.session, 0), MPT_BF16);
  close_session(&a.r);
  close_session(&b.r);
}

/* ---- statistics ---- */

typedef struct seen {
  int count;
  int64_t step[64];
  int layer[64];
  mpt_operand operand[64];
  mpt_statistics statistics[64];
} seen;

static void see_statistics(void *context, int64_t step, int layer, mpt_operand operand,
                           const mpt_statistics *statistics) {
  seen *s = context;
  assert_true(s->count < 64);
  s->step[s->count] = step, s->layer[s->count] = layer, s->operand[s->count] = operand;
  s->statistics[s->count++] = *statistics;
}

static void statistics_of_every_operand_reach_the_sink(void **unused) {
  (void)unused;
  for (int mode = MPT_STATISTICS_OFF; mode <= MPT_STATISTICS_FULL; mode++) {
    mpt_layer_policy policy = mpt_layer_policy_of(MPT_PRECISION_FP32);
    seen s = {0};
    mirror m = {0};
    mpt_session_config config = config_of(&m.r, &policy);
    config.statistics = (mpt_statistics_mode)mode;
    config.statistics_every = 2;
    config.on_statistics = see_statistics;
    config.context = &s;
    mirror_open_with(&m, &policy, &config);
    fill(m.x, N * N, 3, 1.0f, MPT_FP32);
    fill(m.dy, N * N, 4, 1.0f, MPT_FP32);
    for (int step = 0; step < 3; step++) {
      begin(&m.r, step);
      for (int batch = 0; batch < 2; batch++) {
        OK(mpt_session_microbatch(m.r.session, &ok_error));
        m.x[0] = batch == 0 ? 100.0f : -200.0f;
        mirror_forward(&m);
        mirror_backward(&m);
      }
      assert_int_equal(s.count, mode == MPT_STATISTICS_OFF ? 0 : 3 * ((step + 1) / 2));
      end_with(&m.r, 0.0f);
    }
    assert_int_equal(s.count, mode == MPT_STATISTICS_OFF ? 0 : 6);
    for (int i = 0; i < s.count; i++) {
      assert_int_equal(s.step[i], i / 3 * 2);
      assert_int_equal(s.operand[i], i % 3);
      assert_int_equal(s.statistics[i].full, mode == MPT_STATISTICS_FULL);
      bool weight = s.operand[i] == MPT_WEIGHT;
      assert_int_equal(s.statistics[i].count, weight ? N * N : 2 * N * N);
      if (s.operand[i] == MPT_INPUT)
        assert_true(mpt_statistics_amax(&s.statistics[i]) == 200.0f);
      if (weight)
        assert_int_equal(s.statistics[i].zeros, N * N - N);
    }
    close_session(&m.r);
  }
}

static void the_first_value_that_is_not_finite_is_named(void **unused) {
  (void)unused;
  mpt_layer_policy policies[2] = {mpt_layer_policy_of(MPT_PRECISION_BF16),
                                  mpt_layer_policy_of(MPT_PRECISION_BF16)};
  rig r = {0};
  mpt_session_config config = config_of(&r, policies);
  config.statistics = MPT_STATISTICS_LITE;
  mpt_session_layer layers[2] = {linear("a", 2, 2, 2), linear("b", 2, 2, 2)};
  open_session(&r, &config, layers, 2);
  float x[4] = {1, 2, 3, 4}, y[4], z[4], wa[4] = {1, 1, 1, 1}, wb[4] = {1, 1, 1, 1};
  mpt_tensor tx = matrix(x, 2, 2, MPT_FP32), ty = matrix(y, 2, 2, MPT_BF16);
  mpt_tensor tz = matrix(z, 2, 2, MPT_BF16);
  mpt_tensor ta = matrix(wa, 2, 2, MPT_FP32), tb = matrix(wb, 2, 2, MPT_FP32);
  for (int step = 0; step < 3; step++) {
    if (step > 0)
      wb[2] = NAN;
    if (step > 1)
      wa[2] = NAN; /* comes first, but too late */
    begin(&r, step);
    OK(mpt_linear_forward(r.session, 0, &tx, &ta, NULL, &ty, &ok_error));
    OK(mpt_linear_forward(r.session, 1, &ty, &tb, NULL, &tz, &ok_error));
    OK(mpt_session_step_end(r.session, NULL, 0, 0.0f, NULL, &ok_error));
    assert_int_equal(mpt_session_get_report(r.session).nonfinite_step, step == 0 ? -1 : 1);
  }
  mpt_session_report report = mpt_session_get_report(r.session);
  assert_int_equal(report.nonfinite_layer, 1);
  assert_int_equal(report.nonfinite_operand, MPT_WEIGHT);
  close_session(&r);
}

/* Where several are in one step: forward before backward, and backward from the last layer. */
static void the_first_of_a_step_is_first_in_its_order(void **unused) {
  (void)unused;
  for (int in_weight = 0; in_weight < 2; in_weight++) {
    mpt_layer_policy policies[2] = {mpt_layer_policy_of(MPT_PRECISION_FP32),
                                    mpt_layer_policy_of(MPT_PRECISION_FP32)};
    rig r = {0};
    mpt_session_config config = config_of(&r, policies);
    config.statistics = MPT_STATISTICS_LITE;
    mpt_session_layer layers[2] = {linear("a", 2, 2, 2), linear("b", 2, 2, 2)};
    open_session(&r, &config, layers, 2);
    float x[4] = {1, 2, 3, 4}, y[4], z[4], w[4] = {1, 1, 1, 1}, v[4] = {1, 1, 1, 1};
    float dz[4] = {NAN, 1, 1, 1}, dy[4], dw[4] = {0};
    v[0] = in_weight ? INFINITY : 1.0f;
    mpt_tensor tx = matrix(x, 2, 2, MPT_FP32), ty = matrix(y, 2, 2, MPT_FP32);
    mpt_tensor tz = matrix(z, 2, 2, MPT_FP32), tw = matrix(w, 2, 2, MPT_FP32);
    mpt_tensor tv = matrix(v, 2, 2, MPT_FP32), tdz = matrix(dz, 2, 2, MPT_FP32);
    mpt_tensor tdy = matrix(dy, 2, 2, MPT_FP32), tdw = matrix(dw, 2, 2, MPT_FP32);
    begin(&r, 0);
    OK(mpt_linear_forward(r.session, 0, &tx, &tw, NULL, &ty, &ok_error));
    OK(mpt_linear_forward(r.session, 1, &ty, &tv, NULL, &tz, &ok_error));
    OK(mpt_linear_backward(r.session, 1, &tdz, &ty, &tv, &tdy, false, &tdw, NULL, &ok_error));
    OK(mpt_linear_backward(r.session, 0, &tdy, &tx, &tw, NULL, false, &tdw, NULL, &ok_error));
    OK(mpt_session_step_end(r.session, NULL, 0, 0.0f, NULL, &ok_error));
    mpt_session_report report = mpt_session_get_report(r.session);
    assert_int_equal(report.nonfinite_step, 0);
    assert_int_equal(report.nonfinite_layer, 1);
    assert_int_equal(report.nonfinite_operand, in_weight ? MPT_WEIGHT : MPT_GRAD_OUTPUT);
    close_session(&r);
  }
}

/* ---- checkpoints ---- */

static void one_step(mirror *m, int step) {
  fill_to(m, step * 3 % 7 - 3, 40 + (uint64_t)step);
  fill(m->dy, N * N, 50 + (uint64_t)step, 1.0f, m->out);
  begin(&m->r, step);
  mirror_forward(m);
  mirror_backward(m);
  end_with(&m->r, step % 4 == 2 ? INFINITY : 1.0f);
}

static void a_session_continues_from_its_saved_state_bit_for_bit(void **unused) {
  (void)unused;
  mpt_layer_policy policy = delayed_fp8(4, 1);
  policy.gemm[MPT_WGRAD] = mpt_gemm_policy_of(MPT_WGRAD, MPT_PRECISION_FP16);
  mirror whole = {0}, before = {0}, after = {0};
  mpt_session_config config = config_of(&whole.r, &policy);
  config.steps = 20;
  mirror_open_with(&whole, &policy, &config);
  config = config_of(&before.r, &policy);
  config.steps = 20;
  mirror_open_with(&before, &policy, &config);
  for (int step = 0; step < 10; step++)
    one_step(&whole, step);
  for (int step = 0; step < 5; step++)
    one_step(&before, step);
  size_t size = mpt_session_state_bytes(before.r.session);
  char *saved = malloc(size);
  OK(mpt_session_get_state(before.r.session, saved, size, &ok_error));
  config = config_of(&after.r, &policy);
  config.steps = 20;
  mirror_open_with(&after, &policy, &config);
  memcpy(after.dw, before.dw, sizeof after.dw);
  OK(mpt_session_set_state(after.r.session, saved, size, &ok_error));
  for (int step = 5; step < 10; step++)
    one_step(&after, step);
  assert_memory_equal(after.y, whole.y, sizeof whole.y);
  assert_memory_equal(after.dx, whole.dx, sizeof whole.dx);
  assert_memory_equal(after.dw, whole.dw, sizeof whole.dw);
  assert_true(mpt_session_loss_scale(after.r.session) == mpt_session_loss_scale(whole.r.session));
  char *states[2] = {malloc(size), malloc(size)}; /* histories and places in them too */
  OK(mpt_session_get_state(whole.r.session, states[0], size, &ok_error));
  OK(mpt_session_get_state(after.r.session, states[1], size, &ok_error));
  assert_memory_equal(states[0], states[1], size);
  free(states[0]);
  free(states[1]);
  begin(&whole.r, 10);
  begin(&after.r, 10);
  assert_int_equal(end_with(&after.r, 1.0f)->applied, end_with(&whole.r, 1.0f)->applied);

  char *bad = malloc(size);
  memcpy(bad, saved, size);
  bad[0] ^= 1;
  FAILS(mpt_session_set_state(after.r.session, bad, size, &ok_error), MPT_ERROR_MISMATCH,
        "another policy", "");
  memcpy(bad, saved, size);
  memset(bad + size - 5 * 4, 0xff, 4); /* a history's place, far outside */
  FAILS(mpt_session_set_state(after.r.session, bad, size, &ok_error), MPT_ERROR_MISMATCH,
        "another policy", "");
  FAILS(mpt_session_set_state(after.r.session, saved, size - 1, &ok_error), MPT_ERROR_MISMATCH,
        "bytes", "");
  free(saved);
  free(bad);
  close_session(&whole.r);
  close_session(&before.r);
  close_session(&after.r);
}

/* ---- policies ---- */

static void a_policy_gives_formats_and_loss_scale(void **unused) {
  (void)unused;
  const char text[] = "schema: mptune/policy@1\n"
                      "default: bf16\n"
                      "rules:\n"
                      "  - layers: [\"fc1\"]\n"
                      "    format: fp8\n"
                      "    wgrad: fp16\n"
                      "    scaling: {mode: delayed, history: 4, margin: 1}\n"
                      "  - layers: [\"nowhere\"]\n"
                      "    format: fp32\n"
                      "loss_scale: {mode: static, initial: 512.0}\n";
  mpt_policy *policy;
  OK(mpt_policy_parse(text, strlen(text), "text", &policy, &ok_error));
  rig r = {0};
  mpt_session_config config = config_of(&r, NULL);
  config.policy = policy;
  mpt_session_layer layers[2] = {linear("fc1", 4, 4, 4), linear("fc2", 4, 4, 4)};
  mpt_session *none = NULL;
  FAILS(mpt_session_open(&config, layers, 2, &none, &ok_error), MPT_ERROR_MISMATCH, "nowhere", "");
  assert_null(none);
  mpt_resolve_options resolve = mpt_resolve_options_default();
  resolve.strict = false;
  config.resolve = &resolve;
  open_session(&r, &config, layers, 2);
  mpt_policy_free(policy); /* was read during open only */
  assert_int_equal(mpt_session_find(r.session, "fc2"), 1);
  assert_int_equal(mpt_session_find(r.session, "nowhere"), -1);
  const mpt_layer_policy *fc1 = mpt_session_layer_policy(r.session, 0);
  mpt_layer_policy expected = formats_of(MPT_PRECISION_FP8, MPT_PRECISION_FP8, MPT_PRECISION_FP16);
  expected.scaling = (mpt_scaling){MPT_SCALING_DELAYED, 4, 1};
  assert_true(mpt_layer_policy_equal(fc1, &expected));
  mpt_layer_policy bf16 = mpt_layer_policy_of(MPT_PRECISION_BF16);
  assert_true(mpt_layer_policy_equal(mpt_session_layer_policy(r.session, 1), &bf16));
  assert_true(mpt_session_loss_scale(r.session) == 512.0f);
  close_session(&r);
}

static void a_policy_without_loss_scale_leaves_it_to_the_program(void **unused) {
  (void)unused;
  static const struct {
    const char *text;
    float expected[2]; /* where the program says nothing, and a static 128 */
  } policies[] = {
      {"schema: mptune/policy@1\ndefault: fp16\n", {65536.0f, 128.0f}},
      {"schema: mptune/policy@1\ndefault: fp16\nloss_scale: {mode: none}\n", {1.0f, 1.0f}},
  };
  for (int i = 0; i < 4; i++) {
    const char *text = policies[i / 2].text;
    const int given = i % 2;
    mpt_policy *policy;
    rig r = {0};
    OK(mpt_policy_parse(text, strlen(text), "text", &policy, &ok_error));
    mpt_session_config config = config_of(&r, NULL);
    config.policy = policy;
    if (given)
      config.loss_scale = (mpt_loss_scale_policy){MPT_LOSS_SCALE_STATIC, 128.0f};
    mpt_session_layer layer = linear("fc1", 4, 4, 4);
    open_session(&r, &config, &layer, 1);
    assert_true(mpt_session_loss_scale(r.session) == policies[i / 2].expected[given]);
    close_session(&r);
    mpt_policy_free(policy);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(delayed_scales_follow_the_largest_of_the_steps_before),
      cmocka_unit_test(an_evaluation_takes_the_scales_of_all_steps_before),
      cmocka_unit_test(evaluation_leaves_scales_and_counters_alone),
      cmocka_unit_test(an_amax_that_is_not_finite_stays_out_of_the_history),
      cmocka_unit_test(a_tensor_of_zeros_leaves_the_history_empty),
      cmocka_unit_test(the_loss_scale_halves_on_overflow_and_doubles_after_good_steps),
      cmocka_unit_test(the_loss_scale_is_one_unless_a_gradient_is_fp16),
      cmocka_unit_test(the_layer_whose_gradient_overflowed_first_is_named),
      cmocka_unit_test(plain_mode_is_fp32_whatever_the_policy),
      cmocka_unit_test(statistics_of_every_operand_reach_the_sink),
      cmocka_unit_test(the_first_value_that_is_not_finite_is_named),
      cmocka_unit_test(the_first_of_a_step_is_first_in_its_order),
      cmocka_unit_test(a_session_continues_from_its_saved_state_bit_for_bit),
      cmocka_unit_test(a_policy_gives_formats_and_loss_scale),
      cmocka_unit_test(a_policy_without_loss_scale_leaves_it_to_the_program),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
