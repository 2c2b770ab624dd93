/* bias_backward: grad_bias[n] = sum of grad[m, n] over its rows.
 *
 * A block takes LANES * WIDTH columns and one part of the rows; its GROUPS warps take turns at the
 * rows. Parts are as many as give each multiprocessor BLOCKS blocks. */
#include "kernels/cuda/array.cuh"
#include "kernels/cuda/column_sums.cuh"

enum { LANES = 32, GROUPS = 8, BLOCKS = 4 };

/* grad has shape [rows, n]; partial has shape [gridDim.y, n] */
template <class T, int WIDTH>
static __global__ void __launch_bounds__(LANES *GROUPS)
    sum_columns(Array<T> grad, int64_t distance, int64_t rows, int64_t n, float *partial) {
  __shared__ float shared[GROUPS][LANES * WIDTH];
  int64_t column = ((int64_t)blockIdx.x * LANES + threadIdx.x) * WIDTH;
  int64_t each = (rows + gridDim.y - 1) / gridDim.y, first = blockIdx.y * each;
  int64_t end = first + each < rows ? first + each : rows;
  float sums[WIDTH] = {};
  if (column < n)
#pragma unroll 4
    for (int64_t row = first + threadIdx.y; row < end; row += GROUPS) {
      float x[WIDTH];
      grad.load(row * distance + column, x);
#pragma unroll
      for (int i = 0; i < WIDTH; i++)
        sums[i] += x[i];
    }
#pragma unroll
  for (int i = 0; i < WIDTH; i++)
    shared[threadIdx.y][threadIdx.x * WIDTH + i] = sums[i];
  __syncthreads();
  for (int i = threadIdx.y * LANES + threadIdx.x; i < LANES * WIDTH; i += LANES * GROUPS) {
    float total = 0.0f;
#pragma unroll
    for (int g = 0; g < GROUPS; g++)
      total += shared[g][i];
    column = (int64_t)blockIdx.x * LANES * WIDTH + i;
    if (column < n)
      partial[blockIdx.y * n + column] = total;
  }
}

template <class T, int WIDTH>
static void run(cuda_context *c, mpt_t grad, float *out, bool accumulate) {
  int64_t rows = grad->shape[0], n = grad->shape[1], strips = divide_up(n, LANES * WIDTH);
  int64_t parts = divide_up(BLOCKS * (int64_t)c->multiprocessors, strips);
  int64_t most = divide_up(rows, 4 * GROUPS),
          room = CUDA_SCRATCH_BYTES / (int64_t)sizeof(float) / n;
  parts = parts < most ? parts : most;
  parts = parts < room ? parts : room;
  float *partial = (float *)c->scratch;
  if (parts <= 1)
    parts = 1;
  sum_columns<T, WIDTH>
      <<<dim3((unsigned)strips, (unsigned)parts), dim3(LANES, GROUPS), 0, c->stream>>>(
          array_of<T>(grad), row_distance(grad), rows, n, partial);
  launch_partial_sums(c, partial, 0, (int)parts, n, out, NULL, accumulate);
}

mpt_status mpt_cuda_bias_backward(mpt_queue *queue, mpt_t grad, mpt_t grad_bias, bool accumulate,
                                  mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  float *out = (float *)grad_bias->data;
  if (grad->shape[1] > CUDA_SCRATCH_BYTES / (int64_t)sizeof(float))
    return mpt_fail(error, MPT_ERROR_UNSUPPORTED,
                    "bias_backward: %lld columns are more than the cuda backend sums, %d",
                    (long long)grad->shape[1], CUDA_SCRATCH_BYTES / (int)sizeof(float));
  if (vectors_fit(grad, 8))
    DISPATCH_COMMON(grad->format, T, (run<T, 8>(c, grad, out, accumulate)))
  else
    run<Any, 1>(c, grad, out, accumulate);
  return CUDA_LAUNCHED("bias_backward", error);
}
