/* The directory of a run of a program: its policy, and the events that it writes. Private to this
 * room. */
#ifndef RUN_FILES_H
#define RUN_FILES_H

#include "contract/program_run.h"

enum { RUN_PATH = 512 };

typedef struct run_files {
  char work[RUN_PATH], policy[RUN_PATH], events[RUN_PATH], log[RUN_PATH];
  int64_t file_bytes; /* the most of a file that the program may write */
} run_files;

/* Makes it, with the policy in it and no events yet. */
mpt_status run_files_make(run_files *f, const char *work, const char *log, const mpt_policy *policy,
                          mpt_error *error);
void run_files_remove(const run_files *f);

/* Starts the program of the options there, for the job, whose policy and events it sets. */
mpt_status run_files_start(run_files *f, const program_run_options *options, job *j, double limit,
                           const int *descriptors, int descriptor_count, process **out,
                           mpt_error *error);

#endif
