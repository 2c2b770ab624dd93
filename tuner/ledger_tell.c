/* Records into the ledger and, unless they came from there, into the store. */
#include "base/error.h"
#include "base/progress.h"
#include "tuner/ledger.h"
#include "tuner/observation.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- room ---- */

static mpt_status add_training(ledger *l, const training *t, mpt_error *error) {
  if (l->told_count == l->told_capacity) {
    const int capacity = 2 * l->told_capacity + 32;
    training *grown = realloc(l->told, (size_t)capacity * sizeof *grown);
    if (grown == NULL)
      return mpt_fail_memory(error, "trainings", (size_t)capacity * sizeof *grown);
    l->told = grown;
    l->told_capacity = capacity;
  }
  l->told[l->told_count++] = *t;
  return MPT_OK;
}

static mpt_status add_timed(ledger *l, const timed_steps *t, mpt_error *error) {
  if (l->timed_count == l->timed_capacity) {
    const int capacity = 2 * l->timed_capacity + 16;
    timed_steps *grown = realloc(l->timed, (size_t)capacity * sizeof *grown);
    if (grown == NULL)
      return mpt_fail_memory(error, "step times", (size_t)capacity * sizeof *grown);
    l->timed = grown;
    l->timed_capacity = capacity;
  }
  l->timed[l->timed_count++] = *t;
  return MPT_OK;
}

/* ---- times ---- */

/* All that was told of a policy's step time. */
static timing told_times(const ledger *l, const candidate *c) {
  timing all = {0};
  for (int i = 0; i < l->told_count; i++)
    if (l->told[i].candidate == c)
      timing_add(&all, &l->told[i].time);
  for (int i = 0; i < l->timed_count; i++)
    if (l->timed[i].candidate == c)
      timing_add(&all, &l->timed[i].run);
  return all;
}

static mpt_status store_timing(const ledger *l, const problem *p, const candidate *c,
                               const char *name, const timing_run *run, mpt_error *error) {
  if (!isfinite(run->seconds) || l->store == NULL)
    return MPT_OK;
  timing all = told_times(l, c);
  timing_add(&all, run);
  store_time row = {.measured = true, .seconds = timing_seconds(&all)};
  memcpy(row.policy, c->hash, sizeof row.policy);
  snprintf(row.device, sizeof row.device, "%s", p->place.device);
  return store_add_timing_run(l->store, &row, name, run, timing_noise(&all), error);
}

/* ---- trainings ---- */

/* What of its step time says something: a few steps do not, nor where times are predicted. */
static timing_run usable_time(const problem *p, const evaluation_record *record) {
  timing_run run = record->time;
  if (!p->place.measures || (!record->recalled && run.steps < TIMING_LEAST_STEPS))
    run = (timing_run){.seconds = NAN, .deviation = NAN};
  return run;
}

/* The evaluation last, so that a record means that all of it is there. What was judged is handed
 * over to the records. */
static mpt_status store_training(ledger *l, const problem *p, const candidate *c,
                                 const evaluation_request *r, const timing_run *time,
                                 evaluation_record *record, mpt_error *error) {
  store_evaluation *e = &record->evaluation;
  if (l->store == NULL)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(store_timing(l, p, c, r->key, time, error));
  if (r->kind == REQUEST_OBSERVE)
    MPT_RETURN_IF_FAILED(observation_keep(l->store, r->key, &record->seen, error));
  if (evidence_has(&l->records, r->key)) /* it was not instrumented, or given up */
    return MPT_OK;
  MPT_RETURN_IF_FAILED(store_put_evaluation(l->store, e, error));
  return evidence_add(&l->records, e, error);
}

