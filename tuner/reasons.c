/* Why a layer has its format, in words: what was seen in it, what its format buys, and what would
 * flip it. */
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "tuner/search.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Statistics of one layer over the observed steps, merged. */
typedef struct layer_seen {
  mpt_statistics operand[MPT_OPERAND_COUNT];
  bool any;
} layer_seen;

static mpt_status seen_layers(search *s, layer_seen *seen, mpt_error *error) {
  store_statistics *rows = NULL;
  int count = 0;
  MPT_RETURN_IF_FAILED(store_all_statistics(s->store, s->observed_key, &rows, &count, error));
  if (count == 0) { /* a search of another seed trained this run, and observed its own */
    free(rows);
    rows = NULL;
    MPT_RETURN_IF_FAILED(store_all_statistics(s->store, NULL, &rows, &count, error));
  }
  for (int i = 0; i < count; i++) {
    const int layer = graph_find(s->graph, rows[i].layer);
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

/* The fastest policy that differs from the winner in this unit's choice alone. */
static mpt_status fastest_alternative(search *s, const candidate *winner, int unit, int *choice,
                                      mpt_layer_policy *assignment, alternative *best,
                                      mpt_error *error) {
  const int own = winner->choice[unit];
  *best = (alternative){.choice = -1, .saved = -INFINITY};
  for (int c = 0; c < s->space->units[unit].choice_count; c++) {
    if (c == own)
      continue;
    choice[unit] = c;
    space_assignment(s->space, choice, assignment);
    cost_parts parts;
    mpt_status status =
        cost_predict(s->priced, s->profile, &s->w->optimizer, assignment, &parts, error);
    choice[unit] = own;
    if (status != MPT_OK)
      return status;
    const double saved = winner->cost.total - parts.total;
    if (saved <= best->saved)
      continue;
    *best = (alternative){.choice = c, .saved = saved, .veto = sensitivity_choice_veto(s, unit, c)};
    best->more = s->increase[unit][c] - s->increase[unit][own];
  }
  return MPT_OK;
}

/* What the winner's format saves here against the reference's. */
static mpt_status saved_here(search *s, const candidate *winner, int unit, int *choice,
                             mpt_layer_policy *assignment, double *saved, mpt_error *error) {
  const int own = winner->choice[unit];
  cost_parts parts;
  choice[unit] = 0;
  space_assignment(s->space, choice, assignment);
  choice[unit] = own;
  MPT_RETURN_IF_FAILED(
      cost_predict(s->priced, s->profile, &s->w->optimizer, assignment, &parts, error));
  *saved = parts.total - winner->cost.total;
  return MPT_OK;
}

static void add_share_of_budget(mpt_text *text, const search *s, double increase) {
  mpt_text_addf(text, "%.2g%% of the budget", 100 * increase / s->margin);
}

static void describe_choice(mpt_text *text, const search *s, const candidate *winner, int unit,
                            double saved) {
  char formats[160];
  const int own = winner->choice[unit];
  mpt_layer_policy_text(&s->space->units[unit].choices[own], formats, sizeof formats);
  if (own == 0) {
    mpt_text_addf(text, "Stays in %s, the reference's format. ", formats);
    return;
  }
  if (saved > 0) {
    mpt_text_addf(text, "%s saves ", formats);
    add_time(text, saved);
    mpt_text_addf(text, " of the step (%.2g%%)", 100 * saved / s->reference.cost.total);
  } else {
    mpt_text_addf(text, "%s saves no time by itself, but a conversion next to it", formats);
  }
  if (isfinite(s->increase[unit][own])) {
    mpt_text_add(text, " and is predicted to cost ");
    add_share_of_budget(text, s, s->increase[unit][own]);
  }
  mpt_text_add(text, ". ");
}

static void describe_flip(mpt_text *text, const search *s, const candidate *winner, int unit,
                          const alternative *other) {
  char formats[160];
  if (other->choice < 0) {
    mpt_text_add(text, "pinned, or nothing else is permitted");
    return;
  }
  mpt_layer_policy_text(&s->space->units[unit].choices[other->choice], formats, sizeof formats);
  if (other->saved <= SEARCH_EQUAL_TIME * 0.1 * winner->cost.total) {
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
    double all = 0; /* of the winner's layers, as predicted now */
    for (int u = 0; u < s->space->unit_count; u++)
      all += s->increase[u][winner->choice[u]];
    const double needed = (all + fmax(0, other->more)) / s->margin;
    mpt_text_add(text, ", predicted to cost ");
    add_share_of_budget(text, s, fmax(0, other->more));
    if (needed > 1)
      mpt_text_addf(text, "; a budget %.2g times as large would allow it", needed);
  }
}

static mpt_status reason_of(search *s, const candidate *winner, int unit, const layer_seen *seen,
                            int *choice, mpt_layer_policy *assignment, json_t **reasons,
                            mpt_error *error) {
  alternative other;
  double saved = 0;
  MPT_RETURN_IF_FAILED(fastest_alternative(s, winner, unit, choice, assignment, &other, error));
  MPT_RETURN_IF_FAILED(saved_here(s, winner, unit, choice, assignment, &saved, error));
  const int layer = s->space->units[unit].layer;
  mpt_text reason = {0}, flip = {0};
  describe_choice(&reason, s, winner, unit, saved);
  describe_seen(&reason, &seen[layer]);
  describe_flip(&flip, s, winner, unit, &other);
  char formats[160];
  mpt_layer_policy_text(&winner->assignment[layer], formats, sizeof formats);
  mpt_status status = MPT_OK;
  if (reason.failed || flip.failed)
    status = mpt_fail_memory(error, "a layer's reason", 0);
  else
    mpt_json_append(reasons,
                    mpt_json_pack("{s:s,s:s,s:s,s:s}", "layer", s->graph->layers[layer].info.name,
                                  "formats", formats, "reason", reason.data, "flip", flip.data));
  mpt_text_free(&reason);
  mpt_text_free(&flip);
  return status;
}

mpt_status reasons_make(search *s, const candidate *winner, json_t **reasons, mpt_error *error) {
  *reasons = json_array();
  if (winner->choice == NULL)
    return MPT_OK;
  layer_seen *seen = calloc((size_t)s->graph->layer_count, sizeof *seen);
  mpt_layer_policy *assignment = calloc((size_t)s->graph->layer_count, sizeof *assignment);
  int *choice = malloc(((size_t)s->space->unit_count + 1) * sizeof *choice);
  mpt_status status = MPT_OK;
  if (seen == NULL || assignment == NULL || choice == NULL) {
    status = mpt_fail_memory(error, "the reasons", 0);
    goto fail;
  }
  memcpy(choice, winner->choice, (size_t)s->space->unit_count * sizeof *choice);
  MPT_TRY(seen_layers(s, seen, error));
  sensitivity_vetoes(s);
  MPT_TRY(predictor_increases(s->predictor, 0, s->increase, error));
  for (int u = 0; u < s->space->unit_count; u++)
    MPT_TRY(reason_of(s, winner, u, seen, choice, assignment, reasons, error));
fail:
  if (status != MPT_OK) {
    json_decref(*reasons);
    *reasons = NULL;
  }
  free(seen);
  free(assignment);
  free(choice);
  return status;
}
