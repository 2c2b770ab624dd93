#include "tuner/outcome.h"
#include "base/text.h"
#include "tuner/change.h"
#include "tuner/verify.h"
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static double mean_of(const search_view *s, const evidence *e) {
  return s->problem->workload->budget.relative ? e->worse_share : e->worse;
}

/* What speaks against it: a verdict, or (unverified) a mean outside the budget. */
static bool may_be_used(const search_view *s, const candidate *c) {
  if (c == &s->ledger->reference || strcmp(c->hash, s->ledger->reference.hash) == 0)
    return true;
  if (c->verdict == MPT_VERDICT_FAIL || c->verdict == MPT_VERDICT_INCONCLUSIVE)
    return false;
  const evidence *e = &c->seen;
  return e->diverged + e->given_up == 0 && mean_of(s, e) <= s->problem->workload->budget.worse_by;
}

static bool is_plain(const candidate *c) {
  const bool sixteen = c->precision == MPT_PRECISION_BF16 || c->precision == MPT_PRECISION_FP16;
  return c->uniform && sixteen && strncmp(c->label, "all-", 4) == 0;
}

const candidate *outcome_otherwise(const search_view *s, const candidate *winner) {
  const candidate *best = NULL;
  if (winner != NULL && is_plain(winner))
    return winner;
  for (int i = 0; i < s->ledger->candidate_count; i++) {
    const candidate *c = s->ledger->candidates[i];
    if (is_plain(c) && c->permitted && may_be_used(s, c) &&
        (best == NULL || c->seconds < best->seconds))
      best = c;
  }
  return best != NULL && best->seconds < s->ledger->reference.seconds ? best
                                                                      : &s->ledger->reference;
}

void outcome_seeds(const search_view *s, const candidate *c, char text[OUTCOME_SEEDS_SIZE]) {
  const size_t size = OUTCOME_SEEDS_SIZE;
  const int n = s->ledger->reference_seeds;
  const unsigned long long first = s->ledger->reference_seed[0],
                           last = s->ledger->reference_seed[n - 1];
  const bool gaps = last - first >= (unsigned long long)n;
  const int used = gaps ? snprintf(text, size, "%d of %llu to %llu in the search", n, first, last)
                        : snprintf(text, size, "%llu to %llu in the search", first, last);
  if (c->seen.fresh && used > 0 && (size_t)used < size)
    snprintf(text + used, size - (size_t)used, ", %d fresh pairs from %llu", c->seen.pairs,
             (unsigned long long)c->seen.first_seed);
}

/* Of what a sentence calls worse or better already: without the sign. */
static void add_size(mpt_text *text, const char change[CHANGE_SIZE]) {
  mpt_text_add(text, change[0] == '+' || change[0] == '-' ? change + 1 : change);
}

static void add_mean(const search_view *s, mpt_text *text, const evidence *e) {
  char change[CHANGE_SIZE];
  change_text(s->problem->workload->budget.relative, mean_of(s, e), change);
  mpt_text_add(text, change[0] == '-' ? "better by " : "worse by ");
  add_size(text, change);
}

static void add_upper(const search_view *s, mpt_text *text, const evidence *e) {
  char upper[CHANGE_SIZE];
  change_upper_text(s->problem->workload->budget.relative, e->interval.upper, upper);
  add_size(text, upper);
}

static void add_budget(const search_view *s, mpt_text *text) {
  char budget[64];
  workload_budget_text(s->problem->workload, budget, sizeof budget);
  mpt_text_add(text, budget);
}

static const char *how_timed(const search_view *s) {
  if (s->problem->place.measures)
    return "measured";
  return s->problem->profile->synthetic ? "predicted for a synthetic device" : "predicted";
}

static void add_bound(const search_view *s, mpt_text *text, const candidate *c) {
  const double upper = c->seen.interval.upper;
  mpt_text_add(text, upper < 0 ? "better by at least " : "worse by at most ");
  add_upper(s, text, &c->seen);
  mpt_text_add(text, " (budget ");
  add_budget(s, text);
  mpt_text_addf(text, ") at %.3g%% confidence, mean over %d pairs of fresh seeds",
                100 * c->seen.confidence, c->seen.pairs);
}

