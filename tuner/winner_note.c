/* The winner's record in the store: what the report and --json say of the search as a whole. */
#include "base/error.h"
#include "tuner/outcome.h"
#include "tuner/results.h"
#include <math.h>
#include <string.h>

static mpt_status add_rows(store_winner *note, const tuner_summary *summary, mpt_error *error) {
  store_row *rows = mpt_arena_take(&note->memory, ((size_t)summary->row_count + 1) * sizeof *rows);
  if (rows == NULL)
    return mpt_fail_memory(error, "the winner's record", 0);
  for (int i = 0; i < summary->row_count; i++)
    rows[i] = tuner_row_record(&summary->rows[i]);
  note->rows = rows;
  note->row_count = summary->row_count;
  return MPT_OK;
}

static mpt_status add_assignment(store_winner *note, const search_view *s, const candidate *c,
                                 mpt_error *error) {
  const graph *g = s->problem->graph;
  store_pair *all = mpt_arena_take(&note->memory, ((size_t)g->layer_count + 1) * sizeof *all);
  int count = 0;
  for (int i = 0; i < g->layer_count && all != NULL; i++) {
    char formats[160];
    if (!g->layers[i].has_format)
      continue;
    mpt_layer_policy_text(&c->assignment[i], formats, sizeof formats);
    all[count] = (store_pair){.name = g->layers[i].info.name,
                              .text = mpt_arena_text(&note->memory, formats, strlen(formats))};
    if (all[count++].text == NULL)
      all = NULL;
  }
  if (all == NULL)
    return mpt_fail_memory(error, "the winner's record", 0);
  note->assignment = all;
  note->assignment_count = count;
  return MPT_OK;
}

static mpt_status add_policy(store_winner *note, const search_view *s, const candidate *winner,
                             const candidate *written, mpt_error *error) {
  note->policy = written->hash;
  note->label = written->label;
  note->step_seconds = written->seconds;
  note->reference_seconds = s->ledger->reference.seconds;
  note->otherwise_seconds = outcome_otherwise(s, winner)->seconds;
  note->ratio = written->seconds / s->ledger->reference.seconds;
  MPT_RETURN_IF_FAILED(add_assignment(note, s, written, error));
  return reasons_make(s, written, &note->memory, &note->reasons, &note->reason_count, error);
}

mpt_status write_winner_note(const search_view *s, const candidate *winner,
                             const candidate *written, mpt_verdict verdict,
                             const tuner_summary *summary, mpt_error *error) {
  store_winner note = {.verdict = (int)verdict,
                       .gain = winner != NULL,
                       .message = summary->message == NULL ? "" : summary->message,
                       .predicted = summary->predicted,
                       .tuning_seconds = summary->tuning_seconds,
                       .payback_seconds = summary->payback_seconds,
                       .otherwise = summary->otherwise,
                       .evaluations = summary->evaluations,
                       .step_seconds = NAN,
                       .reference_seconds = NAN,
                       .otherwise_seconds = NAN,
                       .ratio = NAN};
  mpt_status status = MPT_OK;
  MPT_TRY(add_rows(&note, summary, error));
  if (written != NULL)
    MPT_TRY(add_policy(&note, s, winner, written, error));
  status = store_put_winner(s->ledger->store, &note, error);
fail:
  mpt_arena_free(&note.memory);
  return status;
}
