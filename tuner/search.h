/* What the stages of a search share. Private to tuner/. */
#ifndef SEARCH_H
#define SEARCH_H

#include "tuner/evaluators/evaluator.h"
#include "tuner/model.h"
#include "tuner/search_clock.h"
#include "tuner/search_view.h"

typedef struct search {
  problem problem;
  ledger ledger;
  model model;
  search_clock clock;
  evaluator *evaluator; /* who carries out the requests */
  bool owns_evaluator;
  int64_t requests; /* made so far: the last one's id */
} search;

/* ---- search_open.c ---- */
/* `owner`: a search, whose notes ("definition", "reference") the run's report is about. Others that
 * use the run leave them as they are. */
mpt_status search_open(search *s, const workload *w, const tuner_options *options, bool owner,
                       mpt_error *error);
void search_close(search *s);
search_view view_of(const search *s);

/* ---- evaluation_find.c ---- */
/* The store's record of that training. */
mpt_status evaluation_find(search *s, const candidate *c, uint64_t seed, const char *key,
                           bool *found, store_evaluation *e, mpt_error *error);

/* ---- carry_out.c: requests to the evaluator ---- */
/* Of full length. An empty purpose shows no progress. */
evaluation_request search_request(search *s, const candidate *c, request_kind kind, uint64_t seed,
                                  const char *purpose);
/* Submits it and waits for its record, whose status is returned, MPT_ERROR_INTERRUPTED after a
 * signal; the caller clears it where that is MPT_OK. */
mpt_status search_carry_out(search *s, const evaluation_request *request, const char *label,
                            evaluation_record *record, mpt_error *error);
void progress_show(const search_clock *k, const evaluation_request *r, const char *label,
                   int64_t step, int64_t steps); /* progress_line.c */

/* ---- faults.c ---- */
/* A failure of the device ends the process: says that the same command continues. */
mpt_status search_failed_device(mpt_status status, mpt_error *error);
/* A candidate that does not fit into the device's memory failed; without the reference there is
 * nothing to compare with. */
mpt_status fault_memory(search *s, const candidate *c, store_evaluation *evaluation,
                        mpt_error *error);
/* An evaluation in which the device failed: the second time it is recorded as failed. */
mpt_status fault_note(search *s, const candidate *c, const evaluation_request *r,
                      const mpt_error *why, mpt_error *error);

/* ---- evaluate.c: one training, or its record ---- */
/* Trains `c` under `seed` unless the store has it, and times it where times are measured; the
 * record is cleared by the caller. `instruments` may be NULL. Hopeless runs are stopped early for
 * purpose "candidate" alone. MPT_ERROR_INTERRUPTED after a signal. */
mpt_status search_train(search *s, candidate *c, uint64_t seed, const char *purpose,
                        const request_instruments *instruments, store_evaluation *evaluation,
                        mpt_error *error);
/* Trains it under its next search seed and notes the difference. */
mpt_status search_try(search *s, candidate *c, mpt_error *error);

/* ---- timing.c: measured step times; nothing where times are predicted ---- */
/* A few steps of a policy that was not timed yet. One that does not fit says so in c->untimed. */
mpt_status timing_measure(search *s, candidate *c, mpt_error *error);
/* The time of the training with that key: `run`, or (NULL) what the store has of it; measured now
 * where that is nothing. */
mpt_status timing_of_training(search *s, candidate *c, const char *key, const timing_run *run,
                              mpt_error *error);
/* The fastest of them, where others come close, again and in turn: A B A B A B. Sorts them. */
mpt_status timing_in_turn(search *s, candidate **finalists, int count, int attempt,
                          mpt_error *error);
/* Calibration, prices and times after something was measured. */
mpt_status timing_refresh(search *s, mpt_error *error);
/* Says so when the policy's step times vary more than those of a GPU of one's own. */
void timing_warn_of_noise(const search *s, const candidate *c);

/* ---- the stages ---- */
mpt_status stage_reference(search *s, mpt_error *error);   /* reference.c, with observe.c */
mpt_status stage_sensitivity(search *s, mpt_error *error); /* adjust.c */
mpt_status stage_adjust(search *s, mpt_error *error);      /* adjust.c */
/* The same after `c` did not pass verification, which taught something. */
mpt_status stage_adjust_again(search *s, candidate *c, mpt_error *error);
/* c->seen of every candidate and the reference, from the records. */
mpt_status search_see(search *s, mpt_error *error); /* verification.c */
/* *winner is NULL when nothing permitted passes. */
mpt_status stage_verify(search *s, candidate **winner, mpt_error *error); /* verification.c */
/* MPT_ERROR_MISMATCH where the search's seeds are among those that were written down for
 * verification, whose pairs would then be none that the search has not seen. */
mpt_status verification_keeps_seeds(search *s, mpt_error *error);

/* ---- observe.c: the instrumented reference run ---- */
/* Statistics and sensitivity measurements of the reference under its first seed, into the store;
 * does nothing when they are there. *evaluation is the run's record. */
mpt_status observe_reference(search *s, store_evaluation *evaluation, mpt_error *error);
/* Puts what the run with that key saw into the store; whether it is there: a run that was not
 * instrumented is trained again. */
mpt_status observation_keep(search *s, const char *key, const observation *seen, mpt_error *error);
mpt_status observation_kept(search *s, const char *key, bool *kept, mpt_error *error);

/* ---- dry_run.c ---- */
mpt_status search_dry_run(search *s, tuner_summary *summary, mpt_error *error);

#endif
