/* Step times measured on the device at hand: kept in the store by policy and device, so that
 * nothing is timed twice, and apart from predictions, which have the profile's identity. A search
 * that is continued takes its runs in the order in which they were made, and so decides as it did.
 */
#include "tuner/timing.h"
#include "base/error.h"
#include "base/progress.h"
#include "tuner/calibration.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 3, MAX_FINALISTS = 4 };

#define FINALIST_SHARE 0.03 /* slower than the fastest: timed in turn with it */
#define NOISY          0.03 /* relative deviation of steps that is worth a word */

/* ---- what is known ---- */

static int add_point(const candidate *c, calibration_point *points, int count) {
  const double seconds = timing_seconds(&c->timed);
  if (isfinite(seconds))
    points[count++] = (calibration_point){&c->cost, seconds};
  return count;
}

static mpt_status price_again(const problem *p, const model *m, candidate *c, mpt_error *error) {
  MPT_RETURN_IF_FAILED(model_price(m, p, c->assignment, &c->cost, error));
  c->seconds = c->timed.count > 0 ? timing_seconds(&c->timed) : c->cost.total;
  return MPT_OK;
}

/* The reference is one of the uniform policies, and timed under its own name. */
static void share_reference(ledger *l) {
  for (int i = 0; i < l->candidate_count; i++)
    if (strcmp(l->candidates[i]->hash, l->reference.hash) == 0)
      l->candidates[i]->timed = l->reference.timed;
}

/* Calibration, prices and times after something was measured. */
static mpt_status refresh(const problem *p, ledger *l, model *m, mpt_error *error) {
  calibration found;
  calibration_point *points = calloc((size_t)l->candidate_count + 1, sizeof *points);
  if (points == NULL)
    return mpt_fail_memory(error, "step times", 0);
  share_reference(l);
  int count = add_point(&l->reference, points, 0);
  for (int i = 0; i < l->candidate_count; i++)
    if (strcmp(l->candidates[i]->hash, l->reference.hash) != 0)
      count = add_point(l->candidates[i], points, count);
  mpt_status status = calibration_fit(points, count, &found, error);
  free(points);
  MPT_RETURN_IF_FAILED(status);
  m->prices.gemm_factor = found.gemms;
  m->prices.copy_factor = found.copies;
  m->prices.pass_factor = found.passes;
  const double noise = timing_noise(&l->reference.timed);
  m->equal_time = fmax(SEARCH_EQUAL_TIME, 2 * M_SQRT2 * noise);
  MPT_RETURN_IF_FAILED(price_again(p, m, &l->reference, error));
  for (int i = 0; i < l->candidate_count; i++)
    MPT_RETURN_IF_FAILED(price_again(p, m, l->candidates[i], error));
  return MPT_OK;
}

void timing_warn_of_noise(const problem *p, const model *m, const candidate *c) {
  const timing_spread spread = timing_spread_of(&c->timed);
  mpt_device_activity now;
  if (!p->place.measures)
    return;
  if (mpt_device_observe(p->place.backend, p->place.device_index, &now, NULL) == MPT_OK &&
      now.processes > 1)
    mpt_log_warning("%d processes have this GPU open: step times may be those of a shared one",
                    now.processes);
  if (fmax(spread.steps, spread.runs) > NOISY)
    mpt_log_warning("step times of %s vary by %.1f%% within a run and by %.1f%% between runs: is "
                    "the GPU shared with others? times closer than %.1f%% are taken for equal",
                    c->label, 100 * spread.steps, 100 * spread.runs, 100 * m->equal_time);
}

/* ---- measuring ---- */

