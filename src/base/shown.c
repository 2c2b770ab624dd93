#include "base/shown.h"
#include <string.h>

/* C0, DEL and C1; the separators of lines and paragraphs; what turns the direction of text. */
static bool escaped(uint32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029 || c == 0x200E ||
         c == 0x200F || c == 0x061C || (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

static mpt_shown escape(uint32_t c) {
  mpt_shown shown;
  const char *const letters = "abtnvfr"; /* 7 to 13 */
  if (c >= 7 && c <= 13)
    snprintf(shown.bytes, sizeof shown.bytes, "\\%c", letters[c - 7]);
  else if (c < 0x100)
    snprintf(shown.bytes, sizeof shown.bytes, "\\x%02x", (unsigned)c);
  else
    snprintf(shown.bytes, sizeof shown.bytes, "\\u%04x", (unsigned)c & 0xFFFF);
  return shown;
}

mpt_shown mpt_shown_next(const char **text) {
  mpt_shown shown = {""};
  uint32_t character;
  const size_t length = mpt_utf8_decode(*text, &character);
  if (**text == '\0')
    return shown;
  if (length == 0) {
    memcpy(shown.bytes, "\xEF\xBF\xBD", 4);
    ++*text;
    return shown;
  }
  if (escaped(character))
    shown = escape(character);
  else
    memcpy(shown.bytes, *text, length);
  *text += length;
  return shown;
}

void mpt_text_add_shown(mpt_text *text, const char *string) {
  while (*string != '\0')
    mpt_text_add(text, mpt_shown_next(&string).bytes);
}

void mpt_print_shown(FILE *to, const char *string) {
  while (*string != '\0')
    fputs(mpt_shown_next(&string).bytes, to);
}

int mpt_shown_width(const mpt_shown *shown) {
  return (unsigned char)shown->bytes[0] < 0x80 ? (int)strlen(shown->bytes) : 1;
}

int mpt_shown_columns(const char *string) {
  int columns = 0;
  while (*string != '\0') {
    const mpt_shown shown = mpt_shown_next(&string);
    columns += mpt_shown_width(&shown);
  }
  return columns;
}

void mpt_text_add_utf8(mpt_text *text, const char *string) {
  while (*string != '\0') {
    uint32_t character;
    const size_t length = mpt_utf8_decode(string, &character);
    if (length == 0)
      mpt_text_add(text, "\xEF\xBF\xBD");
    else
      mpt_text_add_bytes(text, string, length);
    string += length == 0 ? 1 : length;
  }
}

static bool printable(const char *word) {
  while (*word != '\0') {
    uint32_t character;
    const size_t length = mpt_utf8_decode(word, &character);
    if (length == 0 || escaped(character))
      return false;
    word += length;
  }
  return true;
}

/* $'...': every byte that is not printable ASCII by its number, in octal: what follows is then
 * never taken for a part of it. */
static void add_numbered(mpt_text *text, const char *word) {
  mpt_text_add(text, "$'");
  for (const char *c = word; *c != '\0'; c++) {
    const unsigned char byte = (unsigned char)*c;
    if (byte == '\'' || byte == '\\')
      mpt_text_addf(text, "\\%c", byte);
    else if (byte >= 0x20 && byte < 0x7F)
      mpt_text_add_bytes(text, c, 1);
    else
      mpt_text_addf(text, "\\%03o", byte);
  }
  mpt_text_add(text, "'");
}

void mpt_text_add_shell(mpt_text *text, const char *word) {
  if (!printable(word)) {
    add_numbered(text, word);
    return;
  }
  if (word[0] != '\0' && strpbrk(word, " '\"\\$*?[]{}&|;<>()#~`!") == NULL) {
    mpt_text_add(text, word);
    return;
  }
  mpt_text_add(text, "'");
  for (const char *c = word; *c != '\0'; c++)
    if (*c == '\'')
      mpt_text_add(text, "'\\''"); /* ends the quotes, a quote, begins them again */
    else
      mpt_text_add_bytes(text, c, 1);
  mpt_text_add(text, "'");
}

size_t mpt_utf8_cut(const char *string, size_t most) {
  size_t used = 0;
  while (string[used] != '\0') {
    uint32_t character;
    const size_t length = mpt_utf8_decode(string + used, &character);
    const size_t step = length == 0 ? 1 : length;
    if (used + step > most)
      break;
    used += step;
  }
  return used;
}

void mpt_utf8_trim(char *text) {
  const size_t length = strlen(text);
  for (size_t back = 1; back <= 3 && back <= length; back++) {
    const unsigned char lead = (unsigned char)text[length - back];
    if ((lead & 0xC0) == 0x80) /* inside a character: its beginning is further back */
      continue;
    const size_t needed = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (needed > back)
      text[length - back] = '\0';
    return;
  }
}

void mpt_copy_text(char *to, size_t size, const char *string) {
  const size_t length = mpt_utf8_cut(string, size - 1);
  memcpy(to, string, length);
  to[length] = '\0';
}
