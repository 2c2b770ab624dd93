/* A session that is prepared is as it was before, and runs nothing that it has not rehearsed. */
#include "session_rig.h"

enum { ROWS = 32, FEW = 8, N = 16, K = 48, STEPS = 4 };

typedef struct outcome {
  float y[ROWS * N], grad_x[ROWS * K], grad_w[N * K];
  unsigned char state[1024];
  mpt_layer_counters counters;
  mpt_session_report report;
  int delivered;
} outcome;

static void count(void *context, int64_t step, int layer, mpt_operand operand,
                  const mpt_statistics *statistics) {
  (void)step, (void)layer, (void)operand, (void)statistics;
  ((outcome *)context)->delivered++;
}

static mpt_layer_policy delayed_fp8(void) {
  mpt_layer_policy policy = mpt_layer_policy_of(MPT_PRECISION_FP8);
  policy.scaling = (mpt_scaling){MPT_SCALING_DELAYED, 4, 1};
  policy.gemm[MPT_WGRAD] = mpt_gemm_policy_of(MPT_WGRAD, MPT_PRECISION_FP16);
  return policy;
}

static void open_one(rig *r, outcome *o, const mpt_layer_policy *policy,
                     mpt_statistics_mode statistics) {
  const mpt_session_layer layer = linear("a", ROWS, N, K);
  mpt_session_config config = config_of(r, policy);
  config.statistics = statistics;
  config.on_statistics = count;
  config.context = o;
  open_session(r, &config, &layer, 1);
}

static void run_step(rig *r, outcome *o, int64_t step, int64_t rows) {
  static float x[ROWS * K], w[N * K], grad_y[ROWS * N];
  fill(x, ROWS * K, (uint64_t)step + 1, 2.0f, MPT_FP32);
  fill(w, N * K, (uint64_t)step + 21, 1.0f, MPT_FP32);
  fill(grad_y, ROWS * N, (uint64_t)step + 41, 1.0f, MPT_FP32);
  memset(o->grad_w, 0, sizeof o->grad_w);
  mpt_tensor tx = matrix(x, rows, K, MPT_FP32), tw = matrix(w, N, K, MPT_FP32);
  mpt_tensor ty = matrix(o->y, rows, N, mpt_session_output_format(r->session, 0));
  mpt_tensor tdy = matrix(grad_y, rows, N, MPT_FP32), tdw = matrix(o->grad_w, N, K, MPT_FP32);
  mpt_tensor tdx = matrix(o->grad_x, rows, K, mpt_session_grad_input_format(r->session, 0));
  const mpt_tensor *const gradients[] = {&tdw};
  OK(mpt_session_step_begin(r->session, step, &ok_error));
  OK(mpt_linear_forward(r->session, 0, &tx, &tw, NULL, &ty, &ok_error));
  OK(mpt_linear_backward(r->session, 0, &tdy, &tx, &tw, &tdx, false, &tdw, NULL, &ok_error));
  OK(mpt_session_step_end(r->session, gradients, 1, 0.0f, NULL, &ok_error));
}

static void end_run(rig *r, outcome *o) {
  OK(mpt_session_get_state(r->session, o->state, mpt_session_state_bytes(r->session), &ok_error));
  OK(mpt_session_counters(r->session, 0, &o->counters, &ok_error));
  o->report = mpt_session_get_report(r->session);
}

