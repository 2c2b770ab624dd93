/* Operations of any layer: memory, conversion, statistics, GEMM. Layers are in ops_layers.c, losses
 * and optimizers in ops_training.c. Each checks its arguments and calls the backend. */
#include "policy/legal.h"
#include "runtime/checks.h"

mpt_status mpt_fill(mpt_queue *queue, const mpt_tensor *x, float value, mpt_error *error) {
  op_scope c = OP_CHECK(queue, fill, error);
  mpt_tensor view;
  mpt_op_tensor(&c, "x", x);
  mpt_op_flatten(&c, 1, &x, &view);
  return c.status != MPT_OK ? c.status : queue->backend->fill(queue, &view, value, error);
}

/* The two tensors of x -> y, as matrices. */
static void check_pair(op_check *c, mpt_t x, mpt_t y, mpt_tensor views[2]) {
  mpt_op_tensor(c, "x", x);
  mpt_op_tensor(c, "y", y);
  mpt_op_same_shape(c, "y", y, x);
  mpt_op_flatten(c, 2, (mpt_t[]){x, y}, views);
}

mpt_status mpt_copy(mpt_queue *queue, const mpt_tensor *x, const mpt_tensor *y, mpt_error *error) {
  op_scope c = OP_CHECK(queue, copy, error);
  mpt_tensor v[2];
  check_pair(&c, x, y, v);
  if (c.status == MPT_OK)
    c.status = queue->backend->copy(queue, &v[0], &v[1], error);
  return mpt_op_written(&c, MPT_OPERATION_copy, y);
}

mpt_status mpt_accumulate_tensor(mpt_queue *queue, const mpt_tensor *x, const mpt_tensor *y,
                                 mpt_error *error) {
  op_scope c = OP_CHECK(queue, accumulate_tensor, error);
  mpt_tensor v[2];
  check_pair(&c, x, y, v);
  if (c.status == MPT_OK)
    c.status = queue->backend->accumulate_tensor(queue, &v[0], &v[1], error);
  return mpt_op_written(&c, MPT_OPERATION_accumulate_tensor, y);
}

mpt_status mpt_add(mpt_queue *queue, const mpt_tensor *a, const mpt_tensor *b,
                   const mpt_tensor *out, mpt_error *error) {
  op_scope c = OP_CHECK(queue, add, error);
  mpt_tensor v[3];
  mpt_op_tensor(&c, "a", a);
  mpt_op_tensor(&c, "b", b);
  mpt_op_tensor(&c, "out", out);
  mpt_op_same_shape(&c, "b", b, a);
  mpt_op_same_shape(&c, "out", out, a);
  mpt_op_flatten(&c, 3, (mpt_t[]){a, b, out}, v);
  if (c.status == MPT_OK)
    c.status = queue->backend->add(queue, &v[0], &v[1], &v[2], error);
  return mpt_op_written(&c, MPT_OPERATION_add, out);
}

static void check_exponent(op_check *c, int exponent) {
  mpt_op_require(c, exponent >= -126 && exponent <= 126,
                 "the scale exponent is %d, expected -126 to 126", exponent);
}

mpt_status mpt_cast(mpt_queue *queue, const mpt_tensor *x, int scale_exponent, const mpt_tensor *y,
                    mpt_cast_counts *counts, mpt_error *error) {
  op_scope c = OP_CHECK(queue, cast, error);
  mpt_tensor v[2];
  check_pair(&c, x, y, v);
  check_exponent(&c, scale_exponent);
  if (c.status == MPT_OK)
    c.status = queue->backend->cast(queue, &v[0], scale_exponent, &v[1], counts, error);
  return mpt_op_written(&c, MPT_OPERATION_cast, y);
}

mpt_status mpt_scale_measure(mpt_queue *queue, const mpt_tensor *x, mpt_scale *scale,
                             mpt_error *error) {
  op_scope c = OP_CHECK(queue, scale_measure, error);
  mpt_tensor view;
  mpt_op_tensor(&c, "x", x);
  mpt_op_require(&c, scale != NULL, "scale is NULL");
  mpt_op_flatten(&c, 1, &x, &view);
  return c.status != MPT_OK ? c.status : queue->backend->scale_measure(queue, &view, scale, error);
}

mpt_status mpt_scale_from_lite(mpt_queue *queue, const mpt_lite *lite, mpt_scale *scale,
                               mpt_error *error) {
  op_scope c = OP_CHECK(queue, scale_from_lite, error);
  mpt_op_require(&c, lite != NULL, "lite is NULL");
  mpt_op_require(&c, scale != NULL, "scale is NULL");
  return c.status != MPT_OK ? c.status : queue->backend->scale_from_lite(queue, lite, scale, error);
}

