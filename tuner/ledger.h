/* What a search knows: the policies that it looks at, and the records that it was told of. The run
 * store is its durable form: what is put into the one is put into the other. */
#ifndef LEDGER_H
#define LEDGER_H

#include "tuner/candidate.h"
#include "tuner/evaluators/evaluator.h"

#define SEARCH_FRESH_SEEDS 1000ULL /* verification seeds begin this far above the search's */

/* A training of which there is a record. */
typedef struct training {
  const candidate *candidate;
  uint64_t seed;
  bool diverged, stopped;
  bool left_out; /* it does not run here: failure says why */
  double metric;
  int64_t steps_done;
  double host_seconds;
  size_t memory_bytes;
  char *failure;  /* why it diverged, or NULL */
  double *losses; /* [loss_count], of the reference's; else NULL */
  int64_t loss_count;
  timing_run time; /* of its steps; seconds are NaN where none was measured */
  bool time_taken; /* it is in candidate->timed */
} training;

/* A few steps of a policy, made for their time. */
typedef struct timed_steps {
  const candidate *candidate;
  char name[65];  /* of the timing run in the store: "timed", "turn A.B" */
  timing_run run; /* seconds are NaN where there is none */
  char why[256];  /* there is none, or "" */
} timed_steps;

typedef struct ledger {
  store *store; /* NULL in a dry run */
  bool owner;   /* of the run's notes */

  candidate reference;
  int reference_seeds;    /* R, once all of them are trained */
  int reference_diverged; /* seeds that were tried beside them */
  uint64_t reference_seed[WORKLOAD_MAX_SEEDS];
  double reference_metric[WORKLOAD_MAX_SEEDS];
  double *reference_losses; /* of the first seed, [steps] */
  char observed_key[65];    /* of the same run */
  store_scores scores;      /* what it measured; its texts are the evaluator's */

  candidate **candidates;
  int candidate_count, candidate_capacity;
  int trainings; /* distinct (policy, seed) candidate trainings before verification */

  training *told; /* [told_count] */
  int told_count, told_capacity;
  timed_steps *timed; /* [timed_count] */
  int timed_count, timed_capacity;
  evidence_records records; /* all evaluations and attempts in the store, earlier searches' too */
} ledger;

/* `owner`: a search, whose notes ("definition", "reference") the run's report is about. Others that
 * use the run leave them as they are. Without a store in a dry run. The caller closes it, also
 * after a failure. */
mpt_status ledger_open(ledger *l, const problem *p, bool owner, mpt_error *error);
void ledger_close(ledger *l);

/* What is told of; NULL: nothing yet. Valid until something is told. */
training *ledger_training(const ledger *l, const candidate *c, uint64_t seed);
const timed_steps *ledger_timed(const ledger *l, const candidate *c, const char *name);
/* candidate->seen of every candidate and the reference, from the records. */
mpt_status ledger_see(ledger *l, mpt_error *error);

/* ---- ledger_tell.c: a record that answers `request`, into the ledger and the store ---- */
/* What the record owns may be taken from it; the caller clears it all the same. A failure of the
 * device, an interruption and the like are returned, with the record's words; a candidate that does
 * not fit into the device's memory is one that diverged, or that cannot be timed. */
mpt_status ledger_tell(ledger *l, const problem *p, const candidate *c,
                       const evaluation_request *request, evaluation_record *record,
                       mpt_error *error);

/* ---- ledger_recall.c: the record that the store has, of this search or an earlier one ---- */
/* `recalled` is set in it: it is not put into the store again. */
mpt_status ledger_recall(const ledger *l, const problem *p, const candidate *c,
                         const evaluation_request *request, bool *found, evaluation_record *record,
                         mpt_error *error);

/* ---- faults.c: devices that fail, or are too small ---- */
/* A failure of the device ends the process: says that the same command continues. */
mpt_status fault_ends(mpt_status status, mpt_error *error);
/* An evaluation in which the device failed: the second time it is recorded as failed. */
mpt_status fault_note(ledger *l, const candidate *c, const evaluation_request *r,
                      const mpt_error *why, mpt_error *error);
/* A timing in which it did: the policy is not timed again. */
mpt_status fault_note_timing(ledger *l, const candidate *c, mpt_error *error);
mpt_status fault_timing_noted(const ledger *l, const candidate *c, bool *noted, mpt_error *error);

/* ---- definition.c: what the run is about, in its notes ---- */
/* A run directory belongs to one training definition; budget, pins, exclusions and target may
 * change. MPT_ERROR_MISMATCH where it has another. */
mpt_status definition_note(ledger *l, const problem *p, mpt_error *error);

/* ---- candidate.c, candidate_price.c ---- */
/* A candidate with that assignment and loss scale (the workload's in a search): the one there is,
 * or a new one, which `prices` (model.h) price. */
mpt_status ledger_candidate(ledger *l, const problem *p, const profile *prices,
                            const mpt_layer_policy *assignment, mpt_loss_scale_policy loss_scale,
                            const char *label, candidate **out, mpt_error *error);
/* Fills hash, cost and the stored policy of a candidate whose assignment is set. */
mpt_status candidate_price(ledger *l, const problem *p, const profile *prices, candidate *c,
                           mpt_error *error);

#endif
