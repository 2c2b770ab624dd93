/* quantization_error: the sums of (round(x * 2^e) / 2^e - x)^2 and of x^2 over the finite elements,
 * in double. Blocks leave their sums and the last one adds them in order. */
#include "kernels/cuda/words.cuh"

enum { THREADS = 256, UNROLL = 2, BLOCKS = 4, TICKET = 2 };

struct error_sums {
  double error, signal;
};

template <class Y>
static __device__ __forceinline__ void add(error_sums &s, float x, float scale, double back) {
  if ((__float_as_uint(x) & 0x7FFFFFFFu) >= 0x7F800000u)
    return;
  double difference = (double)Y::load(Y::store(x * scale)) * back - (double)x;
  s.error = fma(difference, difference, s.error);
  s.signal = fma((double)x, (double)x, s.signal);
}

template <class X, class Y>
static __global__ void __launch_bounds__(THREADS)
    quantization_error(const void *x, word_walk w, float scale, double back, error_sums *of_blocks,
                       uint32_t *ticket, double *error, double *signal) {
  __shared__ double shared[32];
  error_sums s = {0, 0};
  each_word<UNROLL>(w, x, [&](const uint4 &word) {
    constexpr int n = 16 / (int)sizeof(typename X::stored);
    typename X::stored stored[n];
    memcpy(stored, &word, sizeof word);
#pragma unroll
    for (int i = 0; i < n; i++)
      add<Y>(s, X::load(stored[i]), scale, back);
  });
  each_of_rest<X>(w, x, [&](float value) { add<Y>(s, value, scale, back); });
  s.error = block_all(s.error, Sum(), 0.0, shared);
  s.signal = block_all(s.signal, Sum(), 0.0, shared);
  if (threadIdx.x == 0)
    of_blocks[blockIdx.x] = s;
  if (!is_last_block(ticket))
    return;
  s = {0, 0};
  for (unsigned i = threadIdx.x; i < gridDim.x; i += THREADS) {
    s.error += of_blocks[i].error;
    s.signal += of_blocks[i].signal;
  }
  s.error = block_all(s.error, Sum(), 0.0, shared);
  s.signal = block_all(s.signal, Sum(), 0.0, shared);
  if (threadIdx.x == 0) {
    *error = s.error;
    *signal = s.signal;
  }
}

template <class X>
static void run(cuda_context *c, mpt_t x, mpt_format format, int exponent, double *error,
                double *signal) {
  word_walk w = walk_words(x);
  unsigned blocks = walk_blocks(c, &w, THREADS, UNROLL, BLOCKS);
  float scale = ldexpf(1.0f, exponent);
  double back = ldexp(1.0, -exponent);
  DISPATCH_ALL(
      format, Y,
      (quantization_error<X, Y><<<blocks, THREADS, 0, c->stream>>>(
          x->data, w, scale, back, (error_sums *)c->scratch, c->tickets + TICKET, error, signal)))
}

mpt_status mpt_cuda_quantization_error(mpt_queue *queue, mpt_t x, mpt_format format,
                                       int scale_exponent, double *error_squared,
                                       double *signal_squared, mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  DISPATCH_STORED(x->format, X,
                  (run<X>(c, x, format, scale_exponent, error_squared, signal_squared)))
  return CUDA_LAUNCHED("quantization_error", error);
}
