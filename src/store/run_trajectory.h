/* What a search tried before verification, in order: one row for each training of a candidate. */
#ifndef RUN_TRAJECTORY_H
#define RUN_TRAJECTORY_H

#include "base/arena.h"
#include "store/store.h"

typedef struct store_step {
  int evaluation;                    /* its number, from 1 */
  const char *policy, *label;        /* hash; NULL: not known */
  double predicted_seconds, seconds; /* of a step; as the search took it */
  double predicted_increase;         /* of the metric, in its units, before it was trained */
  double measured_increase;          /* the same over the search's seeds so far; NaN: it failed */
  double measured_change;            /* the same as the budget is given */
  const char *verdict_text;          /* for people: where it stood then */
} store_step;

typedef struct store_trajectory {
  mpt_arena memory;
  const store_step *steps;
  int count;
} store_trajectory;

/* In the place of the one that has its number, and of all after it: a search that is continued goes
 * the same way once more, and one of another budget another way. */
mpt_status store_put_step(store *s, const store_step *step, mpt_error *error);
/* By their number. */
mpt_status store_get_trajectory(store *s, store_trajectory *trajectory, mpt_error *error);
void store_trajectory_clear(store_trajectory *trajectory);

#endif
