/* Sketches: SCORE_SKETCH sums of a vector's elements under random signs (Charikar, Chen and
 * Farach-Colton 2002, "Finding frequent items in data streams"): element i goes into sum i modulo
 * SCORE_SKETCH. The expected product of two sketches with the same signs is that of the vectors.
 *
 * The signs are dropout's: what it keeps of x, doubled, less x, is x or -x. Sums are linear, so
 * both are summed apart, and subtracted once they are read. */
#include "base/error.h"
#include "train/score_run.h"

static mpt_tensor part_of(const mpt_tensor *x, int64_t first, int64_t rows, int64_t columns) {
  const int64_t shape[2] = {rows, columns};
  mpt_tensor part = mpt_tensor_of((float *)x->data + first, MPT_FP32, 2, shape);
  part.device = x->device;
  return part;
}

/* sums[SCORE_SKETCH] of the elements of x; what is left over behind the last whole row is a row,
 * too. */
static mpt_status column_sums(score_run *r, const mpt_tensor *x, float *sums, mpt_error *error) {
  const int64_t count = mpt_tensor_count(x), rows = count / SCORE_SKETCH;
  const int64_t width = SCORE_SKETCH, left = count % SCORE_SKETCH;
  mpt_tensor into = mpt_tensor_of(sums, MPT_FP32, 1, &width);
  into.device = x->device;
  if (rows > 0) {
    const mpt_tensor whole = part_of(x, 0, rows, SCORE_SKETCH);
    MPT_RETURN_IF_FAILED(mpt_bias_backward(r->queue, &whole, &into, false, error));
  } else {
    MPT_RETURN_IF_FAILED(mpt_fill(r->queue, &into, 0.0f, error));
  }
  if (left == 0)
    return MPT_OK;
  const mpt_tensor rest = part_of(x, rows * SCORE_SKETCH, 1, left);
  mpt_tensor first = mpt_tensor_of(sums, MPT_FP32, 1, &left);
  first.device = x->device;
  return mpt_bias_backward(r->queue, &rest, &first, true, error);
}

mpt_status score_sketch_make(score_run *r, const mpt_tensor *x, int slot, mpt_error *error) {
  const int64_t count = mpt_tensor_count(x);
  const mpt_dropout_key key = {r->options->seed, 0, (uint32_t)slot};
  mpt_tensor flat = mpt_tensor_of(x->data, MPT_FP32, 1, &count);
  flat.device = x->device;
  mpt_tensor kept = flat;
  kept.data = r->buffers[SCORE_SIGNED];
  MPT_RETURN_IF_FAILED(mpt_dropout(r->queue, &flat, 0.5f, key, &kept, error));
  MPT_RETURN_IF_FAILED(column_sums(r, &kept, r->sketches[slot].kept, error));
  return column_sums(r, &flat, r->sketches[slot].all, error);
}

void score_sketch_values(const score_sketch *s, double factor, double values[SCORE_SKETCH]) {
  for (int i = 0; i < SCORE_SKETCH; i++)
    values[i] = factor * ((double)s->kept[i] - (double)s->all[i]);
}