static void say_winner(const search_view *s, mpt_text *text, const candidate *winner) {
  const candidate *other = outcome_otherwise(s, winner);
  const double ratio = other->seconds / winner->seconds;
  if (strcmp(other->hash, winner->hash) == 0)
    mpt_text_addf(text, "%s takes %.1f%% of the reference's step time (%s)", winner->label,
                  100 * winner->seconds / s->ledger->reference.seconds, how_timed(s));
  else if (fabs(ratio - 1) <= s->model->equal_time)
    mpt_text_addf(text, "%s is as fast as %s (%s)", winner->label, other->label, how_timed(s));
  else
    mpt_text_addf(text, "%s is %.2f times as fast as %s (%s)", winner->label, ratio, other->label,
                  how_timed(s));
  mpt_text_add(text, " and is ");
  add_bound(s, text, winner);
  if (s->problem->workload->priced.present)
    mpt_text_add(text, "; accuracy verified on the proxy");
}

/* The layers whose predicted increase is largest in a policy that misses the budget. */
static void blocking_layers(const search_view *s, const candidate *c, const increases *predicted,
                            mpt_text *text) {
  if (c->choice == NULL)
    return;
  for (int shown = 0; shown < 3; shown++) {
    int worst = -1;
    for (int u = 0; u < s->problem->space->unit_count; u++) {
      const double increase = predicted->of[u][c->choice[u]];
      const char *name = s->problem->graph->layers[s->problem->space->units[u].layer].info.name;
      if (!(increase > 0) || (text->data != NULL && strstr(text->data, name) != NULL))
        continue;
      if (worst < 0 || increase > predicted->of[worst][c->choice[worst]])
        worst = u;
    }
    if (worst < 0)
      return;
    mpt_text_addf(text, "%s%s", shown == 0 ? "; the layers that block: " : ", ",
                  s->problem->graph->layers[s->problem->space->units[worst].layer].info.name);
  }
}

/* The layers that have no format left in which the reference's own values fit. */
static void hopeless_layers(const search_view *s, mpt_text *text) {
  const char *separator = "; the layers that block: ";
  for (int u = 0; u < s->problem->space->unit_count; u++) {
    const space_unit *unit = &s->problem->space->units[u];
    const char *veto = NULL;
    for (int c = 0; c < unit->choice_count; c++) {
      veto = sensitivity_choice_veto(s->model->sensitivity, u, c);
      if (veto == NULL)
        break;
    }
    if (veto == NULL)
      continue;
    mpt_text_addf(text, "%s%s (%s)", separator, s->problem->graph->layers[unit->layer].info.name,
                  veto);
    separator = ", ";
  }
}

#define Z_POWER 1.2816 /* the normal quantile of 0.9 */

/* How many pairs tell the mean that was seen from the budget: n = ((z_alpha + z_power) deviation /
 * distance)^2 at the policy's own one-sided level and power 0.9; then the look that has as many, 0
 * if none has. */
static int pairs_needed(const search_view *s, const evidence *e) {
  const double budget = s->problem->workload->budget.relative
                            ? s->problem->workload->budget.worse_by * fabs(e->worse / mean_of(s, e))
                            : s->problem->workload->budget.worse_by;
  const double z = gsl_cdf_ugaussian_Qinv(s->problem->options->alpha * e->weight) + Z_POWER;
  const double needed = pow(z * e->deviation / (budget - e->worse), 2);
  for (int look = 0; look < VERIFY_LOOKS; look++)
    if (verify_look_sizes[look] > e->verified.finished && verify_look_sizes[look] >= needed)
      return verify_look_sizes[look];
  return 0;
}

