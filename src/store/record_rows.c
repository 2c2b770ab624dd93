/* Where records that are JSON stand: in notes, and in columns of rows. */
#include "base/error.h"
#include "store/record.h"
#include <stdio.h>
#include <stdlib.h>

mpt_status record_put(store *s, const record *r, const char *name, const void *in, bool keep,
                      mpt_error *error) {
  char *text = NULL;
  MPT_RETURN_IF_FAILED(record_print(r, in, &text, error));
  const mpt_status status = keep ? note_add(s, name, text, error) : note_set(s, name, text, error);
  free(text);
  return status;
}

mpt_status record_get(store *s, const record *r, const char *name, void *out, bool *found,
                      mpt_error *error) {
  char *text = NULL, what[120];
  snprintf(what, sizeof what, "the note '%.90s'", name);
  MPT_RETURN_IF_FAILED(note_get(s, name, &text, error));
  char why[RECORD_WHY];
  const mpt_status status = record_read(r, what, text, out, why);
  *found = status == MPT_OK && text != NULL;
  free(text);
  if (status == MPT_ERROR_MEMORY)
    return mpt_fail_memory(error, what, 0);
  return status == MPT_OK ? MPT_OK : store_damaged(s, error, "%s", why);
}

void column_record(query *q, const record *r, const char *what, void *out) {
  char *text = column_text(q), why[RECORD_WHY];
  const mpt_status status = record_read(r, what, text, out, why);
  free(text);
  q->out_of_memory = q->out_of_memory || status == MPT_ERROR_MEMORY;
  if (status == MPT_ERROR_DAMAGED)
    query_damaged(q, "%s", why);
}
