/* Step times measured on the device at hand: kept in the store by policy and device, so that
 * nothing is timed twice, and apart from predictions, which have the profile's identity. A search
 * that is continued takes its runs in the order in which they were made, and so decides as it did.
 */
#include "base/error.h"
#include "base/progress.h"
#include "store/run_faults.h"
#include "tuner/search.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 3, MAX_FINALISTS = 4 };

#define FINALIST_SHARE 0.03 /* slower than the fastest: timed in turn with it */
#define NOISY          0.03 /* relative deviation of steps that is worth a word */

/* ---- in the store ---- */

static mpt_status recall(search *s, candidate *c, const char *name, bool *found, mpt_error *error) {
  timing_run run;
  MPT_RETURN_IF_FAILED(store_find_timing_run(s->ledger.store, c->hash, s->problem.place.device,
                                             name, found, &run, error));
  if (*found)
    timing_add(&c->timed, &run);
  return MPT_OK;
}

static mpt_status note_run(search *s, candidate *c, const char *name, const timing_run *run,
                           mpt_error *error) {
  if (!isfinite(run->seconds))
    return MPT_OK;
  timing_add(&c->timed, run);
  store_time row = {.measured = true, .seconds = timing_seconds(&c->timed)};
  memcpy(row.policy, c->hash, sizeof row.policy);
  snprintf(row.device, sizeof row.device, "%s", s->problem.place.device);
  return store_add_timing_run(s->ledger.store, &row, name, run, timing_noise(&c->timed), error);
}

/* ---- what is known ---- */

static int add_point(const candidate *c, calibration_point *points, int count) {
  const double seconds = timing_seconds(&c->timed);
  if (isfinite(seconds))
    points[count++] = (calibration_point){&c->cost, seconds};
  return count;
}

static mpt_status price_again(search *s, candidate *c, mpt_error *error) {
  MPT_RETURN_IF_FAILED(model_price(&s->model, &s->problem, c->assignment, &c->cost, error));
  c->seconds = c->timed.count > 0 ? timing_seconds(&c->timed) : c->cost.total;
  return MPT_OK;
}

/* The reference is one of the uniform policies, and timed under its own name. */
static void share_reference(search *s) {
  for (int i = 0; i < s->ledger.candidate_count; i++)
    if (strcmp(s->ledger.candidates[i]->hash, s->ledger.reference.hash) == 0)
      s->ledger.candidates[i]->timed = s->ledger.reference.timed;
}

mpt_status timing_refresh(search *s, mpt_error *error) {
  if (!s->problem.place.measures)
    return MPT_OK;
  calibration_point *points = calloc((size_t)s->ledger.candidate_count + 1, sizeof *points);
  if (points == NULL)
    return mpt_fail_memory(error, "step times", 0);
  calibration found;
  share_reference(s);
  int count = add_point(&s->ledger.reference, points, 0);
  for (int i = 0; i < s->ledger.candidate_count; i++)
    if (strcmp(s->ledger.candidates[i]->hash, s->ledger.reference.hash) != 0)
      count = add_point(s->ledger.candidates[i], points, count);
  mpt_status status = calibration_fit(points, count, &found, error);
  free(points);
  MPT_RETURN_IF_FAILED(status);
  s->model.prices.gemm_factor = found.gemms;
  s->model.prices.copy_factor = found.copies;
  s->model.prices.pass_factor = found.passes;
  const double noise = timing_noise(&s->ledger.reference.timed);
  s->model.equal_time = fmax(SEARCH_EQUAL_TIME, 2 * M_SQRT2 * noise);
  MPT_RETURN_IF_FAILED(price_again(s, &s->ledger.reference, error));
  for (int i = 0; i < s->ledger.candidate_count; i++)
    MPT_RETURN_IF_FAILED(price_again(s, s->ledger.candidates[i], error));
  return MPT_OK;
}

void timing_warn_of_noise(const search *s, const candidate *c) {
  const timing_spread spread = timing_spread_of(&c->timed);
  mpt_device_activity now;
  if (!s->problem.place.measures)
    return;
  if (mpt_device_observe(s->problem.place.backend, s->problem.place.device_index, &now, NULL) ==
          MPT_OK &&
      now.processes > 1)
    mpt_log_warning("%d processes have this GPU open: step times may be those of a shared one",
                    now.processes);
  if (fmax(spread.steps, spread.runs) > NOISY)
    mpt_log_warning("step times of %s vary by %.1f%% within a run and by %.1f%% between runs: is "
                    "the GPU shared with others? times closer than %.1f%% are taken for equal",
                    c->label, 100 * spread.steps, 100 * spread.runs, 100 * s->model.equal_time);
}

