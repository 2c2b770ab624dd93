/* Words of a YAML file, as many and as long as it has them: a list, or a single text. */
#ifndef MPT_BASE_WORD_LIST_H
#define MPT_BASE_WORD_LIST_H

#include "base/text.h"
#include "base/yaml.h"

typedef struct mpt_word_list {
  int count; /* 0: not given */
  char **words;
  bool one_text; /* a single text and no list: what it means is for whoever reads it */
} mpt_word_list;

/* Fails at an item that is no text or is empty, and at a list without items. */
mpt_status mpt_word_list_read(const mpt_yaml_node *node, const char *what, mpt_word_list *list,
                              mpt_error *error);
void mpt_word_list_free(mpt_word_list *list);

/* The text as it is, or the items with commas between them; an item with a comma, a quote or a line
 * end in quotes, so that two lists do not have one text. */
void mpt_word_list_text(const mpt_word_list *list, mpt_text *text);
bool mpt_word_list_equal(const mpt_word_list *a, const mpt_word_list *b);

#endif
