/* Why a layer has its format, in words: what was seen in it, what its format buys, and what would
 * flip it. */
#include "base/error.h"
#include "base/text.h"
#include "tuner/model.h"
#include "tuner/results.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Statistics of one layer over the observed steps, merged. */
typedef struct layer_seen {
  mpt_statistics operand[MPT_OPERAND_COUNT];
  bool any;
} layer_seen;

/* What the reasons for one policy are told from. */
typedef struct reasoning {
  const search_view *s;
  const candidate *winner;
  increases predicted;
  layer_seen *seen;             /* [layers] */
  int *choice;                  /* [units]: the winner's, but while it is changed */
  mpt_layer_policy *assignment; /* scratch, [layers] */
} reasoning;

static mpt_status seen_layers(const search_view *s, layer_seen *seen, mpt_error *error) {
  store_statistics *rows = NULL;
  int count = 0;
  MPT_RETURN_IF_FAILED(
      store_all_statistics(s->ledger->store, s->ledger->observed_key, &rows, &count, error));
  if (count == 0) { /* a search of another seed trained this run, and observed its own */
    free(rows);
    rows = NULL;
    MPT_RETURN_IF_FAILED(store_all_statistics(s->ledger->store, NULL, &rows, &count, error));
  }
  for (int i = 0; i < count; i++) {
    const int layer = graph_find(s->problem->graph, rows[i].layer);
    if (layer < 0)
      continue;
    mpt_statistics *into = &seen[layer].operand[rows[i].operand];
    if (into->count == 0)
      *into = rows[i].statistics;
    else
      mpt_statistics_merge(into, &rows[i].statistics);
    seen[layer].any = true;
  }
  free(rows);
  return MPT_OK;
}

static void add_time(mpt_text *text, double seconds) {
  if (fabs(seconds) >= 1e-3)
    mpt_text_addf(text, "%.3g ms", 1e3 * seconds);
  else
    mpt_text_addf(text, "%.3g us", 1e6 * seconds);
}

static void describe_seen(mpt_text *text, const layer_seen *seen) {
  if (!seen->any)
    return;
  mpt_text_add(text, "Seen:");
  const char *separator = " ";
  for (int o = 0; o < MPT_OPERAND_COUNT; o++) {
    const mpt_statistics *x = &seen->operand[o];
    if (x->count == 0)
      continue;
    mpt_text_addf(text, "%s%s amax %.3g over %.0f binades", separator,
                  mpt_operand_name((mpt_operand)o), (double)mpt_statistics_amax(x),
                  mpt_statistics_dynamic_range(x));
    separator = ", ";
  }
  mpt_text_add(text, ". ");
}

typedef struct alternative {
  int choice;   /* -1: none */
  double saved; /* seconds a step, against the winner */
  double more;  /* predicted increase on top of the winner's */
  const char *veto;
} alternative;

/* What the winner would take with another choice of one unit. */
static mpt_status price_with(const reasoning *r, int unit, int choice, double *seconds,
                             mpt_error *error) {
  const problem *p = r->s->problem;
  cost_parts parts = {0};
  r->choice[unit] = choice;
  space_assignment(p->space, r->choice, r->assignment);
  r->choice[unit] = r->winner->choice[unit];
  MPT_RETURN_IF_FAILED(model_price(r->s->model, p, r->assignment, &parts, error));
  *seconds = parts.total;
  return MPT_OK;
}

/* The fastest policy that differs from the winner in this unit's choice alone. */
static mpt_status fastest_alternative(const reasoning *r, int unit, alternative *best,
                                      mpt_error *error) {
  const int own = r->winner->choice[unit];
  const double *increase = r->predicted.of[unit];
  *best = (alternative){.choice = -1, .saved = -INFINITY};
  for (int c = 0; c < r->s->problem->space->units[unit].choice_count; c++) {
    double seconds = 0;
    if (c == own)
      continue;
    MPT_RETURN_IF_FAILED(price_with(r, unit, c, &seconds, error));
    const double saved = r->winner->cost.total - seconds;
    if (saved <= best->saved)
      continue;
    *best = (alternative){.choice = c,
                          .saved = saved,
                          .more = increase[c] - increase[own],
                          .veto = sensitivity_choice_veto(r->s->model->sensitivity, unit, c)};
  }
  return MPT_OK;
}

static void add_share_of_budget(mpt_text *text, const reasoning *r, double increase) {
  mpt_text_addf(text, "%.2g%% of the budget", 100 * increase / r->s->model->margin);
}

