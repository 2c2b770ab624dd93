/* Linear layers, forward and backward, in the formats of their policy.
 *
 * An fp8 operand holds round(x * 2^e); the product of two is divided by 2^(ea + eb), which is exact
 * in fp32. Beyond fp32's exponents that factor is 0 or infinite, and so would the product be. The
 * factors stay on the device: the GEMM reads them there. */
#include "base/shape_text.h"
#include "runtime/plan.h"

static const char *layer_name(const mpt_session *session, int layer) {
  return session->layers[layer].given.info.name;
}

static mpt_status check_call(const mpt_session *session, int layer, mpt_error *error) {
  if (session == NULL || layer < 0 || layer >= session->layer_count)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "there is no layer %d in the session", layer);
  if (!session->layers[layer].has_gemm)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "layer '%s' is a %s and has no product",
                    layer_name(session, layer), session->layers[layer].given.info.kind);
  if (!session->in_step)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "layer '%s' runs outside a step: call mpt_session_step_begin first",
                    layer_name(session, layer));
  return MPT_OK;
}

static mpt_status check_format(const mpt_session *session, int layer, const char *what,
                               mpt_format got, mpt_format expected, mpt_error *error) {
  if (got == expected)
    return MPT_OK;
  const mpt_format_info *info = mpt_format_get(got);
  return mpt_fail(error, MPT_ERROR_ARGUMENT, "layer '%s': %s is %s, expected %s",
                  layer_name(session, layer), what, info ? info->name : "of an unknown format",
                  mpt_format_get(expected)->name);
}

/* Copies are planned for what the caller said of its tensors. */
static mpt_status check_known(const mpt_session *session, int layer, mpt_operand operand,
                              mpt_format got, mpt_error *error) {
  const mpt_session_layer *given = &session->layers[layer].given;
  if (!given->formats_known || session->mode == MPT_RUN_PLAIN)
    return MPT_OK;
  return check_format(session, layer, mpt_operand_name(operand), got,
                      operand == MPT_INPUT ? given->input_format : given->grad_output_format,
                      error);
}

static mpt_shape_text shape_of(const mpt_tensor *t) {
  return mpt_shape_print(NULL, t->rank < MPT_MAX_RANK ? t->rank : MPT_MAX_RANK, t->shape);
}

/* The tensor as a matrix: dimensions before the `split`-th become rows, the others columns. False
 * when its strides do not allow that. */
static bool as_matrix(const mpt_tensor *t, int split, mpt_tensor *matrix) {
  *matrix = *t;
  matrix->rank = 2;
  int64_t size[2] = {1, 1};
  for (int i = 0; i < t->rank; i++) {
    bool inner = i == split - 1 || i == t->rank - 1;
    if (!inner && t->shape[i] != 1 && t->strides[i] != t->strides[i + 1] * t->shape[i + 1])
      return false;
    size[i >= split] *= t->shape[i];
  }
  matrix->shape[0] = size[0], matrix->shape[1] = size[1];
  matrix->strides[0] = t->strides[split - 1], matrix->strides[1] = 1;
  return t->strides[t->rank - 1] == 1;
}

/* Sees `t` as a matrix of `rows` by `columns`; rows < 0: at most -rows. */
static mpt_status see(const mpt_session *session, int layer, const char *what, const mpt_tensor *t,
                      bool weight, int64_t rows, int64_t columns, mpt_tensor *matrix,
                      mpt_error *error) {
  *matrix = (mpt_tensor){0};
  if (t == NULL || t->data == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "layer '%s': %s is NULL", layer_name(session, layer),
                    what);
  mpt_device device = mpt_queue_device(session->queue);
  if (t->device.kind != device.kind || t->device.index != device.index)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "layer '%s': %s is on another device than the queue",
                    layer_name(session, layer), what);
  bool good =
      t->rank >= 2 && t->rank <= MPT_MAX_RANK && as_matrix(t, weight ? 1 : t->rank - 1, matrix) &&
      matrix->shape[1] == columns &&
      (rows < 0 ? matrix->shape[0] > 0 && matrix->shape[0] <= -rows : matrix->shape[0] == rows);
  if (good)
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_SHAPE, "layer '%s': %s has shape %s, expected [%s%lld, %lld]",
                  layer_name(session, layer), what, shape_of(t).text, rows < 0 ? "at most " : "",
                  (long long)(rows < 0 ? -rows : rows), (long long)columns);
}

