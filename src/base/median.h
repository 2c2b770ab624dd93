/* The middle of measured values. */
#ifndef MPT_BASE_MEDIAN_H
#define MPT_BASE_MEDIAN_H

#include <stdint.h>

/* The median of `count` numbers, which it sorts: of an even count the mean of the two in the
 * middle, NaN of none. */
double mpt_median(double *values, int64_t count);

#endif
