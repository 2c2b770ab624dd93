/* What a program is asked to do: as environment variables, and as a line of JSON for a worker that
 * serves. docs/contract.md specifies both. */
#ifndef JOB_H
#define JOB_H

#include "mptune/mptune.h"

typedef enum job_mode { JOB_TRAIN, JOB_TIME, JOB_OBSERVE, JOB_SERVE, JOB_MODE_COUNT } job_mode;

/* Paths are absolute; NULL or "" where there is none. */
typedef struct job {
  job_mode mode;
  const char *policy;
  uint64_t seed;
  int64_t steps;        /* the length that schedules refer to */
  int64_t start, until; /* the steps to run now: [start, until) */
  const char *from;     /* a checkpoint to begin from */
  const char *save;     /* where to leave one after the last step */
  const char *events;
  int64_t statistics_every; /* of JOB_OBSERVE; 0: none */
  int read_from, write_to;  /* descriptors of JOB_SERVE */
} job;

/* "NAME=value" texts that end with NULL, in one piece of memory that the caller frees with free(),
 * `more` behind them (NULL, or ends with NULL). NULL when there is no memory. */
char **job_environment(const job *j, const char *const *more);

/* {"job":ID,...}, one line without its end, which the caller frees with free(). */
mpt_status job_json(const job *j, int64_t id, char **text, mpt_error *error);

const char *job_mode_name(job_mode mode); /* "train" */

#endif
