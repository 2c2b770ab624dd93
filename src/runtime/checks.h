/* Checks of an operation's arguments, made once for every backend.
 *
 * A checker remembers the first thing wrong, and later checks do nothing, so that an operation
 * states its demands line by line and looks at the status once. Messages begin with its name. */
#ifndef MPT_RUNTIME_CHECKS_H
#define MPT_RUNTIME_CHECKS_H

#include "base/error.h"
#include "kernels/kernels.h"

typedef struct op_check {
  mpt_queue *queue;
  const char *name;
  mpt_error *error;
  mpt_status status;
  bool inside; /* the backend's device is the thread's, until ... */
  int entered; /* ... what it was is put back */
} op_check;

/* Every call for a queue declares its checker so: the backend is entered where it begins, and left
 * at every return. */
#define op_scope __attribute__((cleanup(mpt_op_check_end))) op_check

/* Begins the checks of `operation`: the queue is there and its backend has the operation. */
#define OP_CHECK(queue, operation, error)                                                          \
  mpt_op_check_begin(queue, #operation, (queue) != NULL && (queue)->backend->operation != NULL,    \
                     error)
op_check mpt_op_check_begin(mpt_queue *queue, const char *name, bool has_slot, mpt_error *error);
void mpt_op_check_end(op_check *c);

/* MPT_ERROR_ARGUMENT when `good` is false. */
void mpt_op_require(op_check *c, bool good, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A tensor that can be read or written: there, of a known format, on the queue's device, not empty,
 * rows contiguous. */
void mpt_op_tensor(op_check *c, const char *what, mpt_t t);
void mpt_op_contiguous(op_check *c, const char *what, mpt_t t);
void mpt_op_format(op_check *c, const char *what, mpt_t t, mpt_format format);

/* MPT_ERROR_SHAPE unless `t` has that shape. */
void mpt_op_shape(op_check *c, const char *what, mpt_t t, int rank, const int64_t *shape);
#define OP_SHAPE(c, what, t, ...)                                                                  \
  mpt_op_shape(c, what, t, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),              \
               (const int64_t[]){__VA_ARGS__})
void mpt_op_same_shape(op_check *c, const char *what, mpt_t t, mpt_t other);
void mpt_op_rank(op_check *c, const char *what, mpt_t t, int rank);

/* An output and an input that must not share memory. Seen where both are contiguous. */
void mpt_op_apart(op_check *c, const char *output, mpt_t y, const char *input, mpt_t x);

/* *matrix = t as [rows, last dimension]; MPT_ERROR_SHAPE when its rows are not equally spaced. */
void mpt_op_matrix(op_check *c, const char *what, mpt_t t, mpt_tensor *matrix);

/* views[i] = tensors[i], all of one shape, as matrices of one shape: a single row when all are
 * contiguous, [rows, last dimension] otherwise. NULL tensors are passed over. */
void mpt_op_flatten(op_check *c, int count, mpt_t const *tensors, mpt_tensor *views);

bool mpt_op_is_contiguous(mpt_t t);

/* The end of an operation that has written `output` (NULL: nothing): serves its `lite` where the
 * backend's operation did not in its own pass. Returns the status. */
mpt_status mpt_op_written(op_check *c, mpt_operation operation, mpt_t output);

#endif
