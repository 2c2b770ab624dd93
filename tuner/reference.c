/* Stage 1: the reference under R seeds: its metric, the metric's noise, and whether the budget can
 * be told from that noise. */
#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/text.h"
#include "tuner/search.h"
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mpt_status note_reference(search *s, const char *noise_note, mpt_error *error) {
  json_t *seeds = json_array(), *metrics = json_array();
  for (int i = 0; i < s->reference_seeds; i++) {
    mpt_json_append(&seeds, json_integer((json_int_t)s->reference_seed[i]));
    mpt_json_append(&metrics, mpt_json_real(s->reference_metric[i]));
  }
  json_t *note =
      mpt_json_pack("{s:s,s:s,s:o,s:o,s:f,s:f,s:s,s:f,s:f}", "policy", s->reference.hash,
                    "observed", s->observed_key, "seeds", seeds, "metrics", metrics, "metric_mean",
                    s->reference_mean, "metric_deviation", s->reference_deviation, "noise_note",
                    noise_note, "step_seconds", s->reference.seconds, "margin", s->margin);
  char *text = NULL;
  MPT_RETURN_IF_FAILED(mpt_json_dump(note, 0, "the reference's record", &text, error));
  mpt_status status = search_note(s, "reference", text, error);
  free(text);
  return status;
}

static mpt_status reference_failed(const search *s, const store_evaluation *e, mpt_error *error) {
  return mpt_fail(
      error, MPT_ERROR_NONFINITE,
      "the reference diverged under seed %llu (%s), and under %d of the first %d seeds; "
      "lower the learning rate or check the data",
      (unsigned long long)e->seed, e->failure == NULL ? "not finite" : e->failure,
      s->reference_diverged, s->reference_diverged + s->reference_seeds);
}

/* What a relative budget is a share of: the metric, or the error. */
static double whole_of(const search *s, double metric) {
  return s->w->budget.of_error ? 1 - metric : metric;
}

/* The budget in the metric's units, by what is known of the reference: it steers the search. A
 * verdict takes the reference from its own pairs. */
static double margin_of(const search *s) {
  const budget_spec *budget = &s->w->budget;
  return budget->relative ? budget->worse_by * fabs(whole_of(s, s->reference_mean))
                          : budget->worse_by;
}

/* A share of what may be 0 or of either sign means nothing. */
static mpt_status check_share(const search *s, mpt_error *error) {
  const int n = s->reference_seeds;
  const double mean = whole_of(s, s->reference_mean);
  bool one_sign = mean != 0;
  if (!s->w->budget.relative)
    return MPT_OK;
  for (int i = 0; i < n; i++)
    one_sign = one_sign && whole_of(s, s->reference_metric[i]) * mean > 0;
  if (one_sign)
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_ARGUMENT,
                  "a relative budget means nothing here: the reference's %s is %.4g on average and "
                  "is 0 or changes its sign between seeds; give an absolute budget (worse_by: "
                  "0.01)",
                  s->w->budget.of_error ? "error rate" : "metric", mean);
}

static void measure_noise(search *s) {
  const size_t n = (size_t)s->reference_seeds;
  s->reference_mean = gsl_stats_mean(s->reference_metric, 1, n);
  s->reference_deviation = n > 1 ? gsl_stats_sd(s->reference_metric, 1, n) : 0;
  s->margin = margin_of(s);
  s->ceiling = s->margin;
  /* Until pairs have been seen: pairing takes out at least half of the variance of a difference,
   * as the same weights and batches are behind both. */
  s->noise = s->reference_deviation;
}

/* One that diverges is left out of the search's pairs and counted; another seed is tried, as long
 * as no more diverge than finish. */
static mpt_status train_reference(search *s, uint64_t seed, mpt_error *error) {
  const int i = s->reference_seeds;
  store_evaluation e = {0};
  s->reference_seed[i] = seed;
  if (i == 0)
    MPT_RETURN_IF_FAILED(observe_reference(s, &e, error));
  else
    MPT_RETURN_IF_FAILED(search_train(s, &s->reference, seed, "reference", NULL, &e, error));
  mpt_status status = MPT_OK;
  if (e.diverged || !isfinite(e.metric)) {
    mpt_log_warning("the reference diverged under seed %llu: %s", (unsigned long long)seed,
                    e.failure == NULL ? "not finite" : e.failure);
    if (++s->reference_diverged > s->w->reference_seeds / 2)
      status = reference_failed(s, &e, error);
    store_evaluation_clear(&e);
    return status;
  }
  s->reference_metric[i] = e.metric;
  if (i == 0 && e.loss_count != s->steps) { /* its losses are compared with, step by step */
    const long long id = e.id;
    store_evaluation_clear(&e);
    return store_damaged(s->store, error, "evaluation %lld has not all of its losses", id);
  }
  if (i == 0) {
    s->reference.memory_bytes = e.memory_bytes;
    s->reference_losses = e.losses; /* kept for early stopping */
    e.losses = NULL;
  }
  s->reference_seeds++;
  store_evaluation_clear(&e);
  return MPT_OK;
}

mpt_status stage_reference(search *s, mpt_error *error) {
  s->reference_seeds = s->reference_diverged = 0;
  for (uint64_t seed = s->options->seed; s->reference_seeds < s->w->reference_seeds; seed++)
    MPT_RETURN_IF_FAILED(train_reference(s, seed, error));
  measure_noise(s);
  MPT_RETURN_IF_FAILED(check_share(s, error));
  char note[200] = "";
  /* How many pairs a verdict takes hangs on how pairs differ, which is not known yet. */
  if (s->reference_deviation > s->margin)
    snprintf(note, sizeof note,
             "between seeds the reference's metric varies by %.3g, more than the budget of %.3g; "
             "pairs of the same seed mostly vary less",
             s->reference_deviation, s->margin);
  timing_warn_of_noise(s, &s->reference);
  return note_reference(s, note, error);
}
