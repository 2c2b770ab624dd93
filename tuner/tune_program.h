/* Private to tuner/. */
#ifndef TUNE_PROGRAM_H
#define TUNE_PROGRAM_H

#include "tuner/tuner.h"

/* tuner_run of a workload that a program trains. */
mpt_status tune_program(const workload *w, const tuner_options *options, tuner_summary *summary,
                        mpt_error *error);

#endif
