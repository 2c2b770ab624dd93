/* Stage 8: policy.yaml, the winner's record, the summary. */
#include "base/error.h"
#include "base/json.h"
#include "tuner/search.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The policy file's figures are shares of the reference's metric, whatever the budget is. */
static mpt_policy_result result_of(const search *s, const candidate *c, mpt_verdict verdict) {
  const evidence *e = &c->seen;
  mpt_policy_result r = {.verdict = verdict, .worse_by = e->worse_share, .upper_bound = NAN};
  if (c == &s->reference)
    r.worse_by = r.upper_bound = 0;
  else if (e->fresh && isfinite(e->interval.upper))
    r.upper_bound =
        s->w->budget.relative ? e->interval.upper : e->interval.upper / fabs(e->reference_metric);
  r.confidence = 1 - s->options->alpha;
  r.step_time_ratio = c->seconds / s->reference.seconds;
  r.time_measured = c->timed.count > 0 && s->reference.timed.count > 0;
  r.steps = s->steps;
  return r;
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
  char budget[64], seeds[OUTCOME_SEEDS_SIZE], accuracy[64], stamp[32];
  const time_t now = time(NULL);
  struct tm utc;
  gmtime_r(&now, &utc);
  strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &utc);
  outcome_seeds(s, c, seeds);
  snprintf(accuracy, sizeof accuracy, "%s on the %s",
           verdict == MPT_VERDICT_PASS ? "verified" : "measured, not verified,",
           s->w->priced.present ? "proxy" : "model");
  workload_budget_text(s->w, budget, sizeof budget);
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

static json_t *rows_json(const tuner_summary *summary) {
  json_t *rows = json_array();
  for (int i = 0; i < summary->row_count; i++)
    mpt_json_append(&rows, tuner_row_json(&summary->rows[i]));
  return rows;
}

static json_t *assignment_json(const search *s, const candidate *c) {
  json_t *all = json_object();
  for (int i = 0; i < s->graph->layer_count; i++) {
    char formats[160];
    if (!s->graph->layers[i].has_format)
      continue;
    mpt_layer_policy_text(&c->assignment[i], formats, sizeof formats);
    mpt_json_set(&all, s->graph->layers[i].info.name, mpt_json_text(formats));
  }
  return all;
}

/* Of everything permitted, the policy that loses least: what is written when nothing passes. */
static candidate *most_accurate(search *s) {
  if (s->reference.permitted)
    return &s->reference;
  candidate *best = NULL;
  for (int i = 0; i < s->candidate_count; i++) {
    candidate *c = s->candidates[i];
    if (!c->permitted || c->seen.diverged + c->seen.given_up > 0 || !isfinite(c->seen.worse))
      continue;
    if (best == NULL || c->seen.worse < best->seen.worse)
      best = c;
  }
  return best;
}

static tuner_row row_of(const search *s, const candidate *c, const candidate *winner) {
  tuner_row row = search_row(s, c);
  row.winner = c == winner || (row.reference && winner == NULL && s->reference.permitted);
  return row;
}

/* Of those that are not uniform: the winner, or else what was written in its place and what could
 * not be decided, since the message speaks of them. */
static bool is_spoken_of(const search *s, const candidate *c, const candidate *winner,
                         const candidate *written) {
  return c == written || (winner == NULL && c == outcome_undecided(s));
}

static mpt_status summary_rows(search *s, candidate *winner, const candidate *written,
                               tuner_summary *summary, mpt_error *error) {
  summary->rows = calloc((size_t)s->candidate_count + 2, sizeof *summary->rows);
  if (summary->rows == NULL)
    return mpt_fail_memory(error, "the summary", 0);
  for (int i = 0; i < s->candidate_count; i++)
    if (!s->candidates[i]->uniform && is_spoken_of(s, s->candidates[i], winner, written))
      summary->rows[summary->row_count++] = row_of(s, s->candidates[i], winner);
  bool reference_shown = false;
  for (int i = 0; i < s->candidate_count; i++) {
    if (!s->candidates[i]->uniform)
      continue;
    tuner_row row = row_of(s, s->candidates[i], winner);
    reference_shown = reference_shown || row.reference;
    summary->rows[summary->row_count++] = row;
  }
  if (!reference_shown)
    summary->rows[summary->row_count++] = row_of(s, &s->reference, winner);
  return MPT_OK;
}

