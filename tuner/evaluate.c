/* One training of a policy: its record in the store, or what the evaluator makes of it. */
#include "base/error.h"
#include "tuner/search.h"
#include <math.h>
#include <string.h>

/* Ten budgets of training loss behind, and half a percent of it at least: no verdict hangs on a run
 * that is this far off. */
static request_limit limit_of(const search *s, uint64_t seed, const char *purpose) {
  if (!s->problem.may_give_up || strcmp(purpose, "candidate") != 0 ||
      seed != s->ledger.reference_seed[0])
    return (request_limit){0};
  return (request_limit){.losses = s->ledger.reference_losses,
                         .hopeless = fmax(10 * s->model.margin, 0.5)};
}

/* The record last, so that a record means that all of it is there. `again`: it is there. */
static mpt_status keep(search *s, candidate *c, const evaluation_request *r, bool again,
                       const evaluation_record *record, mpt_error *error) {
  const store_evaluation *e = &record->evaluation;
  double seconds;
  MPT_RETURN_IF_FAILED(timing_of_training(s, c, e->key, &record->time, error));
  if (r->kind == REQUEST_OBSERVE)
    MPT_RETURN_IF_FAILED(observation_keep(s, e->key, &record->seen, error));
  if (!again)
    MPT_RETURN_IF_FAILED(store_put_evaluation(s->ledger.store, e, error));
  s->clock.finished++;
  s->clock.finished_seconds += e->total_seconds;
  return search_spent(&s->clock, &seconds, error);
}

/* From the store, where it has all that was asked for. */
static mpt_status recall(search *s, candidate *c, const evaluation_request *r, bool *found,
                         bool *enough, store_evaluation *e, mpt_error *error) {
  mpt_status status = MPT_OK;
  MPT_RETURN_IF_FAILED(evaluation_find(s, c, r->seed, r->key, found, e, error));
  /* A search goes on as it began, so that its record of a run given up stays, too. */
  *enough = *found && (s->problem.may_give_up || !e->stopped);
  if (*enough && r->kind == REQUEST_OBSERVE)
    MPT_TRY(observation_kept(s, r->key, enough, error));
  if (*enough) {
    s->clock.finished++;
    s->clock.finished_seconds += e->total_seconds;
    if (e->steps_done > 0)
      MPT_TRY(timing_of_training(s, c, r->key, NULL, error));
    return MPT_OK;
  }
fail:
  if (*found)
    store_evaluation_clear(e);
  return status;
}

mpt_status search_train(search *s, candidate *c, uint64_t seed, const char *purpose,
                        const request_instruments *instruments, store_evaluation *evaluation,
                        mpt_error *error) {
  evaluation_request r =
      search_request(s, c, instruments != NULL ? REQUEST_OBSERVE : REQUEST_TRAIN, seed, purpose);
  if (instruments != NULL)
    r.instruments = *instruments;
  r.limit = limit_of(s, seed, purpose);
  candidate_key(&s->problem, c, seed, r.key);
  bool found = false, enough = false;
  MPT_RETURN_IF_FAILED(recall(s, c, &r, &found, &enough, evaluation, error));
  if (enough)
    return MPT_OK;
  evaluation_record record;
  mpt_status status = search_carry_out(s, &r, c->label, &record, error);
  if (status == MPT_ERROR_DEVICE_MEMORY)
    return fault_memory(s, c, evaluation, error);
  if (status == MPT_ERROR_DEVICE)
    MPT_RETURN_IF_FAILED(fault_note(s, c, &r, &record.error, error));
  if (status != MPT_OK)
    return search_failed_device(status, error);
  status = keep(s, c, &r, found, &record, error);
  if (status == MPT_OK) {
    *evaluation = record.evaluation;
    record.evaluation = (store_evaluation){0};
  }
  evaluation_record_clear(&record);
  return status;
}

mpt_status search_try(search *s, candidate *c, mpt_error *error) {
  const int i = c->seed_count;
  if (i >= s->ledger.reference_seeds)
    return mpt_fail(error, MPT_ERROR_INTERNAL, "no search seed is left");
  store_evaluation e = {0};
  MPT_RETURN_IF_FAILED(search_train(s, c, s->ledger.reference_seed[i],
                                    c->uniform ? "uniform" : "candidate", NULL, &e, error));
  c->difference[i] = e.diverged || e.stopped || !isfinite(e.metric)
                         ? INFINITY
                         : s->problem.sign * (e.metric - s->ledger.reference_metric[i]);
  c->memory_bytes = e.memory_bytes;
  c->seed_count++;
  s->ledger.trainings++;
  store_evaluation_clear(&e);
  return MPT_OK;
}
