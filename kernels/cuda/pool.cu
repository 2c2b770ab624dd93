/* The largest or the average value of each window, padding left out. Of equal largest values the
 * first gets the gradient; a NaN counts as largest. Backward, each pixel asks the windows that hold
 * it, in order, so that sums repeat. */
#include "kernels/cuda/window.cuh"

enum { THREADS = 256 };

/* The part of window (oh, ow) inside the image. */
struct window_area {
  int top, bottom, left, right;
};

static __device__ __forceinline__ window_area area_at(const window_shape &s, int oh, int ow) {
  int top = oh * s.w.stride - s.w.padding, left = ow * s.w.stride - s.w.padding;
  return {max(top, 0), min(top + s.w.kernel_height, s.height), max(left, 0),
          min(left + s.w.kernel_width, s.width)};
}

static __device__ __forceinline__ float area_size(window_area a) {
  return (float)((a.bottom - a.top) * (a.right - a.left));
}

/* Where in its plane the largest value of the window is. */
static __device__ __forceinline__ int find_largest(Array<Any> x, int64_t plane, window_area a,
                                                   int width, float *value) {
  int place = -1;
  float best = 0.0f;
  for (int h = a.top; h < a.bottom; h++)
    for (int w = a.left; w < a.right; w++) {
      float v = x.get(plane + (int64_t)h * width + w);
      if (place < 0 || v > best || (v != v && best == best)) {
        best = v;
        place = h * width + w;
      }
    }
  *value = best;
  return place;
}

static __global__ void pool(mpt_pooling kind, Array<Any> x, Array<Any> y, window_shape s,
                            int64_t outputs) {
  int64_t step = (int64_t)gridDim.x * THREADS;
  for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < outputs; i += step) {
    int ow = (int)(i % s.out_width), oh = (int)(i / s.out_width % s.out_height);
    int64_t plane = i / s.out_width / s.out_height * s.height * s.width;
    window_area a = area_at(s, oh, ow);
    float value = 0.0f;
    if (kind == MPT_POOL_MAX) {
      find_largest(x, plane, a, s.width, &value);
    } else {
      for (int h = a.top; h < a.bottom; h++)
        for (int w = a.left; w < a.right; w++)
          value += x.get(plane + (int64_t)h * s.width + w);
      value /= area_size(a);
    }
    y.set(i, value);
  }
}

static __global__ void pool_backward(mpt_pooling kind, Array<Any> x, Array<Any> grad_y,
                                     Array<Any> grad_x, window_shape s, int64_t pixels) {
  int64_t step = (int64_t)gridDim.x * THREADS;
  for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < pixels; i += step) {
    int w = (int)(i % s.width), h = (int)(i / s.width % s.height);
    int64_t channel = i / s.width / s.height, plane = channel * s.height * s.width;
    window_range rows = windows_at(h, s.w.kernel_height, s.out_height, s.w);
    window_range across = windows_at(w, s.w.kernel_width, s.out_width, s.w);
    float sum = 0.0f, value;
    for (int oh = rows.first; oh < rows.end; oh++)
      for (int ow = across.first; ow < across.end; ow++) {
        window_area a = area_at(s, oh, ow);
        float grad = grad_y.get((channel * s.out_height + oh) * s.out_width + ow);
        if (kind != MPT_POOL_MAX)
          sum += grad / area_size(a);
        else if (find_largest(x, plane, a, s.width, &value) == h * s.width + w)
          sum += grad;
      }
    grad_x.set(i, sum);
  }
}

static unsigned blocks_for(const cuda_context *c, int64_t threads) {
  int64_t blocks = divide_up(threads, THREADS), most = 32 * (int64_t)c->multiprocessors;
  return (unsigned)(blocks < most ? blocks : most);
}

mpt_status mpt_cuda_pool_forward(mpt_queue *queue, mpt_pooling kind, mpt_t x, mpt_window window,
                                 mpt_t y, mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  int64_t outputs = mpt_tensor_count(y);
  pool<<<blocks_for(c, outputs), THREADS, 0, c->stream>>>(kind, array_of<Any>(x), array_of<Any>(y),
                                                          window_of(x, window), outputs);
  return CUDA_LAUNCHED("pool_forward", error);
}

mpt_status mpt_cuda_pool_backward(mpt_queue *queue, mpt_pooling kind, mpt_t x, mpt_window window,
                                  mpt_t grad_y, mpt_t grad_x, mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  int64_t pixels = mpt_tensor_count(x);
  pool_backward<<<blocks_for(c, pixels), THREADS, 0, c->stream>>>(
      kind, array_of<Any>(x), array_of<Any>(grad_y), array_of<Any>(grad_x), window_of(x, window),
      pixels);
  return CUDA_LAUNCHED("pool_backward", error);
}
