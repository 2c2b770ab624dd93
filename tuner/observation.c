/* What an instrumented training saw, in the store. */
#include "tuner/observation.h"
#include "base/error.h"
#include <stdlib.h>

mpt_status observation_keep(store *s, const char *key, const observation *seen, mpt_error *error) {
  mpt_status status = store_begin(s, error);
  for (int i = 0; i < seen->count && status == MPT_OK; i++) {
    const store_statistics *row = &seen->statistics[i];
    status =
        store_put_statistics(s, key, row->step, row->layer, row->operand, &row->statistics, error);
  }
  if (status == MPT_OK)
    status = store_put_scores(s, key, &seen->scores, error);
  if (status == MPT_OK)
    status = store_end(s, error);
  return status;
}

mpt_status observation_recall(store *s, const char *key, store_scores *scores, bool *kept,
                              mpt_error *error) {
  store_statistics *rows = NULL;
  int count = 0;
  MPT_RETURN_IF_FAILED(store_get_scores(s, key, scores, kept, error));
  /* They are read when the search is over: what is wrong with them is said now. */
  MPT_RETURN_IF_FAILED(store_all_statistics(s, key, &rows, &count, error));
  free(rows);
  return MPT_OK;
}