/* The run of that name is among the policy's; false: it was asked for. */
static mpt_status take_timed(const problem *p, const ledger *l, candidate *c, const char *name,
                             bool in_turn, requests *out, bool *taken, mpt_error *error) {
  const timed_steps *t = ledger_timed(l, c, name);
  *taken = t != NULL;
  if (t == NULL) {
    evaluation_request r = request_of(p, c, REQUEST_TIME, p->options->seed, "timing");
    snprintf(r.key, sizeof r.key, "%s", name);
    r.in_turn = in_turn;
    return requests_add(out, &r, c, error);
  }
  timing_add(&c->timed, &t->run);
  if (t->why[0] != '\0')
    memcpy(c->untimed, t->why, sizeof c->untimed);
  return MPT_OK;
}

mpt_status timing_measure(const problem *p, ledger *l, model *m, candidate *c, requests *out,
                          mpt_error *error) {
  bool taken = false;
  if (!p->place.measures || c->timed.count > 0 || c->untimed[0] != '\0')
    return MPT_OK;
  MPT_RETURN_IF_FAILED(take_timed(p, l, c, "timed", false, out, &taken, error));
  return taken ? refresh(p, l, m, error) : MPT_OK;
}

mpt_status timing_of_training(const problem *p, ledger *l, model *m, candidate *c,
                              const training *t, requests *out, mpt_error *error) {
  if (!p->place.measures)
    return MPT_OK;
  if (isfinite(t->time.seconds)) {
    timing_add(&c->timed, &t->time);
    return refresh(p, l, m, error);
  }
  /* Trained before the driver or a library changed, or too short; or it does not run here. */
  return t->steps_done > 0 ? timing_measure(p, l, m, c, out, error) : MPT_OK;
}

/* ---- in turn ---- */

static int by_seconds(const void *a, const void *b) {
  const double x = (*(candidate *const *)a)->seconds, y = (*(candidate *const *)b)->seconds;
  return (x > y) - (x < y);
}

static double runs_spread(const candidate *c) {
  return timing_spread_of(&c->timed).runs;
}

/* Others may have come to use the GPU since the reference was timed. */
static void warn_of_noisiest(const problem *p, const model *m, const turns *t) {
  const candidate *worst = t->list[0];
  for (int i = 1; i < t->count; i++)
    if (runs_spread(t->list[i]) > runs_spread(worst))
      worst = t->list[i];
  if (runs_spread(worst) > NOISY)
    timing_warn_of_noise(p, m, worst);
}

void turns_clear(turns *t) {
  free(t->list);
  *t = (turns){0};
}

mpt_status turns_begin(turns *t, const problem *p, const model *m, candidate *const *list,
                       int count, int attempt, mpt_error *error) {
  turns_clear(t);
  if (!p->place.measures || count < 2) {
    t->round = ROUNDS;
    return MPT_OK;
  }
  t->list = calloc((size_t)count, sizeof *t->list);
  if (t->list == NULL)
    return mpt_fail_memory(error, "the finalists", 0);
  memcpy(t->list, list, (size_t)count * sizeof *list);
  qsort(t->list, (size_t)count, sizeof *t->list, by_seconds);
  const double close = t->list[0]->seconds * (1 + fmax(FINALIST_SHARE, m->equal_time));
  while (count > 1 && (count > MAX_FINALISTS || t->list[count - 1]->seconds > close))
    count--;
  t->count = count;
  t->attempt = attempt;
  return MPT_OK;
}

/* One at a time: side by side they would slow each other down. */
mpt_status turns_go_on(turns *t, const problem *p, ledger *l, model *m, requests *out,
                       mpt_error *error) {
  if (t->round >= ROUNDS)
    return MPT_OK;
  while (t->count > 1 && t->round < ROUNDS) {
    bool taken = false;
    char name[40];
    snprintf(name, sizeof name, "turn %d.%d", t->attempt, t->round + 1);
    MPT_RETURN_IF_FAILED(take_timed(p, l, t->list[t->next], name, true, out, &taken, error));
    if (!taken)
      return MPT_OK;
    t->next = (t->next + 1) % t->count;
    t->round += t->next == 0;
  }
  t->round = ROUNDS;
  MPT_RETURN_IF_FAILED(refresh(p, l, m, error));
  warn_of_noisiest(p, m, t);
  return MPT_OK;
}