static mpt_status check_bias(const mpt_session *session, int layer, const char *what,
                             const mpt_tensor *bias, mpt_error *error) {
  if (bias == NULL)
    return MPT_OK;
  int64_t n = session->layers[layer].n;
  if (bias->data == NULL || bias->rank != 1 || bias->shape[0] != n) {
    return mpt_fail(error, MPT_ERROR_SHAPE, "layer '%s': %s has shape %s, expected [%lld]",
                    layer_name(session, layer), what, shape_of(bias).text, (long long)n);
  }
  return check_format(session, layer, what, bias->format, MPT_FP32, error);
}

/* out = alpha op(a) op(b) + beta out + bias, with the operands of the GEMM made from a and b. */
static mpt_status multiply(mpt_session *session, int layer, mpt_gemm_kind gemm, const mpt_tensor *a,
                           const mpt_tensor *b, const mpt_tensor *out, const mpt_tensor *bias,
                           bool accumulate, mpt_error *error) {
  mpt_tensor left, right;
  const float *left_scale, *right_scale;
  bool left_transposed, right_transposed;
  MPT_RETURN_IF_FAILED(
      mpt_session_operand(session, layer, gemm, 0, a, &left, &left_scale, &left_transposed, error));
  MPT_RETURN_IF_FAILED(mpt_session_operand(session, layer, gemm, 1, b, &right, &right_scale,
                                           &right_transposed, error));
  mpt_gemm_args args = {.a = &left,
                        .b = &right,
                        .out = out,
                        .bias = bias,
                        .transpose_a = (gemm == MPT_WGRAD) != left_transposed,
                        .transpose_b = (gemm == MPT_FPROP) != right_transposed,
                        .fast = session->layers[layer].policy.gemm[gemm].accumulate ==
                                MPT_ACCUMULATE_FAST,
                        .alpha = 1.0f,
                        .scale_a = left_scale,
                        .scale_b = right_scale,
                        .beta = accumulate ? 1.0f : 0.0f,
                        .prepared = session->prepared};
  return mpt_gemm(session->queue, &args, error);
}

/* What a forward pass is given, as matrices. */
typedef struct forward_views {
  mpt_tensor input, weight, output;
} forward_views;

static mpt_status see_forward(mpt_session *session, int layer, const mpt_tensor *input,
                              const mpt_tensor *weight, const mpt_tensor *bias,
                              const mpt_tensor *output, forward_views *v, mpt_error *error) {
  MPT_RETURN_IF_FAILED(check_call(session, layer, error));
  session_layer *l = &session->layers[layer];
  MPT_RETURN_IF_FAILED(
      see(session, layer, "input", input, false, -l->rows, l->k, &v->input, error));
  int64_t rows = v->input.shape[0];
  MPT_RETURN_IF_FAILED(see(session, layer, "weight", weight, true, l->n, l->k, &v->weight, error));
  MPT_RETURN_IF_FAILED(see(session, layer, "output", output, false, rows, l->n, &v->output, error));
  MPT_RETURN_IF_FAILED(check_bias(session, layer, "bias", bias, error));
  MPT_RETURN_IF_FAILED(
      check_format(session, layer, "weight", v->weight.format, l->given.weight_format, error));
  MPT_RETURN_IF_FAILED(check_known(session, layer, MPT_INPUT, v->input.format, error));
  MPT_RETURN_IF_FAILED(check_format(session, layer, "output", v->output.format,
                                    mpt_session_output_format(session, layer), error));
  return mpt_session_check_prepared(session, layer, rows, error);
}

