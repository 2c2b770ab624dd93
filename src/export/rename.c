#include "base/error.h"
#include "export/export.h"
#include <regex.h>
#include <stdlib.h>
#include <string.h>

enum { GROUPS = 10 };

typedef struct rename_rule {
  regex_t pattern;
  char *replacement;
} rename_rule;

/* The text up to the delimiter, which "\DELIMITER" stands for inside; NULL where it does not end or
 * there is no memory. *end is behind the delimiter. */
static char *part_of(const char *text, char delimiter, const char **end) {
  char *part = malloc(strlen(text) + 1), *to = part;
  if (part == NULL)
    return NULL;
  while (*text != '\0' && *text != delimiter) {
    if (*text == '\\' && text[1] == delimiter)
      text++;
    else if (*text == '\\' && text[1] != '\0')
      *to++ = *text++;
    *to++ = *text++;
  }
  *to = '\0';
  if (*text == delimiter) {
    *end = text + 1;
    return part;
  }
  free(part);
  return NULL;
}

static mpt_status read_rule(const char *text, rename_rule *rule, mpt_error *error) {
  const char *end = NULL;
  char *pattern = NULL;
  rule->replacement = NULL;
  if (text[0] == 's' && text[1] != '\0' && text[1] != '\\') {
    pattern = part_of(text + 2, text[1], &end);
    if (pattern != NULL)
      rule->replacement = part_of(end, text[1], &end);
  }
  if (rule->replacement == NULL || *end != '\0') {
    free(pattern);
    free(rule->replacement);
    return mpt_fail(error, MPT_ERROR_SYNTAX,
                    "'%s' renames nothing; a rule is s/REGEX/REPLACEMENT/, as in "
                    "'s/^blocks[.]/decoder.layers./'",
                    text);
  }
  const int code = regcomp(&rule->pattern, pattern, REG_EXTENDED);
  free(pattern);
  if (code == 0)
    return MPT_OK;
  char why[100];
  regerror(code, &rule->pattern, why, sizeof why);
  free(rule->replacement);
  return mpt_fail(error, MPT_ERROR_SYNTAX, "'%s': not a regular expression (%s)", text, why);
}

static void add_replacement(mpt_text *out, const char *replacement, const char *name,
                            const regmatch_t *groups) {
  for (const char *c = replacement; *c != '\0'; c++) {
    if (*c != '\\' || c[1] == '\0') {
      mpt_text_add_bytes(out, c, 1);
      continue;
    }
    c++;
    if (*c < '0' || *c > '9')
      mpt_text_add_bytes(out, c, 1);
    else if (groups[*c - '0'].rm_so >= 0)
      mpt_text_add_bytes(out, name + groups[*c - '0'].rm_so,
                         (size_t)(groups[*c - '0'].rm_eo - groups[*c - '0'].rm_so));
  }
}

/* The first match, as sed without g; *name is replaced. */
static bool apply(const rename_rule *rule, char **name) {
  regmatch_t groups[GROUPS];
  mpt_text made = {0};
  if (regexec(&rule->pattern, *name, GROUPS, groups, 0) != 0)
    return true;
  mpt_text_add(&made, "");
  mpt_text_add_bytes(&made, *name, (size_t)groups[0].rm_so);
  add_replacement(&made, rule->replacement, *name, groups);
  mpt_text_add(&made, *name + groups[0].rm_eo);
  if (made.failed || made.data == NULL) {
    mpt_text_free(&made);
    return false;
  }
  free(*name);
  *name = made.data;
  return true;
}

mpt_status export_rename(const mpt_layer_info *layers, int count, const char *const *rules,
                         int rule_count, char **names, mpt_error *error) {
  mpt_status status = MPT_OK;
  for (int i = 0; i < count; i++)
    if ((names[i] = strdup(layers[i].name)) == NULL)
      return mpt_fail_memory(error, "the layers' names", strlen(layers[i].name));
  for (int k = 0; k < rule_count && status == MPT_OK; k++) {
    rename_rule rule;
    status = read_rule(rules[k], &rule, error);
    if (status != MPT_OK)
      break;
    for (int i = 0; i < count && status == MPT_OK; i++) {
      if (!apply(&rule, &names[i]))
        status = mpt_fail_memory(error, "the layers' names", 0);
      else if (names[i][0] == '\0')
        status = mpt_fail(error, MPT_ERROR_SYNTAX, "'%s' leaves nothing of the name of layer '%s'",
                          rules[k], layers[i].name);
    }
    regfree(&rule.pattern);
    free(rule.replacement);
  }
  return status;
}
