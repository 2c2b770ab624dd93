/* Carries out what a search asks for. */
#ifndef DRIVER_H
#define DRIVER_H

#include "tuner/machine.h"

/* Until it asks for nothing more. Requests are answered from the run store where it has their
 * records, else by the evaluator of the options (NULL: the built-in trainer), as many at once as it
 * takes. MPT_ERROR_INTERRUPTED after a signal; what was finished by then is kept. */
mpt_status search_run(search *s, mpt_error *error);

#endif
