/* copy: y = x in y's format. Any two formats, any row distance. */
#include "kernels/cuda/device.cuh"

template <class X, class Y>
static __global__ void copy(const typename X::stored *x, int64_t x_row, typename Y::stored *y,
                            int64_t y_row, int64_t rows, int64_t columns) {
  int64_t step = (int64_t)gridDim.x * blockDim.x;
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < rows * columns; i += step) {
    int64_t row = i / columns, column = i - row * columns;
    y[row * y_row + column] = Y::store(X::load(x[row * x_row + column]));
  }
}

enum { WIDTH = 8, THREADS = 256 };

template <class X, class Y>
static __global__ void copy_vectors(const typename X::stored *x, typename Y::stored *y,
                                    int64_t vectors) {
  int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
  if (i >= vectors)
    return;
  float values[WIDTH];
  load_vector<X>(x + i * WIDTH, values);
  store_vector<Y>(y + i * WIDTH, values);
}

template <class X, class Y> static void run(cuda_context *c, mpt_t x, mpt_t y) {
  typedef typename X::stored xs;
  typedef typename Y::stored ys;
  int64_t columns = x->shape[x->rank - 1], rows = x->rank == 2 ? x->shape[0] : 1;
  if (rows == 1 && vectors_fit(x, WIDTH) && vectors_fit(y, WIDTH)) {
    int64_t vectors = columns / WIDTH;
    copy_vectors<X, Y><<<(unsigned)divide_up(vectors, THREADS), THREADS, 0, c->stream>>>(
        (const xs *)x->data, (ys *)y->data, vectors);
    return;
  }
  int64_t blocks = divide_up(rows * columns, THREADS), most = 16 * (int64_t)c->multiprocessors;
  copy<X, Y><<<(unsigned)(blocks < most ? blocks : most), THREADS, 0, c->stream>>>(
      (const xs *)x->data, x->rank == 2 ? x->strides[0] : 0, (ys *)y->data,
      y->rank == 2 ? y->strides[0] : 0, rows, columns);
}

template <class X>
static void run_from(cuda_context *c, mpt_t x,
                     mpt_t y){DISPATCH_ALL(y->format, Y, (run<X, Y>(c, x, y)))}

mpt_status mpt_cuda_copy(mpt_queue *queue, mpt_t x, mpt_t y, mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  DISPATCH_ALL(x->format, X, (run_from<X>(c, x, y)))
  return CUDA_LAUNCHED("copy", error);
}
