/* Stage 1: the reference under R seeds: its metric, the metric's noise, and whether the budget can
 * be told from that noise. */
#include "base/error.h"
#include "base/progress.h"
#include "store/run_reference.h"
#include "tuner/model/pair_noise.h"
#include "tuner/stages.h"
#include "tuner/taking.h"
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mpt_status note_reference(const ledger *l, const model *m, const char *noise_note,
                                 mpt_error *error) {
  int64_t seeds[WORKLOAD_MAX_SEEDS];
  for (int i = 0; i < l->reference_seeds; i++)
    seeds[i] = (int64_t)l->reference_seed[i];
  const store_reference note = {.policy = l->reference.hash,
                                .observed = l->observed_key,
                                .seeds = seeds,
                                .metrics = l->reference_metric,
                                .seed_count = l->reference_seeds,
                                .metric_count = l->reference_seeds,
                                .metric_mean = m->reference_mean,
                                .metric_deviation = m->reference_deviation,
                                .noise_note = noise_note,
                                .step_seconds = l->reference.seconds,
                                .margin = m->margin};
  return store_put_reference(l->store, &note, !l->owner, error);
}

static mpt_status reference_failed(const problem *p, const ledger *l, const training *t,
                                   mpt_error *error) {
  if (p->workload->command[0] != '\0')
    return mpt_fail(
        error, MPT_ERROR_PROGRAM,
        "the reference failed under seed %llu (%s), and under %d of the first %d seeds; "
        "the program must work in %s before others can be compared with it",
        (unsigned long long)t->seed, t->failure == NULL ? "not finite" : t->failure,
        l->reference_diverged, l->reference_diverged + l->reference_seeds,
        mpt_precision_name(p->workload->reference));
  return mpt_fail(
      error, MPT_ERROR_NONFINITE,
      "the reference diverged under seed %llu (%s), and under %d of the first %d seeds; "
      "lower the learning rate or check the data",
      (unsigned long long)t->seed, t->failure == NULL ? "not finite" : t->failure,
      l->reference_diverged, l->reference_diverged + l->reference_seeds);
}

/* What a relative budget is a share of: the metric, or the error. */
static double whole_of(const problem *p, double metric) {
  return p->workload->budget.of_error ? 1 - metric : metric;
}

/* The budget in the metric's units, by what is known of the reference: it steers the search. A
 * verdict takes the reference from its own pairs. */
static double margin_of(const problem *p, const model *m) {
  const budget_spec *budget = &p->workload->budget;
  return budget->relative ? budget->worse_by * fabs(whole_of(p, m->reference_mean))
                          : budget->worse_by;
}

/* A share of what may be 0 or of either sign means nothing. */
static mpt_status check_share(const problem *p, const ledger *l, const model *m, mpt_error *error) {
  const int n = l->reference_seeds;
  const double mean = whole_of(p, m->reference_mean);
  bool one_sign = mean != 0;
  if (!p->workload->budget.relative)
    return MPT_OK;
  for (int i = 0; i < n; i++)
    one_sign = one_sign && whole_of(p, l->reference_metric[i]) * mean > 0;
  if (one_sign)
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_ARGUMENT,
                  "a relative budget means nothing here: the reference's %s is %.4g on average and "
                  "is 0 or changes its sign between seeds; give an absolute budget (worse_by: "
                  "0.01)",
                  p->workload->budget.of_error ? "error rate" : "metric", mean);
}

static void measure_noise(const problem *p, const ledger *l, model *m) {
  const size_t n = (size_t)l->reference_seeds;
  m->reference_mean = gsl_stats_mean(l->reference_metric, 1, n);
  m->reference_deviation = n > 1 ? gsl_stats_sd(l->reference_metric, 1, n) : 0;
  m->margin = margin_of(p, m);
  m->ceiling = m->margin;
  m->noise = pair_noise_prior_of(m->margin).deviation; /* no pair was seen yet */
}

/* One that diverges is left out of the search's pairs and counted; another seed is tried, as long
 * as no more diverge than finish. */
static mpt_status take_seed(const problem *p, ledger *l, training *t, mpt_error *error) {
  const int i = l->reference_seeds;
  if (t->diverged || !isfinite(t->metric)) {
    mpt_log_warning("the reference diverged under seed %llu: %s", (unsigned long long)t->seed,
                    t->failure == NULL ? "not finite" : t->failure);
    return ++l->reference_diverged > p->workload->reference_seeds / 2
               ? reference_failed(p, l, t, error)
               : MPT_OK;
  }
  l->reference_seed[i] = t->seed;
  l->reference_metric[i] = t->metric;
  l->reference_seeds++;
  if (i > 0)
    return MPT_OK;
  if (t->loss_count != p->steps) /* compared with, step by step */
    return mpt_fail(error, MPT_ERROR_INTERNAL, "%lld steps were trained, and %lld losses given",
                    (long long)p->steps, (long long)t->loss_count);
  l->reference.memory_bytes = t->memory_bytes;
  l->reference_losses = t->losses; /* kept for giving up early */
  t->losses = NULL;
  candidate_key(p, &l->reference, t->seed, l->observed_key);
  return MPT_OK;
}

/* The first that finishes is instrumented; once it has, all others can be trained at once. */
static mpt_status ask_seeds(const problem *p, const ledger *l, const model *m, uint64_t seed,
                            requests *out, mpt_error *error) {
  if (l->reference_seeds == 0)
    return ask_observation(p, l, seed, out, error);
  for (int n = l->reference_seeds; n < p->workload->reference_seeds; seed++) {
    const training *t = ledger_training(l, &l->reference, seed);
    MPT_RETURN_IF_FAILED(ask_training(p, l, m, &l->reference, seed, "reference", out, error));
    n += t == NULL || (!t->diverged && isfinite(t->metric));
  }
  return MPT_OK;
}

mpt_status stage_reference(const problem *p, ledger *l, model *m, requests *out, mpt_error *error) {
  while (l->reference_seeds < p->workload->reference_seeds) {
    const uint64_t seed = p->options->seed + (uint64_t)(l->reference_seeds + l->reference_diverged);
    training *t = ledger_training(l, &l->reference, seed);
    if (t == NULL)
      return ask_seeds(p, l, m, seed, out, error);
    const training *taken = NULL;
    MPT_RETURN_IF_FAILED(
        take_training(p, l, m, &l->reference, seed, "reference", out, &taken, error));
    if (taken == NULL)
      return MPT_OK;
    MPT_RETURN_IF_FAILED(take_seed(p, l, t, error));
  }
  measure_noise(p, l, m);
  MPT_RETURN_IF_FAILED(check_share(p, l, m, error));
  char note[200] = "";
  /* How many pairs a verdict takes hangs on how pairs differ, which is not known yet. */
  if (m->reference_deviation > m->margin)
    snprintf(note, sizeof note,
             "between seeds the reference's metric varies by %.3g, more than the budget of %.3g; "
             "pairs of the same seed mostly vary less",
             m->reference_deviation, m->margin);
  timing_warn_of_noise(p, m, &l->reference);
  return note_reference(l, m, note, error);
}
