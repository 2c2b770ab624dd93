/* Running the programs of others: each in a session of its own, so that all that it starts can be
 * ended with it.
 *
 *   process_start  starts it: standard input is /dev/null, what it prints goes to a log
 *   process_wait   sleeps until one of several has ended; keeps limits, and the logs up to date
 *   process_stop   asks it to end: TERM, and KILL after a while
 *   process_close  gives it back; one that still runs is killed
 *
 * A program that has ended is told of only when what it left running has ended too. */
#ifndef PROCESS_H
#define PROCESS_H

#include "mptune/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct process process;

typedef struct process_options {
  const char *command;            /* for `sh -c` */
  const char *directory;          /* where it runs; NULL: the working directory */
  const char *const *environment; /* "NAME=value", ends with NULL: added to this process's */
  const char *log;                /* file that gets standard output and error, written anew */
  int64_t log_bytes;              /* of its beginning that are kept; its end is kept as well */
  int64_t file_bytes;             /* the most that a file may grow to by its hand; 0: no limit */
  double limit;                   /* seconds after which it is stopped; 0: none */
  double grace;                   /* seconds between TERM and KILL */
  const int *descriptors;         /* [descriptor_count]: what it gets beside 0, 1 and 2 */
  int descriptor_count;
} process_options;
process_options process_options_default(void);

typedef struct process_result {
  bool signalled;  /* ended by a signal */
  int code;        /* of its exit; or the signal */
  bool timed_out;  /* `limit` had gone by */
  bool stopped;    /* process_stop */
  bool killed;     /* TERM was not enough: something of it took KILL */
  int left_behind; /* processes that it had started ran on after it, and were ended */
  bool lost;       /* one of them could not even be killed */
  double seconds;  /* until it ended itself */
  int64_t printed; /* bytes */
} process_result;

/* The caller closes *out with process_close. Where it cannot be started nothing is left. */
mpt_status process_start(const process_options *options, process **out, mpt_error *error);

/* Returns when one of processes[count] has ended (one that has before too), when `seconds` have
 * gone by, or on a signal to this process; whether one has ended. */
bool process_wait(process *const *processes, int count, double seconds);

/* Whether it has ended, as process_wait found it. `result` may be NULL. */
bool process_ended(const process *p, process_result *result);

/* Does not wait: process_wait sees it end. */
void process_stop(process *p);

/* The last `lines` lines that it printed which are not blank, newest last, each cut to what fits,
 * with a line end between them; "" where it printed nothing. */
void process_last_lines(const process *p, int lines, char *text, size_t size);

void process_close(process *p); /* NULL is allowed */

/* "SIGSEGV" */
void process_signal_name(int number, char *text, size_t size);

#endif
