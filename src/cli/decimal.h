/* What rounding does to a number as it is written. */
#ifndef DECIMAL_H
#define DECIMAL_H

#include "mptune/status.h"

/* |rounded - value| / |value|, where `value` is a decimal number (base/number.h): every digit of it
 * counts, and the two are subtracted in decimal, exactly; only the quotient is rounded. 0 when both
 * are 0, infinite when `rounded` is, NaN when it is. MPT_ERROR_MEMORY. */
mpt_status cli_relative_error(const char *value, float rounded, double *relative, mpt_error *error);

#endif
