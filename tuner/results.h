/* Stage 8: what the search came to goes into policy.yaml, the store and the summary. */
#ifndef RESULTS_H
#define RESULTS_H

#include "store/run_winner.h"
#include "tuner/search_view.h"
#include "tuner/tuner.h"

struct candidate;

/* ---- write.c ---- */
/* `winner` is NULL when nothing permitted passes. What every policy has seen must be up to date
 * (ledger_see), and summary->tuning_seconds and `evaluations` be set. */
mpt_status write_results(const search_view *s, const struct candidate *winner,
                         tuner_summary *summary, mpt_error *error);

/* ---- write_policy.c ---- */
/* policy.yaml from the moment there is a candidate. */
mpt_status write_policy(const search_view *s, const struct candidate *c, mpt_verdict verdict,
                        mpt_error *error);

/* ---- winner_note.c ---- */
/* `winner` is NULL where nothing is gained, `written` where no policy was written. */
mpt_status write_winner_note(const search_view *s, const struct candidate *winner,
                             const struct candidate *written, mpt_verdict verdict,
                             const tuner_summary *summary, mpt_error *error);

/* ---- reasons.c: why a layer has its format, in words ---- */
/* Of each unit, texts from `memory`; none where the policy is not of the space. */
mpt_status reasons_make(const search_view *s, const struct candidate *winner, mpt_arena *memory,
                        const store_reason **reasons, int *count, mpt_error *error);

/* ---- rows.c: what is said of a policy in tables ---- */
/* As the store has it; its texts are the row's. */
store_row tuner_row_record(const tuner_row *row);
tuner_row search_row(const search_view *s, const struct candidate *c);
/* Those of the summary: the policies that its message speaks of, the uniform ones, the reference.
 */
mpt_status search_rows(const search_view *s, const struct candidate *winner,
                       const struct candidate *written, tuner_summary *summary, mpt_error *error);

#endif
