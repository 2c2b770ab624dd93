/* Stage 8: policy.yaml, the winner's record, the summary. */
#include "base/error.h"
#include "base/text.h"
#include "tuner/search.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double relative(const search *s, double difference) {
  return difference / fabs(s->reference_mean);
}

/* What is known of a candidate's difference to the reference: from verification, else the search.
 */
static double known_difference(const search *s, const candidate *c) {
  if (c->verify_count == 0)
    return c == &s->reference ? 0 : candidate_mean(c);
  return c->verified.worse;
}

/* The budget that it would just pass, as a share of the reference's metric. */
static double bound_share(const search *s, const candidate *c) {
  const double upper = c->verified.bound.upper;
  return s->w->budget.relative ? upper : relative(s, upper);
}

static mpt_policy_result result_of(const search *s, const candidate *c, mpt_verdict verdict) {
  mpt_policy_result r = {.verdict = verdict, .worse_by = NAN, .upper_bound = NAN};
  const double difference = known_difference(s, c);
  if (isfinite(difference))
    r.worse_by = relative(s, difference);
  if (c->attempt > 0 && isfinite(c->verified.bound.upper))
    r.upper_bound = bound_share(s, c);
  if (c == &s->reference)
    r.upper_bound = 0;
  r.confidence = 1 - s->options->alpha;
  r.step_time_ratio = c->seconds / s->reference.seconds;
  r.time_measured = c->timed.count > 0 && s->reference.timed.count > 0;
  r.steps = s->steps;
  return r;
}

/* What was trained on: the search's seeds, and the fresh ones of verification. */
static void describe_seeds(const search *s, const candidate *c, char *text, size_t size) {
  const unsigned long long first = s->options->seed;
  const int used = snprintf(text, size, "%llu to %llu in the search", first,
                            first + (unsigned long long)s->reference_seeds - 1);
  if (c->verify_count > 0 && used > 0 && (size_t)used < size)
    snprintf(text + used, size - (size_t)used, ", %d fresh pairs from %llu", c->verify_count,
             first + SEARCH_FRESH_SEEDS);
}

/* "measured: 36.0 ms a step, predicted 35.1 ms" */
static void describe_times(const search *s, const candidate *c, char *text, size_t size) {
  if (c->timed.count > 0)
    snprintf(text, size, "measured: %.4g ms a step, predicted %.4g ms", 1e3 * c->seconds,
             1e3 * cost_uncorrected(&c->cost));
  else
    snprintf(text, size, "%s",
             s->profile->synthetic ? "predicted for a synthetic device" : "predicted");
}

static mpt_status set_provenance(search *s, const candidate *c, mpt_verdict verdict,
                                 mpt_policy *policy, mpt_error *error) {
  char budget[64], seeds[96], accuracy[64], stamp[32];
  const time_t now = time(NULL);
  struct tm utc;
  gmtime_r(&now, &utc);
  strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &utc);
  describe_seeds(s, c, seeds, sizeof seeds);
  snprintf(accuracy, sizeof accuracy, "%s on the %s",
           verdict == MPT_VERDICT_PASS ? "verified" : "measured, not verified,",
           s->w->priced.present ? "proxy" : "model");
  snprintf(budget, sizeof budget, "%g%s", s->w->budget.worse_by * (s->w->budget.relative ? 100 : 1),
           s->w->budget.relative ? "%" : "");
  char times[160];
  describe_times(s, c, times, sizeof times);
  const struct {
    const char *key, *value;
  } entries[] = {
      {"tool", "mptune " MPTUNE_VERSION},
      {"time", stamp},
      {"workload", s->w->name},
      {"workload_hash", s->training_hash},
      {"data_hash", dataset_get_info(s->data)->hash},
      {"backend", s->place.text},
      {"target", s->place.measures ? s->place.device : s->profile_identity},
      {"times", times},
      {"accuracy", accuracy},
      {"seeds", seeds},
      {"budget_worse_by", budget},
  };
  for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++)
    MPT_RETURN_IF_FAILED(
        mpt_policy_set_provenance(policy, entries[i].key, entries[i].value, error));
  return MPT_OK;
}

