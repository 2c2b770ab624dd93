#include "base/text.h"
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for `more` bytes and a NUL. */
static bool reserve(mpt_text *text, size_t more) {
  if (text->failed)
    return false;
  if (text->length + more < text->capacity)
    return true;
  if (text->lent) {
    text->failed = true;
    return false;
  }
  size_t capacity = 2 * text->capacity + more + 64;
  char *grown = realloc(text->data, capacity);
  if (grown == NULL) {
    text->failed = true;
    return false;
  }
  text->data = grown;
  text->capacity = capacity;
  return true;
}

void mpt_text_add_bytes(mpt_text *text, const char *bytes, size_t length) {
  if (!reserve(text, length))
    return;
  memcpy(text->data + text->length, bytes, length);
  text->length += length;
  text->data[text->length] = '\0';
}

void mpt_text_add(mpt_text *text, const char *string) {
  mpt_text_add_bytes(text, string, strlen(string));
}

void mpt_text_addf(mpt_text *text, const char *format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  const int length = vsnprintf(NULL, 0, format, arguments);
  if (length >= 0 && reserve(text, (size_t)length)) {
    vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
    text->length += (size_t)length;
  }
  va_end(again);
  va_end(arguments);
}

mpt_text mpt_text_over(char *memory, size_t size) {
  memory[0] = '\0';
  return (mpt_text){.data = memory, .capacity = size, .lent = true};
}

void mpt_text_free(mpt_text *text) {
  if (!text->lent)
    free(text->data);
  *text = (mpt_text){0};
}

/* The fewest digits that read back the same. */
static void shortest(double value, char *digits, size_t size) {
  locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0), before = uselocale(c);
  for (int precision = 0; precision < 17; precision++) {
    snprintf(digits, size, "%.*e", precision, value);
    if (strtod(digits, NULL) == value)
      break;
  }
  uselocale(before);
  freelocale(c);
}

void mpt_text_add_number(mpt_text *text, double value) {
  if (isnan(value)) {
    mpt_text_add(text, ".nan");
    return;
  }
  if (isinf(value)) {
    mpt_text_add(text, value < 0 ? "-.inf" : ".inf");
    return;
  }
  char digits[40];
  shortest(value, digits, sizeof digits);
  /* A point always: YAML 1.1 readers take 1e-3 for a string. */
  char *exponent = strchr(digits, 'e');
  if (memchr(digits, '.', (size_t)(exponent - digits)) == NULL)
    mpt_text_addf(text, "%.*s.0%s", (int)(exponent - digits), digits, exponent);
  else
    mpt_text_add(text, digits);
}

size_t mpt_utf8_decode(const char *text, uint32_t *character) {
  const unsigned char *s = (const unsigned char *)text;
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  if (s[0] < 0x80) {
    *character = s[0];
    return s[0] != '\0';
  }
  const size_t length = s[0] >= 0xF8   ? 0
                        : s[0] >= 0xF0 ? 4
                        : s[0] >= 0xE0 ? 3
                        : s[0] >= 0xC0 ? 2
                                       : 0;
  if (length == 0)
    return 0;
  uint32_t value = s[0] & (0x7Fu >> length);
  for (size_t i = 1; i < length; i++) {
    if ((s[i] & 0xC0) != 0x80)
      return 0;
    value = value << 6 | (s[i] & 0x3Fu);
  }
  if (value < least[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
    return 0;
  *character = value;
  return length;
}

bool mpt_utf8_valid(const char *text) {
  while (*text != '\0') {
    uint32_t character;
    const size_t length = mpt_utf8_decode(text, &character);
    if (length == 0)
      return false;
    text += length;
  }
  return true;
}

/* Levenshtein distance with a row of at most 63 columns; far apart when longer. */
static size_t edit_distance(const char *a, const char *b) {
  const size_t n = strlen(a), m = strlen(b);
  size_t row[64];
  if (n > 63 || m > 63)
    return 64;
  for (size_t j = 0; j <= m; j++)
    row[j] = j;
  for (size_t i = 1; i <= n; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= m; j++) {
      const size_t above = row[j];
      size_t best = diagonal + (a[i - 1] != b[j - 1]);
      if (row[j] + 1 < best)
        best = row[j] + 1;
      if (row[j - 1] + 1 < best)
        best = row[j - 1] + 1;
      row[j] = best;
      diagonal = above;
    }
  }
  return row[m];
}

const char *mpt_nearest_word(const char *word, const char *const *known, size_t count) {
  const char *nearest = NULL;
  size_t least = 3; /* two mistakes at most, and fewer than half of the letters */
  for (size_t i = 0; i < count; i++) {
    const size_t distance = edit_distance(word, known[i]);
    if (distance < least && 2 * distance <= strlen(known[i])) {
      least = distance;
      nearest = known[i];
    }
  }
  return nearest;
}
