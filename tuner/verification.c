/* Stage 7: fresh seeds, full length, paired with the reference (verify.h has the statistics).
 * Before the first fresh seed the policies to be looked at and their shares of alpha are written
 * down, the fastest first; they are worked off until one passes. A policy that does not pass
 * teaches the predictor, which may propose another: that one gets seeds of its own, and a share of
 * what is left of alpha. */
#include "base/error.h"
#include "base/progress.h"
#include "tuner/budget.h"
#include "tuner/search.h"
#include "tuner/standing.h"
#include "tuner/verify_plan.h"
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_ATTEMPTS 8
#define SEED_BLOCK    ((uint64_t)VERIFY_MOST_TRIED)

/* ---- what the records say ---- */

static mpt_status search_records(const search *s, evidence_records *r, mpt_error *error) {
  *r = (evidence_records){.rule = budget_rule(s->problem.workload, s->problem.options->alpha),
                          .of_error = s->problem.workload->budget.of_error,
                          .in_steps = s->problem.workload->metric != METRIC_LOSS,
                          .most_pairs = s->problem.options->pairs};
  memcpy(r->condition, s->problem.condition.hash, sizeof r->condition);
  memcpy(r->reference, s->ledger.reference.hash, sizeof r->reference);
  return evidence_load_records(s->ledger.store, r, error);
}

mpt_status search_see(search *s, mpt_error *error) {
  evidence_records r;
  mpt_status status = MPT_OK;
  MPT_TRY(search_records(s, &r, error));
  MPT_TRY(evidence_of(&r, s->ledger.reference.hash, &s->ledger.reference.seen, error));
  for (int i = 0; i < s->ledger.candidate_count; i++)
    MPT_TRY(evidence_of(&r, s->ledger.candidates[i]->hash, &s->ledger.candidates[i]->seen, error));
fail:
  evidence_clear(&r);
  return status;
}

/* The verdict of the attempt that is being worked off. */
static mpt_status look(search *s, candidate *c, mpt_error *error) {
  evidence_records r;
  mpt_status status = search_records(s, &r, error);
  if (status == MPT_OK)
    status = evidence_of(&r, c->hash, &c->seen, error);
  if (status == MPT_OK)
    c->verdict = c->seen.verified.verdict;
  show_best(&s->clock, &s->ledger, &s->model);
  evidence_clear(&r);
  return status;
}

/* ---- one policy ---- */

static mpt_status train_one(search *s, candidate *c, uint64_t seed, bool *finished,
                            mpt_error *error) {
  store_evaluation e = {0};
  MPT_RETURN_IF_FAILED(search_train(s, c, seed, "verify", NULL, &e, error));
  *finished = !e.diverged && isfinite(e.metric);
  if (e.memory_bytes > 0)
    c->memory_bytes = e.memory_bytes;
  store_evaluation_clear(&e);
  return MPT_OK;
}

static bool is_look(int finished, int most) {
  for (int look = 0; look < VERIFY_LOOKS && verify_look_sizes[look] <= most; look++)
    if (verify_look_sizes[look] == finished)
      return true;
  return false;
}

/* Pair after pair until a look decides. Both sides run on every seed, whatever becomes of the
 * other: diverged ones are counted, not replaced. */
static mpt_status verify_candidate(search *s, candidate *c, const store_attempt *attempt,
                                   mpt_error *error) {
  int finished = 0;
  for (int tried = 0; tried < VERIFY_MOST_TRIED; tried++) {
    bool reference = false, own = false;
    const uint64_t seed = attempt->first_seed + (uint64_t)tried;
    MPT_RETURN_IF_FAILED(train_one(s, &s->ledger.reference, seed, &reference, error));
    MPT_RETURN_IF_FAILED(train_one(s, c, seed, &own, error));
    if (!reference)
      mpt_log_warning("the reference diverged under seed %llu", (unsigned long long)seed);
    finished += reference && own;
    /* One that diverged may settle it by itself. */
    if (reference && own && !is_look(finished, s->problem.options->pairs))
      continue;
    MPT_RETURN_IF_FAILED(look(s, c, error));
    const verify_result *v = &c->seen.verified;
    if (v->tried == 0 && tried > 0) { /* it does not fit here: there is no record of it */
      c->verdict = MPT_VERDICT_FAIL;
      return MPT_OK;
    }
    if (v->verdict != MPT_VERDICT_INCONCLUSIVE || finished >= s->problem.options->pairs ||
        (finished > 0 && is_look(finished, s->problem.options->pairs) && !v->may_still_pass))
      return MPT_OK;
  }
  return MPT_OK;
}

/* After a policy that did not pass: the next one that is proposed must be predicted to cost less.
 * How much less is what its own noise asks for at the last look; at most nine tenths, at least a
 * quarter of it. */
