/* What stages take from the ledger. */
#ifndef TAKING_H
#define TAKING_H

#include "tuner/requests.h"

/* *taken is the training of `c` under `seed`, whose step time, where times are measured, is among
 * the policy's from now on; NULL: it was asked for, or a time in place of one that it has not. */
mpt_status take_training(const problem *p, ledger *l, model *m, candidate *c, uint64_t seed,
                         const char *purpose, requests *out, const training **taken,
                         mpt_error *error);

#endif
