/* What other folders call: a search, given policies, an observation, from end to end. */
#include "tuner/tuner.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/shown.h"
#include "tuner/driver.h"
#include "tuner/results.h"
#include "tuner/tune_program.h"
#include "tuner/verification_plan.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

tuner_options tuner_options_default(void) {
  return (tuner_options){
      .seed = 1, .max_evaluations = 26, .alpha = 0.05, .pairs = VERIFY_DEFAULT_PAIRS};
}

void tuner_summary_clear(tuner_summary *summary) {
  free(summary->rows);
  free(summary->message);
  *summary = (tuner_summary){0};
}

static mpt_status finish_search(search *s, tuner_summary *summary, mpt_error *error) {
  const search_view view = search_view_of(s);
  MPT_RETURN_IF_FAILED(ledger_see(&s->ledger, error));
  MPT_RETURN_IF_FAILED(search_spent(&s->clock, &summary->tuning_seconds, error));
  summary->evaluations = s->ledger.trainings;
  MPT_RETURN_IF_FAILED(write_results(&view, s->verify.winner, summary, error));
  /* What the search cost before verification; verification may ask for more. */
  summary->evaluations = s->trainings_before_verification;
  return MPT_OK;
}

mpt_status tuner_run(const workload *w, const tuner_options *options, tuner_summary *summary,
                     mpt_error *error) {
  search s;
  *summary = (tuner_summary){0};
  mpt_status status = MPT_OK;
  if (w->command[0] != '\0' && options->program == NULL)
    return tune_program(w, options, summary, error);
  MPT_TRY(search_open(&s, w, options, options->dry_run ? SEARCH_DRY_RUN : SEARCH_TUNE, error));
  s.clock.planned =
      w->reference_seeds + options->max_evaluations + 2 * options->pairs; /* for one policy */
  if (!options->dry_run)
    MPT_TRY(verification_keeps_seeds(&s.problem, &s.ledger, error));
  MPT_TRY(search_run(&s, error));
  MPT_TRY(options->dry_run ? dry_run_plan(&s.problem, &s.ledger, summary, error)
                           : finish_search(&s, summary, error));
fail:
  mpt_progress_end();
  search_close(&s);
  if (status != MPT_OK)
    tuner_summary_clear(summary);
  return status;
}

static mpt_status given_rows(search *s, tuner_summary *summary, mpt_error *error) {
  const search_view view = search_view_of(s);
  const given_policies *g = &s->given;
  summary->rows = calloc((size_t)g->count + 1, sizeof *summary->rows);
  if (summary->rows == NULL)
    return mpt_fail_memory(error, "the summary", 0);
  MPT_RETURN_IF_FAILED(ledger_see(&s->ledger, error));
  summary->rows[summary->row_count++] = search_row(&view, &s->ledger.reference);
  for (int i = 0; i < g->count; i++) {
    tuner_row *row = &summary->rows[summary->row_count++];
    *row = search_row(&view, g->candidates[i]);
    row->refused = NULL; /* what was asked for is not chosen among */
    /* Another policy may have had the label in an earlier evaluation: then it has a number here. */
    if (strncmp(row->label, g->labels[i], strlen(g->labels[i])) != 0)
      mpt_copy_text(row->label, sizeof row->label, g->labels[i]);
  }
  return MPT_OK;
}

mpt_status tuner_evaluate(const workload *w, const tuner_options *options,
                          const tuner_policy *policies, int count, int seeds,
                          tuner_summary *summary, mpt_error *error) {
  search s;
  workload seeded = *w;
  seeded.reference_seeds = seeds;
  *summary = (tuner_summary){.predicted = true, .proxy = w->priced.present};
  mpt_status status = MPT_OK;
  MPT_TRY(search_open(&s, &seeded, options, SEARCH_GIVEN, error));
  s.given = (given_policies){.policies = policies, .count = count};
  s.clock.planned = seeds * (count + 1);
  MPT_TRY(search_run(&s, error));
  summary->predicted = !s.problem.place.measures;
  summary->relative = w->budget.relative;
  summary->evaluations = s.ledger.trainings;
  snprintf(summary->policy_path, sizeof summary->policy_path, "%s", options->run);
  MPT_TRY(given_rows(&s, summary, error));
fail:
  mpt_progress_end();
  search_close(&s);
  if (status != MPT_OK)
    tuner_summary_clear(summary);
  return status;
}

mpt_status tuner_observe(const workload *w, const tuner_options *options, tuner_observation *seen,
                         mpt_error *error) {
  search s;
  mpt_status status = MPT_OK;
  tuner_options untimed = *options; /* nothing is said of times: no device's need be known */
  if (untimed.target == NULL)
    untimed.target = w->target;
  *seen = (tuner_observation){0};
  MPT_TRY(search_open(&s, w, &untimed, SEARCH_OBSERVE, error));
  s.clock.planned = 1;
  MPT_TRY(search_run(&s, error));
  const training *t = ledger_training(&s.ledger, &s.ledger.reference, options->seed);
  candidate_key(&s.problem, &s.ledger.reference, options->seed, seen->key);
  if (t->diverged)
    snprintf(seen->failure, sizeof seen->failure, "%s",
             t->failure == NULL ? "not finite" : t->failure);
fail:
  mpt_progress_end();
  search_close(&s);
  return status;
}
