/* Looks and verdict: what docs/verification.md says under "The rule". */
#include "tuner/verify.h"
#include "tuner/verify_mean.h"
#include <gsl/gsl_cdf.h>
#include <math.h>

#define CONFIDENCE     0.95 /* of the shares that stand beside the verdict */
#define DIVERGES_ALIKE 0.05 /* Fisher's p below which the candidate diverges more often */

/* Clopper and Pearson 1934: the share is at most this, at least that. */
static double share_at_most(int k, int n) {
  return k >= n ? 1.0 : gsl_cdf_beta_Pinv(CONFIDENCE, k + 1.0, n - k);
}

static double share_at_least(int k, int n) {
  return k <= 0 ? 0.0 : gsl_cdf_beta_Pinv(1.0 - CONFIDENCE, k, n - k + 1.0);
}

static void count_divergence(const verify_pair *pairs, int tried, verify_result *r) {
  r->tried = tried;
  for (int i = 0; i < tried; i++) {
    r->reference_diverged += !isfinite(pairs[i].reference);
    r->candidate_diverged += !isfinite(pairs[i].candidate);
    r->finished += verify_finished(&pairs[i]);
  }
}

/* Fails where the candidate diverged and no reference did, or significantly more often (Fisher's
 * exact test, one-sided); passes where it did not diverge more often, nor more than was asked. */
static mpt_verdict judge_divergence(const verify_rule *rule, const verify_result *r) {
  const int k = r->candidate_diverged, of_reference = r->reference_diverged;
  const unsigned n = (unsigned)r->tried, all = (unsigned)(k + of_reference);
  const bool asked = !isnan(rule->most_diverged);
  if (asked && share_at_least(k, r->tried) > rule->most_diverged)
    return MPT_VERDICT_FAIL;
  if (k > of_reference) {
    const double p = gsl_cdf_hypergeometric_Q((unsigned)k - 1, n, n, all);
    return of_reference == 0 || p < DIVERGES_ALIKE ? MPT_VERDICT_FAIL : MPT_VERDICT_INCONCLUSIVE;
  }
  if (asked && share_at_most(k, r->tried) > rule->most_diverged)
    return MPT_VERDICT_INCONCLUSIVE;
  return MPT_VERDICT_PASS;
}

static void describe_pairs(const verify_rule *rule, const verify_pair *pairs, int tried,
                           const verify_mean *m, verify_result *r) {
  double reference = 0.0, candidate = 0.0;
  const double s = rule->higher_is_better ? -1.0 : 1.0;
  for (int i = 0; i < tried; i++)
    if (verify_finished(&pairs[i])) {
      reference += pairs[i].reference;
      candidate += pairs[i].candidate;
    }
  r->reference = reference / r->finished;
  r->candidate = candidate / r->finished;
  r->worse = s * (candidate - reference) / r->finished;
  r->worse_as_budget = isfinite(m->estimate) ? m->estimate : NAN;
  const double sign = reference < 0.0 ? -1.0 : 1.0;
  for (int i = 0; i < tried; i++)
    if (verify_finished(&pairs[i])) {
      const double q = rule->relative ? sign * pairs[i].reference : 1.0;
      r->within += s * (pairs[i].candidate - pairs[i].reference) - rule->budget * q <= 0.0;
    }
}

/* Whether the last look would pass if the mean turned out one and a half standard errors better
 * than it is: an inconclusive policy is given up early when it would not. That can only turn a pass
 * into none, never the other way. Spreads are taken to shrink with the pairs. */