static mpt_status run_forward(mpt_session *session, int layer, const forward_views *v,
                              const mpt_tensor *bias, mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_watch_operand(session, layer, MPT_INPUT, &v->input, error));
  MPT_RETURN_IF_FAILED(mpt_watch_operand(session, layer, MPT_WEIGHT, &v->weight, error));
  return multiply(session, layer, MPT_FPROP, &v->input, &v->weight, &v->output, bias, false, error);
}

mpt_status mpt_linear_forward_call(mpt_session *session, int layer, const mpt_tensor *input,
                                   const mpt_tensor *weight, const mpt_tensor *bias,
                                   const mpt_tensor *output, mpt_call *call, mpt_error *error) {
  forward_views v;
  if (call == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "a forward pass without a place for its token");
  MPT_RETURN_IF_FAILED(see_forward(session, layer, input, weight, bias, output, &v, error));
  mpt_call token = *call;
  MPT_RETURN_IF_FAILED(mpt_session_call_begin(session, layer, &v.input, &token, error));
  mpt_status status = run_forward(session, layer, &v, bias, error);
  if (status == MPT_OK)
    *call = token;
  else if (*call == 0)
    mpt_session_call_drop(session, layer, token);
  return status;
}

mpt_status mpt_linear_forward(mpt_session *session, int layer, const mpt_tensor *input,
                              const mpt_tensor *weight, const mpt_tensor *bias,
                              const mpt_tensor *output, mpt_error *error) {
  MPT_RETURN_IF_FAILED(check_call(session, layer, error));
  session_layer *l = &session->layers[layer];
  mpt_call call = 0;
  if (l->ran_alone)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "layer '%s' runs forward twice: call mpt_session_microbatch in between, or "
                    "give its passes tokens (mpt_linear_forward_call)",
                    layer_name(session, layer));
  MPT_RETURN_IF_FAILED(
      mpt_linear_forward_call(session, layer, input, weight, bias, output, &call, error));
  l->only = call;
  l->ran_alone = true;
  return MPT_OK;
}

/* What a backward pass is given, as matrices. */
typedef struct backward_views {
  mpt_tensor grad_output, input, weight, grad_input, grad_weight;
} backward_views;

static mpt_status see_backward(mpt_session *session, int layer, const mpt_tensor *grad_output,
                               const mpt_tensor *input, const mpt_tensor *weight,
                               const mpt_tensor *grad_input, bool accumulate_input,
                               const mpt_tensor *grad_weight, const mpt_tensor *grad_bias,
                               backward_views *v, mpt_error *error) {
  session_layer *l = &session->layers[layer];
  MPT_RETURN_IF_FAILED(
      see(session, layer, "input", input, false, -l->rows, l->k, &v->input, error));
  int64_t rows = v->input.shape[0];
  MPT_RETURN_IF_FAILED(
      see(session, layer, "grad_output", grad_output, false, rows, l->n, &v->grad_output, error));
  MPT_RETURN_IF_FAILED(see(session, layer, "weight", weight, true, l->n, l->k, &v->weight, error));
  MPT_RETURN_IF_FAILED(check_known(session, layer, MPT_INPUT, v->input.format, error));
  MPT_RETURN_IF_FAILED(check_known(session, layer, MPT_GRAD_OUTPUT, v->grad_output.format, error));
  MPT_RETURN_IF_FAILED(
      check_format(session, layer, "weight", v->weight.format, l->given.weight_format, error));
  MPT_RETURN_IF_FAILED(check_bias(session, layer, "grad_bias", grad_bias, error));
  if (grad_input != NULL) {
    MPT_RETURN_IF_FAILED(
        see(session, layer, "grad_input", grad_input, false, rows, l->k, &v->grad_input, error));
    /* A gradient that is added to was stored by whoever wrote it first. */
    if (!accumulate_input)
      MPT_RETURN_IF_FAILED(check_format(session, layer, "grad_input", v->grad_input.format,
                                        mpt_session_grad_input_format(session, layer), error));
  }
  if (grad_weight != NULL) {
    MPT_RETURN_IF_FAILED(
        see(session, layer, "grad_weight", grad_weight, true, l->n, l->k, &v->grad_weight, error));
    MPT_RETURN_IF_FAILED(
        check_format(session, layer, "grad_weight", v->grad_weight.format, MPT_FP32, error));
  }
  return mpt_session_check_prepared(session, layer, rows, error);
}

