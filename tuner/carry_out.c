/* A request of the search, carried out by its evaluator. */
#include "base/error.h"
#include "tuner/search.h"
#include <stdio.h>
#include <string.h>

evaluation_request search_request(search *s, const candidate *c, request_kind kind, uint64_t seed,
                                  const char *purpose) {
  evaluation_request r = {.id = ++s->requests,
                          .kind = kind,
                          .assignment = c->assignment,
                          .loss_scale = c->loss_scale,
                          .seed = seed,
                          .steps = s->problem.steps};
  memcpy(r.policy, c->hash, sizeof r.policy);
  memcpy(r.condition, s->problem.condition.hash, sizeof r.condition);
  snprintf(r.purpose, sizeof r.purpose, "%s", purpose);
  return r;
}

typedef struct waiting {
  search *s;
  const evaluation_request *request;
  const char *label;
} waiting;

static void on_progress(void *context, int64_t id, int64_t step, int64_t steps) {
  const waiting *w = context;
  if (search_interrupted(&w->s->clock))
    evaluator_cancel(w->s->evaluator, id);
  else
    progress_show(&w->s->clock, w->request, w->label, step, steps);
}

mpt_status search_carry_out(search *s, const evaluation_request *request, const char *label,
                            evaluation_record *record, mpt_error *error) {
  waiting w = {.s = s, .request = request, .label = label};
  bool found = false;
  *record = (evaluation_record){0};
  if (search_interrupted(&s->clock))
    return mpt_fail(error, MPT_ERROR_INTERRUPTED, "interrupted");
  MPT_RETURN_IF_FAILED(evaluator_submit(s->evaluator, request, error));
  MPT_RETURN_IF_FAILED(evaluator_poll(s->evaluator, on_progress, &w, &found, record, error));
  if (!found || record->id != request->id) {
    evaluation_record_clear(record);
    return mpt_fail(error, MPT_ERROR_INTERNAL, "the evaluator has no answer");
  }
  /* Also after its last step: what follows would not end soon. */
  if (record->status == MPT_OK && search_interrupted(&s->clock)) {
    evaluation_record_clear(record);
    record->status = mpt_fail(&record->error, MPT_ERROR_INTERRUPTED, "interrupted");
  }
  if (record->status != MPT_OK && error != NULL)
    *error = record->error;
  return record->status;
}
