/* sgd_step: g = clip grad / loss_scale + weight_decay w;  m = momentum m + g;
 * w -= learning_rate m. Does nothing after an overflow. */
#include "kernels/cuda/device.cuh"

enum { THREADS = 256 };

struct sgd_task {
  float *weight, *momentum_buffer; /* the second NULL: none */
  const float *gradient;
  int64_t count; /* of vectors of N */
  float learning_rate, momentum, weight_decay;
  const float *learning_rate_factor; /* NULL: 1 */
  const mpt_step_state *state;
};

template <int N> static __global__ void sgd(sgd_task t) {
  if (t.state->overflow)
    return;
  float scale = t.state->clip / t.state->loss_scale, rate = t.learning_rate;
  if (t.learning_rate_factor != NULL)
    rate *= *t.learning_rate_factor;
  int64_t step = (int64_t)gridDim.x * blockDim.x;
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < t.count; i += step) {
    float w[N], g[N], m[N];
    load_vector<Fp32, N>(t.weight + i * N, w);
    load_vector<Fp32, N>(t.gradient + i * N, g);
    if (t.momentum_buffer != NULL)
      load_vector<Fp32, N>(t.momentum_buffer + i * N, m);
#pragma unroll
    for (int k = 0; k < N; k++) {
      float slope = scale * g[k] + t.weight_decay * w[k];
      m[k] = t.momentum_buffer != NULL ? t.momentum * m[k] + slope : slope;
      w[k] -= rate * m[k];
    }
    if (t.momentum_buffer != NULL)
      store_vector<Fp32, N>(t.momentum_buffer + i * N, m);
    store_vector<Fp32, N>(t.weight + i * N, w);
  }
}

mpt_status mpt_cuda_sgd_step(mpt_queue *queue, mpt_t weight, mpt_t gradient, mpt_t momentum_buffer,
                             float learning_rate, const float *learning_rate_factor, float momentum,
                             float weight_decay, const mpt_step_state *state, mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  const int width = 4;
  sgd_task t = {(float *)weight->data,
                momentum_buffer != NULL ? (float *)momentum_buffer->data : NULL,
                (const float *)gradient->data,
                mpt_tensor_count(weight),
                learning_rate,
                momentum,
                weight_decay,
                learning_rate_factor,
                state};
  bool vectors = vectors_fit(weight, width) && vectors_fit(gradient, width) &&
                 (momentum_buffer == NULL || vectors_fit(momentum_buffer, width));
  if (vectors)
    t.count /= width;
  int64_t blocks = divide_up(t.count, THREADS), most = 8 * (int64_t)c->multiprocessors;
  unsigned grid = (unsigned)(blocks < most ? blocks : most);
  if (vectors)
    sgd<width><<<grid, THREADS, 0, c->stream>>>(t);
  else
    sgd<1><<<grid, THREADS, 0, c->stream>>>(t);
  return CUDA_LAUNCHED("sgd_step", error);
}
