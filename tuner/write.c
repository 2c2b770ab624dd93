#include "base/error.h"
#include "tuner/outcome.h"
#include "tuner/results.h"
#include <math.h>
#include <stdio.h>

/* Of everything permitted, the policy that loses least: what is written when nothing passes. */
static const candidate *most_accurate(const search_view *s) {
  const candidate *best = NULL;
  if (s->ledger->reference.permitted)
    return &s->ledger->reference;
  for (int i = 0; i < s->ledger->candidate_count; i++) {
    const candidate *c = s->ledger->candidates[i];
    if (!c->permitted || c->seen.diverged + c->seen.given_up > 0 || !isfinite(c->seen.worse))
      continue;
    if (best == NULL || c->seen.worse < best->seen.worse)
      best = c;
  }
  return best;
}

/* Seconds of training with the winner until the time that it saves, beside what people would have
 * trained in otherwise, is what the search took. */
static double payback(const search_view *s, const candidate *winner, double tuning_seconds) {
  const double own = winner == NULL ? NAN : winner->seconds,
               other = outcome_otherwise(s, winner)->seconds;
  return own < other * (1 - s->model->equal_time) ? tuning_seconds * own / (other - own) : NAN;
}

static void fill_summary(const search_view *s, const candidate *winner, tuner_summary *summary) {
  const char *run = s->problem->options->run;
  summary->gain = winner != NULL;
  summary->found = winner != NULL || s->ledger->reference.permitted;
  summary->predicted = !s->problem->place.measures;
  summary->proxy = s->problem->workload->priced.present;
  summary->relative = s->problem->workload->budget.relative;
  summary->payback_seconds = payback(s, winner, summary->tuning_seconds);
  snprintf(summary->otherwise, sizeof summary->otherwise, "%s",
           outcome_otherwise(s, winner)->label);
  snprintf(summary->policy_path, sizeof summary->policy_path, "%s/policy.yaml", run);
  snprintf(summary->report_path, sizeof summary->report_path, "%s/report.html", run);
}

mpt_status write_results(const search_view *s, const candidate *winner, tuner_summary *summary,
                         mpt_error *error) {
  const candidate *written = winner != NULL ? winner : most_accurate(s);
  mpt_verdict verdict = MPT_VERDICT_FAIL;
  increases predicted = {0};
  mpt_status status = MPT_OK;
  if (written != NULL)
    verdict = written == &s->ledger->reference ? MPT_VERDICT_REFERENCE : written->verdict;
  fill_summary(s, winner, summary);
  MPT_TRY(model_increases(s->model, s->problem, 0, &predicted, error));
  summary->message = outcome_message(s, winner, written, &predicted);
  if (summary->message == NULL)
    MPT_TRY(mpt_fail_memory(error, "the summary", 0));
  MPT_TRY(search_rows(s, winner, written, summary, error));
  if (written == NULL)
    summary->policy_path[0] = '\0';
  else
    MPT_TRY(write_policy(s, written, verdict, error));
  MPT_TRY(write_winner_note(s, winner, written, verdict, summary, error));
fail:
  increases_free(&predicted);
  return status;
}
