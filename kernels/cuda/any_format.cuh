/* Elements whose format is known when the kernel runs: for what is read or written beside a
 * kernel's main tensor, where a template of every pair of formats would cost more to compile than
 * the choice costs to run. The format is the same for the whole block, so nothing diverges. */
#ifndef MPT_KERNELS_CUDA_ANY_FORMAT_CUH
#define MPT_KERNELS_CUDA_ANY_FORMAT_CUH

#include "kernels/cuda/device.cuh"

/* x = base[index ..], N elements; for N > 1 as aligned as vectors_fit asks */
template <int N>
static __device__ __forceinline__ void load_any(mpt_format format, const void *base, int64_t index,
                                                float (&x)[N]) {
  DISPATCH_ALL(format, T, (load_vector<T, N>((const typename T::stored *)base + index, x)))
}

template <int N>
static __device__ __forceinline__ void store_any(mpt_format format, void *base, int64_t index,
                                                 const float (&x)[N]) {
  DISPATCH_ALL(format, T, (store_vector<T, N>((typename T::stored *)base + index, x)))
}

/* The matrices that runtime/ops hands over, on the device. */
struct any_matrix {
  void *data;  /* NULL: none */
  int64_t row; /* distance */
  mpt_format format;
};

static inline any_matrix any_matrix_of(mpt_t t) {
  any_matrix m = {NULL, 0, MPT_FP32};
  if (t != NULL) {
    m.data = t->data;
    m.row = t->shape[0] > 1 ? t->strides[0] : 0;
    m.format = t->format;
  }
  return m;
}

#endif
