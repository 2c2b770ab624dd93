/* amax: the integer maximum over magnitude bits, which cannot lose a NaN; scale_measure, which sets
 * a scale from it where it was found; and scale_from_lite, where the tensor's writer found it. */
#include "kernels/cuda/words.cuh"
#include "kernels/step_rules.h"

enum { THREADS = 256, UNROLL = 4, BLOCKS = 8, TICKET = 0 };

/* Each block leaves its maximum; the last one to end has the tensor's. A scale that does not follow
 * from the tensor is known at once, so that a recorded step may ask each time it runs. */
template <class T>
static __global__ void __launch_bounds__(THREADS)
    amax(const void *x, word_walk w, uint32_t *of_blocks, uint32_t *ticket, uint32_t *amax_bits,
         mpt_scale *scale) {
  __shared__ uint32_t shared[32];
  uint32_t most = 0, bits;
  if (scale != NULL && !rule_scale_is_own(scale))
    return;
  each_word<UNROLL>(w, x, [&](const uint4 &word) {
    uint32_t m[Lanes<T>::registers];
    Lanes<T>::split(word, m);
#pragma unroll
    for (int i = 0; i < Lanes<T>::registers; i++)
      most = Lanes<T>::larger(most, m[i]);
  });
  bits = Lanes<T>::widen(Lanes<T>::largest(most));
  each_of_rest<T>(w, x,
                  [&](float value) { bits = max(bits, __float_as_uint(value) & 0x7FFFFFFFu); });
  bits = block_all(bits, Max(), 0u, shared);
  if (threadIdx.x == 0)
    of_blocks[blockIdx.x] = bits;
  if (!is_last_block(ticket))
    return;
  bits = 0;
  for (unsigned i = threadIdx.x; i < gridDim.x; i += THREADS)
    bits = max(bits, of_blocks[i]);
  bits = block_all(bits, Max(), 0u, shared);
  if (threadIdx.x == 0 && amax_bits != NULL)
    *amax_bits = bits;
  if (threadIdx.x == 0 && scale != NULL)
    rule_scale_measured(scale, bits);
}

static void run(cuda_context *c, mpt_t x, uint32_t *amax_bits, mpt_scale *scale) {
  word_walk w = walk_words(x);
  unsigned blocks = walk_blocks(c, &w, THREADS, UNROLL, BLOCKS);
  DISPATCH_STORED(x->format, T,
                  (amax<T><<<blocks, THREADS, 0, c->stream>>>(
                      x->data, w, (uint32_t *)c->scratch, c->tickets + TICKET, amax_bits, scale)))
}

mpt_status mpt_cuda_amax(mpt_queue *queue, mpt_t x, uint32_t *amax_bits, mpt_error *error) {
  run(cuda_of(queue), x, amax_bits, NULL);
  return CUDA_LAUNCHED("amax", error);
}

mpt_status mpt_cuda_scale_measure(mpt_queue *queue, mpt_t x, mpt_scale *scale, mpt_error *error) {
  run(cuda_of(queue), x, NULL, scale);
  return CUDA_LAUNCHED("scale_measure", error);
}

static __global__ void take_amax(const mpt_lite *lite, mpt_scale *scale) {
  rule_scale_measured(scale, lite->amax_bits);
}

mpt_status mpt_cuda_scale_from_lite(mpt_queue *queue, const mpt_lite *lite, mpt_scale *scale,
                                    mpt_error *error) {
  take_amax<<<1, 1, 0, cuda_of(queue)->stream>>>(lite, scale);
  return CUDA_LAUNCHED("scale_from_lite", error);
}
