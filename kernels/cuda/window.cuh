/* Windows that slide over images: shared by im2col and pooling. */
#ifndef MPT_KERNELS_CUDA_WINDOW_CUH
#define MPT_KERNELS_CUDA_WINDOW_CUH

#include "kernels/cuda/array.cuh"

struct window_shape {
  mpt_window w;
  int64_t batch, channels;
  int height, width, out_height, out_width;
};

static inline window_shape window_of(mpt_t image, mpt_window w) {
  window_shape s = {
      w, image->shape[0], image->shape[1], (int)image->shape[2], (int)image->shape[3], 0, 0};
  s.out_height = (s.height + 2 * w.padding - w.kernel_height) / w.stride + 1;
  s.out_width = (s.width + 2 * w.padding - w.kernel_width) / w.stride + 1;
  return s;
}

/* The windows [first, end) along one dimension that hold `pixel`. */
struct window_range {
  int first, end;
};

static __device__ __forceinline__ window_range windows_at(int pixel, int kernel, int out,
                                                          mpt_window w) {
  int at = pixel + w.padding, last = at / w.stride + 1;
  int first = at < kernel ? 0 : (at - kernel) / w.stride + 1;
  return {first, last < out ? last : out};
}

#endif