/* ---- measuring ---- */

static mpt_status time_steps(search *s, candidate *c, const char *name, timing_run *run,
                             mpt_error *error) {
  evaluation_request r = search_request(s, c, REQUEST_TIME, s->problem.options->seed, "timing");
  evaluation_record record;
  snprintf(r.key, sizeof r.key, "%s", name);
  const mpt_status status = search_carry_out(s, &r, c->label, &record, error);
  *run = (timing_run){.seconds = NAN};
  if (status == MPT_ERROR_DEVICE_MEMORY) { /* of this policy alone: the others go on */
    snprintf(c->untimed, sizeof c->untimed, "%.255s", record.error.message);
    mpt_log_warning("%s cannot be timed: %s", c->label, record.error.message);
    return MPT_OK;
  }
  if (status != MPT_OK)
    return search_failed_device(status, error);
  *run = record.time;
  evaluation_record_clear(&record);
  return MPT_OK;
}

static mpt_status time_as(search *s, candidate *c, const char *name, bool in_turn,
                          mpt_error *error) {
  bool found = false;
  MPT_RETURN_IF_FAILED(recall(s, c, name, &found, error));
  if (found)
    return MPT_OK;
  char fault[80];
  bool failed = false;
  snprintf(fault, sizeof fault, "timed %s", c->hash);
  MPT_RETURN_IF_FAILED(store_has_fault(s->ledger.store, fault, &failed, error));
  if (failed) { /* not again: a search that continues would end here each time */
    snprintf(c->untimed, sizeof c->untimed, "the device failed when it was timed");
    return MPT_OK;
  }
  timing_run run;
  const mpt_status status = time_steps(s, c, name, &run, error);
  if (status == MPT_ERROR_DEVICE)
    MPT_RETURN_IF_FAILED(store_put_fault(s->ledger.store, fault, NULL));
  MPT_RETURN_IF_FAILED(status);
  run.in_turn = in_turn;
  return note_run(s, c, name, &run, error);
}

mpt_status timing_measure(search *s, candidate *c, mpt_error *error) {
  if (!s->problem.place.measures || c->timed.count > 0 || c->untimed[0] != '\0')
    return MPT_OK;
  MPT_RETURN_IF_FAILED(time_as(s, c, "timed", false, error));
  return timing_refresh(s, error);
}

mpt_status timing_of_training(search *s, candidate *c, const char *key, const timing_run *run,
                              mpt_error *error) {
  if (!s->problem.place.measures)
    return MPT_OK;
  if (run != NULL && run->steps >= TIMING_LEAST_STEPS) {
    MPT_RETURN_IF_FAILED(note_run(s, c, key, run, error));
    return timing_refresh(s, error);
  }
  bool found = false;
  MPT_RETURN_IF_FAILED(recall(s, c, key, &found, error));
  /* Trained before the driver or a library changed, or too short. */
  return found ? timing_refresh(s, error) : timing_measure(s, c, error);
}

/* ---- finalists ---- */

static int by_seconds(const void *a, const void *b) {
  const double x = (*(candidate *const *)a)->seconds, y = (*(candidate *const *)b)->seconds;
  return (x > y) - (x < y);
}

static double runs_spread(const candidate *c) {
  return timing_spread_of(&c->timed).runs;
}

/* Others may have come to use the GPU since the reference was timed. */
static void warn_of_noisiest(const search *s, candidate *const *finalists, int count) {
  const candidate *worst = finalists[0];
  for (int i = 1; i < count; i++)
    if (runs_spread(finalists[i]) > runs_spread(worst))
      worst = finalists[i];
  if (runs_spread(worst) > NOISY)
    timing_warn_of_noise(s, worst);
}

mpt_status timing_in_turn(search *s, candidate **finalists, int count, int attempt,
                          mpt_error *error) {
  if (!s->problem.place.measures || count < 2)
    return MPT_OK;
  qsort(finalists, (size_t)count, sizeof *finalists, by_seconds);
  const double close = finalists[0]->seconds * (1 + fmax(FINALIST_SHARE, s->model.equal_time));
  while (count > 1 && (count > MAX_FINALISTS || finalists[count - 1]->seconds > close))
    count--;
  for (int round = 1; round <= ROUNDS && count > 1; round++)
    for (int i = 0; i < count; i++) {
      char name[40];
      snprintf(name, sizeof name, "turn %d.%d", attempt, round);
      MPT_RETURN_IF_FAILED(time_as(s, finalists[i], name, true, error));
    }
  MPT_RETURN_IF_FAILED(timing_refresh(s, error));
  warn_of_noisiest(s, finalists, count);
  return MPT_OK;
}
