/* dropout: y = x keep / (1 - p): element i is kept when word i % 4 of the i / 4-th block of Philox
 * numbers, as a uniform number on (0, 1], is above p. */
#include "base/random.h"
#include "kernels/cuda/map.cuh"

struct Drop {
  static constexpr int inputs = 1;
  mpt_dropout_key key;
  float scale;
  uint32_t threshold; /* words below it are dropped */
  /* Where four neighbours are computed together, they share their block of numbers. */
  __device__ __forceinline__ float operator()(float x, float, int64_t i) const {
    uint32_t words[4];
    mpt_philox(key.seed, (uint64_t)(i / 4) | (uint64_t)key.layer << 40, key.step, words);
    uint32_t low = i & 1 ? words[1] : words[0], high = i & 1 ? words[3] : words[2];
    return (i & 2 ? high : low) >= threshold ? x * scale : 0.0f;
  }
};

mpt_status mpt_cuda_dropout(mpt_queue *queue, mpt_t x, float probability, mpt_dropout_key key,
                            mpt_t y, mpt_error *error) {
  /* (word + 1) / 2^32 > p  when  word >= floor(p 2^32) */
  Drop drop = {key, 1.0f / (1.0f - probability),
               (uint32_t)(uint64_t)((double)probability * 4294967296.0)};
  map(cuda_of(queue), drop, x, x, y);
  return CUDA_LAUNCHED("dropout", error);
}
