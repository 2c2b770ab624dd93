#include "tuner/evaluators/evaluator.h"
#include <stdlib.h>

/* Room for 64, and then for twice as many at every power of two. */
bool observation_add(observation *seen, const store_statistics *row) {
  const int count = seen->count;
  if (count == 0 || (count >= 64 && (count & (count - 1)) == 0)) {
    const size_t capacity = count == 0 ? 64 : 2 * (size_t)count;
    store_statistics *grown = realloc(seen->statistics, capacity * sizeof *grown);
    if (grown == NULL)
      return false;
    seen->statistics = grown;
  }
  seen->statistics[seen->count++] = *row;
  return true;
}

void evaluation_record_clear(evaluation_record *record) {
  store_evaluation_clear(&record->evaluation);
  free(record->seen.statistics);
  store_scores_clear(&record->seen.scores);
  *record = (evaluation_record){0};
}

void evaluator_describe(const evaluator *e, evaluator_description *description) {
  e->table->describe(e, description);
}

mpt_status evaluator_submit(evaluator *e, const evaluation_request *request, mpt_error *error) {
  return e->table->submit(e, request, error);
}

mpt_status evaluator_poll(evaluator *e, evaluator_progress *progress, void *context, bool *found,
                          evaluation_record *record, mpt_error *error) {
  *record = (evaluation_record){0};
  return e->table->poll(e, progress, context, found, record, error);
}

void evaluator_cancel(evaluator *e, int64_t id) {
  e->table->cancel(e, id);
}

void evaluator_close(evaluator *e) {
  if (e != NULL)
    e->table->close(e);
}
