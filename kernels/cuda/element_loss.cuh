/* Losses that are a mean over elements: x and targets [rows, columns] in any format, in vectors of
 * 4 where every row allows it. `Loss` says what one element adds, and its slope. */
#ifndef MPT_KERNELS_CUDA_ELEMENT_LOSS_CUH
#define MPT_KERNELS_CUDA_ELEMENT_LOSS_CUH

#include "kernels/cuda/loss.cuh"

enum { ELEMENT_THREADS = 256 };

template <class Loss, int N>
static __global__ void element_loss(any_matrix x, any_matrix targets, any_matrix grad, int64_t rows,
                                    int64_t columns, loss_task t) {
  float scale = loss_gradient_scale(t);
  loss_part part = {0, 0};
  int64_t in_row = columns / N, step = (int64_t)gridDim.x * blockDim.x;
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < rows * in_row; i += step) {
    int64_t row = i / in_row, column = (i - row * in_row) * N;
    float a[N], b[N], g[N];
    load_any<N>(x.format, x.data, row * x.row + column, a);
    load_any<N>(targets.format, targets.data, row * targets.row + column, b);
#pragma unroll
    for (int k = 0; k < N; k++) {
      part.loss += Loss::value(a[k], b[k]);
      g[k] = scale * Loss::slope(a[k], b[k]);
    }
    if (grad.data != NULL)
      store_any<N>(grad.format, grad.data, row * grad.row + column, g);
  }
  loss_finish(t, part);
}

template <class Loss>
static void run_element_loss(cuda_context *c, mpt_t x, mpt_t targets, mpt_t grad, loss_task t) {
  const int width = 4;
  bool vectors = vectors_fit(x, width) && vectors_fit(targets, width) &&
                 (grad == NULL || vectors_fit(grad, width));
  int64_t rows = x->shape[0], columns = x->shape[1];
  int64_t blocks = divide_up(rows * columns, ELEMENT_THREADS * (vectors ? width : 1));
  int64_t most = 8 * (int64_t)c->multiprocessors;
  unsigned grid = (unsigned)(blocks < most ? blocks : most);
  any_matrix mx = any_matrix_of(x), mt = any_matrix_of(targets), mg = any_matrix_of(grad);
  if (vectors)
    element_loss<Loss, width>
        <<<grid, ELEMENT_THREADS, 0, c->stream>>>(mx, mt, mg, rows, columns, t);
  else
    element_loss<Loss, 1><<<grid, ELEMENT_THREADS, 0, c->stream>>>(mx, mt, mg, rows, columns, t);
}

#endif
