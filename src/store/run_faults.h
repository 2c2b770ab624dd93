/* Where the device failed: what was tried once, and is not tried for ever. */
#ifndef RUN_FAULTS_H
#define RUN_FAULTS_H

#include "store/store.h"

/* `what`: the key of an evaluation, or "timed HASH" of a policy. */
mpt_status store_put_fault(store *s, const char *what, mpt_error *error);
mpt_status store_has_fault(store *s, const char *what, bool *has, mpt_error *error);

#endif
