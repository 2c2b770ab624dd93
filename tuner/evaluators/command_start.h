/* Starting a program for the command evaluator. Private to it. */
#ifndef COMMAND_START_H
#define COMMAND_START_H

#include "tuner/evaluators/command.h"
#include "tuner/evaluators/command_record.h"
#include <limits.h>

/* Seconds: to what a program says, and to a worker, whose end of a job is no end of a process. */
#define COMMAND_LISTEN_EVERY  0.1
#define COMMAND_ANSWERS_EVERY 0.01

typedef struct command_asked {
  job job;
  bool first;
  char name[100]; /* of its log and its directory */
  int worker;
  int64_t id; /* of a job that is served, from 1 on */
} command_asked;

/* `run` is absolute; `seen` may be NULL. In a fresh process, or (`worker` not NULL) by the worker
 * *worker, which is started where there is none that is well. */
mpt_status command_start(const command_options *o, const char *run, const command_asked *what,
                         const mpt_policy *policy, const answer_terms *terms, double limit,
                         command_seen *seen, program_worker **worker, program_run **out,
                         mpt_error *error);

/* The run's directory, which is made, by its absolute path. */
mpt_status command_absolute(const char *run, char path[PATH_MAX], mpt_error *error);

#endif
