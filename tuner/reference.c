/* Stage 1: the reference under R seeds: its metric, the metric's noise, and whether the budget can
 * be told from that noise. */
#include "base/error.h"
#include "base/progress.h"
#include "store/run_reference.h"
#include "tuner/search.h"
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mpt_status note_reference(search *s, const char *noise_note, mpt_error *error) {
  const ledger *l = &s->ledger;
  int64_t seeds[WORKLOAD_MAX_SEEDS];
  for (int i = 0; i < l->reference_seeds; i++)
    seeds[i] = (int64_t)l->reference_seed[i];
  const store_reference note = {.policy = l->reference.hash,
                                .observed = l->observed_key,
                                .seeds = seeds,
                                .metrics = l->reference_metric,
                                .seed_count = l->reference_seeds,
                                .metric_count = l->reference_seeds,
                                .metric_mean = s->model.reference_mean,
                                .metric_deviation = s->model.reference_deviation,
                                .noise_note = noise_note,
                                .step_seconds = l->reference.seconds,
                                .margin = s->model.margin};
  return store_put_reference(l->store, &note, !l->owner, error);
}

static mpt_status reference_failed(const search *s, const store_evaluation *e, mpt_error *error) {
  return mpt_fail(
      error, MPT_ERROR_NONFINITE,
      "the reference diverged under seed %llu (%s), and under %d of the first %d seeds; "
      "lower the learning rate or check the data",
      (unsigned long long)e->seed, e->failure == NULL ? "not finite" : e->failure,
      s->ledger.reference_diverged, s->ledger.reference_diverged + s->ledger.reference_seeds);
}

/* What a relative budget is a share of: the metric, or the error. */
static double whole_of(const search *s, double metric) {
  return s->problem.workload->budget.of_error ? 1 - metric : metric;
}

/* The budget in the metric's units, by what is known of the reference: it steers the search. A
 * verdict takes the reference from its own pairs. */
static double margin_of(const search *s) {
  const budget_spec *budget = &s->problem.workload->budget;
  return budget->relative ? budget->worse_by * fabs(whole_of(s, s->model.reference_mean))
                          : budget->worse_by;
}

/* A share of what may be 0 or of either sign means nothing. */
static mpt_status check_share(const search *s, mpt_error *error) {
  const int n = s->ledger.reference_seeds;
  const double mean = whole_of(s, s->model.reference_mean);
  bool one_sign = mean != 0;
  if (!s->problem.workload->budget.relative)
    return MPT_OK;
  for (int i = 0; i < n; i++)
    one_sign = one_sign && whole_of(s, s->ledger.reference_metric[i]) * mean > 0;
  if (one_sign)
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_ARGUMENT,
                  "a relative budget means nothing here: the reference's %s is %.4g on average and "
                  "is 0 or changes its sign between seeds; give an absolute budget (worse_by: "
                  "0.01)",
                  s->problem.workload->budget.of_error ? "error rate" : "metric", mean);
}

static void measure_noise(search *s) {
  const size_t n = (size_t)s->ledger.reference_seeds;
  s->model.reference_mean = gsl_stats_mean(s->ledger.reference_metric, 1, n);
  s->model.reference_deviation = n > 1 ? gsl_stats_sd(s->ledger.reference_metric, 1, n) : 0;
  s->model.margin = margin_of(s);
  s->model.ceiling = s->model.margin;
  /* Until pairs have been seen: pairing takes out at least half of the variance of a difference,
   * as the same weights and batches are behind both. */
  s->model.noise = s->model.reference_deviation;
}

/* One that diverges is left out of the search's pairs and counted; another seed is tried, as long
 * as no more diverge than finish. */
static mpt_status train_reference(search *s, uint64_t seed, mpt_error *error) {
  const int i = s->ledger.reference_seeds;
  store_evaluation e = {0};
  s->ledger.reference_seed[i] = seed;
  if (i == 0)
    MPT_RETURN_IF_FAILED(observe_reference(s, &e, error));
  else
    MPT_RETURN_IF_FAILED(search_train(s, &s->ledger.reference, seed, "reference", NULL, &e, error));
  mpt_status status = MPT_OK;
  if (e.diverged || !isfinite(e.metric)) {
    mpt_log_warning("the reference diverged under seed %llu: %s", (unsigned long long)seed,
                    e.failure == NULL ? "not finite" : e.failure);
    if (++s->ledger.reference_diverged > s->problem.workload->reference_seeds / 2)
      status = reference_failed(s, &e, error);
    store_evaluation_clear(&e);
    return status;
  }
  s->ledger.reference_metric[i] = e.metric;
  if (i == 0 && e.loss_count != s->problem.steps) { /* its losses are compared with, step by step */
    const long long id = e.id;
    store_evaluation_clear(&e);
    return store_damaged(s->ledger.store, error, "evaluation %lld has not all of its losses", id);
  }
  if (i == 0) {
    s->ledger.reference.memory_bytes = e.memory_bytes;
    s->ledger.reference_losses = e.losses; /* kept for early stopping */
    e.losses = NULL;
  }
  s->ledger.reference_seeds++;
  store_evaluation_clear(&e);
  return MPT_OK;
}

mpt_status stage_reference(search *s, mpt_error *error) {
  s->ledger.reference_seeds = s->ledger.reference_diverged = 0;
  for (uint64_t seed = s->problem.options->seed;
       s->ledger.reference_seeds < s->problem.workload->reference_seeds; seed++)
    MPT_RETURN_IF_FAILED(train_reference(s, seed, error));
  measure_noise(s);
  MPT_RETURN_IF_FAILED(check_share(s, error));
  char note[200] = "";
  /* How many pairs a verdict takes hangs on how pairs differ, which is not known yet. */
  if (s->model.reference_deviation > s->model.margin)
    snprintf(note, sizeof note,
             "between seeds the reference's metric varies by %.3g, more than the budget of %.3g; "
             "pairs of the same seed mostly vary less",
             s->model.reference_deviation, s->model.margin);
  timing_warn_of_noise(s, &s->ledger.reference);
  return note_reference(s, note, error);
}