/* Takes the note. */
static mpt_status set_winner(search *s, json_t *note, mpt_error *error) {
  char *text = NULL;
  MPT_RETURN_IF_FAILED(mpt_json_dump(note, 0, "the winner's record", &text, error));
  const mpt_status status = store_set(s->store, "winner", text, error);
  free(text);
  return status;
}

/* What is said whether a policy was written or not. */
static json_t *common_note(const char *verdict, bool gain, const tuner_summary *summary) {
  return mpt_json_pack("{s:s,s:b,s:s,s:b,s:o,s:f,s:f,s:s,s:i}", "verdict", verdict, "gain",
                       (int)gain, "message", summary->message == NULL ? "" : summary->message,
                       "predicted", (int)summary->predicted, "rows", rows_json(summary),
                       "tuning_seconds", summary->tuning_seconds, "payback_seconds",
                       summary->payback_seconds, "otherwise", summary->otherwise, "evaluations",
                       summary->evaluations);
}

static mpt_status note_winner(search *s, const candidate *winner, const candidate *written,
                              mpt_verdict verdict, const tuner_summary *summary, mpt_error *error) {
  json_t *reasons = NULL;
  MPT_RETURN_IF_FAILED(reasons_make(s, written, &reasons, error));
  const candidate *otherwise = outcome_otherwise(s, winner);
  json_t *note = common_note(mpt_verdict_name(verdict), winner != NULL, summary);
  mpt_json_set(&note, "policy", mpt_json_text(written->hash));
  mpt_json_set(&note, "label", mpt_json_text(written->label));
  mpt_json_set(&note, "assignment", assignment_json(s, written));
  mpt_json_set(&note, "step_seconds", mpt_json_real(written->seconds));
  mpt_json_set(&note, "reference_seconds", mpt_json_real(s->reference.seconds));
  mpt_json_set(&note, "otherwise_seconds", mpt_json_real(otherwise->seconds));
  mpt_json_set(&note, "ratio", mpt_json_real(written->seconds / s->reference.seconds));
  mpt_json_set(&note, "reasons", reasons);
  return set_winner(s, note, error);
}

/* Seconds of training with the winner until the time that it saves, beside what people would have
 * trained in otherwise, is what the search took. */
static double payback(const search *s, const candidate *winner, double tuning_seconds) {
  const double own = winner == NULL ? NAN : winner->seconds,
               other = outcome_otherwise(s, winner)->seconds;
  return own < other * (1 - s->equal_time) ? tuning_seconds * own / (other - own) : NAN;
}

mpt_status stage_write(search *s, candidate *winner, tuner_summary *summary, mpt_error *error) {
  MPT_RETURN_IF_FAILED(search_see(s, error));
  candidate *written = winner != NULL ? winner : most_accurate(s);
  mpt_verdict verdict = MPT_VERDICT_FAIL;
  if (written != NULL)
    verdict = written == &s->reference ? MPT_VERDICT_REFERENCE : written->verdict;
  summary->gain = winner != NULL;
  summary->found = winner != NULL || s->reference.permitted;
  summary->predicted = !s->place.measures;
  summary->proxy = s->w->priced.present;
  summary->relative = s->w->budget.relative;
  summary->evaluations = s->trainings;
  MPT_RETURN_IF_FAILED(search_spent(s, &summary->tuning_seconds, error));
  summary->payback_seconds = payback(s, winner, summary->tuning_seconds);
  snprintf(summary->otherwise, sizeof summary->otherwise, "%s",
           outcome_otherwise(s, winner)->label);
  snprintf(summary->policy_path, sizeof summary->policy_path, "%s/policy.yaml", s->options->run);
  snprintf(summary->report_path, sizeof summary->report_path, "%s/report.html", s->options->run);
  sensitivity_vetoes(s);
  MPT_RETURN_IF_FAILED(predictor_increases(s->predictor, 0, s->increase, error));
  summary->message = outcome_message(s, winner, written, summary);
  if (summary->message == NULL)
    return mpt_fail_memory(error, "the summary", 0);
  MPT_RETURN_IF_FAILED(summary_rows(s, winner, written, summary, error));
  if (written == NULL) {
    summary->policy_path[0] = '\0';
    return set_winner(s, common_note(mpt_verdict_name(verdict), false, summary), error);
  }
  MPT_RETURN_IF_FAILED(write_policy(s, written, verdict, error));
  return note_winner(s, winner, written, verdict, summary, error);
}
