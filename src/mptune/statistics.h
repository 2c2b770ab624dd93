/* What the instrumented kernels collect of one tensor, and what follows from it. */
#ifndef MPTUNE_STATISTICS_H
#define MPTUNE_STATISTICS_H

#include "mptune/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MPT_EXPONENT_BINS 256

/* Counts, extremes and histogram are bit-identical on every backend; the sums are repeatable on
 * each and within 1e-6 relative (of sum |x| and sum x^2) across them. */
typedef struct mpt_statistics {
  uint64_t count;
  uint64_t zeros; /* of either sign */
  uint64_t nans;
  uint64_t infinities;
  uint32_t amax_bits; /* integer maximum over magnitude bits: sees Inf and NaN */
  uint32_t amin_bits; /* integer minimum over non-zero magnitude bits; 0 when there are none */
  bool full;          /* whether what follows was collected */
  double sum;         /* of the finite elements */
  double sum_of_squares;
  uint64_t histogram[MPT_EXPONENT_BINS]; /* by biased fp32 exponent; [0] zeros and subnormals,
                                            [255] Inf and NaN */
} mpt_statistics;

/* Counts and extremes while they are collected, by many at once: zeros to begin with, and every
 * member only grows. */
typedef struct mpt_lite {
  uint64_t count, zeros, nans, infinities;
  uint32_t amax_bits;
  uint32_t amin_negated; /* 2^32 - amin_bits, 0 when there are none */
} mpt_lite;
MPT_API mpt_statistics mpt_lite_statistics(const mpt_lite *lite);

/* What becomes of the values in a format at scale 2^scale_exponent, as the cast counts it: exact
 * outside the binades that hold a limit, and inside them a lower and an upper bound. */
typedef struct mpt_range_counts {
  uint64_t overflow_low, overflow_high;   /* magnitude above the format's rounding limit; Inf */
  uint64_t subnormal_low, subnormal_high; /* below min normal, above what rounds to zero */
  uint64_t vanish_low, vanish_high;       /* non-zero, rounds to zero */
} mpt_range_counts;

/* Needs full statistics and a scale exponent within +-126 (MPT_ERROR_ARGUMENT otherwise). */
MPT_API mpt_status mpt_statistics_range(const mpt_statistics *statistics, mpt_format format,
                                        int scale_exponent, mpt_range_counts *counts,
                                        mpt_error *error);

/* amax as a float: may be Inf or NaN. */
MPT_API float mpt_statistics_amax(const mpt_statistics *statistics);

/* Binades between the smallest and largest non-zero finite magnitudes, 0 when there are none. Where
 * amax is not finite the upper end of the largest binade in use stands for it (0 unless full). */
MPT_API double mpt_statistics_dynamic_range(const mpt_statistics *statistics);

/* Adds `from` to `into`, as if both tensors had been one: full when both are. Zeroed statistics are
 * those of an empty tensor. */
MPT_API void mpt_statistics_merge(mpt_statistics *into, const mpt_statistics *from);

/* The power-of-two scale exponent of an fp8 tensor: floor(log2(max_finite / amax)) - margin,
 * clamped to +-126; 0 for a zero or non-finite amax. */
MPT_API int mpt_scale_exponent(mpt_format format, uint32_t amax_bits, int margin);

#ifdef __cplusplus
}
#endif
#endif
