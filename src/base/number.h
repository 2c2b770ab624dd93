/* The one reader of the numbers that people write: in workloads, policies and profiles, in csv
 * files, on the command line.
 *
 * A number is decimal, with a point in every locale: [+-] digits [. digits] [e [+-] digits], at
 * least one digit before the exponent. A whole number is [+-] digits. So 5, +5, 007, .5, 5. and
 * 1e3 are numbers, and 5, +5 and 007 whole ones; 0x10, nan, inf, 1_000, "1,5", 5f, "" and blanks
 * around a number are refused, and so is what lies beyond the largest double, or a whole number of
 * more than 64 bits. What lies below the smallest double is 0. */
#ifndef MPT_BASE_NUMBER_H
#define MPT_BASE_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether all of `length` bytes are one number; *value is left alone when they are not. A byte
 * stands behind them: a NUL, or another that could not go on with a number. */
bool mpt_number_read(const char *text, size_t length, double *value);
/* The same rounded to fp32, once: infinite beyond the largest float. */
bool mpt_float_read(const char *text, size_t length, float *value);
bool mpt_integer_read(const char *text, size_t length, int64_t *value);

#endif
