/* The runs that a measured step time is made of. Each has a name: the key of the training that it
 * was part of, "timed" for a few steps made for the time alone, "turn A.B" for round B before the
 * A-th verification. */
#ifndef TIMING_RUNS_H
#define TIMING_RUNS_H

#include "store/store.h"

typedef struct timing_run {
  double seconds;   /* median of its steps; NaN: none */
  double deviation; /* median absolute deviation of the steps */
  int64_t steps;
  bool in_turn; /* timed in turn with others */
} timing_run;

/* The run of that policy, device and name. */
mpt_status store_find_timing_run(store *s, const char *policy, const char *device, const char *name,
                                 bool *found, timing_run *run, mpt_error *error);
/* Adds it to the runs of `time` (policy, device), whose seconds are those of all of them; `noise`
 * is their relative standard error. */
mpt_status store_add_timing_run(store *s, const store_time *time, const char *name,
                                const timing_run *run, double noise, mpt_error *error);

#endif
