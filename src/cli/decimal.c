#include "cli/decimal.h"
#include "base/error.h"
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 0.d0d1d2... times 10^point, d0 not 0; no digits: 0. */
typedef struct decimal {
  char *digits; /* 0 to 9, not '0' */
  long count, point;
} decimal;

/* Beyond a thousand million it does not matter how far. */
static long read_exponent(const char *text) {
  const bool negative = *text == '-';
  long exponent = 0;
  for (text += *text == '+' || *text == '-'; *text != '\0' && exponent < 1000000000; text++)
    exponent = 10 * exponent + (*text - '0');
  return negative ? -exponent : exponent;
}

static mpt_status read_decimal(const char *text, decimal *out, mpt_error *error) {
  *out = (decimal){.digits = malloc(strlen(text) + 1)};
  if (out->digits == NULL)
    return mpt_fail_memory(error, "the digits of a number", strlen(text) + 1);
  bool fraction = false;
  for (text += *text == '+' || *text == '-'; *text != '\0' && *text != 'e' && *text != 'E';
       text++) {
    if (*text == '.') {
      fraction = true;
      continue;
    }
    if (*text != '0' || out->count > 0)
      out->digits[out->count++] = (char)(*text - '0');
    out->point += fraction ? -(out->count == 0) : out->count > 0;
  }
  if (*text != '\0')
    out->point += read_exponent(text + 1);
  while (out->count > 0 && out->digits[out->count - 1] == 0)
    out->count--;
  return MPT_OK;
}

/* The digit that stands for 10^(-1 - place). */
static int digit_at(const decimal *d, long place) {
  const long i = place + d->point;
  return i >= 0 && i < d->count ? d->digits[i] : 0;
}

static long end_of(const decimal *d) {
  return d->count - d->point;
}

/* The number of its first digits, and the power of ten that it is to be multiplied with. */
static double leading(const char *digits, long count, long point, long *power) {
  double number = 0;
  long i = 0;
  for (; i < count && i < 17; i++)
    number = 10 * number + digits[i];
  *power = point - i;
  return number;
}

/* Of two numbers no more than some hundred places apart: |a - b| / a. */
static mpt_status quotient(const decimal *a, const decimal *b, double *relative, mpt_error *error) {
  const long first = -(a->point > b->point ? a->point : b->point);
  const long end = end_of(a) > end_of(b) ? end_of(a) : end_of(b), count = end - first;
  char *digits = calloc(1, (size_t)count);
  if (digits == NULL)
    return mpt_fail_memory(error, "the digits of a difference", (size_t)count);
  bool less = false;
  for (long i = first; i < end; i++)
    if (digit_at(a, i) != digit_at(b, i)) {
      less = digit_at(a, i) < digit_at(b, i);
      break;
    }
  int borrow = 0;
  for (long i = end - 1; i >= first; i--) {
    int digit = (less ? -1 : 1) * (digit_at(a, i) - digit_at(b, i)) - borrow;
    borrow = digit < 0;
    digits[i - first] = (char)(borrow ? digit + 10 : digit);
  }
  long skip = 0, power, of;
  while (skip < count && digits[skip] == 0)
    skip++;
  const double difference = leading(digits + skip, count - skip, -first - skip, &power);
  const double whole = leading(a->digits, a->count, a->point, &of);
  *relative = difference / whole * pow(10, (double)(power - of));
  if (difference > 0 && *relative < DBL_MIN)
    *relative = DBL_MIN; /* not nothing */
  free(digits);
  return MPT_OK;
}

mpt_status cli_relative_error(const char *value, float rounded, double *relative,
                              mpt_error *error) {
  char exact[160]; /* a float has at most 112 digits */
  decimal a = {0}, b = {0};
  mpt_status status = MPT_OK;
  *relative = isnan(rounded) ? NAN : INFINITY;
  if (!isfinite(rounded))
    return MPT_OK;
  snprintf(exact, sizeof exact, "%.120e", fabs((double)rounded));
  MPT_TRY(read_decimal(value, &a, error));
  MPT_TRY(read_decimal(exact, &b, error));
  if (a.count == 0 || b.count == 0) /* nothing, or all of it lost */
    *relative = a.count == 0 ? 0 : 1;
  else
    MPT_TRY(quotient(&a, &b, relative, error));
fail:
  free(a.digits);
  free(b.digits);
  return status;
}
