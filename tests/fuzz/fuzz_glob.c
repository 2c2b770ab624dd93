/* The glob matcher against the C library's: the input is a glob, a line end, and a name.
 *
 * glibc's fnmatch tries bytes where characters do not match, so that "??" matches one character of
 * two bytes. It is asked in the C locale, about texts in which the characters that are not ASCII
 * are single bytes in the same order. What the two read differently is refused where globs are
 * read, and is not compared: sets that begin with '^', classes in brackets, an empty glob; nor what
 * is not UTF-8. */
#include "base/text.h"
#include "fuzz.h"
#include "policy/policy_data.h"
#include <fnmatch.h>
#include <string.h>

enum { MOST = 127 };

typedef struct alphabet {
  uint32_t characters[MOST]; /* beyond ASCII, in order */
  int count;
} alphabet;

static int by_value(const void *a, const void *b) {
  const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

/* False for what is not UTF-8, and for more characters than there are bytes. */
static bool gather(alphabet *all, const char *text) {
  while (*text != '\0') {
    uint32_t character;
    const size_t length = mpt_utf8_decode(text, &character);
    if (length == 0)
      return false;
    text += length;
    bool known = character < 0x80;
    for (int i = 0; i < all->count && !known; i++)
      known = all->characters[i] == character;
    if (!known && all->count == MOST)
      return false;
    if (!known)
      all->characters[all->count++] = character;
  }
  return true;
}

static void as_bytes(const alphabet *all, char *text) {
  char *out = text;
  while (*text != '\0') {
    uint32_t character;
    text += mpt_utf8_decode(text, &character);
    if (character < 0x80) {
      *out++ = (char)character;
      continue;
    }
    const uint32_t *found =
        bsearch(&character, all->characters, (size_t)all->count, sizeof *all->characters, by_value);
    FUZZ_REQUIRE(found != NULL);
    *out++ = (char)(0x80 + (found - all->characters));
  }
  *out = '\0';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *glob = malloc(size + 1), *end;
  FUZZ_REQUIRE(glob != NULL);
  memcpy(glob, data, size);
  glob[size] = '\0';
  if ((end = strchr(glob, '\n')) != NULL) {
    char *name = end + 1;
    alphabet all = {.count = 0};
    *end = '\0';
    const bool ours = mpt_glob_match(glob, name);
    if (mpt_policy_glob_problem(glob) == NULL && gather(&all, glob) && gather(&all, name)) {
      qsort(all.characters, (size_t)all.count, sizeof *all.characters, by_value);
      as_bytes(&all, glob);
      as_bytes(&all, name);
      const bool theirs = fnmatch(glob, name, FNM_NOESCAPE) == 0;
      if (ours != theirs) {
        fprintf(stderr, "%.*s\ndoes not hold: matches %d, and fnmatch says %d\n", (int)size,
                (const char *)data, ours, theirs);
        abort();
      }
    }
  }
  free(glob);
  return 0;
}