static void remember_gradient(mpt_session *session, int layer, const mpt_tensor *grad_weight,
                              const mpt_tensor *grad_bias) {
  session_layer *l = &session->layers[layer];
  if (l->gradient.data != NULL || (grad_weight == NULL && grad_bias == NULL))
    return;
  l->gradient = grad_weight != NULL ? *grad_weight : *grad_bias;
  session->backward_order[session->backward_count++] = layer;
}

/* Of several passes of a micro-batch each has gradients of its own. */
static void begin_gradient(mpt_session *session, session_layer *l) {
  int source = l->sources[MPT_GRAD_OUTPUT];
  mpt_session_forget(session, source);
  if (l->backward_passes++ == 0 || l->ran_alone)
    return;
  session->sources[source].collected_here = false;
  session->lite_is_of_microbatch = false;
}

mpt_status mpt_linear_backward_call(mpt_session *session, int layer, mpt_call call,
                                    const mpt_tensor *grad_output, const mpt_tensor *input,
                                    const mpt_tensor *weight, const mpt_tensor *grad_input,
                                    bool accumulate_input, const mpt_tensor *grad_weight,
                                    const mpt_tensor *grad_bias, mpt_error *error) {
  MPT_RETURN_IF_FAILED(check_call(session, layer, error));
  session_layer *l = &session->layers[layer];
  backward_views v;
  if (session->mode != MPT_RUN_TRAIN || call == 0)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "layer '%s' runs backward without a forward pass in training mode",
                    layer_name(session, layer));
  MPT_RETURN_IF_FAILED(see_backward(session, layer, grad_output, input, weight, grad_input,
                                    accumulate_input, grad_weight, grad_bias, &v, error));
  MPT_RETURN_IF_FAILED(mpt_session_call_return(session, layer, call, error));
  begin_gradient(session, l);
  MPT_RETURN_IF_FAILED(mpt_watch_operand(session, layer, MPT_GRAD_OUTPUT, &v.grad_output, error));
  if (grad_input != NULL)
    MPT_RETURN_IF_FAILED(multiply(session, layer, MPT_DGRAD, &v.grad_output, &v.weight,
                                  &v.grad_input, NULL, accumulate_input, error));
  if (grad_weight != NULL)
    MPT_RETURN_IF_FAILED(multiply(session, layer, MPT_WGRAD, &v.grad_output, &v.input,
                                  &v.grad_weight, NULL, true, error));
  if (grad_bias != NULL)
    MPT_RETURN_IF_FAILED(mpt_bias_backward(session->queue, &v.grad_output, grad_bias, true, error));
  remember_gradient(session, layer, grad_weight != NULL ? &v.grad_weight : NULL, grad_bias);
  return MPT_OK;
}

mpt_status mpt_linear_backward(mpt_session *session, int layer, const mpt_tensor *grad_output,
                               const mpt_tensor *input, const mpt_tensor *weight,
                               const mpt_tensor *grad_input, bool accumulate_input,
                               const mpt_tensor *grad_weight, const mpt_tensor *grad_bias,
                               mpt_error *error) {
  MPT_RETURN_IF_FAILED(check_call(session, layer, error));
  return mpt_linear_backward_call(session, layer, session->layers[layer].only, grad_output, input,
                                  weight, grad_input, accumulate_input, grad_weight, grad_bias,
                                  error);
}
