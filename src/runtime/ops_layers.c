/* Operations of layers without a product of their own, and attention. */
#include "runtime/checks.h"

/* ---- embedding ---- */
static void check_embedding(op_check *c, const int32_t *ids, const char *y_name, mpt_t y,
                            const char *table_name, mpt_t table, const char *position_name,
                            mpt_t position, mpt_tensor *rows) {
  mpt_op_require(c, ids != NULL, "ids is NULL");
  mpt_op_tensor(c, y_name, y);
  mpt_op_tensor(c, table_name, table);
  mpt_op_rank(c, table_name, table, 2);
  mpt_op_matrix(c, y_name, y, rows);
  if (c->status == MPT_OK)
    OP_SHAPE(c, table_name, table, table->shape[0], rows->shape[1]);
  if (c->status != MPT_OK || position == NULL)
    return;
  mpt_op_tensor(c, position_name, position);
  mpt_op_rank(c, position_name, position, 2);
  if (c->status != MPT_OK)
    return;
  OP_SHAPE(c, position_name, position, position->shape[0], rows->shape[1]);
  mpt_op_require(c, rows->shape[0] % position->shape[0] == 0,
                 "%s has %lld rows, which is no multiple of the %lld of %s", y_name,
                 (long long)rows->shape[0], (long long)position->shape[0], position_name);
}

mpt_status mpt_embedding_forward(mpt_queue *queue, const int32_t *ids, const mpt_tensor *table,
                                 const mpt_tensor *position, const mpt_tensor *y,
                                 mpt_error *error) {
  op_scope c = OP_CHECK(queue, embedding_forward, error);
  mpt_tensor rows;
  check_embedding(&c, ids, "y", y, "table", table, "position", position, &rows);
  if (c.status == MPT_OK)
    c.status = queue->backend->embedding_forward(queue, ids, table, position, &rows, error);
  return mpt_op_written(&c, MPT_OPERATION_embedding_forward, y);
}

mpt_status mpt_embedding_backward(mpt_queue *queue, const int32_t *ids, const mpt_tensor *grad_y,
                                  const mpt_tensor *grad_table, const mpt_tensor *grad_position,
                                  mpt_error *error) {
  op_scope c = OP_CHECK(queue, embedding_backward, error);
  mpt_tensor rows;
  check_embedding(&c, ids, "grad_y", grad_y, "grad_table", grad_table, "grad_position",
                  grad_position, &rows);
  mpt_op_format(&c, "grad_table", grad_table, MPT_FP32);
  if (grad_position != NULL)
    mpt_op_format(&c, "grad_position", grad_position, MPT_FP32);
  return c.status != MPT_OK ? c.status
                            : queue->backend->embedding_backward(queue, ids, &rows, grad_table,
                                                                 grad_position, error);
}

/* ---- layernorm ---- */
/* An fp32 vector of that length. */
static void check_vector(op_check *c, const char *what, mpt_t t, int64_t length) {
  mpt_op_contiguous(c, what, t);
  if (c->status == MPT_OK && mpt_tensor_count(t) != length)
    OP_SHAPE(c, what, t, length);
  mpt_op_format(c, what, t, MPT_FP32);
}

mpt_status mpt_layernorm_forward(mpt_queue *queue, const mpt_tensor *x, const mpt_tensor *gamma,
                                 const mpt_tensor *beta, float epsilon, const mpt_tensor *y,
                                 const mpt_tensor *mean, const mpt_tensor *rstd, mpt_error *error) {
  op_scope c = OP_CHECK(queue, layernorm_forward, error);
  mpt_tensor x_rows, y_rows;
  mpt_op_tensor(&c, "x", x);
  mpt_op_tensor(&c, "y", y);
  mpt_op_same_shape(&c, "y", y, x);
  mpt_op_matrix(&c, "x", x, &x_rows);
  mpt_op_matrix(&c, "y", y, &y_rows);
  if (c.status != MPT_OK)
    return c.status;
  check_vector(&c, "gamma", gamma, x_rows.shape[1]);
  check_vector(&c, "beta", beta, x_rows.shape[1]);
  check_vector(&c, "mean", mean, x_rows.shape[0]);
  check_vector(&c, "rstd", rstd, x_rows.shape[0]);
  mpt_op_require(&c, epsilon >= 0, "epsilon is %g, expected at least 0", (double)epsilon);
  mpt_op_apart(&c, "y", y, "x", x);
  if (c.status == MPT_OK)
    c.status = queue->backend->layernorm_forward(queue, &x_rows, gamma, beta, epsilon, &y_rows,
                                                 mean, rstd, error);
  return mpt_op_written(&c, MPT_OPERATION_layernorm_forward, y);
}

