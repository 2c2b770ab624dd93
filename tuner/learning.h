/* What a trained policy teaches the model. */
#ifndef LEARNING_H
#define LEARNING_H

#include "tuner/model.h"

/* After its training under another of the search's seeds. */
mpt_status learn_seed(const problem *p, const ledger *l, model *m, const candidate *c,
                      mpt_error *error);
/* After as many seeds as it takes to know where it stands. */
mpt_status learn_trial(model *m, const candidate *c, mpt_error *error);
/* After a verification that it did not pass. */
mpt_status learn_verification(model *m, const candidate *c, mpt_error *error);

#endif
