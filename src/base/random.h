/* Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): the random
 * numbers of (key, counter), so that element i of step s of seed k is the same whatever else was
 * drawn, on every backend. */
#ifndef MPT_BASE_RANDOM_H
#define MPT_BASE_RANDOM_H

#include <stdint.h>

#ifdef __CUDACC__
#define MPT_RANDOM static __host__ __device__ inline
#else
#define MPT_RANDOM static inline
#endif

MPT_RANDOM void mpt_philox(uint64_t key, uint64_t counter_low, uint64_t counter_high,
                           uint32_t out[4]) {
  uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
  uint32_t c0 = (uint32_t)counter_low, c1 = (uint32_t)(counter_low >> 32);
  uint32_t c2 = (uint32_t)counter_high, c3 = (uint32_t)(counter_high >> 32);
  for (int round = 0; round < 10; round++) {
    uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
    uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
    c1 = (uint32_t)p1;
    c3 = (uint32_t)p0;
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* Uniform on (0, 1], from 32 random bits. */
static inline double mpt_uniform(uint32_t bits) {
  return ((double)bits + 1.0) / 4294967296.0;
}

/* A standard normal number: Box-Muller on words of mpt_philox(key, index, stream). */
double mpt_normal(uint64_t key, uint64_t index, uint64_t stream);

#endif
