/* y = exp(x - max) / sum over each row, and grad_x = y (grad_y - sum(y grad_y)). A warp takes a
 * row, or a block where rows are long. */
#include "kernels/cuda/array.cuh"

enum { THREADS = 256, LONG_ROW = 1024 };

/* The threads that share a row: `rank` of `size`. */
template <bool BLOCK> struct Team {
  float *shared;
  int rank, size;
  int64_t row, step;
  __device__ explicit Team(float *memory) : shared(memory) {
    size = BLOCK ? blockDim.x : 32;
    rank = threadIdx.x % size;
    row = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / size;
    step = (int64_t)gridDim.x * blockDim.x / size;
  }
  template <class Combine> __device__ float all(float x, Combine combine, float identity) const {
    return BLOCK ? block_all(x, combine, identity, shared) : warp_all(x, combine);
  }
};

template <bool BLOCK>
static __global__ void softmax(Array<Any> x, int64_t x_row, Array<Any> y, int64_t y_row,
                               int64_t rows, int64_t n) {
  __shared__ float shared[32];
  Team<BLOCK> team(shared);
  for (int64_t row = team.row; row < rows; row += team.step) {
    float largest = -INFINITY, sum = 0.0f;
    for (int64_t i = team.rank; i < n; i += team.size)
      largest = fmaxf(largest, x.get(row * x_row + i)); /* NaN is passed over */
    largest = team.all(largest, Max(), -INFINITY);
    for (int64_t i = team.rank; i < n; i += team.size)
      sum += expf(x.get(row * x_row + i) - largest);
    float scale = 1.0f / team.all(sum, Sum(), 0.0f);
    for (int64_t i = team.rank; i < n; i += team.size)
      y.set(row * y_row + i, expf(x.get(row * x_row + i) - largest) * scale);
  }
}

template <bool BLOCK>
static __global__ void softmax_backward(Array<Any> y, int64_t y_row, Array<Any> grad_y,
                                        int64_t grad_y_row, Array<Any> grad_x, int64_t grad_x_row,
                                        int64_t rows, int64_t n) {
  __shared__ float shared[32];
  Team<BLOCK> team(shared);
  for (int64_t row = team.row; row < rows; row += team.step) {
    float mean = 0.0f;
    for (int64_t i = team.rank; i < n; i += team.size)
      mean = fmaf(y.get(row * y_row + i), grad_y.get(row * grad_y_row + i), mean);
    mean = team.all(mean, Sum(), 0.0f);
    for (int64_t i = team.rank; i < n; i += team.size)
      grad_x.set(row * grad_x_row + i,
                 y.get(row * y_row + i) * (grad_y.get(row * grad_y_row + i) - mean));
  }
}

static unsigned blocks_for(const cuda_context *c, int64_t rows, int64_t n) {
  int64_t blocks = n > LONG_ROW ? rows : divide_up(rows, THREADS / 32);
  int64_t most = 16 * (int64_t)c->multiprocessors;
  return (unsigned)(blocks < most ? blocks : most);
}

mpt_status mpt_cuda_softmax_forward(mpt_queue *queue, mpt_t x, mpt_t y, mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  int64_t rows = x->shape[0], n = x->shape[1];
  auto kernel = n > LONG_ROW ? softmax<true> : softmax<false>;
  kernel<<<blocks_for(c, rows, n), THREADS, 0, c->stream>>>(
      array_of<Any>(x), row_distance(x), array_of<Any>(y), row_distance(y), rows, n);
  return CUDA_LAUNCHED("softmax_forward", error);
}

mpt_status mpt_cuda_softmax_backward(mpt_queue *queue, mpt_t y, mpt_t grad_y, mpt_t grad_x,
                                     mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  int64_t rows = y->shape[0], n = y->shape[1];
  auto kernel = n > LONG_ROW ? softmax_backward<true> : softmax_backward<false>;
  kernel<<<blocks_for(c, rows, n), THREADS, 0, c->stream>>>(
      array_of<Any>(y), row_distance(y), array_of<Any>(grad_y), row_distance(grad_y),
      array_of<Any>(grad_x), row_distance(grad_x), rows, n);
  return CUDA_LAUNCHED("softmax_backward", error);
}
