/* Wrong calls are refused with the layer, the tensor, what was expected and what came. */
#include "session_rig.h"

static mpt_status open_with(rig *r, const mpt_layer_policy *policies,
                            const mpt_session_layer *layers, int count, mpt_error *error) {
  mpt_session_config config = config_of(r, policies);
  mpt_session *session = NULL;
  mpt_status status = mpt_session_open(&config, layers, count, &session, error);
  assert_int_equal(status == MPT_OK, session != NULL);
  mpt_session_close(session);
  return status;
}

static void plans_that_cannot_be_are_refused_at_open(void **unused) {
  (void)unused;
  rig r = {0};
  mpt_layer_policy fp8 = mpt_layer_policy_of(MPT_PRECISION_FP8);
  mpt_layer_policy p[2] = {fp8, fp8};
  mpt_session_layer l[2] = {linear("a", 4, 4, 4), linear("b", 4, 4, 8)};
  OK(open_with(&r, p, l, 2, &ok_error));
  strcpy(l[0].input_name, "x"), strcpy(l[1].input_name, "x");
  FAILS(open_with(&r, p, l, 2, &ok_error), MPT_ERROR_SHAPE, "'a' and 'b'", "'x'");
  l[1] = l[0];
  FAILS(open_with(&r, p, l, 2, &ok_error), MPT_ERROR_ARGUMENT, "named 'a'", "");
  l[1].info.name[0] = '\0';
  FAILS(open_with(&r, p, l, 2, &ok_error), MPT_ERROR_ARGUMENT, "layer 1", "no name");
  l[0].info.rows = 0;
  FAILS(open_with(&r, p, l, 1, &ok_error), MPT_ERROR_SHAPE, "'a'", "rows 0");
  l[0] = linear("a", 4, INT64_MAX / 2, 4);
  FAILS(open_with(&r, p, l, 1, &ok_error), MPT_ERROR_SHAPE, "'a'", "");
  l[0] = linear("a", 4, 4, -4);
  FAILS(open_with(&r, p, l, 1, &ok_error), MPT_ERROR_SHAPE, "'a'", "");
  l[0] = linear("a", 4, 4, 4);
  l[0].info.rank = 1;
  FAILS(open_with(&r, p, l, 1, &ok_error), MPT_ERROR_SHAPE, "'a'", "1 dimensions");
  l[0].info.rank = 2;
  p[0].gemm[MPT_WGRAD].operand[1] = MPT_FP8_E5M2;
  FAILS(open_with(&r, p, l, 1, &ok_error), MPT_ERROR_ARGUMENT, "'a'", "wgrad");
  p[0] = fp8;
  p[0].gemm[MPT_FPROP].operand[0] = MPT_BF16;
  FAILS(open_with(&r, p, l, 1, &ok_error), MPT_ERROR_ARGUMENT, "bf16 by fp8_e4m3", "fprop");
  p[0] = fp8;
  p[0].gemm[MPT_DGRAD].precision = MPT_PRECISION_BF16;
  FAILS(open_with(&r, p, l, 1, &ok_error), MPT_ERROR_ARGUMENT, "dgrad", "as bf16");
  p[0] = fp8;
  p[0].scaling = (mpt_scaling){MPT_SCALING_DELAYED, 0, 0};
  FAILS(open_with(&r, p, l, 1, &ok_error), MPT_ERROR_ARGUMENT, "'a'", "history");
  FAILS(open_with(&r, NULL, l, 1, &ok_error), MPT_ERROR_ARGUMENT, "policy or an assignment", "");
  FAILS(open_with(&r, p, l, 0, &ok_error), MPT_ERROR_ARGUMENT, "at least one layer", "");
  mpt_session_config config = config_of(&r, p);
  config.struct_size = 4096;
  mpt_session *session;
  FAILS(mpt_session_open(&config, l, 1, &session, &ok_error), MPT_ERROR_VERSION,
        "mpt_session_config", "newer");
  config = config_of(&r, &fp8);
  config.loss_scale.initial = -1.0f;
  FAILS(mpt_session_open(&config, l, 1, &session, &ok_error), MPT_ERROR_ARGUMENT, "loss scale",
        "-1");
  close_session(&r);
}

