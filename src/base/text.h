/* A growing string. Zero-initialise it; free with mpt_text_free. A failed allocation is remembered
 * in `failed` and makes later calls do nothing, so that a writer checks once, at the end. */
#ifndef MPT_BASE_TEXT_H
#define MPT_BASE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mpt_text {
  char *data; /* NUL-terminated once anything was added */
  size_t length, capacity;
  bool failed;
  bool lent; /* mpt_text_over: does not grow, is not freed */
} mpt_text;

/* A text in the caller's memory, of which it fills at most `size` bytes, its NUL included. What
 * has a bounded length need not fail for lack of memory. */
mpt_text mpt_text_over(char *memory, size_t size);

void mpt_text_add(mpt_text *text, const char *string);
void mpt_text_add_bytes(mpt_text *text, const char *bytes, size_t length);
void mpt_text_addf(mpt_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void mpt_text_free(mpt_text *text);

/* A number as policies are written: a point and a signed exponent of two digits, "1.2e-03", the
 * fewest digits that read back the same; "nan" and "inf" as YAML writes them, ".nan", ".inf". */
void mpt_text_add_number(mpt_text *text, double value);

/* The character that a string begins with: its bytes, 0 when they are not UTF-8 or at the end. */
size_t mpt_utf8_decode(const char *text, uint32_t *character);
bool mpt_utf8_valid(const char *text);

/* The known word nearest to `word` by edit distance, NULL when none is near: for hints. */
const char *mpt_nearest_word(const char *word, const char *const *known, size_t count);

#endif