/* Undecided by the mean: where it stands, and what would decide. */
static void say_undecided_mean(const search_view *s, mpt_text *text, const candidate *c,
                               bool written) {
  const evidence *e = &c->seen;
  char lower[CHANGE_SIZE], upper[CHANGE_SIZE];
  mpt_text_addf(text, "; %s is undecided after %d pairs: ", c->label, e->pairs);
  add_mean(s, text, e);
  if (e->verified.no_share) {
    mpt_text_add(text, ", and no share of the reference's own metric bounds it, as that may be 0 "
                       "(give an absolute budget: worse_by: 0.01)");
    return;
  }
  change_lower_text(s->problem->workload->budget.relative, e->interval.lower, lower);
  change_upper_text(s->problem->workload->budget.relative, e->interval.upper, upper);
  mpt_text_addf(text, ", between %s and %s", lower, upper);
  const int needed = pairs_needed(s, e);
  if (needed > 0 && s->problem->options->pairs < VERIFY_MOST_PAIRS) {
    mpt_text_addf(text, "; about %d pairs should tell (the same command with --pairs %d goes on)",
                  needed, VERIFY_MOST_PAIRS);
    return;
  }
  mpt_text_addf(text, "; with such pairs more than %d would be needed to tell", VERIFY_MOST_PAIRS);
  if (!written) {
    mpt_text_add(text, ", and a budget of ");
    add_upper(s, text, e);
    mpt_text_add(text, " would pass it");
  }
}

/* Undecided because trainings diverged, on either side. */
static void say_undecided_divergence(const search_view *s, mpt_text *text, const candidate *c) {
  const verify_result *v = &c->seen.verified;
  mpt_text_addf(text, "; %s is undecided because %d of %d of its trainings diverged", c->label,
                v->candidate_diverged, v->tried);
  mpt_text_addf(text, ", at most %.0f%% do (95%%), and %d of the reference's",
                ceil(100 * v->diverged_bound), v->reference_diverged);
  if (s->problem->options->pairs < VERIFY_MOST_PAIRS)
    mpt_text_addf(text, " (the same command with --pairs %d goes on)", VERIFY_MOST_PAIRS);
}

const candidate *outcome_undecided(const search_view *s) {
  const candidate *c = NULL;
  for (int i = 0; i < s->ledger->candidate_count; i++)
    if (s->ledger->candidates[i]->verdict == MPT_VERDICT_INCONCLUSIVE &&
        (c == NULL || s->ledger->candidates[i]->seconds < c->seconds))
      c = s->ledger->candidates[i];
  return c;
}

/* How to go on with it. */
static void say_inconclusive(const search_view *s, mpt_text *text, const candidate *written) {
  const candidate *c = outcome_undecided(s);
  if (c == NULL)
    return;
  const evidence *e = &c->seen;
  if (e->verified.finished == 0 || e->interval.upper < s->problem->workload->budget.worse_by)
    say_undecided_divergence(s, text, c);
  else
    say_undecided_mean(s, text, c, c == written);
}

static void say_not_met(const search_view *s, mpt_text *text, const candidate *written,
                        const increases *predicted) {
  const evidence *e = &written->seen;
  char mean[CHANGE_SIZE];
  mpt_text_addf(text, "nothing permitted meets the budget; %s is the most accurate policy",
                written->label);
  if (e->fresh && isfinite(e->interval.upper)) {
    /* Below it, something else than the mean is in the way. */
    if (e->interval.upper >= s->problem->workload->budget.worse_by) {
      mpt_text_add(text, ", a budget of ");
      add_upper(s, text, e);
      mpt_text_add(text, " would pass it");
    }
  } else {
    change_text(s->problem->workload->budget.relative, mean_of(s, e), mean);
    mpt_text_add(text, mean[0] == '-' ? ", better by " : ", a budget of about ");
    add_size(text, mean);
    mpt_text_add(text, mean[0] == '-' ? " (not verified)" : " would pass it (not verified)");
  }
  blocking_layers(s, written, predicted, text);
}

char *outcome_message(const search_view *s, const candidate *winner, const candidate *written,
                      const increases *predicted) {
  mpt_text text = {0};
  if (winner != NULL) {
    say_winner(s, &text, winner);
  } else if (s->ledger->reference.permitted) {
    mpt_text_add(&text, "no gain: no faster policy was verified to meet the budget of ");
    add_budget(s, &text);
    mpt_text_add(&text, "; the reference's formats stay");
    say_inconclusive(s, &text, NULL);
  } else if (written != NULL) {
    say_not_met(s, &text, written, predicted);
    say_inconclusive(s, &text, written);
  } else {
    mpt_text_add(&text, "nothing permitted trains without diverging");
    hopeless_layers(s, &text);
  }
  if (!text.failed)
    return text.data;
  mpt_text_free(&text);
  return NULL;
}
