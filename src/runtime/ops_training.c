/* Losses and optimizers. */
#include "runtime/checks.h"

/* ---- losses ---- */
static void check_gradient(op_check *c, const char *what, mpt_t gradient, mpt_t of,
                           mpt_tensor *rows) {
  if (gradient == NULL)
    return;
  mpt_op_tensor(c, what, gradient);
  mpt_op_same_shape(c, what, gradient, of);
  mpt_op_matrix(c, what, gradient, rows);
}

mpt_status mpt_cross_entropy(mpt_queue *queue, const mpt_tensor *logits, const int32_t *labels,
                             float scale, const mpt_step_state *state, double *loss,
                             int64_t *correct, const mpt_tensor *grad_logits, mpt_error *error) {
  op_scope c = OP_CHECK(queue, cross_entropy, error);
  mpt_tensor rows, grad_rows;
  mpt_op_tensor(&c, "logits", logits);
  mpt_op_require(&c, labels != NULL, "labels is NULL");
  mpt_op_matrix(&c, "logits", logits, &rows);
  check_gradient(&c, "grad_logits", grad_logits, logits, &grad_rows);
  if (c.status == MPT_OK)
    c.status = queue->backend->cross_entropy(queue, &rows, labels, scale, state, loss, correct,
                                             grad_logits ? &grad_rows : NULL, error);
  return mpt_op_written(&c, MPT_OPERATION_cross_entropy, grad_logits);
}

mpt_status mpt_nll(mpt_queue *queue, const mpt_tensor *probabilities, const int32_t *labels,
                   float scale, const mpt_step_state *state, double *loss, int64_t *correct,
                   const mpt_tensor *grad_probabilities, mpt_error *error) {
  op_scope c = OP_CHECK(queue, nll, error);
  mpt_tensor rows, grad_rows;
  mpt_op_tensor(&c, "probabilities", probabilities);
  mpt_op_require(&c, labels != NULL, "labels is NULL");
  mpt_op_matrix(&c, "probabilities", probabilities, &rows);
  check_gradient(&c, "grad_probabilities", grad_probabilities, probabilities, &grad_rows);
  if (c.status == MPT_OK)
    c.status = queue->backend->nll(queue, &rows, labels, scale, state, loss, correct,
                                   grad_probabilities ? &grad_rows : NULL, error);
  return mpt_op_written(&c, MPT_OPERATION_nll, grad_probabilities);
}

/* The tensors of a loss over elements, as matrices of one shape. */
static void check_element_loss(op_check *c, const char *x_name, mpt_t x, mpt_t targets,
                               const char *gradient_name, mpt_t gradient, mpt_tensor views[3]) {
  mpt_op_tensor(c, x_name, x);
  mpt_op_tensor(c, "targets", targets);
  mpt_op_same_shape(c, "targets", targets, x);
  if (gradient != NULL) {
    mpt_op_tensor(c, gradient_name, gradient);
    mpt_op_same_shape(c, gradient_name, gradient, x);
  }
  mpt_op_flatten(c, 3, (mpt_t[]){x, targets, gradient}, views);
}

mpt_status mpt_binary_cross_entropy(mpt_queue *queue, const mpt_tensor *logits,
                                    const mpt_tensor *targets, float scale,
                                    const mpt_step_state *state, double *loss,
                                    const mpt_tensor *grad_logits, mpt_error *error) {
  op_scope c = OP_CHECK(queue, binary_cross_entropy, error);
  mpt_tensor v[3];
  check_element_loss(&c, "logits", logits, targets, "grad_logits", grad_logits, v);
  if (c.status == MPT_OK)
    c.status = queue->backend->binary_cross_entropy(queue, &v[0], &v[1], scale, state, loss,
                                                    grad_logits ? &v[2] : NULL, error);
  return mpt_op_written(&c, MPT_OPERATION_binary_cross_entropy, grad_logits);
}

