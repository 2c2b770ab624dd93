/* Stage 1: the reference under R seeds: its metric, the metric's noise, and whether the budget can
 * be told from that noise. */
#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/text.h"
#include "tuner/search.h"
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Pairs needed to tell a difference of `margin` from none at one-sided level alpha with power 0.9:
 * n = ((z_alpha + z_power) * deviation of a pair / margin)^2. */
static double pairs_needed(double deviation, double margin, double alpha) {
  const double z = gsl_cdf_ugaussian_Pinv(1 - alpha) + gsl_cdf_ugaussian_Pinv(0.9);
  return ceil(pow(z * deviation / margin, 2));
}

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

static mpt_status reference_failed(const store_evaluation *e, mpt_error *error) {
  return mpt_fail(
      error, MPT_ERROR_NONFINITE,
      "the reference diverged under seed %llu: %s; lower the learning rate or check the "
      "data",
      (unsigned long long)e->seed, e->failure == NULL ? "not finite" : e->failure);
}

/* A relative budget is of the reference's mean metric, whatever its sign. */
static void measure_noise(search *s) {
  const int n = s->reference_seeds;
  double sum = 0, squares = 0;
  for (int i = 0; i < n; i++)
    sum += s->reference_metric[i];
  s->reference_mean = sum / n;
  for (int i = 0; i < n; i++)
    squares += pow(s->reference_metric[i] - s->reference_mean, 2);
  s->reference_deviation = n > 1 ? sqrt(squares / (n - 1)) : 0;
  const budget_spec *budget = &s->w->budget;
  s->margin = budget->relative ? budget->worse_by * fabs(s->reference_mean) : budget->worse_by;
  s->ceiling = s->margin;
  /* Until pairs have been seen: pairing takes out at least half of the variance of a difference,
   * as the same weights and batches are behind both. */
  s->noise = s->reference_deviation;
}

mpt_status stage_reference(search *s, mpt_error *error) {
  s->reference_seeds = s->w->reference_seeds;
  for (int i = 0; i < s->reference_seeds; i++) {
    s->reference_seed[i] = s->options->seed + (uint64_t)i;
    store_evaluation e = {0};
    if (i == 0)
      MPT_RETURN_IF_FAILED(observe_reference(s, &e, error));
    else
      MPT_RETURN_IF_FAILED(
          search_train(s, &s->reference, s->reference_seed[i], "reference", NULL, &e, error));
    if (e.diverged || !isfinite(e.metric)) {
      mpt_status status = reference_failed(&e, error);
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
    store_evaluation_clear(&e);
  }
  measure_noise(s);
  if (!(s->margin > 0))
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "a relative budget means nothing: the reference's metric is %g; give an "
                    "absolute one (worse_by: 0.01)",
                    s->reference_mean);
  char note[200] = "";
  const double pair_deviation = M_SQRT2 * s->reference_deviation;
  if (s->reference_deviation > s->margin) {
    const double pairs = pairs_needed(pair_deviation, s->margin, s->options->alpha);
    char count[32] = "more than a thousand";
    if (pairs <= 1000)
      snprintf(count, sizeof count, "up to %.0f", pairs);
    snprintf(note, sizeof note,
             "the seed noise (%.3g) is larger than the budget (%.3g): %s pairs of runs may be "
             "needed to verify",
             s->reference_deviation, s->margin, count);
    mpt_log_warning("%s", note);
  }
  timing_warn_of_noise(s, &s->reference);
  return note_reference(s, note, error);
}
