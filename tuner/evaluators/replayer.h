/* An evaluator that trains nothing: it answers from the records of a finished run. For tests of the
 * search, and for simulated clusters: `workers` requests are carried out at once, each for as long
 * as its record says that it took, and come back in the order in which they would have ended. */
#ifndef REPLAYER_H
#define REPLAYER_H

#include "tuner/evaluators/evaluator.h"

/* Of the run in `directory`, which stays open. The caller closes *out with evaluator_close. */
mpt_status replayer_open(const char *directory, int workers, evaluator **out, mpt_error *error);
/* Seconds that would have gone by until the last record that was given out. */
double replayer_seconds(const evaluator *e);

#endif
