#include "tuner/machine.h"
#include "base/error.h"
#include "tuner/progress_line.h"
#include <string.h>

/* ---- stages ---- */

typedef mpt_status stage(search *s, mpt_error *error);

static mpt_status reference(search *s, mpt_error *error) {
  return stage_reference(&s->problem, &s->ledger, &s->model, &s->wanted, error);
}

static mpt_status observation_alone(search *s, mpt_error *error) {
  return ask_observation(&s->problem, &s->ledger, s->problem.options->seed, &s->wanted, error);
}

static mpt_status sensitivities(search *s, mpt_error *error) {
  return stage_sensitivity(&s->problem, &s->ledger, &s->model, error);
}

static mpt_status adjust(search *s, mpt_error *error) {
  const mpt_status status =
      stage_adjust(&s->problem, &s->ledger, &s->model, &s->clock, &s->adjust, &s->wanted, error);
  s->trainings_before_verification = s->ledger.trainings;
  return status;
}

static mpt_status verify(search *s, mpt_error *error) {
  return stage_verify(&s->problem, &s->ledger, &s->model, &s->clock, &s->verify, &s->wanted, error);
}

static mpt_status given(search *s, mpt_error *error) {
  return stage_given(&s->problem, &s->ledger, &s->model, &s->given, &s->wanted, error);
}

static mpt_status dry_run(search *s, mpt_error *error) {
  return stage_dry_run(&s->problem, &s->ledger, &s->wanted, error);
}

static stage *const stages[][5] = {[SEARCH_TUNE] = {reference, sensitivities, adjust, verify},
                                   [SEARCH_GIVEN] = {reference, given},
                                   [SEARCH_OBSERVE] = {observation_alone},
                                   [SEARCH_DRY_RUN] = {dry_run}};

/* ---- asking ---- */

static int find_open(const search *s, int64_t id) {
  for (int i = 0; i < s->open.count; i++)
    if (s->open.list[i].request.id == id)
      return i;
  return -1;
}

/* The id that it was asked under before, or a new one. */
static mpt_status give_id(search *s, asked *a, mpt_error *error) {
  for (int i = 0; i < s->open.count; i++)
    if (request_is_same(&s->open.list[i].request, &a->request)) {
      a->request.id = s->open.list[i].request.id;
      return MPT_OK;
    }
  a->request.id = ++s->asked;
  return requests_add(&s->open, &a->request, a->candidate, error);
}

mpt_status search_ask(search *s, const requests **wanted, mpt_error *error) {
  s->wanted.count = 0;
  *wanted = &s->wanted;
  for (; stages[s->purpose][s->stage] != NULL; s->stage++) {
    MPT_RETURN_IF_FAILED(stages[s->purpose][s->stage](s, error));
    if (s->wanted.count > 0)
      break;
  }
  for (int i = 0; i < s->wanted.count; i++)
    MPT_RETURN_IF_FAILED(give_id(s, &s->wanted.list[i], error));
  return MPT_OK;
}

mpt_status search_recall(search *s, const asked *a, bool *found, evaluation_record *record,
                         mpt_error *error) {
  return ledger_recall(&s->ledger, &s->problem, a->candidate, &a->request, found, record, error);
}

/* ---- telling ---- */

static mpt_status check_record(const search *s, const evaluation_record *record, int open,
                               mpt_error *error) {
  const long long id = (long long)record->id;
  if (open < 0)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    record->id >= 1 && record->id <= s->asked
                        ? "record %lld was told before"
                        : "record %lld answers nothing that was asked for",
                    id);
  const evaluation_request *r = &s->open.list[open].request;
  const store_evaluation *e = &record->evaluation;
  if (record->status == MPT_OK && r->kind != REQUEST_TIME &&
      (strcmp(e->key, r->key) != 0 || strcmp(e->policy, r->policy) != 0 || e->seed != r->seed))
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "record %lld is of policy %.12s, seed %llu; asked for was %.12s, seed %llu", id,
                    e->policy, (unsigned long long)e->seed, r->policy, (unsigned long long)r->seed);
  return MPT_OK;
}

/* The process may end after any record: its time is kept with each. */
static mpt_status take_time(search *s, const evaluation_request *r, const evaluation_record *record,
                            double seconds, mpt_error *error) {
  double spent;
  if (record->status == MPT_OK && r->kind != REQUEST_TIME) {
    s->clock.finished++;
    s->clock.finished_seconds += seconds;
  }
  return record->recalled ? MPT_OK : search_spent(&s->clock, &spent, error);
}

mpt_status search_tell(search *s, evaluation_record *record, mpt_error *error) {
  const int i = find_open(s, record->id);
  mpt_status status = MPT_OK;
  MPT_TRY(check_record(s, record, i, error));
  const asked a = s->open.list[i];
  s->open.list[i] = s->open.list[--s->open.count];
  const double seconds = record->evaluation.total_seconds;
  MPT_TRY(ledger_tell(&s->ledger, &s->problem, a.candidate, &a.request, record, error));
  MPT_TRY(take_time(s, &a.request, record, seconds, error));
fail:
  evaluation_record_clear(record);
  return status;
}

void search_progress(const search *s, int64_t id, int64_t step, int64_t steps) {
  const int i = find_open(s, id);
  if (i >= 0)
    progress_show(&s->clock, &s->open.list[i].request, s->open.list[i].candidate->label, step,
                  steps);
}

/* ---- its life ---- */

search_view search_view_of(const search *s) {
  return (search_view){.problem = &s->problem, .ledger = &s->ledger, .model = &s->model};
}

mpt_status search_open(search *s, const workload *w, const tuner_options *options,
                       search_purpose purpose, mpt_error *error) {
  /* Its notes are what the run's report is about. */
  const bool owner = purpose == SEARCH_TUNE || purpose == SEARCH_DRY_RUN;
  *s = (search){.purpose = purpose};
  search_clock_start(&s->clock, options->interrupted, options->max_seconds);
  MPT_RETURN_IF_FAILED(problem_open(&s->problem, w, options, owner, error));
  s->problem.may_give_up = purpose != SEARCH_GIVEN; /* what was asked for is trained to its end */
  model_open(&s->model, &s->problem);
  MPT_RETURN_IF_FAILED(ledger_open(&s->ledger, &s->problem, owner, error));
  return purpose == SEARCH_TUNE ? search_clock_keep(&s->clock, s->ledger.store, error) : MPT_OK;
}

void search_close(search *s) {
  requests_clear(&s->wanted);
  requests_clear(&s->open);
  given_policies_clear(&s->given);
  verifying_clear(&s->verify);
  model_close(&s->model);
  ledger_close(&s->ledger);
  problem_close(&s->problem);
  *s = (search){0};
}