static void workspaces_that_do_not_serve_are_refused(void **unused) {
  (void)unused;
  rig r = {0};
  mpt_layer_policy p = mpt_layer_policy_of(MPT_PRECISION_FP8);
  mpt_session_layer l = linear("a", 4, 4, 4);
  mpt_session_config config = config_of(&r, &p);
  OK(mpt_session_open(&config, &l, 1, &r.session, &ok_error));
  FAILS(mpt_session_step_begin(r.session, 0, &ok_error), MPT_ERROR_ARGUMENT, "no workspace", "");
  size_t bytes = mpt_session_workspace_bytes(r.session);
  OK(mpt_memory_allocate(r.queue, bytes, &r.workspace, &ok_error));
  char *at = r.workspace;
  FAILS(mpt_session_set_workspace(r.session, at + 128, bytes, &ok_error), MPT_ERROR_ARGUMENT,
        "aligned", "");
  FAILS(mpt_session_set_workspace(r.session, at, bytes - 1, &ok_error), MPT_ERROR_ARGUMENT, "needs",
        "");
  OK(mpt_session_set_workspace(r.session, at, bytes, &ok_error));
  FAILS(mpt_session_set_workspace(r.session, at, bytes, &ok_error), MPT_ERROR_ARGUMENT, "already",
        "");
  close_session(&r);
}

static void tensors_that_do_not_fit_are_named(void **unused) {
  (void)unused;
  rig r = {0};
  mpt_layer_policy p[2] = {mpt_layer_policy_of(MPT_PRECISION_BF16),
                           mpt_layer_policy_of(MPT_PRECISION_BF16)};
  mpt_session_config config = config_of(&r, p);
  mpt_session_layer l[2] = {linear("fc1", 4, 3, 5), {.info = {.kind = "relu", .name = "act"}}};
  open_session(&r, &config, l, 2);
  mpt_session *s = r.session;
  float data[64] = {0}, out[12];
  mpt_tensor x = matrix(data, 4, 5, MPT_BF16), w = matrix(data, 3, 5, MPT_FP32);
  mpt_tensor y = matrix(out, 4, 3, MPT_BF16), b = vector(data, 3);
  const mpt_status shape = MPT_ERROR_SHAPE, argument = MPT_ERROR_ARGUMENT;
  mpt_error *no = NULL;
  assert_int_equal(mpt_linear_forward(s, 0, &x, &w, &b, &y, no), argument); /* outside a step */
  OK(mpt_session_step_begin(s, 0, &ok_error));
  FAILS(mpt_linear_forward(s, 2, &x, &w, &b, &y, &ok_error), argument, "no layer 2", "");
  FAILS(mpt_linear_forward(s, 1, &x, &w, &b, &y, &ok_error), argument, "'act'", "relu");
  FAILS(mpt_linear_forward(s, 0, NULL, &w, &b, &y, &ok_error), argument, "'fc1'", "input is NULL");

  mpt_tensor t = matrix(data, 5, 5, MPT_BF16);
  FAILS(mpt_linear_forward(s, 0, &t, &w, &b, &y, &ok_error), shape, "'fc1': input",
        "[5, 5], expected [at most 4, 5]");
  t = matrix(data, 4, 6, MPT_BF16);
  FAILS(mpt_linear_forward(s, 0, &t, &w, &b, &y, &ok_error), shape, "input", "[4, 6]");
  t = matrix(data, 5, 3, MPT_FP32);
  FAILS(mpt_linear_forward(s, 0, &x, &t, &b, &y, &ok_error), shape, "weight",
        "[5, 3], expected [3, 5]");
  t = matrix(data, 3, 3, MPT_BF16);
  FAILS(mpt_linear_forward(s, 0, &x, &w, &b, &t, &ok_error), shape, "output",
        "[3, 3], expected [4, 3]");
  t = vector(data, 4);
  FAILS(mpt_linear_forward(s, 0, &x, &w, &t, &y, &ok_error), shape, "bias", "[4], expected [3]");
  t = matrix(data, 4, 3, MPT_FP32);
  FAILS(mpt_linear_forward(s, 0, &x, &w, &b, &t, &ok_error), argument, "output",
        "fp32, expected bf16");
  t = matrix(data, 3, 5, MPT_BF16);
  FAILS(mpt_linear_forward(s, 0, &x, &t, &b, &y, &ok_error), argument, "weight",
        "bf16, expected fp32");
  t = matrix(data, 4, 5, MPT_BF16);
  t.strides[1] = 2;
  FAILS(mpt_linear_forward(s, 0, &t, &w, &b, &y, &ok_error), shape, "input", "");

  OK(mpt_linear_forward(s, 0, &x, &w, &b, &y, &ok_error));
  FAILS(mpt_linear_forward(s, 0, &x, &w, &b, &y, &ok_error), argument, "'fc1'", "forward twice");
  t = matrix(data, 3, 3, MPT_BF16);
  FAILS(mpt_linear_backward(s, 0, &t, &x, &w, NULL, false, &w, NULL, &ok_error), shape,
        "grad_output", "[3, 3], expected [4, 3]");
  t = matrix(data, 4, 5, MPT_FP32);
  FAILS(mpt_linear_backward(s, 0, &y, &x, &w, &t, false, NULL, NULL, &ok_error), argument,
        "grad_input", "fp32, expected bf16");
  t = matrix(data, 3, 5, MPT_BF16);
  FAILS(mpt_linear_backward(s, 0, &y, &x, &w, NULL, false, &t, NULL, &ok_error), argument,
        "grad_weight", "bf16, expected fp32");
  FAILS(mpt_session_step_begin(s, 1, &ok_error), argument, "before step 0 ended", "");
  FAILS(mpt_session_set_mode(s, MPT_RUN_PLAIN, &ok_error), argument, "between steps", "");
  OK(mpt_session_microbatch(s, &ok_error));
  FAILS(mpt_linear_backward(s, 0, &y, &x, &w, NULL, false, &w, NULL, &ok_error), argument, "'fc1'",
        "without a forward");
  OK(mpt_session_step_end(s, NULL, 0, 0.0f, NULL, &ok_error));
  FAILS(mpt_session_step_end(s, NULL, 0, 0.0f, NULL, &ok_error), argument, "not begun", "");
  OK(mpt_session_set_mode(s, MPT_RUN_PLAIN, &ok_error));
  OK(mpt_session_step_begin(s, 0, &ok_error));
  FAILS(mpt_linear_forward(s, 0, &x, &w, &b, &y, &ok_error), argument, "output",
        "bf16, expected fp32");
  close_session(&r);
}

