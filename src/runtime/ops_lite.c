/* Counts and extremes of a tensor: by themselves, and of what an operation has written where its
 * kernel does not take them along. */
#include "runtime/checks.h"

mpt_status mpt_collect_lite(mpt_queue *queue, const mpt_tensor *x, mpt_lite *lite,
                            mpt_error *error) {
  op_scope c = OP_CHECK(queue, collect_lite, error);
  mpt_tensor view;
  mpt_op_tensor(&c, "x", x);
  mpt_op_require(&c, lite != NULL, "lite is NULL");
  mpt_op_flatten(&c, 1, &x, &view);
  return c.status != MPT_OK ? c.status : queue->backend->collect_lite(queue, &view, lite, error);
}

_Static_assert(MPT_OPERATION_COUNT <= 8 * sizeof((mpt_backend *)0)->fuses_lite,
               "a bit of fuses_lite for each operation");

mpt_status mpt_op_written(op_check *c, mpt_operation operation, mpt_t output) {
  if (c->status == MPT_OK && output != NULL && output->lite != NULL &&
      (c->queue->backend->fuses_lite >> operation & 1) == 0)
    c->status = mpt_collect_lite(c->queue, output, output->lite, c->error);
  return c->status;
}