mpt_status mpt_layernorm_backward(mpt_queue *queue, const mpt_tensor *grad_y, const mpt_tensor *x,
                                  const mpt_tensor *gamma, const mpt_tensor *mean,
                                  const mpt_tensor *rstd, const mpt_tensor *grad_x, bool accumulate,
                                  const mpt_tensor *grad_gamma, const mpt_tensor *grad_beta,
                                  mpt_error *error) {
  op_scope c = OP_CHECK(queue, layernorm_backward, error);
  mpt_tensor g_rows, x_rows, gx_rows;
  mpt_op_tensor(&c, "grad_y", grad_y);
  mpt_op_tensor(&c, "x", x);
  mpt_op_tensor(&c, "grad_x", grad_x);
  mpt_op_same_shape(&c, "grad_y", grad_y, x);
  mpt_op_same_shape(&c, "grad_x", grad_x, x);
  mpt_op_matrix(&c, "grad_y", grad_y, &g_rows);
  mpt_op_matrix(&c, "x", x, &x_rows);
  mpt_op_matrix(&c, "grad_x", grad_x, &gx_rows);
  if (c.status != MPT_OK)
    return c.status;
  check_vector(&c, "gamma", gamma, x_rows.shape[1]);
  check_vector(&c, "mean", mean, x_rows.shape[0]);
  check_vector(&c, "rstd", rstd, x_rows.shape[0]);
  check_vector(&c, "grad_gamma", grad_gamma, x_rows.shape[1]);
  check_vector(&c, "grad_beta", grad_beta, x_rows.shape[1]);
  mpt_op_apart(&c, "grad_x", grad_x, "x", x);
  mpt_op_apart(&c, "grad_x", grad_x, "grad_y", grad_y);
  if (c.status == MPT_OK)
    c.status =
        queue->backend->layernorm_backward(queue, &g_rows, &x_rows, gamma, mean, rstd, &gx_rows,
                                           accumulate, grad_gamma, grad_beta, error);
  return mpt_op_written(&c, MPT_OPERATION_layernorm_backward, grad_x);
}

/* ---- activation, softmax, dropout ---- */
static void check_activation(op_check *c, mpt_activation kind) {
  mpt_op_require(c, (unsigned)kind <= MPT_GELU, "the activation %d is unknown", (int)kind);
}

mpt_status mpt_activation_forward(mpt_queue *queue, mpt_activation kind, const mpt_tensor *x,
                                  const mpt_tensor *y, mpt_error *error) {
  op_scope c = OP_CHECK(queue, activation_forward, error);
  mpt_tensor v[2];
  check_activation(&c, kind);
  mpt_op_tensor(&c, "x", x);
  mpt_op_tensor(&c, "y", y);
  mpt_op_same_shape(&c, "y", y, x);
  mpt_op_flatten(&c, 2, (mpt_t[]){x, y}, v);
  if (c.status == MPT_OK)
    c.status = queue->backend->activation_forward(queue, kind, &v[0], &v[1], error);
  return mpt_op_written(&c, MPT_OPERATION_activation_forward, y);
}

mpt_status mpt_activation_backward(mpt_queue *queue, mpt_activation kind, const mpt_tensor *x,
                                   const mpt_tensor *y, const mpt_tensor *grad_y,
                                   const mpt_tensor *grad_x, mpt_error *error) {
  op_scope c = OP_CHECK(queue, activation_backward, error);
  mpt_tensor v[4];
  check_activation(&c, kind);
  mpt_op_tensor(&c, "x", x);
  mpt_op_tensor(&c, "y", y);
  mpt_op_tensor(&c, "grad_y", grad_y);
  mpt_op_tensor(&c, "grad_x", grad_x);
  mpt_op_same_shape(&c, "y", y, x);
  mpt_op_same_shape(&c, "grad_y", grad_y, x);
  mpt_op_same_shape(&c, "grad_x", grad_x, x);
  mpt_op_flatten(&c, 4, (mpt_t[]){x, y, grad_y, grad_x}, v);
  if (c.status == MPT_OK)
    c.status = queue->backend->activation_backward(queue, kind, &v[0], &v[1], &v[2], &v[3], error);
  return mpt_op_written(&c, MPT_OPERATION_activation_backward, grad_x);
}

mpt_status mpt_softmax_forward(mpt_queue *queue, const mpt_tensor *x, const mpt_tensor *y,
                               mpt_error *error) {
  op_scope c = OP_CHECK(queue, softmax_forward, error);
  mpt_tensor x_rows, y_rows;
  mpt_op_tensor(&c, "x", x);
  mpt_op_tensor(&c, "y", y);
  mpt_op_same_shape(&c, "y", y, x);
  mpt_op_matrix(&c, "x", x, &x_rows);
  mpt_op_matrix(&c, "y", y, &y_rows);
  mpt_op_apart(&c, "y", y, "x", x);
  if (c.status == MPT_OK)
    c.status = queue->backend->softmax_forward(queue, &x_rows, &y_rows, error);
  return mpt_op_written(&c, MPT_OPERATION_softmax_forward, y);
}