mpt_status write_policy(search *s, const candidate *c, mpt_verdict verdict, mpt_error *error) {
  mpt_layer_info *layers = graph_layer_infos(s->graph);
  mpt_policy *policy = NULL;
  char path[600];
  mpt_status status = MPT_OK;
  if (layers == NULL)
    return mpt_fail_memory(error, "the layers' names", 0);
  snprintf(path, sizeof path, "%s/policy.yaml", s->options->run);
  MPT_TRY(mpt_policy_from_assignment(s->w->name, layers, c->assignment, s->graph->layer_count,
                                     c->loss_scale, &policy, error));
  MPT_TRY(set_provenance(s, c, verdict, policy, error));
  const mpt_policy_result result = result_of(s, c, verdict);
  MPT_TRY(mpt_policy_set_result(policy, &result, error));
  MPT_TRY(mpt_policy_save(policy, path, error));
fail:
  mpt_policy_free(policy);
  free(layers);
  return status;
}

static double metric_mean(const search *s, const candidate *c) {
  if (c == &s->reference)
    return s->reference_mean;
  const double difference = known_difference(s, c);
  return isfinite(difference) ? s->reference_mean + s->sign * difference : NAN;
}

tuner_row search_row(const search *s, const candidate *c) {
  tuner_row row = {.step_seconds = c->seconds,
                   .predicted_seconds = cost_uncorrected(&c->cost),
                   .measured = c->timed.count > 0,
                   .memory_bytes = c->memory_bytes};
  snprintf(row.label, sizeof row.label, "%s", c->label);
  row.ratio = c->seconds / s->reference.seconds;
  return row;
}

static tuner_row row_of(const search *s, const candidate *c, const candidate *winner) {
  tuner_row row = search_row(s, c);
  row.metric = metric_mean(s, c);
  row.worse_by =
      c->seed_count + c->verify_count > 0 || c == &s->reference ? known_difference(s, c) : NAN;
  row.verdict = c == &s->reference ? MPT_VERDICT_PASS : c->verdict;
  row.winner = c == winner;
  row.reference = c == &s->reference;
  row.excluded = !c->permitted;
  return row;
}