static mpt_status tell_training(ledger *l, const problem *p, const candidate *c,
                                const evaluation_request *r, evaluation_record *record,
                                mpt_error *error) {
  store_evaluation *e = &record->evaluation;
  training t = {.candidate = c,
                .seed = r->seed,
                .diverged = e->diverged,
                .stopped = e->stopped,
                .metric = e->metric,
                .steps_done = e->steps_done,
                .host_seconds = e->host_seconds,
                .memory_bytes = e->memory_bytes,
                .failure = e->failure == NULL ? NULL : strdup(e->failure),
                .time = usable_time(p, record)};
  mpt_status status = MPT_OK;
  double *losses = NULL;
  if (e->failure != NULL && t.failure == NULL)
    MPT_TRY(mpt_fail_memory(error, "a training's record", 0));
  if (c == &l->reference && e->loss_count > 0) {
    const size_t bytes = (size_t)e->loss_count * sizeof *losses;
    losses = malloc(bytes);
    if (losses == NULL)
      MPT_TRY(mpt_fail_memory(error, "a training's losses", bytes));
    memcpy(losses, e->losses, bytes);
    t.losses = losses;
    t.loss_count = e->loss_count;
  }
  if (!record->recalled)
    MPT_TRY(store_training(l, p, c, r, &t.time, record, error));
  MPT_TRY(add_training(l, &t, error));
  if (r->kind == REQUEST_OBSERVE) { /* of the last that was observed: those before it diverged */
    store_scores_clear(&l->scores);
    l->scores = record->seen.scores;
    record->seen.scores = (store_scores){0};
  }
  return MPT_OK;
fail:
  free(t.failure);
  free(losses);
  return status;
}

static bool is_left_out(mpt_status status) {
  return status == MPT_ERROR_DEVICE_MEMORY || status == MPT_ERROR_PROGRAM;
}

/* With the place in the file that it is about, where there is one. */
static void warn_of(const candidate *c, const evaluation_record *record, const char *what) {
  const mpt_error *e = &record->error;
  if (e->file[0] != '\0')
    mpt_log_warning("%s %s: %s:%d: %s", c->label, what, e->file, e->line, e->message);
  else
    mpt_log_warning("%s %s: %s", c->label, what, e->message);
}

static mpt_status failed(const evaluation_record *record, mpt_error *error) {
  if (error != NULL)
    *error = record->error;
  return record->status;
}

/* A candidate that does not fit into the device's memory, or of which a program said nothing that
 * counts: it is left out of this search, and another process tries it again. Without the reference
 * there is nothing to compare with. */
static mpt_status tell_left_out(ledger *l, const candidate *c, const evaluation_request *r,
                                const evaluation_record *record, mpt_error *error) {
  if (c == &l->reference)
    return failed(record, error);
  warn_of(c, record, "is left out");
  const training t = {.candidate = c,
                      .seed = r->seed,
                      .diverged = true,
                      .left_out = true,
                      .metric = NAN,
                      .failure = strdup(record->error.message),
                      .time = {.seconds = NAN, .deviation = NAN}};
  const mpt_status status = t.failure == NULL ? mpt_fail_memory(error, "a training's record", 0)
                                              : add_training(l, &t, error);
  if (status != MPT_OK)
    free(t.failure);
  return status;
}

/* ---- steps that were made for their time ---- */

static mpt_status tell_timed(ledger *l, const problem *p, const candidate *c,
                             const evaluation_request *r, const evaluation_record *record,
                             mpt_error *error) {
  timed_steps t = {.candidate = c, .run = record->time};
  memcpy(t.name, r->key, sizeof t.name);
  t.run.in_turn = r->in_turn;
  if (record->status != MPT_OK) {
    t.run = (timing_run){.seconds = NAN, .deviation = NAN};
    snprintf(t.why, sizeof t.why, "%.255s", record->error.message);
  }
  if (is_left_out(record->status)) /* of this policy alone: the others go on */
    warn_of(c, record, "cannot be timed");
  if (!record->recalled)
    MPT_RETURN_IF_FAILED(store_timing(l, p, c, r->key, &t.run, error));
  return add_timed(l, &t, error);
}

/* ---- any ---- */

static mpt_status tell_failed_device(ledger *l, const candidate *c, const evaluation_request *r,
                                     const evaluation_record *record, mpt_error *error) {
  if (l->store == NULL)
    return failed(record, error);
  MPT_RETURN_IF_FAILED(r->kind == REQUEST_TIME ? fault_note_timing(l, c, error)
                                               : fault_note(l, c, r, &record->error, error));
  return fault_ends(failed(record, error), error);
}

mpt_status ledger_tell(ledger *l, const problem *p, const candidate *c, const evaluation_request *r,
                       evaluation_record *record, mpt_error *error) {
  const mpt_status status = record->status;
  const bool timed = r->kind == REQUEST_TIME;
  if (timed && (status == MPT_OK || is_left_out(status) || record->recalled))
    return tell_timed(l, p, c, r, record, error);
  if (status == MPT_OK)
    return tell_training(l, p, c, r, record, error);
  if (is_left_out(status))
    return tell_left_out(l, c, r, record, error);
  return status == MPT_ERROR_DEVICE ? tell_failed_device(l, c, r, record, error)
                                    : failed(record, error);
}
