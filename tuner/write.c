/* Stage 8: what the search came to goes into policy.yaml, the store and the summary. */
#include "base/error.h"
#include "tuner/search.h"
#include <math.h>
#include <stdio.h>

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
  MPT_RETURN_IF_FAILED(search_rows(s, winner, written, summary, error));
  if (written == NULL)
    summary->policy_path[0] = '\0';
  else
    MPT_RETURN_IF_FAILED(write_policy(s, written, verdict, error));
  return write_winner_note(s, winner, written, verdict, summary, error);
}
