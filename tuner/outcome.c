/* What the search came to, in words, and beside what people would have done without it. */
#include "base/text.h"
#include "tuner/search.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* What speaks against it: a verdict, or (unverified) a mean outside the budget. */
static bool may_be_used(const search *s, const candidate *c) {
  if (c == &s->reference || strcmp(c->hash, s->reference.hash) == 0)
    return true;
  if (c->verdict == MPT_VERDICT_FAIL || c->verdict == MPT_VERDICT_INCONCLUSIVE)
    return false;
  const evidence *e = &c->seen;
  const double worse = s->w->budget.relative ? e->worse_share : e->worse;
  return e->diverged + e->given_up == 0 && worse <= s->w->budget.worse_by;
}

static bool is_plain(const candidate *c) {
  const bool sixteen = c->precision == MPT_PRECISION_BF16 || c->precision == MPT_PRECISION_FP16;
  return c->uniform && sixteen && strncmp(c->label, "all-", 4) == 0;
}

const candidate *outcome_otherwise(const search *s, const candidate *winner) {
  const candidate *best = NULL;
  if (winner != NULL && is_plain(winner))
    return winner;
  for (int i = 0; i < s->candidate_count; i++) {
    const candidate *c = s->candidates[i];
    if (is_plain(c) && c->permitted && may_be_used(s, c) &&
        (best == NULL || c->seconds < best->seconds))
      best = c;
  }
  return best != NULL && best->seconds < s->reference.seconds ? best : &s->reference;
}

/* A share of the budget's kind: "0.5%", or "0.01". */
static void add_change(const search *s, mpt_text *text, double change) {
  if (s->w->budget.relative)
    mpt_text_addf(text, "%.3g%%", 100 * change);
  else
    mpt_text_addf(text, "%.3g", change);
}

static void add_budget(const search *s, mpt_text *text) {
  char budget[64];
  workload_budget_text(s->w, budget, sizeof budget);
  mpt_text_add(text, budget);
}

static const char *how_timed(const search *s) {
  if (s->place.measures)
    return "measured";
  return s->profile->synthetic ? "predicted for a synthetic device" : "predicted";
}

static void add_bound(const search *s, mpt_text *text, const candidate *c) {
  const double upper = c->seen.interval.upper;
  mpt_text_add(text, upper < 0 ? "better by at least " : "worse by at most ");
  add_change(s, text, fabs(upper));
  mpt_text_add(text, " (budget ");
  add_budget(s, text);
  mpt_text_addf(text, ") at %.3g%% confidence, mean over %d pairs of fresh seeds",
                100 * c->seen.confidence, c->seen.pairs);
}

static void say_winner(const search *s, mpt_text *text, const candidate *winner,
                       const tuner_summary *summary) {
  const candidate *other = outcome_otherwise(s, winner);
  const double ratio = other->seconds / winner->seconds;
  if (strcmp(other->hash, winner->hash) == 0)
    mpt_text_addf(text, "%s takes %.1f%% of the reference's step time (%s)", winner->label,
                  100 * winner->seconds / s->reference.seconds, how_timed(s));
  else if (fabs(ratio - 1) <= s->equal_time)
    mpt_text_addf(text, "%s is as fast as %s (%s)", winner->label, other->label, how_timed(s));
  else
    mpt_text_addf(text, "%s is %.2f times as fast as %s (%s)", winner->label, ratio, other->label,
                  how_timed(s));
  mpt_text_add(text, " and is ");
  add_bound(s, text, winner);
  if (summary->proxy)
    mpt_text_add(text, "; accuracy verified on the proxy");
}

/* The layers whose predicted increase is largest in a policy that misses the budget. */
static void blocking_layers(const search *s, const candidate *c, mpt_text *text) {
  if (c->choice == NULL)
    return;
  for (int shown = 0; shown < 3; shown++) {
    int worst = -1;
    for (int u = 0; u < s->space->unit_count; u++) {
      const double increase = s->increase[u][c->choice[u]];
      const char *name = s->graph->layers[s->space->units[u].layer].info.name;
      if (!(increase > 0) || (text->data != NULL && strstr(text->data, name) != NULL))
        continue;
      if (worst < 0 || increase > s->increase[worst][c->choice[worst]])
        worst = u;
    }
    if (worst < 0)
      return;
    mpt_text_addf(text, "%s%s", shown == 0 ? "; the layers that block: " : ", ",
                  s->graph->layers[s->space->units[worst].layer].info.name);
  }
}

