/* Measured step times; nothing is asked for where times are predicted. */
#ifndef TIMING_H
#define TIMING_H

#include "tuner/requests.h"

/* A few steps of a policy that was not timed yet: asked for, or taken from the ledger. One that
 * cannot be timed says so in c->untimed. */
mpt_status timing_measure(const problem *p, ledger *l, model *m, candidate *c, requests *out,
                          mpt_error *error);
/* The time of that training's steps, or of a few steps where it has none. */
mpt_status timing_of_training(const problem *p, ledger *l, model *m, candidate *c,
                              const training *t, requests *out, mpt_error *error);

/* The fastest policies, where others come close, again and in turn: A B A B A B. */
typedef struct turns {
  candidate **list; /* [count], the fastest first; its own */
  int count, attempt;
  int round, next; /* from 0: what is timed now */
} turns;
/* Of that list, before the attempt-th verification; turns_clear frees. */
mpt_status turns_begin(turns *t, const problem *p, const model *m, candidate *const *list,
                       int count, int attempt, mpt_error *error);
mpt_status turns_go_on(turns *t, const problem *p, ledger *l, model *m, requests *out,
                       mpt_error *error);
void turns_clear(turns *t);

/* Says so when the policy's step times vary more than those of a GPU of one's own. */
void timing_warn_of_noise(const problem *p, const model *m, const candidate *c);

#endif
