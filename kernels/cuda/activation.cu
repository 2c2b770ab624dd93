/* relu, sigmoid, tanh, gelu, and their gradients: grad_x = grad_y f'(x), with f' taken from y where
 * that is simpler.
 *
 * GELU runs on every element of a transformer's widest tensors and must keep up with memory: its
 * exponential and its division are the hardware's approximations, of 2 and 1 ulp. */
#include "kernels/cuda/map.cuh"

/* 2^x and 1/x */
static __device__ __forceinline__ float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
static __device__ __forceinline__ float fast_inverse(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/* GELU by its tanh approximation (Hendrycks and Gimpel 2016): 0.5 x (1 + tanh u) = x sigmoid(2u)
 * with u = sqrt(2/pi) (x + B x^3), A2 = 2 sqrt(2/pi). The sigmoid is taken from e = e^-|2u|, so
 * that neither end loses digits. */
static constexpr float A2 = 1.5957691216f, B = 0.044715f, LOG2_E = 1.4426950409f;

static __device__ __forceinline__ float gelu_exponent(float x) { /* 2u / ln 2 */
  return x * fmaf(A2 * B * LOG2_E, x * x, A2 * LOG2_E);
}

struct Gelu {
  static constexpr int inputs = 1;
  __device__ __forceinline__ float operator()(float x, float, int64_t) const {
    float z = gelu_exponent(x), e = fast_exp2(-fabsf(z)), d = fast_inverse(1.0f + e);
    return x * (z < 0.0f ? e * d : d);
  }
};

/* s + x s (1 - s) (2u)', with s (1 - s) = e / (1 + e)^2. */
struct GeluBackward {
  static constexpr int inputs = 2;
  __device__ __forceinline__ float operator()(float x, float grad_y, int64_t) const {
    float z = gelu_exponent(x), e = fast_exp2(-fabsf(z)), d = fast_inverse(1.0f + e);
    float ed = e * d, s = z < 0.0f ? ed : d;
    return grad_y * fmaf(x * (ed * d), fmaf(3.0f * A2 * B, x * x, A2), s);
  }
};

struct Curve {
  static constexpr int inputs = 1;
  mpt_activation kind;
  __device__ __forceinline__ float operator()(float x, float, int64_t) const {
    if (kind == MPT_RELU)
      return x < 0.0f ? 0.0f : x; /* NaN stays */
    if (kind == MPT_TANH)
      return tanhf(x);
    float e = expf(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
  }
};

struct CurveBackward {
  static constexpr int inputs = 2;
  mpt_activation kind;
  __device__ __forceinline__ float operator()(float y, float grad_y, int64_t) const {
    if (kind == MPT_RELU)
      return y <= 0.0f ? 0.0f : grad_y;
    return grad_y * (kind == MPT_TANH ? 1.0f - y * y : y * (1.0f - y));
  }
};

mpt_status mpt_cuda_activation_forward(mpt_queue *queue, mpt_activation kind, mpt_t x, mpt_t y,
                                       mpt_error *error) {
  if (kind == MPT_GELU)
    map(cuda_of(queue), Gelu{}, x, x, y);
  else
    map(cuda_of(queue), Curve{kind}, x, x, y);
  return CUDA_LAUNCHED("activation_forward", error);
}

mpt_status mpt_cuda_activation_backward(mpt_queue *queue, mpt_activation kind, mpt_t x, mpt_t y,
                                        mpt_t grad_y, mpt_t grad_x, mpt_error *error) {
  if (kind == MPT_GELU)
    map(cuda_of(queue), GeluBackward{}, x, grad_y, grad_x);
  else
    map(cuda_of(queue), CurveBackward{kind}, y, grad_y, grad_x);
  return CUDA_LAUNCHED("activation_backward", error);
}
