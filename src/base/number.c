#include "base/number.h"
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t digits(const char *text, size_t length, size_t at) {
  const size_t first = at;
  while (at < length && text[at] >= '0' && text[at] <= '9')
    at++;
  return at - first;
}

static size_t sign(const char *text, size_t length, size_t at) {
  return at < length && (text[at] == '+' || text[at] == '-');
}

/* C's readers take hexadecimal numbers, blanks, "inf" and "nan" besides: so the form comes first.
 */
static bool well_formed(const char *text, size_t length) {
  size_t at = sign(text, length, 0);
  size_t whole = digits(text, length, at), fraction = 0;
  at += whole;
  if (at < length && text[at] == '.') {
    fraction = digits(text, length, ++at);
    at += fraction;
  }
  if (whole + fraction == 0)
    return false;
  if (at < length && (text[at] == 'e' || text[at] == 'E')) {
    at++;
    at += sign(text, length, at);
    const size_t exponent = digits(text, length, at);
    if (exponent == 0)
      return false;
    at += exponent;
  }
  return at == length;
}

/* At most 15 digits without an exponent, as tables are full of: digits and power are exact, so that
 * their quotient is rounded once, as strtod rounds, in a tenth of its time. */
static bool read_short(const char *text, size_t length, double *value) {
  static const double powers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                  1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
  const size_t first = sign(text, length, 0);
  const size_t whole = digits(text, length, first), point = first + whole;
  const size_t fraction = point < length ? digits(text, length, point + 1) : 0;
  if (whole + fraction == 0 || whole + fraction > 15)
    return false;
  if (point < length && (text[point] != '.' || point + 1 + fraction != length))
    return false;
  int64_t all = 0;
  for (size_t i = first; i < length; i++)
    if (i != point)
      all = 10 * all + (text[i] - '0');
  const double number = (double)all / powers[fraction];
  *value = text[0] == '-' ? -number : number;
  return true;
}

bool mpt_number_read(const char *text, size_t length, double *value) {
  if (read_short(text, length, value))
    return true;
  if (!well_formed(text, length))
    return false;
  char *end = NULL;
  /* glibc's "C" locale is static: this neither allocates nor fails. */
  locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  const double number = strtod_l(text, &end, c);
  freelocale(c);
  if (end != text + length || !isfinite(number))
    return false;
  *value = number;
  return true;
}

bool mpt_float_read(const char *text, size_t length, float *value) {
  double number;
  if (!mpt_number_read(text, length, &number))
    return false;
  locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  *value = strtof_l(text, NULL, c); /* rounding the double would round twice */
  freelocale(c);
  return true;
}

bool mpt_integer_read(const char *text, size_t length, int64_t *value) {
  const size_t first = sign(text, length, 0);
  const bool negative = first == 1 && text[0] == '-';
  if (digits(text, length, first) == 0 || digits(text, length, first) != length - first)
    return false;
  int64_t number = 0; /* downwards, since -2^63 has no positive twin */
  for (size_t i = first; i < length; i++)
    if (__builtin_mul_overflow(number, 10, &number) ||
        __builtin_sub_overflow(number, text[i] - '0', &number))
      return false;
  if (!negative && number == INT64_MIN)
    return false;
  *value = negative ? number : -number;
  return true;
}
