/* Somebody's program as an evaluator: its command is run afresh for each request, under the
 * contract that docs/contract.md specifies.
 *
 * What a policy came to is a record like any other: a program that crashed, was killed, took too
 * long or said NaN has a diverged evaluation. What could not be judged has the status
 * MPT_ERROR_PROGRAM: exit code 125, and events that break the contract (the formats or layers are
 * others than asked); nothing is known of the policy then. A program that does not heed the seed,
 * or has another goal than the search, is MPT_ERROR_ARGUMENT: nothing that it says is of use. */
#ifndef COMMAND_H
#define COMMAND_H

#include "contract/event.h"
#include "tuner/evaluators/evaluator.h"

typedef struct command_options {
  const char *command;     /* for `sh -c` */
  const char *run;         /* the run's directory: logs/ and work/ are made in it */
  const char *metric;      /* the name of the one that counts */
  bool larger_is_better;   /* as its goal must say */
  mpt_precision reference; /* the first run is under it */
  int64_t steps;           /* of the training that the policy is for */
  int workers;             /* requests at once */
  int devices;             /* GPUs: each worker sees one, in turn; 0: all see all */
  double limit;            /* seconds of a run; 0: ten times the longest of the reference's */
  double grace;            /* seconds between TERM and KILL */
} command_options;
command_options command_options_default(void);

/* What the program said of itself in its first run. */
typedef struct command_program {
  char program[256], device[256];
  char *versions;         /* JSON, "{}" where it did not say */
  uint32_t capabilities;  /* bit set of 1 << event_capability */
  uint32_t formats;       /* bit set of 1 << mpt_precision */
  mpt_layer_info *layers; /* [layer_count] */
  int layer_count;
  event_names uncovered;
} command_program;

/* Runs it for the first time: no step, its layers alone. Any end but a good one is an error here.
 * `interrupted` may be NULL. The caller clears *program, also after a failure. */
mpt_status command_first_run(const command_options *options, const volatile int *interrupted,
                             command_program *program, mpt_error *error);
void command_program_clear(command_program *program);

/* What the texts of `options` and `program` point to must outlive it. The caller closes *out with
 * evaluator_close. Requests name their layers in the order of `program`. */
mpt_status command_open(const command_options *options, const command_program *program,
                        evaluator **out, mpt_error *error);

/* Whether runs of one policy and seed came to the same: -1 where that could not be seen. */
int command_repeats(const evaluator *e);

#endif
