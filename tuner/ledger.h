/* What a search knows: the policies that it looks at and the records of their trainings. The run
 * store is its durable form. */
#ifndef LEDGER_H
#define LEDGER_H

#include "tuner/candidate.h"

#define SEARCH_FRESH_SEEDS 1000ULL /* verification seeds begin this far above the search's */

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

  candidate **candidates;
  int candidate_count, candidate_capacity;
  int trainings; /* distinct (policy, seed) candidate trainings before verification */
} ledger;

/* `owner`: a search, whose notes ("definition", "reference") the run's report is about. Others that
 * use the run leave them as they are. Without a store in a dry run. The caller closes it, also
 * after a failure. */
mpt_status ledger_open(ledger *l, const problem *p, bool owner, mpt_error *error);
void ledger_close(ledger *l);
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
