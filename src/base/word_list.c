#include "base/word_list.h"
#include "base/error.h"
#include <stdlib.h>
#include <string.h>

void mpt_word_list_free(mpt_word_list *list) {
  for (int i = 0; i < list->count; i++)
    free(list->words[i]);
  free(list->words);
  *list = (mpt_word_list){0};
}

mpt_status mpt_word_list_read(const mpt_yaml_node *node, const char *what, mpt_word_list *list,
                              mpt_error *error) {
  const bool one = node->kind == MPT_YAML_SCALAR;
  if (!one)
    MPT_RETURN_IF_FAILED(mpt_yaml_expect(node, MPT_YAML_LIST, what, error));
  const size_t count = one ? 1 : node->count;
  if (count == 0)
    return mpt_yaml_fail(node, error, "%s is empty; leave the key out or give a value", what);
  mpt_word_list read = {.one_text = one, .words = calloc(count, sizeof *read.words)};
  mpt_status status = MPT_OK;
  if (read.words == NULL)
    return mpt_fail_memory(error, what, count * sizeof *read.words);
  for (size_t i = 0; i < count; i++) {
    const mpt_yaml_node *item = one ? node : node->items[i];
    const char *word = NULL;
    MPT_TRY(mpt_yaml_string(item, what, &word, error));
    if (*word == '\0') {
      status = mpt_yaml_fail(item, error, "%s is empty; leave the key out or give a value", what);
      goto fail;
    }
    if ((read.words[read.count] = strdup(word)) == NULL) {
      status = mpt_fail_memory(error, what, strlen(word));
      goto fail;
    }
    read.count++;
  }
  *list = read;
  return MPT_OK;
fail:
  mpt_word_list_free(&read);
  return status;
}

static void add_quoted(mpt_text *text, const char *word) {
  mpt_text_add(text, "\"");
  for (; *word != '\0'; word++) {
    if (*word == '"')
      mpt_text_add(text, "\"");
    mpt_text_add_bytes(text, word, 1);
  }
  mpt_text_add(text, "\"");
}

void mpt_word_list_text(const mpt_word_list *list, mpt_text *text) {
  for (int i = 0; i < list->count; i++) {
    if (i > 0)
      mpt_text_add(text, ",");
    if (!list->one_text && strpbrk(list->words[i], ",\"\r\n") != NULL)
      add_quoted(text, list->words[i]);
    else
      mpt_text_add(text, list->words[i]);
  }
}

bool mpt_word_list_equal(const mpt_word_list *a, const mpt_word_list *b) {
  if (a->count != b->count || a->one_text != b->one_text)
    return false;
  for (int i = 0; i < a->count; i++)
    if (strcmp(a->words[i], b->words[i]) != 0)
      return false;
  return true;
}