mpt_status mpt_mean_squared_error(mpt_queue *queue, const mpt_tensor *outputs,
                                  const mpt_tensor *targets, float scale,
                                  const mpt_step_state *state, double *loss,
                                  const mpt_tensor *grad_outputs, mpt_error *error) {
  op_scope c = OP_CHECK(queue, mean_squared_error, error);
  mpt_tensor v[3];
  check_element_loss(&c, "outputs", outputs, targets, "grad_outputs", grad_outputs, v);
  if (c.status == MPT_OK)
    c.status = queue->backend->mean_squared_error(queue, &v[0], &v[1], scale, state, loss,
                                                  grad_outputs ? &v[2] : NULL, error);
  return mpt_op_written(&c, MPT_OPERATION_mean_squared_error, grad_outputs);
}

mpt_status mpt_curvature_signs(mpt_queue *queue, mpt_curvature kind, const mpt_tensor *outputs,
                               float scale, const mpt_step_state *state, mpt_dropout_key key,
                               const mpt_tensor *u, mpt_error *error) {
  op_check c = OP_CHECK(queue, curvature_signs, error);
  mpt_tensor rows, u_rows;
  mpt_op_require(&c, kind >= MPT_CURVATURE_CROSS_ENTROPY && kind <= MPT_CURVATURE_SQUARED,
                 "there is no curvature %d", (int)kind);
  mpt_op_tensor(&c, "outputs", outputs);
  mpt_op_matrix(&c, "outputs", outputs, &rows);
  mpt_op_tensor(&c, "u", u);
  mpt_op_same_shape(&c, "u", u, outputs);
  mpt_op_matrix(&c, "u", u, &u_rows);
  if (c.status == MPT_OK)
    c.status =
        queue->backend->curvature_signs(queue, kind, &rows, scale, state, key, &u_rows, error);
  return mpt_op_written(&c, MPT_OPERATION_curvature_signs, u);
}

/* ---- optimizers ---- */
mpt_status mpt_gradient_check(mpt_queue *queue, const mpt_tensor *const *gradients, int count,
                              float max_norm, mpt_step_state *state, int64_t *overflows,
                              mpt_error *error) {
  op_scope c = OP_CHECK(queue, gradient_check, error);
  mpt_op_require(&c, gradients != NULL && count >= 1, "there are no gradients");
  mpt_op_require(&c, state != NULL, "state is NULL");
  mpt_op_require(&c, max_norm >= 0, "max_norm is %g, expected at least 0", (double)max_norm);
  for (int i = 0; gradients != NULL && c.status == MPT_OK && i < count; i++)
    mpt_op_contiguous(&c, "a gradient", gradients[i]);
  return c.status != MPT_OK ? c.status
                            : queue->backend->gradient_check(queue, gradients, count, max_norm,
                                                             state, overflows, error);
}

mpt_status mpt_step_begin(mpt_queue *queue, mpt_step_state *state, mpt_scale *scales, int count,
                          mpt_error *error) {
  op_scope c = OP_CHECK(queue, step_begin, error);
  mpt_op_require(&c, state != NULL, "state is NULL");
  mpt_op_require(&c, count == 0 || (count > 0 && scales != NULL), "scales is NULL");
  return c.status != MPT_OK ? c.status
                            : queue->backend->step_begin(queue, state, scales, count, error);
}

/* One of the fp32 tensors of an optimizer, shaped as the weight. */
static void check_parameter(op_check *c, const char *what, mpt_t t, mpt_t weight) {
  mpt_op_contiguous(c, what, t);
  mpt_op_same_shape(c, what, t, weight);
  mpt_op_format(c, what, t, MPT_FP32);
}