static mpt_status lower_ceiling(search *s, const candidate *c, mpt_error *error) {
  double predicted;
  MPT_RETURN_IF_FAILED(model_predict(&s->model, &s->problem, c, &predicted, error));
  if (predicted > s->model.ceiling) /* a uniform policy, which is verified all the same */
    return MPT_OK;
  const int last = s->problem.options->pairs;
  const double quantile = gsl_cdf_tdist_Qinv(s->problem.options->alpha / 4, last - 1);
  const double needed = s->model.margin - quantile * c->seen.deviation / sqrt(last);
  s->model.ceiling =
      isfinite(needed) ? fmax(0.25 * predicted, fmin(0.9 * predicted, needed)) : 0.5 * predicted;
  return MPT_OK;
}

/* ---- the list ---- */

/* Whether a policy is worth verifying: it met the budget in the search, or (uniform policies, which
 * the winner must not be slower than) missed it by no more than noise explains. */
static bool plausible(const search *s, const candidate *c) {
  if (!c->permitted || c->verdict != MPT_VERDICT_UNVERIFIED || c->seed_count == 0)
    return false;
  if (c->seconds >= time_limit(&s->ledger) * (1 - s->model.equal_time))
    return false;
  const standing where = candidate_standing(&s->ledger, &s->model, c);
  if (where == STANDING_MEETS || where == STANDING_CLOSE)
    return true;
  const double mean = candidate_mean(c);
  return c->uniform && isfinite(mean) &&
         mean - s->model.margin < 2 * s->model.noise / sqrt(c->seed_count);
}

/* The fastest first; times that are close are the same: a uniform policy then goes before others,
 * and the more accurate before the less. */
static const candidate *first_of(const search *s, candidate *const *list, int count) {
  double least = INFINITY;
  const candidate *first = NULL;
  for (int i = 0; i < count; i++)
    least = fmin(least, list[i]->seconds);
  for (int i = 0; i < count; i++) {
    const candidate *c = list[i];
    if (c->seconds > least * (1 + s->model.equal_time))
      continue;
    if (first == NULL || (c->uniform && !first->uniform) ||
        (c->uniform == first->uniform && candidate_mean(c) < candidate_mean(first)))
      first = c;
  }
  return first;
}

static void put_first(const search *s, candidate **list, int count) {
  const candidate *first = first_of(s, list, count);
  for (int i = 0; i < count; i++) {
    if (list[i] != first)
      continue;
    candidate *swap = list[0];
    list[0] = list[i];
    list[i] = swap;
    return;
  }
}

/* The chance that its mean is inside the budget, by the search's pairs. */
static double chance_of(const search *s, const candidate *c) {
  const double error = fmax(s->model.noise, 1e-3 * s->model.margin) / sqrt(c->seed_count);
  return gsl_cdf_ugaussian_P((s->model.margin - candidate_mean(c)) / error);
}

typedef struct plan {
  candidate **list; /* those to be looked at, in their order; one that was is taken out */
  int count;
  store_attempt *attempts; /* of this condition */
  int attempt_count;
} plan;

static const store_attempt *attempt_at(const plan *p, const candidate *c) {
  for (int i = 0; i < p->attempt_count; i++)
    if (strcmp(p->attempts[i].policy, c->hash) == 0)
      return &p->attempts[i];
  return NULL;
}

static mpt_status load_attempts(search *s, plan *p, mpt_error *error) {
  store_attempt *all = NULL;
  int count = 0;
  free(p->attempts);
  p->attempts = NULL;
  p->attempt_count = 0;
  MPT_RETURN_IF_FAILED(store_all_attempts(s->ledger.store, &all, &count, error));
  for (int i = 0; i < count; i++)
    if (strcmp(all[i].condition, s->problem.condition.hash) == 0)
      all[p->attempt_count++] = all[i];
  p->attempts = all;
  return MPT_OK;
}

/* The first of a block of seeds under which nothing was trained, and for which nothing is planned.
 */
static mpt_status fresh_block(search *s, const plan *p, uint64_t *first, mpt_error *error) {
  store_evaluation *all = NULL;
  int count = 0;
  MPT_RETURN_IF_FAILED(store_all_evaluations(s->ledger.store, &all, &count, error));
  *first = s->problem.options->seed + SEARCH_FRESH_SEEDS;
  for (bool used = true; used; *first += used ? SEED_BLOCK : 0) {
    used = false;
    for (int i = 0; i < count; i++)
      used = used || (all[i].seed >= *first && all[i].seed - *first < SEED_BLOCK &&
                      strcmp(all[i].condition, s->problem.condition.hash) == 0);
    for (int i = 0; i < p->attempt_count; i++)
      used = used || (p->attempts[i].first_seed < *first + SEED_BLOCK &&
                      *first < p->attempts[i].first_seed + SEED_BLOCK);
  }
  for (int i = 0; i < count; i++)
    store_evaluation_clear(&all[i]);
  free(all);
  return MPT_OK;
}

