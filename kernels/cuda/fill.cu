/* fill: x = value, rounded to x's format. */
#include "kernels/cuda/device.cuh"

enum { THREADS = 256 };

template <class X>
static __global__ void fill(typename X::stored *x, int64_t row_distance, int64_t rows,
                            int64_t columns, float value) {
  typename X::stored stored = X::store(value);
  int64_t step = (int64_t)gridDim.x * blockDim.x;
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < rows * columns; i += step) {
    int64_t row = i / columns;
    x[row * row_distance + (i - row * columns)] = stored;
  }
}

mpt_status mpt_cuda_fill(mpt_queue *queue, mpt_t x, float value, mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  int64_t columns = x->shape[x->rank - 1], rows = x->rank == 2 ? x->shape[0] : 1;
  int64_t row_distance = x->rank == 2 ? x->strides[0] : columns;
  bool dense = rows == 1 || row_distance == columns;
  if (value == 0.0f && dense) /* zero is all bits zero in every format */
    return mpt_cuda_check(
        cudaMemsetAsync(x->data, 0,
                        (size_t)(rows * columns) * (size_t)mpt_format_get(x->format)->bits / 8,
                        c->stream),
        "fill", error);
  int64_t blocks = divide_up(rows * columns, THREADS), most = 16 * (int64_t)c->multiprocessors;
  unsigned grid = (unsigned)(blocks < most ? blocks : most);
  DISPATCH_ALL(x->format, X,
               (fill<X><<<grid, THREADS, 0, c->stream>>>((typename X::stored *)x->data,
                                                         row_distance, rows, columns, value)))
  return CUDA_LAUNCHED("fill", error);
}
