/* nll: loss = mean over rows of -log max(p[label], 2^-126). Its gradient is -scale / (rows
 * p[label]) at the label, and zero elsewhere and below 2^-126. A warp takes a row. */
#include "kernels/cuda/loss.cuh"

enum { THREADS = 256, WARPS = THREADS / 32 };
#define NLL_FLOOR 0x1p-126f

template <class X>
static __global__ void nll(const typename X::stored *p, int64_t p_row, any_matrix grad,
                           const int32_t *labels, int64_t rows, int64_t classes, cuda_fault *fault,
                           loss_task t) {
  int lane = threadIdx.x % 32;
  float scale = loss_gradient_scale(t);
  loss_part part = {0, 0};
  for (int64_t r = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32; r < rows;
       r += (int64_t)gridDim.x * WARPS) {
    const typename X::stored *row = p + r * p_row;
    int64_t label = labels[r];
    bool known = label >= 0 && label < classes;
    float at_label = known ? X::load(row[label]) : NAN;
    bool beaten = at_label != at_label;
    __syncwarp(); /* the gradient may overwrite what was read */
    for (int64_t i = lane; i < classes; i += 32) {
      float x = X::load(row[i]);
      beaten |= x > at_label || (i < label && x == at_label);
      float g = i == label && !(at_label < NLL_FLOOR) ? -scale / at_label : 0.0f;
      if (grad.data != NULL)
        store_any<1>(grad.format, grad.data, r * grad.row + i, {g});
    }
    beaten = __any_sync(0xFFFFFFFFu, beaten);
    if (lane != 0)
      continue;
    part.loss -= log((double)(at_label < NLL_FLOOR ? NLL_FLOOR : at_label));
    part.correct += !beaten;
    if (!known)
      report_fault(fault, CUDA_FAULT_LABEL, r, (int32_t)label, classes);
  }
  loss_finish(t, part);
}

mpt_status mpt_cuda_nll(mpt_queue *queue, mpt_t probabilities, const int32_t *labels, float scale,
                        const mpt_step_state *state, double *loss, int64_t *correct,
                        mpt_t grad_probabilities, mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  int64_t rows = probabilities->shape[0], classes = probabilities->shape[1];
  int64_t blocks = divide_up(rows, WARPS), most = 8 * (int64_t)c->multiprocessors;
  unsigned grid = (unsigned)(blocks < most ? blocks : most);
  loss_task t = loss_task_of(c, TICKET_NLL, scale, rows, state, loss, correct);
  DISPATCH_ALL(probabilities->format, X,
               (nll<X><<<grid, THREADS, 0, c->stream>>>(
                   (const typename X::stored *)probabilities->data, probabilities->strides[0],
                   any_matrix_of(grad_probabilities), labels, rows, classes, c->fault, t)))
  return CUDA_LAUNCHED("nll", error);
}