static bool may_still_pass(const verify_rule *rule, const verify_mean *m, int last, double level) {
  const double x = rule->budget - m->estimate;
  double standard_error = 0.0, half = 0.0;
  for (int i = 0; i < m->spreads; i++) {
    const verify_spread *v = &m->spread[i];
    const double variance = fmax(v->a + x * (v->c * x - 2.0 * v->b), 0.0);
    const double z = gsl_cdf_ugaussian_Qinv(level), h = z * z * v->skew;
    const double freedom = v->freedom * (last - 1) / (m->count - 1);
    const double k = isfinite(freedom) ? gsl_cdf_tdist_Qinv(level, freedom) : z;
    standard_error = fmax(standard_error, sqrt(variance));
    half = fmax(half, h + sqrt(k * k * variance * m->count / last + h * h));
  }
  return half - 1.5 * standard_error < m->q * x;
}

static verify_result with_shares(verify_result r) {
  r.diverged_bound = share_at_most(r.candidate_diverged, r.tried);
  r.within_share = share_at_least(r.within, r.finished);
  return r;
}

/* What the first `tried` pairs show, without a verdict. */
static verify_result describe(const verify_rule *rule, const verify_pair *pairs, int tried,
                              verify_mean *m) {
  verify_result r = {.verdict = MPT_VERDICT_INCONCLUSIVE,
                     .bound = {.lower = -INFINITY, .upper = INFINITY},
                     .level = NAN,
                     .may_still_pass = tried < VERIFY_MOST_TRIED};
  count_divergence(pairs, tried, &r);
  verify_mean_of(rule, pairs, tried, m);
  describe_pairs(rule, pairs, tried, m, &r);
  return r;
}

/* `look` of the looks that end with `last`; -1: as many were tried, but fewer finished. */
static verify_result take_look(const verify_rule *rule, const verify_pair *pairs, int tried,
                               int look, int last, const double *levels) {
  verify_mean m;
  verify_result r = describe(rule, pairs, tried, &m);
  const mpt_verdict divergence = judge_divergence(rule, &r);
  if (look >= 0) {
    r.level = levels[look];
    r.bound = verify_mean_bounds(&m, r.level);
    r.no_share = rule->relative && !isfinite(r.bound.upper);
    if (r.bound.upper < rule->budget)
      r.verdict = divergence;
    else if (r.bound.lower > rule->budget)
      r.verdict = MPT_VERDICT_FAIL;
    if (look > 0 && isfinite(r.bound.upper))
      r.may_still_pass &= may_still_pass(rule, &m, verify_look_sizes[last], levels[last]);
  }
  if (divergence == MPT_VERDICT_FAIL)
    r.verdict = MPT_VERDICT_FAIL;
  r.may_still_pass &= r.verdict == MPT_VERDICT_INCONCLUSIVE && look != last;
  return r;
}

static bool is_look_size(int n, int last) {
  for (int look = 0; look <= last; look++)
    if (n == verify_look_sizes[look])
      return true;
  return false;
}

verify_result verify_pairs(const verify_rule *rule, const verify_pair *pairs, int tried, int most) {
  double levels[VERIFY_LOOKS];
  verify_mean unused;
  verify_result latest = {0};
  int last = VERIFY_LOOKS - 1, looks = 0, finished = 0;
  verify_levels(rule->alpha, levels);
  while (last > 0 && verify_look_sizes[last] > most)
    last--;
  tried = tried < VERIFY_MOST_TRIED ? tried : VERIFY_MOST_TRIED;
  for (int i = 1; i <= tried && looks <= last; i++) {
    finished += verify_finished(&pairs[i - 1]);
    const bool mean_too = finished == verify_look_sizes[looks];
    if (!mean_too && !is_look_size(i, last) && i < VERIFY_MOST_TRIED)
      continue;
    const verify_result now = take_look(rule, pairs, i, mean_too ? looks : -1, last, levels);
    looks += mean_too;
    if (now.verdict != MPT_VERDICT_INCONCLUSIVE)
      return with_shares(now);
    if (mean_too)
      latest = now;
    latest.may_still_pass &= i < VERIFY_MOST_TRIED;
  }
  return with_shares(looks > 0 ? latest : describe(rule, pairs, tried, &unused));
}