mpt_status mpt_quantize(mpt_queue *queue, const mpt_tensor *x, mpt_scale *scale, unsigned flags,
                        const mpt_tensor *y, const mpt_tensor *y_transposed, mpt_error *error) {
  op_scope c = OP_CHECK(queue, quantize, error);
  mpt_op_tensor(&c, "x", x);
  mpt_op_rank(&c, "x", x, 2);
  mpt_op_require(&c, scale != NULL, "scale is NULL");
  mpt_op_require(&c, y != NULL || y_transposed != NULL, "there is nothing to write");
  if (y != NULL) {
    mpt_op_tensor(&c, "y", y);
    mpt_op_same_shape(&c, "y", y, x);
    mpt_op_apart(&c, "y", y, "x", x);
  }
  if (y_transposed != NULL) {
    mpt_op_tensor(&c, "y_transposed", y_transposed);
    if (c.status == MPT_OK)
      OP_SHAPE(&c, "y_transposed", y_transposed, x->shape[1], x->shape[0]);
    mpt_op_apart(&c, "y_transposed", y_transposed, "x", x);
    if (y != NULL)
      mpt_op_format(&c, "y_transposed", y_transposed, y->format);
  }
  return c.status != MPT_OK
             ? c.status
             : queue->backend->quantize(queue, x, scale, flags, y, y_transposed, error);
}

mpt_status mpt_merge_statistics(mpt_queue *queue, mpt_statistics *into, mpt_statistics *from,
                                mpt_error *error) {
  op_scope c = OP_CHECK(queue, merge_statistics, error);
  mpt_op_require(&c, into != NULL && from != NULL, "statistics are NULL");
  return c.status != MPT_OK ? c.status : queue->backend->merge_statistics(queue, into, from, error);
}

mpt_status mpt_amax(mpt_queue *queue, const mpt_tensor *x, uint32_t *amax_bits, mpt_error *error) {
  op_scope c = OP_CHECK(queue, amax, error);
  mpt_tensor view;
  mpt_op_tensor(&c, "x", x);
  mpt_op_require(&c, amax_bits != NULL, "amax_bits is NULL");
  mpt_op_flatten(&c, 1, &x, &view);
  return c.status != MPT_OK ? c.status : queue->backend->amax(queue, &view, amax_bits, error);
}

mpt_status mpt_collect(mpt_queue *queue, const mpt_tensor *x, bool full, mpt_statistics *statistics,
                       mpt_error *error) {
  op_scope c = OP_CHECK(queue, collect, error);
  mpt_tensor view;
  mpt_op_tensor(&c, "x", x);
  mpt_op_require(&c, statistics != NULL, "statistics is NULL");
  mpt_op_flatten(&c, 1, &x, &view);
  return c.status != MPT_OK ? c.status
                            : queue->backend->collect(queue, &view, full, statistics, error);
}

mpt_status mpt_collect_all(mpt_queue *queue, const mpt_collection *collections, int count,
                           mpt_error *error) {
  op_scope c = OP_CHECK(queue, collect_all, error);
  mpt_op_require(&c, collections != NULL && count >= 1, "there are no tensors");
  for (int i = 0; collections != NULL && c.status == MPT_OK && i < count; i++) {
    mpt_op_contiguous(&c, "x", collections[i].x);
    mpt_op_require(&c, (collections[i].lite == NULL) != (collections[i].full == NULL),
                   "one of lite and full is expected");
    mpt_op_require(&c, (collections[i].lite == NULL) == (collections[0].lite == NULL),
                   "tensors of both kinds");
  }
  return c.status != MPT_OK ? c.status
                            : queue->backend->collect_all(queue, collections, count, error);
}

mpt_status mpt_quantization_error(mpt_queue *queue, const mpt_tensor *x, mpt_format format,
                                  int scale_exponent, double *error_squared, double *signal_squared,
                                  mpt_error *error) {
  op_scope c = OP_CHECK(queue, quantization_error, error);
  mpt_tensor view;
  mpt_op_tensor(&c, "x", x);
  mpt_op_require(&c, (unsigned)format < MPT_FORMAT_COUNT, "the format is unknown");
  mpt_op_require(&c, error_squared != NULL && signal_squared != NULL, "an output is NULL");
  check_exponent(&c, scale_exponent);
  mpt_op_flatten(&c, 1, &x, &view);
  return c.status != MPT_OK
             ? c.status
             : queue->backend->quantization_error(queue, &view, format, scale_exponent,
                                                  error_squared, signal_squared, error);
}

