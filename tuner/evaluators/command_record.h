/* Records of what a program came to. Private to the command evaluator. */
#ifndef COMMAND_RECORD_H
#define COMMAND_RECORD_H

#include "contract/program_run.h"
#include "tuner/evaluators/command.h"

/* What events of one run are kept beside its answer: statistics, and the last probe of each layer
 * and format. */
typedef struct command_seen {
  const command_program *program;
  observation seen;   /* statistics so far */
  store_score *probe; /* [layers][MPT_PRECISION_COUNT]; NULL: none came. A layer's name is NULL
                         where none did */
  bool out_of_memory;
} command_seen;
void command_seen_clear(command_seen *s);
program_listener command_seen_take;

typedef struct command_ending {
  program_end end;
  const mpt_error *why;
  double seconds;
  bool hopeless; /* it was stopped because it could not win */
} command_ending;

/* Fills *record, whose id and status are the caller's, from a run that has ended: an evaluation for
 * all but REQUEST_TIME, the time of its steps where they were said, and what was seen, which is
 * taken from `seen`. */
mpt_status command_record_fill(const evaluation_request *request, const answer *a,
                               const command_ending *ending, command_seen *seen,
                               evaluation_record *record, mpt_error *error);

#endif
