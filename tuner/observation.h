/* What an instrumented training saw, in the store. */
#ifndef OBSERVATION_H
#define OBSERVATION_H

#include "tuner/evaluators/evaluator.h"

mpt_status observation_keep(store *s, const char *key, const observation *seen, mpt_error *error);
/* Its scores, to be cleared by the caller; *kept is false where there is none: a run that was not
 * instrumented is trained again. */
mpt_status observation_recall(store *s, const char *key, store_scores *scores, bool *kept,
                              mpt_error *error);

#endif
