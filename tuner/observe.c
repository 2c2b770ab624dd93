/* Stage 2: one instrumented run of the reference. Full statistics of every layer and operand at
 * sampled steps, the last ones included, and at others the measurements that sensitivity scores are
 * made of. The run is the reference's first seed: instrumentation changes no result. */
#include "base/error.h"
#include "base/progress.h"
#include "tuner/search.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OBSERVE_SAMPLES 8 /* steps with statistics, about */
#define PROBE_SAMPLES   6 /* steps with sensitivity measurements, about */

mpt_status observation_keep(search *s, const char *key, const observation *seen, mpt_error *error) {
  mpt_status status = store_begin(s->ledger.store, error);
  for (int i = 0; i < seen->count && status == MPT_OK; i++) {
    const store_statistics *row = &seen->statistics[i];
    status = store_put_statistics(s->ledger.store, key, row->step, row->layer, row->operand,
                                  &row->statistics, error);
  }
  if (status == MPT_OK)
    status = store_put_scores(s->ledger.store, key, &seen->scores, error);
  if (status == MPT_OK)
    status = store_end(s->ledger.store, error);
  return status;
}

mpt_status observation_kept(search *s, const char *key, bool *kept, mpt_error *error) {
  store_scores scores;
  store_statistics *rows = NULL;
  int count = 0;
  MPT_RETURN_IF_FAILED(store_get_scores(s->ledger.store, key, &scores, kept, error));
  store_scores_clear(&scores);
  /* They are read when the search is over: what is wrong with them is said now. */
  MPT_RETURN_IF_FAILED(store_all_statistics(s->ledger.store, key, &rows, &count, error));
  free(rows);
  return MPT_OK;
}

mpt_status observe_reference(search *s, store_evaluation *evaluation, mpt_error *error) {
  /* steps - 1 is a multiple of neither in general; the trainer samples its last step as well. */
  const request_instruments instruments = {
      .statistics_every =
          s->problem.steps > OBSERVE_SAMPLES ? s->problem.steps / OBSERVE_SAMPLES : 1,
      .probe_every = s->problem.steps > PROBE_SAMPLES ? s->problem.steps / PROBE_SAMPLES : 1};
  MPT_RETURN_IF_FAILED(search_train(s, &s->ledger.reference, s->ledger.reference_seed[0],
                                    "reference", &instruments, evaluation, error));
  memcpy(s->ledger.observed_key, evaluation->key, sizeof s->ledger.observed_key);
  return MPT_OK;
}

mpt_status tuner_observe(const workload *w, const tuner_options *options, tuner_observation *seen,
                         mpt_error *error) {
  search s;
  store_evaluation evaluation = {0};
  mpt_status status = MPT_OK;
  tuner_options untimed = *options; /* nothing is said of times: no device's need be known */
  if (untimed.target == NULL)
    untimed.target = w->target;
  MPT_TRY(search_open(&s, w, &untimed, false, error));
  s.ledger.reference_seed[0] = options->seed;
  s.clock.planned = 1;
  MPT_TRY(observe_reference(&s, &evaluation, error));
  *seen = (tuner_observation){0};
  memcpy(seen->key, evaluation.key, sizeof seen->key);
  if (evaluation.diverged)
    snprintf(seen->failure, sizeof seen->failure, "%s",
             evaluation.failure == NULL ? "not finite" : evaluation.failure);
fail:
  mpt_progress_end();
  store_evaluation_clear(&evaluation);
  search_close(&s);
  return status;
}