static void a_prepared_session_gives_the_same_bits(void **unused) {
  (void)unused;
  for (int mode = MPT_STATISTICS_OFF; mode <= MPT_STATISTICS_FULL; mode++) {
    outcome *plain = calloc(1, sizeof *plain), *prepared = calloc(1, sizeof *prepared);
    assert_non_null(plain);
    assert_non_null(prepared);
    const mpt_layer_policy policy = delayed_fp8();
    rig a = {0}, b = {0};
    open_one(&a, plain, &policy, (mpt_statistics_mode)mode);
    open_one(&b, prepared, &policy, (mpt_statistics_mode)mode);
    const mpt_prepare_options all = {
        .struct_size = sizeof all, .rows = (int64_t[]){FEW}, .rows_count = 1, .plain = true};
    OK(mpt_session_prepare(b.session, &all, &ok_error));
    assert_int_equal(prepared->delivered, 0);
    for (int step = 0; step < STEPS; step++) {
      run_step(&a, plain, step, step % 2 == 0 ? ROWS : FEW);
      run_step(&b, prepared, step, step % 2 == 0 ? ROWS : FEW);
      assert_memory_equal(plain->y, prepared->y, sizeof plain->y);
      assert_memory_equal(plain->grad_x, prepared->grad_x, sizeof plain->grad_x);
      assert_memory_equal(plain->grad_w, prepared->grad_w, sizeof plain->grad_w);
    }
    end_run(&a, plain);
    end_run(&b, prepared);
    assert_memory_equal(plain->state, prepared->state, sizeof plain->state);
    assert_memory_equal(&plain->counters, &prepared->counters, sizeof plain->counters);
    assert_true(plain->counters.cast[MPT_INPUT] > 0);
    assert_int_equal(plain->report.steps, STEPS);
    assert_int_equal(prepared->report.steps, STEPS);
    assert_int_equal(prepared->report.skipped, plain->report.skipped);
    assert_int_equal(prepared->report.nonfinite_step, -1);
    assert_int_equal(plain->delivered, prepared->delivered);
    close_session(&a);
    close_session(&b);
    free(plain);
    free(prepared);
  }
}

static void what_was_not_prepared_is_refused(void **unused) {
  (void)unused;
  outcome *o = calloc(1, sizeof *o);
  assert_non_null(o);
  const mpt_layer_policy policy = mpt_layer_policy_of(MPT_PRECISION_BF16);
  rig r = {0};
  open_one(&r, o, &policy, MPT_STATISTICS_OFF);
  OK(mpt_session_prepare(r.session, NULL, &ok_error));
  run_step(&r, o, 0, ROWS);
  OK(mpt_session_step_begin(r.session, 1, &ok_error));
  static float x[ROWS * K], w[N * K];
  mpt_tensor tx = matrix(x, FEW, K, MPT_FP32), tw = matrix(w, N, K, MPT_FP32);
  mpt_tensor ty = matrix(o->y, FEW, N, MPT_BF16);
  FAILS(mpt_linear_forward(r.session, 0, &tx, &tw, NULL, &ty, &ok_error), MPT_ERROR_UNPREPARED,
        "'a': products of 8 rows were not prepared", "mpt_session_prepare");
  OK(mpt_session_step_end(r.session, NULL, 0, 0.0f, NULL, &ok_error));
  OK(mpt_session_set_mode(r.session, MPT_RUN_PLAIN, &ok_error));
  OK(mpt_session_step_begin(r.session, 2, &ok_error));
  tx = matrix(x, ROWS, K, MPT_FP32), ty = matrix(o->y, ROWS, N, MPT_FP32);
  FAILS(mpt_linear_forward(r.session, 0, &tx, &tw, NULL, &ty, &ok_error), MPT_ERROR_UNPREPARED,
        "MPT_RUN_PLAIN", "plain");
  OK(mpt_session_step_end(r.session, NULL, 0, 0.0f, NULL, &ok_error));
  FAILS(mpt_session_prepare(r.session, NULL, &ok_error), MPT_ERROR_ARGUMENT,
        "before its first step", "");
  close_session(&r);
  free(o);
}

static void options_that_mean_nothing_are_refused(void **unused) {
  (void)unused;
  outcome o = {0};
  const mpt_layer_policy policy = mpt_layer_policy_of(MPT_PRECISION_BF16);
  rig r = {0};
  open_one(&r, &o, &policy, MPT_STATISTICS_OFF);
  mpt_prepare_options options = mpt_prepare_options_default();
  options.rows_count = 1;
  FAILS(mpt_session_prepare(r.session, &options, &ok_error), MPT_ERROR_ARGUMENT, "NULL", "");
  options.rows = (int64_t[]){0};
  FAILS(mpt_session_prepare(r.session, &options, &ok_error), MPT_ERROR_ARGUMENT, "0 rows", "");
  close_session(&r);
  mpt_session_layer layer = linear("a", ROWS, N, K);
  mpt_session_config config = config_of(&r, &policy);
  OK(mpt_session_open(&config, &layer, 1, &r.session, &ok_error));
  FAILS(mpt_session_prepare(r.session, NULL, &ok_error), MPT_ERROR_ARGUMENT, "workspace", "");
  close_session(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_prepared_session_gives_the_same_bits),
      cmocka_unit_test(what_was_not_prepared_is_refused),
      cmocka_unit_test(options_that_mean_nothing_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