static void check_operand_formats(op_check *c, mpt_format a, mpt_format b) {
  if (c->status != MPT_OK)
    return;
  mpt_op_require(
      c, mpt_policy_operands_multiply((mpt_format[2]){a, b}),
      "the operands are %s and %s, expected two of one format, or two of fp8 and not both "
      "fp8_e5m2",
      mpt_format_get(a)->name, mpt_format_get(b)->name);
}

mpt_status mpt_compare(mpt_queue *queue, const mpt_tensor *x, const mpt_tensor *y,
                       const mpt_tensor *gradient, mpt_comparison *result, mpt_error *error) {
  op_scope c = OP_CHECK(queue, compare, error);
  mpt_op_tensor(&c, "x", x);
  mpt_op_rank(&c, "x", x, 2);
  mpt_op_tensor(&c, "y", y);
  mpt_op_same_shape(&c, "y", y, x);
  if (gradient != NULL) {
    mpt_op_tensor(&c, "gradient", gradient);
    mpt_op_same_shape(&c, "gradient", gradient, x);
  }
  mpt_op_require(&c, result != NULL, "result is NULL");
  return c.status != MPT_OK ? c.status
                            : queue->backend->compare(queue, x, y, gradient, result, error);
}

bool mpt_gemm_wants_rows_of_k(const mpt_queue *queue) {
  return queue->backend->gemm_wants_rows_of_k;
}

mpt_status mpt_gemm(mpt_queue *queue, const mpt_gemm_args *args, mpt_error *error) {
  op_scope c = OP_CHECK(queue, gemm, error);
  mpt_op_require(&c, args != NULL, "the arguments are NULL");
  if (args == NULL || c.status != MPT_OK)
    return c.status;
  mpt_t a = args->a, b = args->b, out = args->out;
  mpt_op_tensor(&c, "a", a);
  mpt_op_tensor(&c, "b", b);
  mpt_op_tensor(&c, "out", out);
  mpt_op_rank(&c, "a", a, 2);
  mpt_op_rank(&c, "b", b, 2);
  if (c.status != MPT_OK)
    return c.status;
  int64_t m = a->shape[args->transpose_a], k = a->shape[!args->transpose_a];
  int64_t n = b->shape[!args->transpose_b];
  OP_SHAPE(&c, "b", b, args->transpose_b ? n : k, args->transpose_b ? k : n);
  OP_SHAPE(&c, "out", out, m, n);
  if (args->bias != NULL) {
    mpt_op_tensor(&c, "bias", args->bias);
    OP_SHAPE(&c, "bias", args->bias, n);
  }
  mpt_op_require(&c, m <= INT32_MAX && n <= INT32_MAX && k <= INT32_MAX,
                 "a dimension is beyond 2^31");
  check_operand_formats(&c, a->format, b->format);
  mpt_op_apart(&c, "out", out, "a", a);
  mpt_op_apart(&c, "out", out, "b", b);
  if (c.status == MPT_OK)
    c.status = queue->backend->gemm(queue, args, error);
  return mpt_op_written(&c, MPT_OPERATION_gemm, out);
}

mpt_status mpt_bias_backward(mpt_queue *queue, const mpt_tensor *grad, const mpt_tensor *grad_bias,
                             bool accumulate, mpt_error *error) {
  op_scope c = OP_CHECK(queue, bias_backward, error);
  mpt_tensor view;
  mpt_op_tensor(&c, "grad", grad);
  mpt_op_tensor(&c, "grad_bias", grad_bias);
  mpt_op_matrix(&c, "grad", grad, &view);
  if (c.status == MPT_OK)
    OP_SHAPE(&c, "grad_bias", grad_bias, view.shape[1]);
  mpt_op_format(&c, "grad_bias", grad_bias, MPT_FP32);
  return c.status != MPT_OK
             ? c.status
             : queue->backend->bias_backward(queue, &view, grad_bias, accumulate, error);
}

mpt_status mpt_gemm_time(mpt_queue *queue, const mpt_gemm_shape *product, double *seconds,
                         mpt_error *error) {
  op_scope c = OP_CHECK(queue, gemm_time, error);
  mpt_op_require(&c, product != NULL && product->m >= 1 && product->n >= 1 && product->k >= 1,
                 "a product without a size");
  mpt_op_require(&c, seconds != NULL, "seconds is NULL");
  return c.status != MPT_OK ? c.status : queue->backend->gemm_time(queue, product, seconds, error);
}
