/* What is counted of a tensor's magnitudes, word by word. */
#ifndef MPT_KERNELS_CUDA_TALLY_CUH
#define MPT_KERNELS_CUDA_TALLY_CUH

#include "kernels/cuda/words.cuh"

/* The least stored magnitude that is not finite. */
template <class T> struct Odd;
template <> struct Odd<Fp32> { static constexpr uint32_t least = 0x7F800000; };
template <> struct Odd<Bf16> { static constexpr uint32_t least = 0x7F80; };
template <> struct Odd<Fp16> { static constexpr uint32_t least = 0x7C00; };
template <> struct Odd<E4m3> { static constexpr uint32_t least = 0x7F; };
template <> struct Odd<E5m2> { static constexpr uint32_t least = 0x7C; };

/* Of a thread (32 bits count what one sees), of a block, of all. `least` is the smallest magnitude
 * - 1: zero comes last. */
template <class Count> struct tally_of {
  Count zeros, nans, infinities;
  uint32_t most, least;
  double sum, squares;
};
typedef tally_of<uint32_t> tally;
typedef tally_of<uint64_t> long_tally;
#define EMPTY_TALLY                                                                                \
  { 0, 0, 0, 0, 0xFFFFFFFFu, 0, 0 }

/* Extremes as they are stored, in one or two lanes; the least is of what is not zero. */
struct lane_extremes {
  uint32_t most, least;
};

static __device__ __forceinline__ void count_odd(tally &t, uint32_t bits) {
  t.nans += bits > 0x7F800000u;
  t.infinities += bits == 0x7F800000u;
}

/* Tallies one value. */
static __device__ __forceinline__ void tally_value(tally &t, float x) {
  uint32_t bits = __float_as_uint(x) & 0x7FFFFFFFu;
  t.zeros += bits == 0;
  count_odd(t, bits);
  t.most = max(t.most, bits);
  t.least = min(t.least, bits - 1);
}

/* Counts the zeros in N registers of magnitudes and returns the least of the others, all bits set
 * where there is none. */
template <class T, int N>
static __device__ __forceinline__ uint32_t count_zeros(tally &t, const uint32_t (&m)[N]) {
  uint32_t pairs = 0, least = 0xFFFFFFFFu;
#pragma unroll
  for (int i = 0; i < N; i++) {
    if (Lanes<T>::size == 4) {
      pairs += m[i] == 0;
      least = min(least, m[i] == 0 ? 0xFFFFFFFFu : m[i]);
    } else { /* as fp16 magnitudes: only that of zero equals it */
      __half2 halves;
      memcpy(&halves, &m[i], sizeof halves);
      uint32_t zero = __heq2_mask(halves, __half2half2(__ushort_as_half(0)));
      pairs += zero & 0x00010001u;
      least = __vminu2(least, m[i] | zero);
    }
  }
  t.zeros += Lanes<T>::size == 4 ? pairs : (pairs & 0xFFFFu) + (pairs >> 16);
  return least;
}

/* Tallies the magnitudes in N registers and returns the largest, as stored. Their extremes say
 * whether there is anything else to count among them. */
template <class T, int N>
static __device__ __forceinline__ uint32_t tally_magnitudes(tally &t, const uint32_t (&m)[N],
                                                            lane_extremes &lanes) {
  uint32_t largest = m[0], least = m[0];
#pragma unroll
  for (int i = 1; i < N; i++) {
    largest = Lanes<T>::larger(largest, m[i]);
    least = Lanes<T>::smaller(least, m[i]);
  }
  if (Lanes<T>::smallest(least) == 0)
    least = count_zeros<T>(t, m);
  lanes.least = Lanes<T>::smaller(lanes.least, least);
  lanes.most = Lanes<T>::larger(lanes.most, largest);
  largest = Lanes<T>::largest(largest);
  if (largest >= Odd<T>::least)
#pragma unroll
    for (int i = 0; i < N; i++) {
      if (Lanes<T>::size == 4) {
        count_odd(t, m[i]);
      } else {
        count_odd(t, Lanes<T>::widen(m[i] & 0xFFFFu));
        count_odd(t, Lanes<T>::widen(m[i] >> 16));
      }
    }
  return largest;
}

template <class T>
static __device__ __forceinline__ uint32_t tally_word(tally &t, const uint4 &word,
                                                      lane_extremes &lanes) {
  uint32_t m[Lanes<T>::registers];
  Lanes<T>::split(word, m);
  return tally_magnitudes<T>(t, m, lanes);
}

/* Adds the extremes of lanes, as those of fp32. */
template <class T>
static __device__ __forceinline__ void take_extremes(tally &t, const lane_extremes &lanes) {
  uint32_t smallest = Lanes<T>::smallest(lanes.least);
  t.most = max(t.most, Lanes<T>::widen(Lanes<T>::largest(lanes.most)));
  if (smallest != (Lanes<T>::size == 4 ? 0xFFFFFFFFu : 0xFFFFu))
    t.least = min(t.least, Lanes<T>::widen(smallest) - 1);
}

/* Adds a tally of `count` elements to what other blocks add to at the same time. One thread, which
 * does not wait: nothing comes back from these. */
static __device__ __forceinline__ void add_tally(const long_tally &t, uint64_t count, mpt_lite *s) {
  const uint64_t counts[4] = {count, t.zeros, t.nans, t.infinities};
  uint64_t *const places[4] = {&s->count, &s->zeros, &s->nans, &s->infinities};
#pragma unroll
  for (int i = 0; i < 4; i++)
    if (counts[i] != 0)
      atomicAdd((unsigned long long *)places[i], (unsigned long long)counts[i]);
  atomicMax(&s->amax_bits, t.most);
  atomicMax(&s->amin_negated, ~t.least); /* -(least + 1) */
}

#endif