/* `saved`: by the winner's format here, against the reference's. */
static void describe_choice(mpt_text *text, const reasoning *r, int unit, double saved) {
  char formats[160];
  const int own = r->winner->choice[unit];
  const double increase = r->predicted.of[unit][own];
  mpt_layer_policy_text(&r->s->problem->space->units[unit].choices[own], formats, sizeof formats);
  if (own == 0) {
    mpt_text_addf(text, "Stays in %s, the reference's format. ", formats);
    return;
  }
  if (saved > 0) {
    mpt_text_addf(text, "%s saves ", formats);
    add_time(text, saved);
    mpt_text_addf(text, " of the step (%.2g%%)", 100 * saved / r->s->ledger->reference.cost.total);
  } else {
    mpt_text_addf(text, "%s saves no time by itself, but a conversion next to it", formats);
  }
  if (isfinite(increase)) {
    mpt_text_add(text, " and is predicted to cost ");
    add_share_of_budget(text, r, increase);
  }
  mpt_text_add(text, ". ");
}

static void describe_flip(mpt_text *text, const reasoning *r, int unit, const alternative *other) {
  char formats[160];
  if (other->choice < 0) {
    mpt_text_add(text, "pinned, or nothing else is permitted");
    return;
  }
  mpt_layer_policy_text(&r->s->problem->space->units[unit].choices[other->choice], formats,
                        sizeof formats);
  if (other->saved <= SEARCH_EQUAL_TIME * 0.1 * r->winner->cost.total) {
    mpt_text_addf(text, "no other format is faster here: %s would ", formats);
    if (other->saved < 0) {
      mpt_text_add(text, "add ");
      add_time(text, -other->saved);
    } else {
      mpt_text_add(text, "save nothing");
    }
    return;
  }
  mpt_text_addf(text, "%s would save ", formats);
  add_time(text, other->saved);
  if (other->veto != NULL) {
    mpt_text_addf(text, ", but %s", other->veto);
  } else {
    const double all = increases_total(&r->predicted, r->winner->choice);
    const double needed = (all + fmax(0, other->more)) / r->s->model->margin;
    mpt_text_add(text, ", predicted to cost ");
    add_share_of_budget(text, r, fmax(0, other->more));
    if (needed > 1)
      mpt_text_addf(text, "; a budget %.2g times as large would allow it", needed);
  }
}

/* Into the arena; NULL where there is no memory, or the text failed. */
static const char *keep(mpt_arena *memory, const mpt_text *text) {
  return text->failed ? NULL : mpt_arena_text(memory, text->data, text->length);
}

static mpt_status reason_of(const reasoning *r, int unit, mpt_arena *memory, store_reason *out,
                            mpt_error *error) {
  const problem *p = r->s->problem;
  const int layer = p->space->units[unit].layer;
  alternative other;
  double reference = 0;
  MPT_RETURN_IF_FAILED(fastest_alternative(r, unit, &other, error));
  MPT_RETURN_IF_FAILED(price_with(r, unit, 0, &reference, error));
  mpt_text reason = {0}, flip = {0};
  describe_choice(&reason, r, unit, reference - r->winner->cost.total);
  describe_seen(&reason, &r->seen[layer]);
  describe_flip(&flip, r, unit, &other);
  char formats[160];
  mpt_layer_policy_text(&r->winner->assignment[layer], formats, sizeof formats);
  *out = (store_reason){.layer = p->graph->layers[layer].info.name,
                        .formats = mpt_arena_text(memory, formats, strlen(formats)),
                        .reason = keep(memory, &reason),
                        .flip = keep(memory, &flip)};
  mpt_text_free(&reason);
  mpt_text_free(&flip);
  if (out->formats == NULL || out->reason == NULL || out->flip == NULL)
    return mpt_fail_memory(error, "a layer's reason", 0);
  return MPT_OK;
}

mpt_status reasons_make(const search_view *s, const candidate *winner, mpt_arena *memory,
                        const store_reason **reasons, int *count, mpt_error *error) {
  const problem *p = s->problem;
  const size_t layers = (size_t)p->graph->layer_count, units = (size_t)p->space->unit_count;
  store_reason *all = mpt_arena_take(memory, (units + 1) * sizeof *all);
  *reasons = all;
  *count = 0;
  if (all == NULL)
    return mpt_fail_memory(error, "the reasons", 0);
  if (winner->choice == NULL)
    return MPT_OK;
  reasoning r = {.s = s,
                 .winner = winner,
                 .seen = calloc(layers, sizeof *r.seen),
                 .choice = malloc((units + 1) * sizeof *r.choice),
                 .assignment = calloc(layers, sizeof *r.assignment)};
  mpt_status status = MPT_OK;
  if (r.seen == NULL || r.assignment == NULL || r.choice == NULL) {
    status = mpt_fail_memory(error, "the reasons", 0);
    goto fail;
  }
  memcpy(r.choice, winner->choice, units * sizeof *r.choice);
  MPT_TRY(seen_layers(s, r.seen, error));
  MPT_TRY(model_increases(s->model, p, 0, &r.predicted, error));
  for (int u = 0; u < p->space->unit_count; u++)
    MPT_TRY(reason_of(&r, u, memory, &all[u], error));
  *count = p->space->unit_count;
fail:
  increases_free(&r.predicted);
  free(r.seen);
  free(r.assignment);
  free(r.choice);
  return status;
}
