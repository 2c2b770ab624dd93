/* Windows of an image as rows of a matrix, [B*OH*OW, C*KH*KW], and their sum back into an image:
 * for each pixel in the order of windows, so that sums repeat. */
#include "kernels/cuda/window.cuh"

enum { THREADS = 256 };

/* Blocks walk over rows of columns, threads over a row. */
static __global__ void lower(Array<Any> x, Array<Any> columns, window_shape s, int64_t rows,
                             int size) {
  int place = s.w.kernel_height * s.w.kernel_width;
  int64_t step = (int64_t)gridDim.x * blockDim.y;
  for (int64_t row = (int64_t)blockIdx.x * blockDim.y + threadIdx.y; row < rows; row += step) {
    int ow = (int)(row % s.out_width), oh = (int)(row / s.out_width % s.out_height);
    int64_t image = row / s.out_width / s.out_height * s.channels;
    for (int i = threadIdx.x; i < size; i += blockDim.x) {
      int channel = i / place, kh = i % place / s.w.kernel_width, kw = i % s.w.kernel_width;
      int h = oh * s.w.stride - s.w.padding + kh, w = ow * s.w.stride - s.w.padding + kw;
      bool inside = h >= 0 && h < s.height && w >= 0 && w < s.width;
      float value = inside ? x.get(((image + channel) * s.height + h) * s.width + w) : 0.0f;
      columns.set(row * size + i, value);
    }
  }
}

static __global__ void raise(Array<Any> columns, Array<Any> grad_x, window_shape s, int64_t pixels,
                             int size) {
  int64_t step = (int64_t)gridDim.x * THREADS;
  for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < pixels; i += step) {
    int w = (int)(i % s.width), h = (int)(i / s.width % s.height);
    int64_t plane = i / s.width / s.height, image = plane / s.channels;
    int channel = (int)(plane - image * s.channels);
    window_range rows = windows_at(h, s.w.kernel_height, s.out_height, s.w);
    window_range across = windows_at(w, s.w.kernel_width, s.out_width, s.w);
    float sum = 0.0f;
    for (int oh = rows.first; oh < rows.end; oh++)
      for (int ow = across.first; ow < across.end; ow++) {
        int kh = h + s.w.padding - oh * s.w.stride, kw = w + s.w.padding - ow * s.w.stride;
        int64_t row = (image * s.out_height + oh) * s.out_width + ow;
        sum += columns.get(row * size + (channel * s.w.kernel_height + kh) * s.w.kernel_width + kw);
      }
    grad_x.set(i, sum);
  }
}

mpt_status mpt_cuda_im2col(mpt_queue *queue, mpt_t x, mpt_window window, mpt_t columns,
                           mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  window_shape s = window_of(x, window);
  int64_t rows = columns->shape[0], most = 16 * (int64_t)c->multiprocessors;
  int size = (int)columns->shape[1];
  dim3 block(size > 128 ? 256 : size > 32 ? 64 : 32);
  block.y = THREADS / block.x;
  int64_t blocks = divide_up(rows, block.y);
  lower<<<(unsigned)(blocks < most ? blocks : most), block, 0, c->stream>>>(
      array_of<Any>(x), array_of<Any>(columns), s, rows, size);
  return CUDA_LAUNCHED("im2col", error);
}

mpt_status mpt_cuda_col2im(mpt_queue *queue, mpt_t columns, mpt_window window, mpt_t grad_x,
                           mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  window_shape s = window_of(grad_x, window);
  int64_t pixels = mpt_tensor_count(grad_x), most = 32 * (int64_t)c->multiprocessors;
  int64_t blocks = divide_up(pixels, THREADS);
  raise<<<(unsigned)(blocks < most ? blocks : most), THREADS, 0, c->stream>>>(
      array_of<Any>(columns), array_of<Any>(grad_x), s, pixels, (int)columns->shape[1]);
  return CUDA_LAUNCHED("col2im", error);
}
