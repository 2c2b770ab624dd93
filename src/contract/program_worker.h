/* A program that serves: one process that stays, and takes jobs over two pipes (docs/contract.md,
 * serve). What it says of a job is listened to by the job's program_run; here are its beginning,
 * `hello` and `layers`, and its short answers. */
#ifndef PROGRAM_WORKER_H
#define PROGRAM_WORKER_H

#include "contract/program_run.h"

/* Starts it: of the options command, environment, work, log, policy and grace count, and of the
 * terms the layers. The caller closes *out. */
mpt_status program_worker_start(const program_run_options *options, program_worker **out,
                                mpt_error *error);
/* Lets it end by itself for a moment, by the end of its jobs. */
void program_worker_close(program_worker *w); /* NULL is allowed */

process *program_worker_process(const program_worker *w);
/* Whether it can take another job. */
bool program_worker_is_well(const program_worker *w);

/* MPT_ERROR_PROGRAM where it does not read its jobs. */
mpt_status program_worker_give(program_worker *w, const job *j, int64_t id, mpt_error *error);

/* Takes in what it said since. `fault` gets what breaks the contract. */
void program_worker_listen(program_worker *w, mpt_error *fault);
/* Whether it has said its layers, which are in *a then. */
bool program_worker_introduced(const program_worker *w, const answer **a);
/* Whether it has answered that job: as an exit code, and its words or "". */
bool program_worker_answered(const program_worker *w, int64_t id, int *code, const char **words);

#endif