/* Fewer rows than planned are fine: the last batch of a data set. */
static void fewer_rows_than_planned_are_fine(void **unused) {
  (void)unused;
  rig r = {0};
  mpt_layer_policy p = mpt_layer_policy_of(MPT_PRECISION_FP8);
  mpt_session_config config = config_of(&r, &p);
  mpt_session_layer l = linear("fc1", 4, 3, 5);
  open_session(&r, &config, &l, 1);
  float x[20], w[15], y[12] = {0}, whole[12];
  fill(x, 20, 1, 1.0f, MPT_FP32);
  x[0] = 2.0f; /* the amax is in the first row of both */
  fill(w, 15, 2, 1.0f, MPT_FP32);
  mpt_tensor tw = matrix(w, 3, 5, MPT_FP32);
  for (int rows = 4; rows >= 1; rows--) {
    mpt_tensor tx = matrix(x, rows, 5, MPT_FP32), ty = matrix(y, rows, 3, MPT_BF16);
    OK(mpt_session_step_begin(r.session, 4 - rows, &ok_error));
    OK(mpt_linear_forward(r.session, 0, &tx, &tw, NULL, &ty, &ok_error));
    OK(mpt_session_step_end(r.session, NULL, 0, 0.0f, NULL, &ok_error));
    if (rows == 4)
      memcpy(whole, y, sizeof y);
    for (int i = 0; i < rows * 3; i++)
      assert_true(fabsf(y[i] - whole[i]) <= 0.01f * fabsf(whole[i]) + 1e-3f);
  }
  close_session(&r);
}

