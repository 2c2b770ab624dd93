/* The winner's record in the store: what the report and --json say of the search as a whole. */
#include "base/error.h"
#include "base/json.h"
#include "tuner/outcome.h"
#include "tuner/results.h"
#include <stdlib.h>

static json_t *rows_json(const tuner_summary *summary) {
  json_t *rows = json_array();
  for (int i = 0; i < summary->row_count; i++)
    mpt_json_append(&rows, tuner_row_json(&summary->rows[i]));
  return rows;
}

static json_t *assignment_json(const search_view *s, const candidate *c) {
  json_t *all = json_object();
  for (int i = 0; i < s->problem->graph->layer_count; i++) {
    char formats[160];
    if (!s->problem->graph->layers[i].has_format)
      continue;
    mpt_layer_policy_text(&c->assignment[i], formats, sizeof formats);
    mpt_json_set(&all, s->problem->graph->layers[i].info.name, mpt_json_text(formats));
  }
  return all;
}

/* Takes the note. */
static mpt_status set_winner(const search_view *s, json_t *note, mpt_error *error) {
  char *text = NULL;
  MPT_RETURN_IF_FAILED(mpt_json_dump(note, 0, "the winner's record", &text, error));
  const mpt_status status = store_set(s->ledger->store, "winner", text, error);
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

mpt_status write_winner_note(const search_view *s, const candidate *winner,
                             const candidate *written, mpt_verdict verdict,
                             const tuner_summary *summary, mpt_error *error) {
  json_t *reasons = NULL;
  if (written == NULL)
    return set_winner(s, common_note(mpt_verdict_name(verdict), false, summary), error);
  MPT_RETURN_IF_FAILED(reasons_make(s, written, &reasons, error));
  const candidate *otherwise = outcome_otherwise(s, winner);
  json_t *note = common_note(mpt_verdict_name(verdict), winner != NULL, summary);
  mpt_json_set(&note, "policy", mpt_json_text(written->hash));
  mpt_json_set(&note, "label", mpt_json_text(written->label));
  mpt_json_set(&note, "assignment", assignment_json(s, written));
  mpt_json_set(&note, "step_seconds", mpt_json_real(written->seconds));
  mpt_json_set(&note, "reference_seconds", mpt_json_real(s->ledger->reference.seconds));
  mpt_json_set(&note, "otherwise_seconds", mpt_json_real(otherwise->seconds));
  mpt_json_set(&note, "ratio", mpt_json_real(written->seconds / s->ledger->reference.seconds));
  mpt_json_set(&note, "reasons", reasons);
  return set_winner(s, note, error);
}