mpt_status mpt_softmax_backward(mpt_queue *queue, const mpt_tensor *y, const mpt_tensor *grad_y,
                                const mpt_tensor *grad_x, mpt_error *error) {
  op_scope c = OP_CHECK(queue, softmax_backward, error);
  mpt_tensor y_rows, g_rows, gx_rows;
  mpt_op_tensor(&c, "y", y);
  mpt_op_tensor(&c, "grad_y", grad_y);
  mpt_op_tensor(&c, "grad_x", grad_x);
  mpt_op_same_shape(&c, "grad_y", grad_y, y);
  mpt_op_same_shape(&c, "grad_x", grad_x, y);
  mpt_op_matrix(&c, "y", y, &y_rows);
  mpt_op_matrix(&c, "grad_y", grad_y, &g_rows);
  mpt_op_matrix(&c, "grad_x", grad_x, &gx_rows);
  mpt_op_apart(&c, "grad_x", grad_x, "y", y);
  mpt_op_apart(&c, "grad_x", grad_x, "grad_y", grad_y);
  if (c.status == MPT_OK)
    c.status = queue->backend->softmax_backward(queue, &y_rows, &g_rows, &gx_rows, error);
  return mpt_op_written(&c, MPT_OPERATION_softmax_backward, grad_x);
}

mpt_status mpt_dropout(mpt_queue *queue, const mpt_tensor *x, float probability,
                       mpt_dropout_key key, const mpt_tensor *y, mpt_error *error) {
  op_scope c = OP_CHECK(queue, dropout, error);
  mpt_tensor v[2];
  mpt_op_tensor(&c, "x", x);
  mpt_op_tensor(&c, "y", y);
  mpt_op_same_shape(&c, "y", y, x);
  mpt_op_require(&c, probability >= 0 && probability < 1,
                 "the probability is %g, expected at least 0 and below 1", (double)probability);
  mpt_op_flatten(&c, 2, (mpt_t[]){x, y}, v);
  if (c.status == MPT_OK)
    c.status = queue->backend->dropout(queue, &v[0], probability, key, &v[1], error);
  return mpt_op_written(&c, MPT_OPERATION_dropout, y);
}

/* ---- attention ---- */
static void check_attention(op_check *c, const mpt_attention_args *args) {
  mpt_op_require(c, args != NULL, "the arguments are NULL");
  if (args == NULL || c->status != MPT_OK)
    return;
  mpt_t q = args->query;
  mpt_op_tensor(c, "query", q);
  mpt_op_rank(c, "query", q, 3);
  mpt_op_tensor(c, "key", args->key);
  mpt_op_tensor(c, "value", args->value);
  mpt_op_tensor(c, "y", args->y);
  mpt_op_contiguous(c, "lse", args->lse);
  mpt_op_same_shape(c, "key", args->key, q);
  mpt_op_same_shape(c, "value", args->value, q);
  mpt_op_same_shape(c, "y", args->y, q);
  mpt_op_format(c, "lse", args->lse, MPT_FP32);
  if (c->status != MPT_OK)
    return;
  mpt_op_require(c, args->heads >= 1 && q->shape[2] % args->heads == 0,
                 "%lld channels do not divide into %d heads", (long long)q->shape[2], args->heads);
  OP_SHAPE(c, "lse", args->lse, q->shape[0], args->heads, q->shape[1]);
  mpt_op_require(c, (unsigned)args->format <= MPT_FP16,
                 "the format of the products is fp8 or unknown, expected fp32, tf32, bf16 or fp16");
  mpt_op_require(c, q->shape[1] <= INT32_MAX && q->shape[2] <= INT32_MAX,
                 "a dimension is beyond 2^31");
}

mpt_status mpt_attention_forward(mpt_queue *queue, const mpt_attention_args *args,
                                 mpt_error *error) {
  op_scope c = OP_CHECK(queue, attention_forward, error);
  check_attention(&c, args);
  if (c.status != MPT_OK)
    return c.status;
  c.status = queue->backend->attention_forward(queue, args, error);
  return mpt_op_written(&c, MPT_OPERATION_attention_forward, args->y);
}

mpt_status mpt_attention_backward(mpt_queue *queue, const mpt_attention_args *args,
                                  const mpt_tensor *grad_y, const mpt_tensor *grad_query,
                                  const mpt_tensor *grad_key, const mpt_tensor *grad_value,
                                  mpt_error *error) {
  op_scope c = OP_CHECK(queue, attention_backward, error);
  check_attention(&c, args);
  mpt_op_tensor(&c, "grad_y", grad_y);
  mpt_op_tensor(&c, "grad_query", grad_query);
  mpt_op_tensor(&c, "grad_key", grad_key);
  mpt_op_tensor(&c, "grad_value", grad_value);
  if (c.status != MPT_OK)
    return c.status;
  mpt_op_same_shape(&c, "grad_y", grad_y, args->query);
  mpt_op_same_shape(&c, "grad_query", grad_query, args->query);
  mpt_op_same_shape(&c, "grad_key", grad_key, args->query);
  mpt_op_same_shape(&c, "grad_value", grad_value, args->query);
  if (c.status == MPT_OK)
    c.status = queue->backend->attention_backward(queue, args, grad_y, grad_query, grad_key,
                                                  grad_value, error);
  (void)mpt_op_written(&c, MPT_OPERATION_attention_backward, grad_query);
  (void)mpt_op_written(&c, MPT_OPERATION_attention_backward, grad_key);
  return mpt_op_written(&c, MPT_OPERATION_attention_backward, grad_value);
}
