/* Operations of convolution and pooling. Images are contiguous [B, C, H, W]. */
#include "runtime/checks.h"

static void check_image(op_check *c, const char *what, mpt_t t) {
  mpt_op_contiguous(c, what, t);
  mpt_op_rank(c, what, t, 4);
}

static void check_window(op_check *c, mpt_window w, mpt_t image, int64_t *height, int64_t *width) {
  mpt_op_require(c, w.kernel_height >= 1 && w.kernel_width >= 1 && w.stride >= 1 && w.padding >= 0,
                 "the window is %d x %d, stride %d, padding %d: sizes and stride are at least 1, "
                 "padding at least 0",
                 w.kernel_height, w.kernel_width, w.stride, w.padding);
  if (c->status != MPT_OK)
    return;
  int64_t tall = image->shape[2] + 2 * (int64_t)w.padding - w.kernel_height;
  int64_t wide = image->shape[3] + 2 * (int64_t)w.padding - w.kernel_width;
  if (tall < 0 || wide < 0)
    c->status =
        mpt_fail(c->error, MPT_ERROR_SHAPE,
                 "%s: a window of %d x %d is larger than an image of %lld x %lld with padding %d",
                 c->name, w.kernel_height, w.kernel_width, (long long)image->shape[2],
                 (long long)image->shape[3], w.padding);
  *height = tall / w.stride + 1;
  *width = wide / w.stride + 1;
}

static void check_columns(op_check *c, mpt_t columns, mpt_window w, const char *what, mpt_t image) {
  int64_t height, width;
  check_image(c, what, image);
  mpt_op_contiguous(c, "columns", columns);
  check_window(c, w, image, &height, &width);
  if (c->status != MPT_OK)
    return;
  OP_SHAPE(c, "columns", columns, image->shape[0] * height * width,
           image->shape[1] * w.kernel_height * w.kernel_width);
}

mpt_status mpt_im2col(mpt_queue *queue, const mpt_tensor *x, mpt_window window,
                      const mpt_tensor *columns, mpt_error *error) {
  op_scope c = OP_CHECK(queue, im2col, error);
  check_columns(&c, columns, window, "x", x);
  mpt_op_apart(&c, "columns", columns, "x", x);
  if (c.status == MPT_OK)
    c.status = queue->backend->im2col(queue, x, window, columns, error);
  return mpt_op_written(&c, MPT_OPERATION_im2col, columns);
}

mpt_status mpt_col2im(mpt_queue *queue, const mpt_tensor *columns, mpt_window window,
                      const mpt_tensor *grad_x, mpt_error *error) {
  op_scope c = OP_CHECK(queue, col2im, error);
  check_columns(&c, columns, window, "grad_x", grad_x);
  mpt_op_apart(&c, "grad_x", grad_x, "columns", columns);
  if (c.status == MPT_OK)
    c.status = queue->backend->col2im(queue, columns, window, grad_x, error);
  return mpt_op_written(&c, MPT_OPERATION_col2im, grad_x);
}

static void check_rows(op_check *c, mpt_t rows, mpt_t image) {
  mpt_op_contiguous(c, "rows", rows);
  check_image(c, "image", image);
  if (c->status == MPT_OK)
    OP_SHAPE(c, "rows", rows, image->shape[0] * image->shape[2] * image->shape[3], image->shape[1]);
}

mpt_status mpt_rows_to_image(mpt_queue *queue, const mpt_tensor *rows, const mpt_tensor *image,
                             mpt_error *error) {
  op_scope c = OP_CHECK(queue, rows_to_image, error);
  check_rows(&c, rows, image);
  mpt_op_apart(&c, "image", image, "rows", rows);
  if (c.status == MPT_OK)
    c.status = queue->backend->rows_to_image(queue, rows, image, error);
  return mpt_op_written(&c, MPT_OPERATION_rows_to_image, image);
}

mpt_status mpt_image_to_rows(mpt_queue *queue, const mpt_tensor *image, const mpt_tensor *rows,
                             mpt_error *error) {
  op_scope c = OP_CHECK(queue, image_to_rows, error);
  check_rows(&c, rows, image);
  mpt_op_apart(&c, "rows", rows, "image", image);
  if (c.status == MPT_OK)
    c.status = queue->backend->image_to_rows(queue, image, rows, error);
  return mpt_op_written(&c, MPT_OPERATION_image_to_rows, rows);
}

/* A window that saw padding alone would have no largest value and no average. */
static void check_pool(op_check *c, mpt_pooling kind, mpt_t x, mpt_window w, const char *out_name,
                       mpt_t out) {
  int64_t height, width;
  mpt_op_require(c, (unsigned)kind <= MPT_POOL_AVERAGE, "the pooling %d is unknown", (int)kind);
  check_image(c, "x", x);
  check_image(c, out_name, out);
  check_window(c, w, x, &height, &width);
  if (c->status != MPT_OK)
    return;
  mpt_op_require(c, w.padding < w.kernel_height && w.padding < w.kernel_width,
                 "padding %d is as large as the window, %d x %d", w.padding, w.kernel_height,
                 w.kernel_width);
  mpt_op_require(c, x->shape[2] * x->shape[3] <= INT32_MAX, "an image has more than 2^31 pixels");
  OP_SHAPE(c, out_name, out, x->shape[0], x->shape[1], height, width);
}

mpt_status mpt_pool_forward(mpt_queue *queue, mpt_pooling kind, const mpt_tensor *x,
                            mpt_window window, const mpt_tensor *y, mpt_error *error) {
  op_scope c = OP_CHECK(queue, pool_forward, error);
  check_pool(&c, kind, x, window, "y", y);
  mpt_op_apart(&c, "y", y, "x", x);
  if (c.status == MPT_OK)
    c.status = queue->backend->pool_forward(queue, kind, x, window, y, error);
  return mpt_op_written(&c, MPT_OPERATION_pool_forward, y);
}

mpt_status mpt_pool_backward(mpt_queue *queue, mpt_pooling kind, const mpt_tensor *x,
                             mpt_window window, const mpt_tensor *grad_y, const mpt_tensor *grad_x,
                             mpt_error *error) {
  op_scope c = OP_CHECK(queue, pool_backward, error);
  check_pool(&c, kind, x, window, "grad_y", grad_y);
  mpt_op_contiguous(&c, "grad_x", grad_x);
  mpt_op_same_shape(&c, "grad_x", grad_x, x);
  mpt_op_apart(&c, "grad_x", grad_x, "x", x);
  mpt_op_apart(&c, "grad_x", grad_x, "grad_y", grad_y);
  if (c.status == MPT_OK)
    c.status = queue->backend->pool_backward(queue, kind, x, window, grad_y, grad_x, error);
  return mpt_op_written(&c, MPT_OPERATION_pool_backward, grad_x);
}
