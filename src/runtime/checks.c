#include "runtime/checks.h"
#include "base/shape_text.h"
#include <stdarg.h>
#include <stdio.h>

op_check mpt_op_check_begin(mpt_queue *queue, const char *name, bool has_slot, mpt_error *error) {
  op_check c = {.queue = queue, .name = name, .error = error, .status = MPT_OK};
  if (queue == NULL)
    c.status = mpt_fail(error, MPT_ERROR_ARGUMENT, "%s: the queue is NULL", name);
  else if (!has_slot)
    c.status = mpt_fail(error, MPT_ERROR_UNSUPPORTED, "the %s backend does not support %s",
                        queue->backend->name, name);
  else if (queue->backend->enter != NULL) {
    c.entered = queue->backend->enter(queue->context);
    c.inside = true;
  }
  return c;
}

void mpt_op_check_end(op_check *c) {
  if (c->inside)
    c->queue->backend->leave(c->queue->context, c->entered);
}

void mpt_op_require(op_check *c, bool good, const char *format, ...) {
  if (c->status != MPT_OK || good)
    return;
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  c->status = mpt_fail(c->error, MPT_ERROR_ARGUMENT, "%s: %s", c->name, text);
}

static void fail_shape(op_check *c, const char *what, mpt_t t, const char *expected) {
  c->status = mpt_fail(c->error, MPT_ERROR_SHAPE, "%s: %s has shape %s, expected %s", c->name, what,
                       mpt_shape_print(NULL, t->rank, t->shape).text, expected);
}

static bool countable(mpt_t t) {
  int64_t count = 1;
  for (int i = 0; i < t->rank; i++)
    if (__builtin_mul_overflow(count, t->shape[i], &count))
      return false;
  return count < INT64_MAX / 8;
}

void mpt_op_tensor(op_check *c, const char *what, mpt_t t) {
  if (c->status != MPT_OK)
    return;
  if (t == NULL || t->data == NULL) {
    mpt_op_require(c, false, "%s is NULL", what);
    return;
  }
  mpt_op_require(c, t->rank >= 1 && t->rank <= MPT_MAX_RANK, "%s has rank %d, expected 1 to %d",
                 what, t->rank, MPT_MAX_RANK);
  mpt_op_require(c, (unsigned)t->format < MPT_FORMAT_COUNT, "%s is of an unknown format", what);
  mpt_device device = c->queue->device;
  mpt_op_require(c, t->device.kind == device.kind && t->device.index == device.index,
                 "%s is on another device than the queue", what);
  if (c->status != MPT_OK)
    return;
  for (int i = 0; i < t->rank; i++)
    if (t->shape[i] < 1) {
      c->status = mpt_fail(c->error, MPT_ERROR_SHAPE, "%s: %s is empty: its shape is %s", c->name,
                           what, mpt_shape_print(NULL, t->rank, t->shape).text);
      return;
    }
  if (!countable(t))
    fail_shape(c, what, t, "fewer elements");
  mpt_op_require(c, t->shape[t->rank - 1] == 1 || t->strides[t->rank - 1] == 1,
                 "the rows of %s are not contiguous", what);
}

bool mpt_op_is_contiguous(mpt_t t) {
  int64_t stride = 1;
  for (int i = t->rank - 1; i >= 0; i--) {
    if (t->shape[i] != 1 && t->strides[i] != stride)
      return false;
    stride *= t->shape[i];
  }
  return true;
}

void mpt_op_contiguous(op_check *c, const char *what, mpt_t t) {
  mpt_op_tensor(c, what, t);
  if (c->status == MPT_OK)
    mpt_op_require(c, mpt_op_is_contiguous(t), "%s is a strided view, expected contiguous memory",
                   what);
}

void mpt_op_format(op_check *c, const char *what, mpt_t t, mpt_format format) {
  if (c->status == MPT_OK)
    mpt_op_require(c, t->format == format, "%s is %s, expected %s", what,
                   mpt_format_get(t->format)->name, mpt_format_get(format)->name);
}

void mpt_op_shape(op_check *c, const char *what, mpt_t t, int rank, const int64_t *shape) {
  if (c->status != MPT_OK)
    return;
  bool same = t->rank == rank;
  for (int i = 0; same && i < rank; i++)
    same = t->shape[i] == shape[i];
  if (!same)
    fail_shape(c, what, t, mpt_shape_print(NULL, rank, shape).text);
}

void mpt_op_same_shape(op_check *c, const char *what, mpt_t t, mpt_t other) {
  if (c->status == MPT_OK)
    mpt_op_shape(c, what, t, other->rank, other->shape);
}

void mpt_op_rank(op_check *c, const char *what, mpt_t t, int rank) {
  if (c->status == MPT_OK && t->rank != rank) {
    char expected[32];
    snprintf(expected, sizeof expected, "rank %d", rank);
    fail_shape(c, what, t, expected);
  }
}

void mpt_op_apart(op_check *c, const char *output, mpt_t y, const char *input, mpt_t x) {
  if (c->status != MPT_OK || !mpt_op_is_contiguous(y) || !mpt_op_is_contiguous(x))
    return;
  const char *y0 = y->data, *x0 = x->data;
  bool apart = y0 + mpt_tensor_bytes(y) <= x0 || x0 + mpt_tensor_bytes(x) <= y0;
  mpt_op_require(c, apart, "%s overlaps %s", output, input);
}

void mpt_op_matrix(op_check *c, const char *what, mpt_t t, mpt_tensor *matrix) {
  if (c->status != MPT_OK)
    return;
  int last = t->rank - 1;
  int64_t rows = 1, stride = t->shape[last];
  for (int i = last - 1; i >= 0; i--) {
    if (t->shape[i] == 1)
      continue;
    if (rows == 1)
      stride = t->strides[i];
    else if (t->strides[i] != stride * rows) {
      c->status = mpt_fail(c->error, MPT_ERROR_SHAPE, "%s: the rows of %s are not equally spaced",
                           c->name, what);
      return;
    }
    rows *= t->shape[i];
  }
  *matrix = *t;
  matrix->rank = 2;
  matrix->shape[0] = rows, matrix->shape[1] = t->shape[last];
  matrix->strides[0] = stride, matrix->strides[1] = 1;
}

void mpt_op_flatten(op_check *c, int count, mpt_t const *tensors, mpt_tensor *views) {
  if (c->status != MPT_OK)
    return;
  bool contiguous = true;
  for (int i = 0; i < count; i++)
    contiguous = contiguous && (tensors[i] == NULL || mpt_op_is_contiguous(tensors[i]));
  for (int i = 0; i < count; i++) {
    if (tensors[i] == NULL)
      continue;
    if (!contiguous) {
      mpt_op_matrix(c, "a tensor", tensors[i], &views[i]);
      continue;
    }
    int64_t elements = mpt_tensor_count(tensors[i]);
    views[i] = *tensors[i];
    views[i].rank = 2;
    views[i].shape[0] = 1, views[i].shape[1] = elements;
    views[i].strides[0] = elements, views[i].strides[1] = 1;
  }
}