static json_t *real_or_null(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

static json_t *rows_json(const search *s, const tuner_summary *summary) {
  (void)s;
  json_t *rows = json_array();
  for (int i = 0; i < summary->row_count; i++) {
    const tuner_row *r = &summary->rows[i];
    json_array_append_new(
        rows,
        json_pack("{s:s,s:f,s:f,s:b,s:f,s:o,s:o,s:s,s:b,s:b,s:b,s:I}", "label", r->label,
                  "step_seconds", r->step_seconds, "predicted_seconds", r->predicted_seconds,
                  "measured", r->measured, "ratio", r->ratio, "metric", real_or_null(r->metric),
                  "worse_by", real_or_null(r->worse_by), "verdict", mpt_verdict_name(r->verdict),
                  "winner", r->winner, "reference", r->reference, "excluded", r->excluded,
                  "memory_bytes", (json_int_t)r->memory_bytes));
  }
  return rows;
}

static json_t *assignment_json(const search *s, const candidate *c) {
  json_t *all = json_object();
  for (int i = 0; i < s->graph->layer_count; i++) {
    char formats[160];
    if (!s->graph->layers[i].has_format)
      continue;
    mpt_layer_policy_text(&c->assignment[i], formats, sizeof formats);
    json_object_set_new(all, s->graph->layers[i].info.name, json_string(formats));
  }
  return all;
}

/* Of everything permitted, the policy that loses least: what is written when nothing passes. */
static candidate *most_accurate(search *s) {
  bool reference_permitted = s->reference.permitted;
  if (reference_permitted)
    return &s->reference;
  candidate *best = NULL;
  for (int i = 0; i < s->candidate_count; i++) {
    candidate *c = s->candidates[i];
    if (!c->permitted || !isfinite(candidate_mean(c)))
      continue;
    if (best == NULL || known_difference(s, c) < known_difference(s, best))
      best = c;
  }
  return best;
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

/* The fastest uniform policy beside the winner that nothing speaks against: what a person
 * would have used without a search. */
static const candidate *next_best_uniform(const search *s, const candidate *winner) {
  const candidate *best = NULL;
  for (int i = 0; i < s->candidate_count; i++) {
    const candidate *c = s->candidates[i];
    if (!c->uniform || c == winner || c->verdict == MPT_VERDICT_FAIL ||
        c->verdict == MPT_VERDICT_INCONCLUSIVE || !(candidate_mean(c) <= s->margin))
      continue;
    if (best == NULL || c->seconds < best->seconds)
      best = c;
  }
  return best;
}

static char *message_of(const search *s, const candidate *winner, const candidate *written,
                        const tuner_summary *summary) {
  mpt_text text = {0};
  const char *how = s->place.measures       ? "measured"
                    : s->profile->synthetic ? "predicted for a synthetic device"
                                            : "predicted";
  if (winner != NULL) {
    mpt_text_addf(&text, "%s takes %.1f%% of the reference's step time (%s)", winner->label,
                  100 * winner->seconds / s->reference.seconds, how);
    const double share = bound_share(s, winner);
    mpt_text_addf(&text, " and is %s %.3g%% (budget %.3g%%) at %.3g%% confidence",
                  share < 0 ? "better by at least" : "worse by at most", 100 * fabs(share),
                  100 * relative(s, s->margin), 100 * (1 - s->options->alpha));
    const candidate *other = next_best_uniform(s, winner);
    const double ratio = other == NULL ? 0 : other->seconds / winner->seconds;
    if (other != NULL && fabs(ratio - 1) <= s->equal_time)
      mpt_text_addf(&text, "; it is as fast as %s (%s)", other->label, how);
    else if (other != NULL)
      mpt_text_addf(&text, "; it is %.2f times as fast as %s (%s)", ratio, other->label, how);
    if (summary->proxy)
      mpt_text_add(&text, "; accuracy verified on the proxy");
  } else if (s->reference.permitted) {
    mpt_text_add(&text,
                 "no gain: no faster policy was verified to meet the budget; the reference's "
                 "formats stay");
  } else if (written != NULL) {
    const bool bounded = written->attempt > 0 && isfinite(written->verified.bound.upper);
    const double needed =
        bounded ? bound_share(s, written) : relative(s, known_difference(s, written));
    mpt_text_addf(&text,
                  "nothing permitted meets the budget; %s is the most accurate policy, a "
                  "budget of %s%.3g%% would pass it%s",
                  written->label, bounded ? "" : "about ", 100 * needed,
                  bounded ? "" : " (not verified)");
    blocking_layers(s, written, &text);
  } else {
    mpt_text_add(&text, "nothing permitted trains without diverging");
    hopeless_layers(s, &text);
  }
  return text.failed ? NULL : text.data;
}

static mpt_status summary_rows(search *s, candidate *winner, tuner_summary *summary,
                               mpt_error *error) {
  summary->rows = calloc((size_t)s->candidate_count + 2, sizeof *summary->rows);
  if (summary->rows == NULL)
    return mpt_fail_memory(error, "the summary", 0);
  if (winner != NULL && !winner->uniform)
    summary->rows[summary->row_count++] = row_of(s, winner, winner);
  bool reference_shown = false;
  for (int i = 0; i < s->candidate_count; i++) {
    candidate *c = s->candidates[i];
    if (!c->uniform)
      continue;
    const bool is_reference = strcmp(c->hash, s->reference.hash) == 0;
    reference_shown = reference_shown || is_reference;
    tuner_row row = row_of(s, is_reference ? &s->reference : c, winner);
    snprintf(row.label, sizeof row.label, "%s", c->label);
    row.winner = row.winner || (is_reference && winner == NULL && s->reference.permitted);
    summary->rows[summary->row_count++] = row;
  }
  if (!reference_shown)
    summary->rows[summary->row_count++] = row_of(s, &s->reference, winner);
  return MPT_OK;
}

static mpt_status set_winner(search *s, json_t *note, mpt_error *error) {
  char *text = note == NULL ? NULL : json_dumps(note, JSON_REAL_PRECISION(17));
  json_decref(note);
  mpt_status status = text == NULL ? mpt_fail_memory(error, "the winner's record", 0)
                                   : store_set(s->store, "winner", text, error);
  free(text);
  return status;
}

static mpt_status note_winner(search *s, const candidate *winner, const candidate *written,
                              mpt_verdict verdict, const tuner_summary *summary, mpt_error *error) {
  json_t *reasons = NULL;
  MPT_RETURN_IF_FAILED(reasons_make(s, written, &reasons, error));
  const mpt_policy_result r = result_of(s, written, verdict);
  json_t *note = json_pack(
      "{s:s,s:s,s:o,s:s,s:f,s:f,s:f,s:o,s:o,s:o,s:f,s:b,s:s,s:b,s:I,s:o,s:o,s:f,s:o,s:i}", "policy",
      written->hash, "label", written->label, "assignment", assignment_json(s, written), "verdict",
      mpt_verdict_name(verdict), "step_seconds", written->seconds, "reference_seconds",
      s->reference.seconds, "ratio", r.step_time_ratio, "worse_by", real_or_null(r.worse_by),
      "worse_absolute", real_or_null(known_difference(s, written)), "upper_bound",
      real_or_null(r.upper_bound), "confidence", r.confidence, "gain", winner != NULL, "message",
      summary->message == NULL ? "" : summary->message, "predicted", summary->predicted,
      "memory_bytes", (json_int_t)written->memory_bytes, "reasons", reasons, "rows",
      rows_json(s, summary), "tuning_seconds", summary->tuning_seconds, "payback_seconds",
      real_or_null(summary->payback_seconds), "evaluations", summary->evaluations);
  return set_winner(s, note, error);
}

/* The search is over and there is no policy that could be written. */
static mpt_status note_nothing(search *s, const tuner_summary *summary, mpt_error *error) {
  return set_winner(s,
                    json_pack("{s:s,s:b,s:s,s:b,s:o,s:f,s:i}", "verdict",
                              mpt_verdict_name(MPT_VERDICT_FAIL), "gain", false, "message",
                              summary->message == NULL ? "" : summary->message, "predicted",
                              summary->predicted, "rows", rows_json(s, summary), "tuning_seconds",
                              summary->tuning_seconds, "evaluations", summary->evaluations),
                    error);
}

mpt_status stage_write(search *s, candidate *winner, tuner_summary *summary, mpt_error *error) {
  candidate *written = winner != NULL ? winner : most_accurate(s);
  mpt_verdict verdict = MPT_VERDICT_PASS; /* the reference against itself */
  if (written != NULL && written != &s->reference)
    verdict = written->verdict;
  summary->gain = winner != NULL;
  summary->found = winner != NULL || s->reference.permitted;
  summary->predicted = !s->place.measures;
  summary->proxy = s->w->priced.present;
  summary->evaluations = s->trainings;
  MPT_RETURN_IF_FAILED(search_spent(s, &summary->tuning_seconds, error));
  const double ratio = winner == NULL ? 1 : winner->seconds / s->reference.seconds;
  summary->payback_seconds = ratio < 1 ? summary->tuning_seconds * ratio / (1 - ratio) : NAN;
  snprintf(summary->policy_path, sizeof summary->policy_path, "%s/policy.yaml", s->options->run);
  snprintf(summary->report_path, sizeof summary->report_path, "%s/report.html", s->options->run);
  sensitivity_vetoes(s);
  MPT_RETURN_IF_FAILED(predictor_increases(s->predictor, 0, s->increase, error));
  summary->message = message_of(s, winner, written, summary);
  MPT_RETURN_IF_FAILED(summary_rows(s, winner, summary, error));
  if (written == NULL) {
    summary->policy_path[0] = '\0';
    return note_nothing(s, summary, error);
  }
  MPT_RETURN_IF_FAILED(write_policy(s, written, verdict, error));
  return note_winner(s, winner, written, verdict, summary, error);
}
