/* Starting a program for the command evaluator. Private to it. */
#ifndef COMMAND_START_H
#define COMMAND_START_H

#include "tuner/evaluators/command.h"
#include "tuner/evaluators/command_record.h"
#include <limits.h>

#define COMMAND_LISTEN_EVERY 0.1 /* seconds: to what a program says */

typedef struct command_asked {
  job job;
  bool first;
  char name[100]; /* of its log and its directory */
  int worker;
} command_asked;

/* `run` is absolute; `seen` may be NULL. */
mpt_status command_start(const command_options *o, const char *run, const command_asked *what,
                         const mpt_policy *policy, const answer_terms *terms, double limit,
                         command_seen *seen, program_run **out, mpt_error *error);

/* The run's directory, which is made, by its absolute path. */
mpt_status command_absolute(const char *run, char path[PATH_MAX], mpt_error *error);

#endif
