/* Sums of (y - x)^2 and x^2, and over rows of <g, y - x> and its square, in double. A block takes
 * rows in turn; the last block adds the sums of all in order. */
#include "kernels/cuda/device.cuh"

enum { THREADS = 256, MOST_BLOCKS = 1024, TICKET = 40 };

template <class X, class Y, class G>
static __global__ void __launch_bounds__(THREADS)
    compare(const typename X::stored *x, int64_t x_row, const typename Y::stored *y, int64_t y_row,
            const typename G::stored *g, int64_t g_row, int64_t rows, int64_t columns,
            mpt_comparison *parts, uint32_t *ticket, mpt_comparison *result) {
  __shared__ double shared[32];
  double difference = 0, signal = 0, slopes = 0, slopes_squared = 0;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    double slope = 0;
    for (int64_t i = threadIdx.x; i < columns; i += THREADS) {
      double a = (double)X::load(x[row * x_row + i]);
      double d = (double)Y::load(y[row * y_row + i]) - a;
      difference += d * d;
      signal += a * a;
      if (g != NULL)
        slope += (double)G::load(g[row * g_row + i]) * d;
    }
    if (g != NULL) {
      slope = block_all(slope, Sum(), 0.0, shared);
      slopes += slope;
      slopes_squared += slope * slope;
    }
  }
  difference = block_all(difference, Sum(), 0.0, shared);
  signal = block_all(signal, Sum(), 0.0, shared);
  if (threadIdx.x == 0)
    parts[blockIdx.x] = mpt_comparison{difference, signal, slopes, slopes_squared};
  if (!is_last_block(ticket) || threadIdx.x != 0)
    return;
  mpt_comparison sum = {0, 0, 0, 0};
  for (unsigned i = 0; i < gridDim.x; i++) {
    sum.difference_squared += parts[i].difference_squared;
    sum.signal_squared += parts[i].signal_squared;
    sum.slope += parts[i].slope;
    sum.slope_squared += parts[i].slope_squared;
  }
  *result = sum;
}

template <class X, class Y, class G>
static void run(cuda_context *c, mpt_t x, mpt_t y, mpt_t g, mpt_comparison *result) {
  int64_t rows = x->shape[0];
  unsigned blocks = (unsigned)(rows < MOST_BLOCKS ? rows : MOST_BLOCKS);
  compare<X, Y, G><<<blocks, THREADS, 0, c->stream>>>(
      (const typename X::stored *)x->data, x->strides[0], (const typename Y::stored *)y->data,
      y->strides[0], g != NULL ? (const typename G::stored *)g->data : NULL,
      g != NULL ? g->strides[0] : 0, rows, x->shape[1], (mpt_comparison *)c->scratch,
      c->tickets + TICKET, result);
}

template <class X, class Y>
static void run_gradient(cuda_context *c, mpt_t x, mpt_t y, mpt_t g, mpt_comparison *result) {
  DISPATCH_STORAGE(g != NULL ? g->format : MPT_FP32, G, (run<X, Y, G>(c, x, y, g, result)))
}

template <class X>
static void run_y(cuda_context *c, mpt_t x, mpt_t y, mpt_t g, mpt_comparison *result){
    DISPATCH_STORAGE(y->format, Y, (run_gradient<X, Y>(c, x, y, g, result)))}

mpt_status mpt_cuda_compare(mpt_queue *queue, mpt_t x, mpt_t y, mpt_t gradient,
                            mpt_comparison *result, mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  mpt_t all[3] = {x, y, gradient};
  for (int i = 0; i < 3; i++)
    if (all[i] != NULL && all[i]->format != MPT_FP32 && all[i]->format != MPT_BF16 &&
        all[i]->format != MPT_FP16)
      return mpt_fail(error, MPT_ERROR_UNSUPPORTED, "compare: tensors of %s are not compared",
                      mpt_format_get(all[i]->format)->name);
  DISPATCH_STORAGE(x->format, X, (run_y<X>(c, x, y, gradient, result)))
  return CUDA_LAUNCHED("compare", error);
}
