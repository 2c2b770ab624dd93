/* What runs of a program say of the program: whether it heeds the seed, and whether it repeats
 * itself. Private to the command evaluator. */
#ifndef COMMAND_TRUST_H
#define COMMAND_TRUST_H

#include "contract/answer.h"
#include "tuner/evaluators/evaluator.h"

enum { TRUST_LOSSES = 32, TRUST_RUNS = 256 };

/* The beginning of a run, by which it is compared with others of its policy. */
typedef struct trusted_run {
  char policy[65];
  uint64_t seed;
  int64_t steps;
  double losses[TRUST_LOSSES];
  int loss_count;
  double metric; /* NaN: none */
  bool larger_is_better;
} trusted_run;

typedef struct command_trust {
  trusted_run runs[TRUST_RUNS]; /* the first ones */
  int count;
  int repeats;            /* -1: not seen; whether all runs of one policy and seed were the same */
  uint64_t repeated_seed; /* of two that were not */
} command_trust;
void command_trust_begin(command_trust *t);

/* Notes a good run. MPT_ERROR_ARGUMENT where another seed gave the very same. */
mpt_status command_trust_note(command_trust *t, const evaluation_request *request, const answer *a,
                              mpt_error *error);

#endif
