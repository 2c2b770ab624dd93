/* Stage 7: from the fastest down, until one passes. Fresh seeds, full length, paired with the
 * reference (verify.h has the statistics). A policy that does not pass teaches the predictor, which
 * may propose another before a slower one is verified. */
#include "base/error.h"
#include "base/progress.h"
#include "tuner/search.h"
#include <gsl/gsl_cdf.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ATTEMPTS 6

/* The metric under a fresh seed, NaN where that training diverged. */
static mpt_status fresh_metric(search *s, candidate *c, uint64_t seed, double *metric,
                               mpt_error *error) {
  store_evaluation e = {0};
  MPT_RETURN_IF_FAILED(search_train(s, c, seed, "verify", NULL, &e, error));
  *metric = e.diverged || !isfinite(e.metric) ? NAN : e.metric;
  if (c != &s->reference)
    c->memory_bytes = e.memory_bytes;
  store_evaluation_clear(&e);
  return MPT_OK;
}

static uint64_t fresh_seed(const search *s, int i) {
  return s->options->seed + SEARCH_FRESH_SEEDS + (uint64_t)i;
}

static mpt_status train_pair(search *s, candidate *c, mpt_error *error) {
  verify_pair *p = &c->pair[c->verify_count];
  const uint64_t seed = fresh_seed(s, c->verify_count);
  MPT_RETURN_IF_FAILED(fresh_metric(s, &s->reference, seed, &p->reference, error));
  MPT_RETURN_IF_FAILED(fresh_metric(s, c, seed, &p->candidate, error));
  if (isnan(p->reference))
    mpt_log_warning("the reference diverged under seed %llu", (unsigned long long)seed);
  c->verify_count++;
  return MPT_OK;
}

