/* What is searched: the workload on its data, as it is trained and as it is priced, and the formats
 * that its layers may have. Never changes after it was opened. */
#ifndef PROBLEM_H
#define PROBLEM_H

#include "data/dataset.h"
#include "tuner/place.h"
#include "tuner/space.h"

typedef struct problem {
  const workload *workload;
  const tuner_options *options;
  int64_t steps;    /* of every evaluation */
  double sign;      /* +1: a larger metric is worse (loss); -1 */
  bool may_give_up; /* hopeless candidates end early */
  char training_hash[65];
  store_condition condition; /* of every evaluation */
  place place;
  char profile_identity[256];
  dataset *data;    /* NULL where a program trains */
  graph *graph;     /* as trained */
  graph *priced;    /* as priced; the same layers */
  profile *profile; /* what the device is known for: model.h corrects it by what was measured */
  space *space;
} problem;

/* `judges`: policies will be judged against the budget, which the held-out data must be able to
 * tell. What the options and the workload point to must outlive it. The caller closes it, also
 * after a failure. */
mpt_status problem_open(problem *p, const workload *w, const tuner_options *options, bool judges,
                        mpt_error *error);
void problem_close(problem *p);

#endif
