/* Verdicts on simulated pairs of trainings. */
#ifndef VERDICT_SIMULATION_H
#define VERDICT_SIMULATION_H

#include "tuner/verify.h"
#include <gsl/gsl_randist.h>
#include <gsl/gsl_rng.h>
#include <math.h>

typedef struct simulated {
  double pass, fail; /* shares of the verdicts */
  double pairs;      /* mean number tried */
} simulated;

/* Draws a pair; the truth is in the context. */
typedef void simulate_pair(gsl_rng *random, const verify_rule *rule, const void *context,
                           verify_pair *pair);

static inline bool simulated_look(int n) {
  for (int look = 0; look < VERIFY_LOOKS; look++)
    if (n == verify_look_sizes[look])
      return true;
  return false;
}

/* As a search does it: pair after pair, until it is decided or more are not expected to help. */
static inline verify_result simulate_verdict(gsl_rng *random, const verify_rule *rule,
                                             simulate_pair *make, const void *context, int most) {
  verify_pair pairs[VERIFY_MOST_TRIED];
  verify_result r = {.may_still_pass = true};
  for (int tried = 0, finished = 0; r.may_still_pass && tried < VERIFY_MOST_TRIED;) {
    make(random, rule, context, &pairs[tried]);
    finished += isfinite(pairs[tried].reference) && isfinite(pairs[tried].candidate);
    tried++;
    if (simulated_look(tried) || simulated_look(finished) || tried == VERIFY_MOST_TRIED)
      r = verify_pairs(rule, pairs, tried, most);
  }
  return r;
}

static inline simulated simulate(const verify_rule *rule, simulate_pair *make, const void *context,
                                 int runs, int most) {
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  simulated found = {0};
  for (int run = 0; run < runs; run++) {
    const verify_result r = simulate_verdict(random, rule, make, context, most);
    found.pass += r.verdict == MPT_VERDICT_PASS;
    found.fail += r.verdict == MPT_VERDICT_FAIL;
    found.pairs += r.tried;
  }
  gsl_rng_free(random);
  found.pass /= runs, found.fail /= runs, found.pairs /= runs;
  return found;
}

/* A metric of normal differences. The reference's mean is 1 or -1. */
typedef struct normal_truth {
  double mean;      /* of the reference */
  double reference; /* its deviation */
  double worse;     /* the candidate's truth, metric units */
  double pair;      /* deviation of candidate - reference */
  double diverges;  /* chance of each training */
} normal_truth;

static inline void normal_pair(gsl_rng *random, const verify_rule *rule, const void *context,
                               verify_pair *pair) {
  const normal_truth *t = context;
  const double s = rule->higher_is_better ? -1.0 : 1.0;
  *pair = (verify_pair){.reference = t->mean + gsl_ran_gaussian(random, t->reference)};
  pair->candidate = pair->reference + s * (t->worse + gsl_ran_gaussian(random, t->pair));
  if (t->diverges > 0.0 && gsl_rng_uniform(random) < t->diverges)
    pair->reference = NAN;
  if (t->diverges > 0.0 && gsl_rng_uniform(random) < t->diverges)
    pair->candidate = INFINITY;
}

/* An accuracy over the same `samples` samples, nine tenths of which the reference has right. */
typedef struct steps_truth {
  int samples;
  double churn; /* share of the samples that change their answer in a pair, each way */
  double worse; /* the candidate's truth: share that it has wrong besides */
  double seeds; /* deviation of that between pairs */
} steps_truth;

static inline void steps_pair(gsl_rng *random, const verify_rule *rule, const void *context,
                              verify_pair *pair) {
  const steps_truth *t = context;
  const double worse = t->worse + (t->seeds > 0.0 ? gsl_ran_gaussian(random, t->seeds) : 0.0);
  const unsigned m = (unsigned)t->samples, right = (m * 9 + 5) / 10, wrong = m - right;
  const double lost = t->churn + fmax(worse, 0.0), won = t->churn + fmax(-worse, 0.0);
  const double turned = gsl_ran_binomial(random, fmin(lost * m / right, 1.0), right);
  const double mended = gsl_ran_binomial(random, fmin(won * m / wrong, 1.0), wrong);
  *pair = (verify_pair){.reference = (double)right / m,
                        .candidate = (right - turned + mended) / m,
                        .samples = m,
                        .xx = right,
                        .xy = right - turned,
                        .yy = right - turned + mended,
                        .unit = 1.0};
  if (!rule->higher_is_better) { /* of the error: the same of the wrong ones */
    pair->reference = 1.0 - pair->reference, pair->candidate = 1.0 - pair->candidate;
    pair->xx = wrong, pair->xy = wrong - mended, pair->yy = wrong - mended + turned;
  }
}

/* Of `runs` sets of n pairs, the share whose upper bound at one-sided `level` is below the budget:
 * one look, without a sequence. */
static inline double simulate_once(const verify_rule *rule, simulate_pair *make,
                                   const void *context, int n, double level, int runs) {
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  int passed = 0;
  for (int run = 0; run < runs; run++) {
    verify_pair pairs[VERIFY_MOST_PAIRS];
    for (int i = 0; i < n; i++)
      make(random, rule, context, &pairs[i]);
    passed += verify_mean_interval(rule, pairs, n, level).upper < rule->budget;
  }
  gsl_rng_free(random);
  return (double)passed / runs;
}

#endif
