/* The beginning of a program's life, between fork and exec. Private to this room. */
#ifndef PROCESS_CHILD_H
#define PROCESS_CHILD_H

#include "process/process.h"
#include <sys/types.h>

/* Starts the command with `output` as its standard output and error. */
mpt_status process_child_start(const process_options *options, int output, pid_t *pid,
                               mpt_error *error);

#endif
