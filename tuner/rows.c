/* What is said of a policy in a row of a table, and which policies have one. */
#include "base/error.h"
#include "tuner/outcome.h"
#include "tuner/results.h"
#include "tuner/standing.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *why_untrained(const search_view *s, const candidate *c) {
  if (c->seen.pairs + c->seen.diverged + c->seen.given_up > 0 || c == &s->ledger->reference)
    return NULL;
  if (c->untimed[0] != '\0')
    return "does not run here";
  if (c->seconds >= time_limit(s->ledger) * (1 - s->model->equal_time))
    return "timed only"; /* not faster than the reference */
  return s->ledger->trainings >= s->problem->options->max_evaluations ? "left out (--evaluations)"
                                                                      : "timed only";
}

/* What this process found; else what an earlier one did, of a policy that this one did not reach.
 */
static mpt_verdict verdict_of(const candidate *c) {
  return c->verdict == MPT_VERDICT_UNVERIFIED && c->seen.attempted ? c->seen.verified.verdict
                                                                   : c->verdict;
}

tuner_row search_row(const search_view *s, const candidate *c) {
  const bool reference = strcmp(c->hash, s->ledger->reference.hash) == 0;
  tuner_row row = {.step_seconds = c->seconds,
                   .predicted_seconds = cost_uncorrected(&c->cost),
                   .measured = c->timed.count > 0,
                   .ratio = c->seconds / s->ledger->reference.seconds,
                   .seen = c->seen,
                   .verdict = verdict_of(c),
                   .refused = space_refusal(s->problem->space, s->problem->profile, c->assignment),
                   .untrained = reference ? NULL : why_untrained(s, c),
                   .reference = reference,
                   .memory_bytes = s->problem->workload->priced.present ? 0 : c->memory_bytes};
  if (reference && row.memory_bytes == 0 && !s->problem->workload->priced.present)
    row.memory_bytes = s->ledger->reference.memory_bytes;
  snprintf(row.label, sizeof row.label, "%s", c->label);
  memcpy(row.policy, c->hash, sizeof row.policy);
  return row;
}

static tuner_row row_of(const search_view *s, const candidate *c, const candidate *winner) {
  tuner_row row = search_row(s, c);
  row.winner = c == winner || (row.reference && winner == NULL && s->ledger->reference.permitted);
  return row;
}

/* Of those that are not uniform: the winner, or else what was written in its place and what could
 * not be decided, since the message speaks of them. */
static bool is_spoken_of(const search_view *s, const candidate *c, const candidate *winner,
                         const candidate *written) {
  return c == written || (winner == NULL && c == outcome_undecided(s));
}

mpt_status search_rows(const search_view *s, const candidate *winner, const candidate *written,
                       tuner_summary *summary, mpt_error *error) {
  summary->rows = calloc((size_t)s->ledger->candidate_count + 2, sizeof *summary->rows);
  if (summary->rows == NULL)
    return mpt_fail_memory(error, "the summary", 0);
  for (int i = 0; i < s->ledger->candidate_count; i++)
    if (!s->ledger->candidates[i]->uniform &&
        is_spoken_of(s, s->ledger->candidates[i], winner, written))
      summary->rows[summary->row_count++] = row_of(s, s->ledger->candidates[i], winner);
  bool reference_shown = false;
  for (int i = 0; i < s->ledger->candidate_count; i++) {
    if (!s->ledger->candidates[i]->uniform)
      continue;
    tuner_row row = row_of(s, s->ledger->candidates[i], winner);
    reference_shown = reference_shown || row.reference;
    summary->rows[summary->row_count++] = row;
  }
  if (!reference_shown)
    summary->rows[summary->row_count++] = row_of(s, &s->ledger->reference, winner);
  return MPT_OK;
}

const char *tuner_row_verdict(const tuner_row *row) {
  if (row->reference)
    return "reference";
  if (row->refused != NULL)
    return row->refused;
  if (row->verdict != MPT_VERDICT_UNVERIFIED)
    return mpt_verdict_name(row->verdict);
  if (row->untrained != NULL)
    return row->untrained;
  if (row->seen.diverged > 0)
    return "diverged";
  if (row->seen.given_up > 0)
    return "given up";
  return mpt_verdict_name(row->verdict);
}

static store_accuracy accuracy_of(const evidence *e) {
  return (store_accuracy){.metric = e->metric,
                          .reference_metric = e->reference_metric,
                          .worse_by_absolute = e->worse,
                          .worse_by_relative = e->worse_share,
                          .deviation_of_pairs = e->deviation,
                          .interval = {.lower = e->interval.lower,
                                       .upper = e->interval.upper,
                                       .relative = e->relative,
                                       .confidence = e->confidence},
                          .pairs = e->pairs,
                          .fresh = e->fresh,
                          .diverged = e->diverged,
                          .given_up = e->given_up,
                          .reference_diverged = e->reference_diverged};
}

json_t *evidence_json(const evidence *e) {
  const store_accuracy accuracy = accuracy_of(e);
  return store_accuracy_json(&accuracy);
}

store_row tuner_row_record(const tuner_row *r) {
  return (store_row){.label = r->label,
                     .policy = r->policy,
                     .step_seconds = r->step_seconds,
                     .predicted_seconds = r->predicted_seconds,
                     .measured = r->measured,
                     .ratio = r->ratio,
                     .verdict = tuner_row_verdict(r),
                     .winner = r->winner,
                     .reference = r->reference,
                     .memory_bytes = r->memory_bytes == 0 ? -1 : (int64_t)r->memory_bytes,
                     .accuracy = accuracy_of(&r->seen)};
}

json_t *tuner_row_json(const tuner_row *r) {
  const store_row row = tuner_row_record(r);
  return store_row_json(&row);
}
