/* Records from the store, for requests that were answered before: a killed search walks through its
 * decisions again, and nothing is trained twice. */
#include "base/error.h"
#include "tuner/ledger.h"
#include "tuner/observation.h"
#include <math.h>
#include <string.h>

/* What is kept under the key must be of what the key is made from. */
static mpt_status check_evaluation(const ledger *l, const candidate *c, const evaluation_request *r,
                                   const store_evaluation *e, mpt_error *error) {
  if (strcmp(e->policy, c->hash) == 0 && e->seed == r->seed && e->steps == r->steps)
    return MPT_OK;
  return store_damaged(l->store, error, "evaluation %lld has the key of another", (long long)e->id);
}

/* Losses are compared with, step by step. */
static mpt_status check_losses(const ledger *l, const store_evaluation *e, mpt_error *error) {
  if (e->diverged || !isfinite(e->metric) || e->loss_count == e->steps)
    return MPT_OK;
  return store_damaged(l->store, error, "evaluation %lld has not all of its losses",
                       (long long)e->id);
}

static mpt_status recall_training(const ledger *l, const problem *p, const candidate *c,
                                  const evaluation_request *r, bool *found,
                                  evaluation_record *record, mpt_error *error) {
  store_evaluation *e = &record->evaluation;
  bool there = false, timed = false;
  MPT_RETURN_IF_FAILED(store_find_evaluation(l->store, r->key, &there, e, error));
  if (!there)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(check_evaluation(l, c, r, e, error));
  /* A search goes on as it began, so that its record of a run given up stays, too. */
  *found = p->may_give_up || !e->stopped;
  if (*found && r->kind == REQUEST_OBSERVE)
    MPT_RETURN_IF_FAILED(observation_recall(l->store, r->key, &record->seen.scores, found, error));
  if (*found && r->kind == REQUEST_OBSERVE)
    MPT_RETURN_IF_FAILED(check_losses(l, e, error));
  if (*found && p->place.measures)
    MPT_RETURN_IF_FAILED(store_find_timing_run(l->store, c->hash, p->place.device, r->key, &timed,
                                               &record->time, error));
  return MPT_OK;
}

/* What failed once is not timed again: a search that continues would end here each time. */
static mpt_status recall_timed(const ledger *l, const problem *p, const candidate *c,
                               const evaluation_request *r, bool *found, evaluation_record *record,
                               mpt_error *error) {
  bool failed = false;
  MPT_RETURN_IF_FAILED(store_find_timing_run(l->store, c->hash, p->place.device, r->key, found,
                                             &record->time, error));
  if (*found)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(fault_timing_noted(l, c, &failed, error));
  *found = failed;
  if (failed)
    record->status =
        mpt_fail(&record->error, MPT_ERROR_DEVICE, "the device failed when it was timed");
  return MPT_OK;
}

mpt_status ledger_recall(const ledger *l, const problem *p, const candidate *c,
                         const evaluation_request *r, bool *found, evaluation_record *record,
                         mpt_error *error) {
  *found = false;
  *record = (evaluation_record){
      .id = r->id, .recalled = true, .time = {.seconds = NAN, .deviation = NAN}};
  if (l->store == NULL)
    return MPT_OK;
  const mpt_status status = r->kind == REQUEST_TIME
                                ? recall_timed(l, p, c, r, found, record, error)
                                : recall_training(l, p, c, r, found, record, error);
  if (status != MPT_OK || !*found)
    evaluation_record_clear(record);
  return status;
}
