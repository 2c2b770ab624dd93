/* Which policies verification sets out to look at, and under which seeds. */
#ifndef VERIFICATION_PLAN_H
#define VERIFICATION_PLAN_H

#include "tuner/model.h"

#define VERIFY_MOST_ATTEMPTS 8

/* Who is plausible now; the caller frees *list, also after a failure. `first`: verification has
 * taught nothing yet. */
mpt_status plan_list(const problem *p, const ledger *l, const model *m, bool first,
                     candidate ***list, int *count, mpt_error *error);
/* The fastest first; of those that take as long a uniform one, and then the more accurate. */
void plan_order(const model *m, candidate **list, int count);
/* Writes down those of the list that are not yet, before a fresh seed of theirs is trained. */
mpt_status plan_write_down(const problem *p, ledger *l, const model *m, candidate *const *list,
                           int count, mpt_error *error);
/* MPT_ERROR_MISMATCH where the search's seeds are among those that were written down for
 * verification, whose pairs would then be none that the search has not seen. */
mpt_status verification_keeps_seeds(const problem *p, const ledger *l, mpt_error *error);

#endif