mpt_status verification_keeps_seeds(search *s, mpt_error *error) {
  const uint64_t first = s->problem.options->seed,
                 end = first + (uint64_t)(s->problem.workload->reference_seeds +
                                          s->problem.workload->reference_seeds / 2);
  plan p = {0};
  mpt_status status = load_attempts(s, &p, error);
  for (int i = 0; i < p.attempt_count && status == MPT_OK; i++) {
    const uint64_t kept = p.attempts[i].first_seed;
    if (first < kept + SEED_BLOCK && kept < end)
      status =
          mpt_fail(error, MPT_ERROR_MISMATCH,
                   "seed %llu is taken: in '%s' seeds %llu to %llu belong to verification, and "
                   "a search must not see what they say (give another --seed, choose another "
                   "directory (-o), or start anew beside it (--fresh))",
                   (unsigned long long)first, s->problem.options->run, (unsigned long long)kept,
                   (unsigned long long)(kept + SEED_BLOCK - 1));
  }
  free(p.attempts);
  return status;
}

/* Writes down those of the list that are not yet, before a fresh seed of theirs is trained. */
static mpt_status write_down(search *s, plan *p, mpt_error *error) {
  store_attempt new[MOST_ATTEMPTS] = {0};
  double chance[MOST_ATTEMPTS], weights[MOST_ATTEMPTS], given = 0;
  int count = 0, position = 0;
  uint64_t first = 0;
  for (int i = 0; i < p->attempt_count; i++) {
    given += p->attempts[i].weight;
    position = p->attempts[i].position > position ? p->attempts[i].position : position;
  }
  MPT_RETURN_IF_FAILED(fresh_block(s, p, &first, error));
  for (int i = 0; i < p->count && count < MOST_ATTEMPTS; i++) {
    if (attempt_at(p, p->list[i]) != NULL)
      continue;
    store_attempt *a = &new[count];
    memcpy(a->condition, s->problem.condition.hash, sizeof a->condition);
    memcpy(a->policy, p->list[i]->hash, sizeof a->policy);
    a->position = position + count + 1;
    a->first_seed = first;
    chance[count++] = chance_of(s, p->list[i]);
  }
  if (count == 0)
    return MPT_OK;
  verify_weights(chance, count, fmax(0, 1 - given), weights);
  for (int i = 0; i < count; i++)
    new[i].weight = weights[i];
  MPT_RETURN_IF_FAILED(store_put_attempts(s->ledger.store, new, count, error));
  return load_attempts(s, p, error);
}

/* Those that could be verified, when times are measured: the fastest are timed again in turn. */
static mpt_status time_finalists(search *s, const plan *p, int attempt, mpt_error *error) {
  candidate **finalists = calloc((size_t)p->count + 1, sizeof *finalists);
  if (finalists == NULL)
    return mpt_fail_memory(error, "the finalists", 0);
  memcpy(finalists, p->list, (size_t)p->count * sizeof *finalists);
  mpt_status status = timing_in_turn(s, finalists, p->count, attempt, error);
  free(finalists);
  return status;
}

/* The list anew: who is plausible now, the fastest first. Those that were proposed since, and cost
 * too much by what was learned, are left out. */
static mpt_status make_list(search *s, plan *p, bool first, mpt_error *error) {
  free(p->list);
  p->list = calloc((size_t)s->ledger.candidate_count + 1, sizeof *p->list);
  p->count = 0;
  if (p->list == NULL)
    return mpt_fail_memory(error, "the policies to verify", 0);
  for (int i = 0; i < s->ledger.candidate_count; i++) {
    candidate *c = s->ledger.candidates[i];
    double predicted = 0;
    if (!plausible(s, c))
      continue;
    if (!first && !c->uniform && attempt_at(p, c) == NULL)
      MPT_RETURN_IF_FAILED(model_predict(&s->model, &s->problem, c, &predicted, error));
    if (predicted <= s->model.ceiling)
      p->list[p->count++] = c;
  }
  return MPT_OK;
}

mpt_status stage_verify(search *s, candidate **winner, mpt_error *error) {
  plan p = {0};
  mpt_status status = MPT_OK;
  *winner = NULL;
  MPT_TRY(load_attempts(s, &p, error));
  for (int looked = 0; looked < MOST_ATTEMPTS && *winner == NULL; looked++) {
    MPT_TRY(make_list(s, &p, looked == 0, error));
    if (p.count == 0)
      break;
    MPT_TRY(time_finalists(s, &p, looked + 1, error));
    for (int i = 0; i < p.count; i++)
      put_first(s, p.list + i, p.count - i);
    MPT_TRY(write_down(s, &p, error));
    candidate *c = p.list[0];
    MPT_TRY(verify_candidate(s, c, attempt_at(&p, c), error));
    if (c->verdict == MPT_VERDICT_PASS) {
      *winner = c;
    } else {
      MPT_TRY(lower_ceiling(s, c, error));
      MPT_TRY(stage_adjust_again(s, c, error));
    }
  }
fail:
  free(p.list);
  free(p.attempts);
  return status;
}
