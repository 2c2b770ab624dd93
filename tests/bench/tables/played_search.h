/* One search, played in a world: every training is counted, and after each it is noted how good the
 * policy is that would be taken if the search ended there. */
#ifndef PLAYED_SEARCH_H
#define PLAYED_SEARCH_H

#include "tests/bench/tables/world.h"

#define PLAYED_MOST  48 /* trainings that are counted */
#define PLAYED_TRIED 48 /* policies */
#define PLAYED_SEEDS 8  /* of one policy */

typedef struct played_policy {
  int policy, pairs;
  double difference[PLAYED_SEEDS]; /* infinite: diverged */
} played_policy;

typedef struct played {
  const world *w;
  double budget; /* metric units */
  int first;     /* the world's seed that is the search's first */
  int most;      /* candidate trainings that are allowed */
  world_score score[TABLE_UNITS][MPT_GEMM_COUNT][MPT_PRECISION_COUNT];

  int trainings, references; /* in all, the reference's included; of these the reference's */
  bool reference[PLAYED_SEEDS];
  played_policy tried[PLAYED_TRIED];
  int tried_count;
  double regret[PLAYED_MOST + 1]; /* after so many trainings */
  int chosen;                     /* what it ended with; 0: the reference */
} played;

void played_start(played *s, const world *w, double budget, int first);
/* What is left of the search's trainings. */
bool played_may_train(const played *s);
/* The reference under its seed `index` of the search, counted once. */
double played_reference(played *s, int index);
/* The policy under that seed: the difference. */
double played_train_at(played *s, int policy, int index);
/* Under its next. */
double played_train(played *s, int policy);
played_policy *played_find(played *s, int policy); /* NULL: not tried */
double played_mean(const played_policy *p);
/* The fastest of those tried whose mean difference meets the budget; 0, the reference, if none. */
int played_recommended(const played *s);
/* Seconds more than the best policy, as a share of its; where `policy` does not meet the budget it
 * would fail verification, and the reference's count. */
double played_regret(const played *s, int policy);

#endif
