/* One run of a program under evaluation: started with what it is asked, listened to while it runs,
 * and judged when it has ended. docs/contract.md is the contract. */
#ifndef PROGRAM_RUN_H
#define PROGRAM_RUN_H

#include "contract/answer.h"
#include "contract/job.h"
#include "process/process.h"

typedef struct program_run program_run;
typedef struct program_worker program_worker; /* program_worker.h */

/* Called for each event once it was found right. */
typedef void program_listener(void *context, const event *e);

typedef struct program_run_options {
  const char *command;            /* for `sh -c` */
  const char *const *environment; /* beside the contract's; NULL, or ends with NULL */
  const char *work;               /* absolute: a directory for the policy and events, made anew */
  const char *log;                /* absolute: what it prints */
  const mpt_policy *policy;       /* read at the start only */
  job job;                        /* its policy and events are set here */
  answer_terms terms;             /* what it points to must outlive the run */
  bool first;                     /* asks for the layers alone: ended when it trains */
  double limit, grace;            /* seconds; as of process_options */
  program_listener *listener;     /* may be NULL */
  void *context;
} program_run_options;

typedef enum program_end {
  PROGRAM_GOOD,
  PROGRAM_FAILED,   /* the policy did: it crashed, took too long, diverged */
  PROGRAM_UNTESTED, /* it said so: exit code 125 */
  PROGRAM_REFUSED,  /* what it said breaks the contract */
  PROGRAM_STOPPED   /* program_run_stop */
} program_end;

/* The caller closes *out. */
mpt_status program_run_start(const program_run_options *options, program_run **out,
                             mpt_error *error);
/* The same by a worker that is well, as its job `id`, from 1 on; of the options command and
 * environment don't count. The worker must outlive the run, and has one at a time. */
mpt_status program_run_serve(const program_run_options *options, program_worker *worker, int64_t id,
                             program_run **out, mpt_error *error);
/* Its own, or the worker's: to wait for. One that serves answers before its process ends. */
process *program_run_process(const program_run *r);
bool program_run_over(const program_run *r);

/* Takes in what it said since; one that breaks the contract is stopped. */
void program_run_listen(program_run *r);
void program_run_stop(program_run *r);

/* Whether it has ended; *end and `why`, in words, say how: MPT_ERROR_PROGRAM, but MPT_OK for
 * PROGRAM_GOOD, and MPT_ERROR_INTERRUPTED for PROGRAM_STOPPED. */
bool program_run_ended(program_run *r, program_end *end, mpt_error *why);

/* Of a run that has ended: the worker died, took too long, or failed, so that its state is not to
 * be trusted and the job may go well in a fresh process. */
bool program_run_served_badly(const program_run *r);

const answer *program_run_answer(const program_run *r); /* so far */
double program_run_seconds(const program_run *r);       /* that it took, once it has ended */
/* Of a run that has ended: what is no fault, and should be mended all the same; "" where nothing.
 */
void program_run_advice(const program_run *r, char *text, size_t size);

/* Ends what still runs. `keep`: what it said stays in the directory, to be looked at. */
void program_run_close(program_run *r, bool keep); /* NULL is allowed */

#endif
