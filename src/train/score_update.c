/* Adam divides each parameter's gradient by the root of its mean square: a change that is nothing
 * to the length of the gradient may be all that a parameter with small gradients has. So the
 * gradients of networks that Adam trains, and the changes of them, are compared as the updates that
 * they make, g / (sqrt(E g^2) + epsilon), E over the batches of the scores. Those of sgd are as
 * they are.
 *
 * The division is mpt_adam_step's: of a weight 0, with beta1 = 0, a learning rate of -1 and a beta2
 * so near to 1 that the mean squares stay what they are. */
#include "base/error.h"
#include "train/score_run.h"

static mpt_tensor row_of(const score_run *r, void *data, int64_t first, int64_t count) {
  mpt_tensor row = mpt_tensor_of((float *)data + first, MPT_FP32, 1, &count);
  row.device = mpt_queue_device(r->queue);
  return row;
}

static mpt_status step(score_run *r, const mpt_tensor *gradient, const mpt_tensor *squares,
                       const mpt_adam_args *args, mpt_tensor *update, mpt_error *error) {
  const int64_t count = mpt_tensor_count(gradient);
  const mpt_tensor first = row_of(r, r->buffers[SCORE_UPDATE_FIRST], 0, count);
  *update = row_of(r, r->buffers[SCORE_UPDATE], 0, count);
  /* what is not finite in one layer's gradient must not stay for the next */
  MPT_RETURN_IF_FAILED(mpt_fill(r->queue, &first, 0.0f, error));
  MPT_RETURN_IF_FAILED(mpt_fill(r->queue, update, 0.0f, error));
  return mpt_adam_step(r->queue, update, gradient, &first, squares, args, r->update, error);
}

mpt_status score_squares_add(score_run *r, int b, mpt_error *error) {
  const mpt_tensor *gradients = &r->net->all_gradients;
  const mpt_tensor squares = row_of(r, r->buffers[SCORE_SQUARES], 0, mpt_tensor_count(gradients));
  const mpt_adam_args args = {.beta2 = (float)b / (float)(b + 1), .epsilon = 1.0f};
  mpt_tensor update;
  return step(r, gradients, &squares, &args, &update, error);
}

mpt_status score_update(score_run *r, const mpt_tensor *x, int64_t first, mpt_tensor *update,
                        mpt_error *error) {
  const int64_t count = mpt_tensor_count(x);
  const mpt_tensor flat = row_of(r, x->data, 0, count);
  *update = flat;
  if (!score_is_scaled(r))
    return MPT_OK;
  const mpt_tensor kept = row_of(r, r->buffers[SCORE_SQUARES], first, count),
                   squares = row_of(r, r->buffers[SCORE_UPDATE_SECOND], 0, count);
  const mpt_adam_args args = {.learning_rate = -1.0f,
                              .beta2 = 1.0f - 0x1p-24f,
                              .epsilon = (float)(r->t->w->optimizer.epsilon * r->loss_scale)};
  MPT_RETURN_IF_FAILED(mpt_copy(r->queue, &kept, &squares, error));
  return step(r, &flat, &squares, &args, update, error);
}