mpt_status mpt_sgd_step(mpt_queue *queue, const mpt_tensor *weight, const mpt_tensor *gradient,
                        const mpt_tensor *momentum_buffer, float learning_rate,
                        const float *learning_rate_factor, float momentum, float weight_decay,
                        const mpt_step_state *state, mpt_error *error) {
  op_scope c = OP_CHECK(queue, sgd_step, error);
  mpt_tensor v[3];
  check_parameter(&c, "weight", weight, weight);
  check_parameter(&c, "gradient", gradient, weight);
  if (momentum_buffer != NULL)
    check_parameter(&c, "momentum_buffer", momentum_buffer, weight);
  mpt_op_require(&c, momentum_buffer != NULL || momentum == 0, "momentum needs a buffer");
  mpt_op_require(&c, state != NULL, "state is NULL");
  mpt_op_flatten(&c, 3, (mpt_t[]){weight, gradient, momentum_buffer}, v);
  return c.status != MPT_OK
             ? c.status
             : queue->backend->sgd_step(queue, &v[0], &v[1], momentum_buffer ? &v[2] : NULL,
                                        learning_rate, learning_rate_factor, momentum, weight_decay,
                                        state, error);
}

mpt_status mpt_adam_step(mpt_queue *queue, const mpt_tensor *weight, const mpt_tensor *gradient,
                         const mpt_tensor *first_moment, const mpt_tensor *second_moment,
                         const mpt_adam_args *args, const mpt_step_state *state, mpt_error *error) {
  op_scope c = OP_CHECK(queue, adam_step, error);
  mpt_tensor v[4];
  check_parameter(&c, "weight", weight, weight);
  check_parameter(&c, "gradient", gradient, weight);
  check_parameter(&c, "first_moment", first_moment, weight);
  check_parameter(&c, "second_moment", second_moment, weight);
  mpt_op_require(&c, args != NULL && state != NULL, "the arguments or the state are NULL");
  mpt_op_flatten(&c, 4, (mpt_t[]){weight, gradient, first_moment, second_moment}, v);
  return c.status != MPT_OK
             ? c.status
             : queue->backend->adam_step(queue, &v[0], &v[1], &v[2], &v[3], args, state, error);
}

static void check_copy(op_check *c, const mpt_weight_copy *copy, mpt_t weight) {
  mpt_t rows = copy->tensor, transposed = copy->transposed;
  if (rows != NULL) {
    mpt_op_contiguous(c, "a copy", rows);
    mpt_op_same_shape(c, "a copy", rows, weight);
    mpt_op_apart(c, "a copy", rows, "weight", weight);
  }
  if (transposed != NULL) {
    mpt_op_contiguous(c, "a transposed copy", transposed);
    if (c->status == MPT_OK)
      OP_SHAPE(c, "a transposed copy", transposed, mpt_tensor_count(weight) / weight->shape[0],
               weight->shape[0]);
    mpt_op_apart(c, "a transposed copy", transposed, "weight", weight);
    mpt_op_require(c, c->status != MPT_OK || mpt_format_is_fp8(transposed->format),
                   "a transposed copy is fp8");
    if (rows != NULL)
      mpt_op_format(c, "a transposed copy", transposed, rows->format);
  }
  mpt_op_require(c, copy->scale != NULL || copy->flags == 0, "a copy without a scale has no flags");
}

static void check_adam_parameter(op_check *c, const mpt_adam_parameter *p) {
  check_parameter(c, "weight", p->weight, p->weight);
  check_parameter(c, "gradient", p->gradient, p->weight);
  check_parameter(c, "first_moment", p->first_moment, p->weight);
  check_parameter(c, "second_moment", p->second_moment, p->weight);
  for (int k = 0; k < 2; k++)
    check_copy(c, &p->copies[k], p->weight);
}

mpt_status mpt_adam_steps(mpt_queue *queue, const mpt_adam_parameter *parameters, int count,
                          const mpt_adam_args *args, const mpt_step_state *state,
                          mpt_error *error) {
  op_scope c = OP_CHECK(queue, adam_steps, error);
  mpt_op_require(&c, parameters != NULL && count >= 1, "there are no parameters");
  mpt_op_require(&c, args != NULL && state != NULL, "the arguments or the state are NULL");
  for (int i = 0; parameters != NULL && c.status == MPT_OK && i < count; i++)
    check_adam_parameter(&c, &parameters[i]);
  return c.status != MPT_OK
             ? c.status
             : queue->backend->adam_steps(queue, parameters, count, args, state, error);
}
