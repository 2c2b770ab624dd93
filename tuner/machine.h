/* The search as a machine: it asks, evaluators answer, and it never runs anything.
 *
 *   search_ask    gives the requests whose answers it goes on from
 *   search_tell   takes the record of one of them
 *
 * Several may be carried out at once and told in any order: what is decided hangs on the records
 * alone. driver.c is the loop that joins it to an evaluator and to the run store; a test is
 * another.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include "tuner/search_view.h"
#include "tuner/stages.h"

typedef enum search_purpose {
  SEARCH_TUNE,
  SEARCH_GIVEN,   /* given policies beside the reference */
  SEARCH_OBSERVE, /* one instrumented run of the reference */
  SEARCH_DRY_RUN  /* a few of its steps; writes nothing */
} search_purpose;

typedef struct search {
  problem problem;
  ledger ledger;
  model model;
  search_clock clock;

  search_purpose purpose;
  int stage; /* of its purpose: those before it are done */
  adjusting adjust;
  verifying verify;
  given_policies given;
  int trainings_before_verification;

  requests wanted; /* by the last search_ask */
  requests open;   /* asked for and not told of yet */
  int64_t asked;   /* the last request's id */
} search;

/* What the workload and the options point to must outlive it. The caller closes it, also after a
 * failure. */
mpt_status search_open(search *s, const workload *w, const tuner_options *options,
                       search_purpose purpose, mpt_error *error);
void search_close(search *s);

/* *wanted has the requests without whose answers it does not go on, in the order in which one
 * evaluator would carry them out; none: it is done. Called again before anything was told it gives
 * the same, with the same ids. A request that was asked for before and is not among them is no
 * longer needed; it may still be told of. Valid until the next call. */
mpt_status search_ask(search *s, const requests **wanted, mpt_error *error);

/* The record that the run store has for a request; *found is false where it has none. */
mpt_status search_recall(search *s, const asked *a, bool *found, evaluation_record *record,
                         mpt_error *error);

/* Takes *record, which is empty afterwards. MPT_ERROR_ARGUMENT for one that answers nothing that
 * was asked for, that was told before, or that is of another training than its request. The
 * record's own status is returned where the search cannot go on from it: a device that failed, an
 * interruption. */
mpt_status search_tell(search *s, evaluation_record *record, mpt_error *error);

/* That the request with that id has come to `step` of `steps`. */
void search_progress(const search *s, int64_t id, int64_t step, int64_t steps);

search_view search_view_of(const search *s);

#endif
