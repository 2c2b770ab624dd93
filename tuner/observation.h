/* What an instrumented training saw, in the store. */
#ifndef OBSERVATION_H
#define OBSERVATION_H

#include "tuner/evaluators/evaluator.h"

mpt_status observation_keep(store *s, const char *key, const observation *seen, mpt_error *error);
/* Whether it is there: a run that was not instrumented is trained again. */
mpt_status observation_kept(store *s, const char *key, bool *kept, mpt_error *error);

#endif
