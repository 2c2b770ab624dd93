/* Words of a workload, as many and as long as the file has them: a YAML list, or a single text. */
#ifndef WORD_LIST_H
#define WORD_LIST_H

#include "base/text.h"
#include "base/yaml.h"

typedef struct word_list {
  int count; /* 0: not given */
  char **words;
  bool one_text; /* a single text and no list: what it means is for whoever reads it */
} word_list;

/* Fails at an item that is no text or is empty, and at a list without items. */
mpt_status word_list_read(const mpt_yaml_node *node, const char *what, word_list *list,
                          mpt_error *error);
void word_list_free(word_list *list);

/* The text as it is, or the items with commas between them; an item with a comma, a quote or a line
 * end in quotes, so that two lists do not have one text. */
void word_list_text(const word_list *list, mpt_text *text);
bool word_list_equal(const word_list *a, const word_list *b);

#endif
