/* Stage 7: from the fastest down, until one passes. Fresh seeds, full length, paired with the
 * reference; looks at 3, 5, 8 and 12 pairs (verify.c has the statistics). A policy that does not
 * pass teaches the predictor, which may propose another before a slower one is verified. */
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
#define MAX_REPLACED 12 /* diverged reference seeds */

typedef struct fresh_seeds {
  uint64_t seed[SEARCH_MAX_SEEDS];
  double metric[SEARCH_MAX_SEEDS]; /* of the reference */
  int count, replaced;
} fresh_seeds;

/* One more seed on which the reference trains; one that diverges is reported and replaced. */
static mpt_status add_seed(search *s, fresh_seeds *f, mpt_error *error) {
  for (;;) {
    const uint64_t seed =
        s->options->seed + SEARCH_FRESH_SEEDS + (uint64_t)(f->count + f->replaced);
    store_evaluation e = {0};
    MPT_RETURN_IF_FAILED(search_train(s, &s->reference, seed, "verify", NULL, &e, error));
    const bool usable = !e.diverged && isfinite(e.metric);
    const double metric = e.metric;
    if (!usable)
      mpt_log_warning("the reference diverged under seed %llu (%s); another seed takes its place",
                      (unsigned long long)seed, e.failure == NULL ? "not finite" : e.failure);
    store_evaluation_clear(&e);
    if (usable) {
      f->seed[f->count] = seed;
      f->metric[f->count++] = metric;
      return MPT_OK;
    }
    if (++f->replaced > MAX_REPLACED)
      return mpt_fail(error, MPT_ERROR_NONFINITE,
                      "the reference diverged under %d fresh seeds: nothing can be verified",
                      f->replaced);
  }
}

static mpt_status verify_pair(search *s, candidate *c, fresh_seeds *f, mpt_error *error) {
  const int i = c->verify_count;
  if (i == f->count)
    MPT_RETURN_IF_FAILED(add_seed(s, f, error));
  store_evaluation e = {0};
  MPT_RETURN_IF_FAILED(search_train(s, c, f->seed[i], "verify", NULL, &e, error));
  const bool failed = e.diverged || !isfinite(e.metric);
  c->verify_difference[i] = failed ? INFINITY : s->sign * (e.metric - f->metric[i]) - s->margin;
  if (!failed)
    c->verify_metric_sum += e.metric;
  c->memory_bytes = e.memory_bytes;
  c->verify_count++;
  store_evaluation_clear(&e);
  return MPT_OK;
}

static json_t *real_or_null(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

static json_t *verification_json(const candidate *c, const fresh_seeds *f, json_t *looks) {
  json_t *differences = json_array(), *seeds = json_array();
  for (int i = 0; i < c->verify_count; i++) {
    json_array_append_new(differences, real_or_null(c->verify_difference[i]));
    json_array_append_new(seeds, json_integer((json_int_t)f->seed[i]));
  }
  return json_pack("{s:s,s:s,s:i,s:O,s:s,s:o,s:o}", "policy", c->hash, "label", c->label, "attempt",
                   c->attempt, "looks", looks, "verdict", mpt_verdict_name(c->verdict),
                   "differences", differences, "seeds", seeds);
}

/* Of its differences, which are finite unless a run diverged. */
static double pair_deviation(const candidate *c) {
  double squares = 0;
  for (int i = 0; i < c->verify_count; i++)
    squares += pow(c->verify_difference[i] - c->bound.mean, 2);
  return sqrt(squares / (c->verify_count - 1));
}

/* Whether the last look would pass if the mean turned out one and a half standard errors better
 * than it is: an inconclusive policy is given up early when it would not. That can only turn a pass
 * into none, never the other way; of those that would just pass it loses about one in 25. */
static bool may_still_pass(const search *s, const candidate *c) {
  const int n = c->verify_count, last = verify_look_sizes[VERIFY_LOOKS - 1];
  if (n < verify_look_sizes[1] || n == last)
    return true;
  const double alpha = verify_alpha(VERIFY_LOOKS - 1, c->attempt, s->options->alpha);
  const double quantile = gsl_cdf_tdist_Qinv(alpha, last - 1), deviation = pair_deviation(c);
  return c->bound.mean - 1.5 * deviation / sqrt(n) + quantile * deviation / sqrt(last) < 0;
}

/* After a policy that did not pass: the next one must be predicted to cost less. How much less is
 * what its own noise asks for at the last look; at most nine tenths, at least a quarter of it. */
static mpt_status lower_ceiling(search *s, const candidate *c, mpt_error *error) {
  double predicted;
  MPT_RETURN_IF_FAILED(search_predict(s, c, &predicted, error));
  if (predicted > s->ceiling) /* a uniform policy, which is verified all the same */
    return MPT_OK;
  const int last = verify_look_sizes[VERIFY_LOOKS - 1];
  const double quantile =
      gsl_cdf_tdist_Qinv(s->options->alpha * pow(0.5, c->attempt + 1), last - 1);
  const double needed = s->margin - quantile * pair_deviation(c) / sqrt(last);
  s->ceiling =
      isfinite(needed) ? fmax(0.25 * predicted, fmin(0.9 * predicted, needed)) : 0.5 * predicted;
  return MPT_OK;
}

static mpt_status verify_candidate(search *s, candidate *c, int attempt, fresh_seeds *f,
                                   json_t *record, mpt_error *error) {
  json_t *looks = json_array();
  mpt_status status = MPT_OK;
  c->attempt = attempt;
  c->verdict = MPT_VERDICT_INCONCLUSIVE;
  for (int look = 0; look < VERIFY_LOOKS; look++) {
    while (c->verify_count < verify_look_sizes[look])
      MPT_TRY(verify_pair(s, c, f, error));
    c->bound = verify_look(c->verify_difference, look, attempt, s->options->alpha);
    c->verdict = c->bound.verdict;
    json_array_append_new(looks, json_pack("{s:i,s:o,s:o,s:o,s:f}", "n", c->verify_count, "mean",
                                           real_or_null(c->bound.mean), "lower",
                                           real_or_null(c->bound.lower), "upper",
                                           real_or_null(c->bound.upper), "alpha", c->bound.alpha));
    if (c->verdict != MPT_VERDICT_INCONCLUSIVE || !may_still_pass(s, c))
      break;
  }
  json_array_append_new(record, verification_json(c, f, looks));
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
  fresh_seeds f = {0};
  json_t *record = json_array();
  mpt_status status = MPT_OK;
  *winner = NULL;
  for (int attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
    candidate *c = NULL;
    MPT_TRY(time_finalists(s, attempt, error));
    MPT_TRY(fastest_plausible(s, attempt, &c, error));
    if (c == NULL)
      break;
    MPT_TRY(verify_candidate(s, c, attempt, &f, record, error));
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