static json_t *real_or_null(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

/* The budget and the bounds of the mean difference, in units of the metric. */
static double in_metric_units(const search *s, const candidate *c, double budget) {
  return s->w->budget.relative ? budget * fabs(c->verified.reference) : budget;
}

static json_t *verification_json(const search *s, const candidate *c, json_t *looks) {
  json_t *differences = json_array(), *seeds = json_array();
  for (int i = 0; i < c->verify_count; i++) {
    const budget_spec *budget = &s->w->budget;
    const double r = c->pair[i].reference, worse = s->sign * (c->pair[i].candidate - r);
    const double allowed = budget->worse_by * (budget->relative ? fabs(r) : 1.0);
    json_array_append_new(differences, real_or_null(worse - allowed));
    json_array_append_new(seeds, json_integer((json_int_t)fresh_seed(s, i)));
  }
  return json_pack("{s:s,s:s,s:i,s:O,s:s,s:o,s:o}", "policy", c->hash, "label", c->label, "attempt",
                   c->attempt, "looks", looks, "verdict", mpt_verdict_name(c->verdict),
                   "differences", differences, "seeds", seeds);
}

static json_t *look_json(const search *s, const candidate *c) {
  const verify_result *r = &c->verified;
  const double budget = in_metric_units(s, c, s->w->budget.worse_by);
  return json_pack("{s:i,s:o,s:o,s:o,s:o}", "n", r->finished, "mean",
                   real_or_null(r->worse - budget), "lower",
                   real_or_null(in_metric_units(s, c, r->bound.lower) - budget), "upper",
                   real_or_null(in_metric_units(s, c, r->bound.upper) - budget), "alpha",
                   real_or_null(r->level));
}

/* Of s(c - r) over the pairs that finished. */
static double pair_deviation(const search *s, const candidate *c) {
  double squares = 0;
  for (int i = 0; i < c->verify_count; i++) {
    const double worse = s->sign * (c->pair[i].candidate - c->pair[i].reference);
    if (isfinite(worse))
      squares += pow(worse - c->verified.worse, 2);
  }
  return sqrt(squares / (c->verified.finished - 1));
}

/* After a policy that did not pass: the next one must be predicted to cost less. How much less is
 * what its own noise asks for at the last look; at most nine tenths, at least a quarter of it. */
static mpt_status lower_ceiling(search *s, const candidate *c, mpt_error *error) {
  double predicted;
  MPT_RETURN_IF_FAILED(search_predict(s, c, &predicted, error));
  if (predicted > s->ceiling) /* a uniform policy, which is verified all the same */
    return MPT_OK;
  const double quantile =
      gsl_cdf_tdist_Qinv(s->options->alpha * pow(0.5, c->attempt + 1), VERIFY_DEFAULT_PAIRS - 1);
  const double needed = s->margin - quantile * pair_deviation(s, c) / sqrt(VERIFY_DEFAULT_PAIRS);
  s->ceiling =
      isfinite(needed) ? fmax(0.25 * predicted, fmin(0.9 * predicted, needed)) : 0.5 * predicted;
  return MPT_OK;
}

static mpt_status verify_candidate(search *s, candidate *c, int attempt, json_t *record,
                                   mpt_error *error) {
  json_t *looks = json_array();
  mpt_status status = MPT_OK;
  const verify_rule rule = {.budget = s->w->budget.worse_by,
                            .relative = s->w->budget.relative,
                            .higher_is_better = s->sign < 0,
                            .alpha = ldexp(s->options->alpha, -attempt),
                            .most_diverged = NAN};
  c->attempt = attempt;
  c->verified.may_still_pass = true;
  while (c->verified.may_still_pass) {
    const int looked = c->verified.finished;
    MPT_TRY(train_pair(s, c, error));
    c->verified = verify_pairs(&rule, c->pair, c->verify_count, VERIFY_DEFAULT_PAIRS);
    if (isfinite(c->verified.level) && c->verified.finished > looked)
      json_array_append_new(looks, look_json(s, c));
  }
  c->verdict = c->verified.verdict;
  json_array_append_new(record, verification_json(s, c, looks));
fail:
  json_decref(looks);
  return status;
}

/* Whether a policy is worth verifying: it met the budget in the search, or (uniform policies, which
 * the winner must not be slower than) missed it by no more than noise explains. */
static bool plausible(const search *s, const candidate *c) {
  if (!c->permitted || c->attempt > 0 || c->seed_count == 0)
    return false;
  if (c->seconds >= search_limit(s) * (1 - s->equal_time))
    return false;
  const standing where = candidate_standing(s, c);
  if (where == STANDING_MEETS || where == STANDING_CLOSE)
    return true;
  const double mean = candidate_mean(c);
  return c->uniform && isfinite(mean) && mean - s->margin < 2 * s->noise / sqrt(c->seed_count);
}

/* Times that are close are the same: a uniform policy goes first, then the more
 * accurate. */
static bool before(const candidate *a, const candidate *b) {
  if (a->uniform != b->uniform)
    return a->uniform;
  return candidate_mean(a) < candidate_mean(b);
}

/* Those that could be verified, when times are measured: the fastest are timed again in turn. */
static mpt_status time_finalists(search *s, int attempt, mpt_error *error) {
  candidate **finalists = calloc((size_t)s->candidate_count + 1, sizeof *finalists);
  int count = 0;
  if (finalists == NULL)
    return mpt_fail_memory(error, "the finalists", 0);
  for (int i = 0; i < s->candidate_count; i++)
    if (plausible(s, s->candidates[i]))
      finalists[count++] = s->candidates[i];
  mpt_status status = timing_in_turn(s, finalists, count, attempt, error);
  free(finalists);
  return status;
}

/* *chosen is NULL when there is none. */
static mpt_status fastest_plausible(search *s, int attempt, candidate **chosen, mpt_error *error) {
  double least = INFINITY;
  *chosen = NULL;
  for (int pass = 0; pass < 2; pass++) {
    for (int i = 0; i < s->candidate_count; i++) {
      candidate *c = s->candidates[i];
      double predicted = 0;
      if (!plausible(s, c))
        continue;
      /* The first, and the uniform policies, are judged by what was measured alone. */
      if (attempt > 1 && !c->uniform)
        MPT_RETURN_IF_FAILED(search_predict(s, c, &predicted, error));
      if (predicted > s->ceiling)
        continue;
      if (pass == 0)
        least = fmin(least, c->seconds);
      else if (c->seconds <= least * (1 + s->equal_time) && (*chosen == NULL || before(c, *chosen)))
        *chosen = c;
    }
  }
  return MPT_OK;
}

static mpt_status note_verification(search *s, const json_t *record, mpt_error *error) {
  char *text = json_dumps(record, JSON_COMPACT | JSON_REAL_PRECISION(17));
  mpt_status status = text == NULL ? mpt_fail_memory(error, "the verification's record", 0)
                                   : store_set(s->store, "verification", text, error);
  free(text);
  return status;
}

mpt_status stage_verify(search *s, candidate **winner, mpt_error *error) {
  json_t *record = json_array();
  mpt_status status = MPT_OK;
  *winner = NULL;
  for (int attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
    candidate *c = NULL;
    MPT_TRY(time_finalists(s, attempt, error));
    MPT_TRY(fastest_plausible(s, attempt, &c, error));
    if (c == NULL)
      break;
    MPT_TRY(verify_candidate(s, c, attempt, record, error));
    MPT_TRY(note_verification(s, record, error));
    if (c->verdict == MPT_VERDICT_PASS) {
      *winner = c;
      break;
    }
    MPT_TRY(lower_ceiling(s, c, error));
    MPT_TRY(stage_adjust_again(s, c, error));
  }
fail:
  json_decref(record);
  return status;
}
