/* Elements of a tensor for layers' kernels. A kernel is built for tensors that all have one storage
 * format, Array<Bf16> say, and once for everything else: Array<Any> looks at its format whenever it
 * reads or writes, which is the same for all threads. */
#ifndef MPT_KERNELS_CUDA_ARRAY_CUH
#define MPT_KERNELS_CUDA_ARRAY_CUH

#include "kernels/cuda/device.cuh"

struct Any {};

/* N elements as they are stored, in the first words: loaded ahead of the time they are needed. */
template <int N> struct Packed { uint32_t word[N]; };

template <class T, int N>
static __device__ __forceinline__ void load_packed(const typename T::stored *p, Packed<N> &packed) {
  constexpr int bytes = N * (int)sizeof(typename T::stored), chunk = bytes > 16 ? 16 : bytes;
  typedef typename raw_vector<chunk>::type raw;
#pragma unroll
  for (int c = 0; c < bytes / chunk; c++) {
    raw word = reinterpret_cast<const raw *>(p)[c];
    memcpy(&packed.word[c * chunk / 4], &word, sizeof word);
  }
}

template <class T, int N>
static __device__ __forceinline__ void unpack(const Packed<N> &packed, float (&x)[N]) {
  typename T::stored part[N];
  memcpy(part, packed.word, sizeof part);
#pragma unroll
  for (int i = 0; i < N; i++)
    x[i] = T::load(part[i]);
}

template <class T> struct Array {
  typename T::stored *data;
  __device__ __forceinline__ float get(int64_t i) const { return T::load(data[i]); }
  __device__ __forceinline__ void set(int64_t i, float x) const { data[i] = T::store(x); }
  template <int N> __device__ __forceinline__ void load(int64_t i, float (&x)[N]) const {
    load_vector<T>(data + i, x);
  }
  template <int N> __device__ __forceinline__ void store(int64_t i, const float (&x)[N]) const {
    store_vector<T>(data + i, x);
  }
  template <int N> __device__ __forceinline__ void fetch(int64_t i, Packed<N> &packed) const {
    load_packed<T>(data + i, packed);
  }
  template <int N>
  __device__ __forceinline__ void open(const Packed<N> &packed, float (&x)[N]) const {
    unpack<T>(packed, x);
  }
};

template <> struct Array<Any> {
  void *data;
  mpt_format format;
  __device__ __forceinline__ float get(int64_t i) const {
    float x = 0.0f;
    DISPATCH_ALL(format, T, (x = T::load(((const typename T::stored *)data)[i])))
    return x;
  }
  __device__ __forceinline__ void set(int64_t i, float x) const {
    DISPATCH_ALL(format, T, (((typename T::stored *)data)[i] = T::store(x)))
  }
  template <int N> __device__ __forceinline__ void load(int64_t i, float (&x)[N]) const {
    DISPATCH_ALL(format, T, (load_vector<T>((const typename T::stored *)data + i, x)))
  }
  template <int N> __device__ __forceinline__ void store(int64_t i, const float (&x)[N]) const {
    DISPATCH_ALL(format, T, (store_vector<T>((typename T::stored *)data + i, x)))
  }
  template <int N> __device__ __forceinline__ void fetch(int64_t i, Packed<N> &packed) const {
    DISPATCH_ALL(format, T, (load_packed<T>((const typename T::stored *)data + i, packed)))
  }
  template <int N>
  __device__ __forceinline__ void open(const Packed<N> &packed, float (&x)[N]) const {
    DISPATCH_ALL(format, T, (unpack<T>(packed, x)))
  }
};

template <class T> static inline Array<T> array_of(mpt_t t) {
  return {(typename T::stored *)t->data};
}
template <> inline Array<Any> array_of<Any>(mpt_t t) {
  return {t->data, t->format};
}

/* Of a tensor of which only this is left, on the device. */
template <class T> static __device__ __forceinline__ mpt_format format_of(const Array<T> &) {
  return T::format;
}
template <> __device__ __forceinline__ mpt_format format_of<Any>(const Array<Any> &array) {
  return array.format;
}

/* The format of all these tensors, or MPT_FORMAT_COUNT when they differ. */
template <class... Rest> static inline mpt_format common_format(mpt_t first, Rest... rest) {
  mpt_format format = first->format;
  const mpt_t others[] = {first, rest...};
  for (mpt_t t : others)
    if (t->format != format)
      return MPT_FORMAT_COUNT;
  return format;
}

/* Runs `statement` with T as the tag of a storage format, or as Any. */
#define DISPATCH_COMMON(which, T, statement)                                                       \
  switch (which) {                                                                                 \
    DISPATCH_CASE(T, Fp32, statement)                                                              \
    DISPATCH_CASE(T, Bf16, statement)                                                              \
    DISPATCH_CASE(T, Fp16, statement)                                                              \
  default: {                                                                                       \
    typedef Any T;                                                                                 \
    statement;                                                                                     \
  } break;                                                                                         \
  }

/* Row distance of a matrix in elements. */
static inline int64_t row_distance(mpt_t t) {
  return t->rank == 2 ? t->strides[0] : t->shape[t->rank - 1];
}

#endif