static size_t workspace_of(rig *r, const mpt_layer_policy *p, const mpt_session_layer *l) {
  mpt_session_config config = config_of(r, p);
  mpt_session *session;
  OK(mpt_session_open(&config, l, 1, &session, &ok_error));
  size_t bytes = mpt_session_workspace_bytes(session);
  mpt_session_close(session);
  return bytes;
}

/* Where the caller says how its tensors are stored, there is no room for copies that nobody makes,
 * and tensors that are stored otherwise are refused. */
static void known_formats_save_memory_and_are_held_to(void **unused) {
  (void)unused;
  enum { rows = 64, n = 32, k = 48 };
  rig r = {0};
  mpt_layer_policy bf16 = mpt_layer_policy_of(MPT_PRECISION_BF16);
  mpt_layer_policy fp8 = mpt_layer_policy_of(MPT_PRECISION_FP8);
  mpt_session_layer l = linear("fc1", rows, n, k), known = l;
  known.formats_known = true;
  known.input_format = known.grad_output_format = MPT_BF16;
  const size_t of_input = rows * k * sizeof(float), of_grad = rows * n * sizeof(float);
  assert_int_equal(workspace_of(&r, &bf16, &l) - workspace_of(&r, &bf16, &known),
                   of_input + of_grad + 256 /* scales */);
  assert_int_equal(workspace_of(&r, &fp8, &l), workspace_of(&r, &fp8, &known));

  mpt_session_config config = config_of(&r, &bf16);
  open_session(&r, &config, &known, 1);
  assert_false(mpt_session_keeps_input(r.session, 0)); /* it is read as it is */
  static float data[rows * k], out[rows * n];
  mpt_tensor x = matrix(data, rows, k, MPT_BF16), other = matrix(data, rows, k, MPT_FP32);
  mpt_tensor w = matrix(data, n, k, MPT_FP32), y = matrix(out, rows, n, MPT_BF16);
  mpt_tensor grad = matrix(out, rows, n, MPT_FP16), grad_w = matrix(data, n, k, MPT_FP32);
  OK(mpt_session_step_begin(r.session, 0, &ok_error));
  FAILS(mpt_linear_forward(r.session, 0, &other, &w, NULL, &y, &ok_error), MPT_ERROR_ARGUMENT,
        "'fc1': input", "fp32, expected bf16");
  OK(mpt_linear_forward(r.session, 0, &x, &w, NULL, &y, &ok_error));
  FAILS(mpt_linear_backward(r.session, 0, &grad, &x, &w, NULL, false, &grad_w, NULL, &ok_error),
        MPT_ERROR_ARGUMENT, "'fc1': grad_output", "fp16, expected bf16");
  OK(mpt_session_step_end(r.session, NULL, 0, 0.0f, NULL, &ok_error));
  OK(mpt_session_set_mode(r.session, MPT_RUN_PLAIN, &ok_error));
  OK(mpt_session_step_begin(r.session, 0, &ok_error));
  y.format = MPT_FP32;
  OK(mpt_linear_forward(r.session, 0, &other, &w, NULL, &y, &ok_error));
  close_session(&r);

  mpt_layer_policy turned = formats_of(MPT_PRECISION_BF16, MPT_PRECISION_FP8, MPT_PRECISION_FP8);
  config = config_of(&r, &fp8);
  open_session(&r, &config, &l, 1);
  assert_true(mpt_session_keeps_input(r.session, 0));
  close_session(&r);
  config = config_of(&r, &turned);
  open_session(&r, &config, &l, 1);
  assert_false(mpt_session_keeps_input(r.session, 0)); /* wgrad makes its own, of the input */
  close_session(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(plans_that_cannot_be_are_refused_at_open),
      cmocka_unit_test(workspaces_that_do_not_serve_are_refused),
      cmocka_unit_test(tensors_that_do_not_fit_are_named),
      cmocka_unit_test(known_formats_save_memory_and_are_held_to),
      cmocka_unit_test(fewer_rows_than_planned_are_fine),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
