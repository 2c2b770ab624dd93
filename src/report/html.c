/* Writing HTML: every text is escaped unless it is said to be HTML. */
#include "base/json.h"
#include "base/shown.h"
#include "report/report_data.h"
#include <stdlib.h>
#include <string.h>

/* A line's end and a tab stay what they are: files are shown in their lines. */
static void add_character(mpt_text *page, const char **text) {
  const char c = **text;
  switch (c) {
  case '&':
    mpt_text_add(page, "&amp;");
    break;
  case '<':
    mpt_text_add(page, "&lt;");
    break;
  case '>':
    mpt_text_add(page, "&gt;");
    break;
  case '"':
    mpt_text_add(page, "&quot;");
    break;
  case '\'':
    mpt_text_add(page, "&#39;");
    break;
  case '\n':
  case '\t':
    mpt_text_add_bytes(page, &c, 1);
    break;
  default:
    mpt_text_add(page, mpt_shown_next(text).bytes);
    return;
  }
  ++*text;
}

static void add_escaped(mpt_text *page, const char *text) {
  while (text != NULL && *text != '\0')
    add_character(page, &text);
}

void html_add(mpt_text *page, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  for (const char *rest = format; *rest != '\0';) {
    const size_t plain = strcspn(rest, "%");
    mpt_text_add_bytes(page, rest, plain);
    rest += plain;
    if (*rest == '\0')
      break;
    switch (rest[1]) {
    case 's':
      add_escaped(page, va_arg(arguments, const char *));
      break;
    case 'h':
      mpt_text_add(page, va_arg(arguments, const char *));
      break;
    case 'd':
      mpt_text_addf(page, "%d", va_arg(arguments, int));
      break;
    default:
      mpt_text_add(page, "%");
    }
    rest += 2;
  }
  va_end(arguments);
}

void html_add_json(mpt_text *page, json_t *json) {
  char *text = NULL;
  if (mpt_json_dump(json, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9), "the charts",
                    &text, NULL) != MPT_OK)
    page->failed = true;
  for (const char *c = text; c != NULL && *c != '\0'; c++) {
    if (*c == '<' || *c == '>' || *c == '&') /* only strings have them */
      mpt_text_addf(page, "\\u%04x", (unsigned)*c);
    else
      mpt_text_add_bytes(page, c, 1);
  }
  free(text);
}

void html_add_sentence(mpt_text *page, const char *sentence) {
  while (sentence != NULL && *sentence != '\0') {
    if (*sentence != NUMBER_BEGIN && *sentence != NUMBER_END)
      add_character(page, &sentence);
    else
      mpt_text_add(page, *sentence++ == NUMBER_BEGIN ? "<b>" : "</b>");
  }
}
