/* Globs of layer names: a subset of shell patterns that C, Python and people read alike. */
#include "policy/policy_data.h"
#include <string.h>

/* The character at `text`, and past it; a byte that is not UTF-8 stands for itself. */
static uint32_t next_character(const char **text) {
  uint32_t character = (unsigned char)**text;
  const size_t length = mpt_utf8_decode(*text, &character);
  *text += length == 0 ? 1 : length;
  return character;
}

/* The ']' that closes the set after '[', NULL when there is none. A ']' that comes first is a
 * member. */
static const char *set_end(const char *set) {
  if (*set == '!')
    set++;
  if (*set == ']')
    set++;
  return strchr(set, ']');
}

static bool set_holds(const char *set, const char *end, uint32_t character) {
  const bool negated = *set == '!';
  bool found = false;
  if (negated)
    set++;
  while (set < end) {
    const uint32_t low = next_character(&set);
    uint32_t high = low;
    if (*set == '-' && set + 1 < end) {
      set++;
      high = next_character(&set);
    }
    found = found || (low <= character && character <= high);
  }
  return found != negated;
}

/* Whether the next piece of the glob, not '*', takes the next character; moves past both. */
static bool take_one(const char **glob, const char **name) {
  const char *end = **glob == '[' ? set_end(*glob + 1) : NULL;
  if (**name == '\0' || **glob == '\0')
    return false;
  if (end != NULL) {
    const char *set = *glob + 1;
    *glob = end + 1;
    return set_holds(set, end, next_character(name));
  }
  const bool any = **glob == '?';
  const uint32_t wanted = next_character(glob), character = next_character(name);
  return any || wanted == character;
}

/* A mismatch goes back to the last '*', which then takes one character more: earlier ones need not
 * be tried again. */
bool mpt_glob_match(const char *glob, const char *name) {
  const char *after_star = NULL, *retry = NULL;
  while (*name != '\0' || *glob != '\0') {
    if (*glob == '*') {
      after_star = ++glob;
      retry = name;
      continue;
    }
    if (take_one(&glob, &name))
      continue;
    if (after_star == NULL || *retry == '\0')
      return false;
    next_character(&retry);
    glob = after_star;
    name = retry;
  }
  return true;
}

const char *mpt_policy_glob_problem(const char *glob) {
  if (glob[0] == '\0')
    return "an empty glob matches no layer";
  for (const char *open = strchr(glob, '['); open != NULL; open = strchr(open, '[')) {
    const char *end = set_end(open + 1);
    if (open[1] == '^')
      return "C and Python read '[^' differently; write '[!'";
    for (const char *inner = open + 1; end != NULL && inner < end; inner++)
      if (inner[0] == '[' && strchr(":.=", inner[1]) != NULL && inner + 1 < end)
        return "C and Python read classes such as '[[:digit:]]' differently; write '[0-9]'";
    open = end == NULL ? open + 1 : end + 1;
  }
  return NULL;
}
