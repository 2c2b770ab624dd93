/* The search from end to end; each stage is a file of its own. */
#include "tuner/tuner.h"
#include "base/error.h"
#include "base/progress.h"
#include "tuner/results.h"
#include "tuner/search.h"
#include <stdlib.h>

tuner_options tuner_options_default(void) {
  return (tuner_options){
      .seed = 1, .max_evaluations = 26, .alpha = 0.05, .pairs = VERIFY_DEFAULT_PAIRS};
}

void tuner_summary_clear(tuner_summary *summary) {
  free(summary->rows);
  free(summary->message);
  *summary = (tuner_summary){0};
}

mpt_status tuner_run(const workload *w, const tuner_options *options, tuner_summary *summary,
                     mpt_error *error) {
  search s;
  candidate *winner = NULL;
  *summary = (tuner_summary){0};
  mpt_status status = MPT_OK;
  MPT_TRY(search_open(&s, w, options, true, error));
  if (options->dry_run) {
    MPT_TRY(search_dry_run(&s, summary, error));
    goto fail;
  }
  s.clock.planned =
      w->reference_seeds + options->max_evaluations + 2 * options->pairs; /* for one policy */
  MPT_TRY(verification_keeps_seeds(&s, error));
  MPT_TRY(stage_reference(&s, error));
  MPT_TRY(stage_sensitivity(&s, error));
  MPT_TRY(stage_adjust(&s, error));
  /* What the search cost before verification; verification may ask for more. */
  const int before_verification = s.ledger.trainings;
  MPT_TRY(stage_verify(&s, &winner, error));
  MPT_TRY(search_see(&s, error));
  MPT_TRY(search_spent(&s.clock, &summary->tuning_seconds, error));
  summary->evaluations = s.ledger.trainings;
  const search_view view = view_of(&s);
  MPT_TRY(write_results(&view, winner, summary, error));
  summary->evaluations = before_verification;
fail:
  mpt_progress_end();
  search_close(&s);
  if (status != MPT_OK)
    tuner_summary_clear(summary);
  return status;
}