/* The layers that have no format left in which the reference's own values fit. */
static void hopeless_layers(const search *s, mpt_text *text) {
  const char *separator = "; the layers that block: ";
  for (int u = 0; u < s->space->unit_count; u++) {
    const space_unit *unit = &s->space->units[u];
    const char *veto = NULL;
    for (int c = 0; c < unit->choice_count; c++) {
      veto = sensitivity_choice_veto(s, u, c);
      if (veto == NULL)
        break;
    }
    if (veto == NULL)
      continue;
    mpt_text_addf(text, "%s%s (%s)", separator, s->graph->layers[unit->layer].info.name, veto);
    separator = ", ";
  }
}

/* How many pairs tell the mean that was seen from the budget: n = ((z_alpha + z_power) deviation /
 * distance)^2 at one-sided 2.5% and power 0.9. */
static double pairs_needed(const search *s, const evidence *e) {
  const double budget = s->w->budget.relative ? s->w->budget.worse_by * e->worse / e->worse_share
                                              : s->w->budget.worse_by;
  return ceil(pow((1.96 + 1.28) * e->deviation / (budget - e->worse), 2));
}

/* The fastest that verification could not settle, and how to go on. */
static void say_inconclusive(const search *s, mpt_text *text) {
  const candidate *c = NULL;
  for (int i = 0; i < s->candidate_count; i++)
    if (s->candidates[i]->verdict == MPT_VERDICT_INCONCLUSIVE &&
        (c == NULL || s->candidates[i]->seconds < c->seconds))
      c = s->candidates[i];
  if (c == NULL)
    return;
  const evidence *e = &c->seen;
  mpt_text_addf(text, "; %s is undecided after %d pairs: worse by ", c->label, e->pairs);
  if (e->pairs > 0)
    add_change(s, text, s->w->budget.relative ? e->worse_share : e->worse);
  if (isfinite(e->interval.upper) && isfinite(e->interval.lower)) {
    mpt_text_add(text, ", between ");
    add_change(s, text, e->interval.lower);
    mpt_text_add(text, " and ");
    add_change(s, text, e->interval.upper);
  }
  const double needed = pairs_needed(s, e);
  if (isfinite(needed) && needed > VERIFY_MOST_PAIRS) {
    mpt_text_addf(text, "; with such pairs more than %d would be needed to tell",
                  VERIFY_MOST_PAIRS);
    return;
  }
  if (isfinite(needed))
    mpt_text_addf(text, "; about %.0f pairs should tell", fmax(needed, e->pairs + 1));
  if (s->options->pairs < VERIFY_MOST_PAIRS)
    mpt_text_addf(text, " (the same command with --pairs %d goes on)", VERIFY_MOST_PAIRS);
}

static void say_not_met(const search *s, mpt_text *text, const candidate *written) {
  const evidence *e = &written->seen;
  const bool bounded = e->fresh && isfinite(e->interval.upper);
  const double mean = s->w->budget.relative ? e->worse_share : e->worse;
  mpt_text_addf(
      text, "nothing permitted meets the budget; %s is the most accurate policy, a budget of %s",
      written->label, bounded ? "" : "about ");
  add_change(s, text, bounded ? e->interval.upper : mean);
  mpt_text_addf(text, " would pass it%s", bounded ? "" : " (not verified)");
  blocking_layers(s, written, text);
}

char *outcome_message(const search *s, const candidate *winner, const candidate *written,
                      const tuner_summary *summary) {
  mpt_text text = {0};
  if (winner != NULL) {
    say_winner(s, &text, winner, summary);
  } else if (s->reference.permitted) {
    mpt_text_add(&text, "no gain: no faster policy was verified to meet the budget of ");
    add_budget(s, &text);
    mpt_text_add(&text, "; the reference's formats stay");
    say_inconclusive(s, &text);
  } else if (written != NULL) {
    say_not_met(s, &text, written);
    say_inconclusive(s, &text);
  } else {
    mpt_text_add(&text, "nothing permitted trains without diverging");
    hopeless_layers(s, &text);
  }
  if (!text.failed)
    return text.data;
  mpt_text_free(&text);
  return NULL;
}
