/* What a search would find out if it trained: from a table, or drawn. A training is asked for by
 * policy and seed; what every policy truly comes to is known beside it. */
#ifndef WORLD_H
#define WORLD_H

#include "tests/bench/tables/policy_table.h"

typedef struct world_score {
  double forward, backward; /* as the search's note "sensitivity" has them */
  bool vetoed;
} world_score;

typedef struct world {
  const table_network *network; /* borrowed */
  const policy_table *table;    /* borrowed; NULL: drawn */
  int seeds;                    /* that there are: 0 to seeds - 1 */
  double *seconds;              /* [policies] a step */
  double *damage;    /* [policies]: mean difference to the reference; infinite: it may diverge */
  double *deviation; /* [policies]: of one pair */
  double *error;     /* [policies]: of `damage`, 0 where it is drawn */
  double reference;  /* mean metric */
  uint64_t draw;     /* of a drawn one */
  /* [unit][gemm][precision], of a drawn one: what the probe is made to say. */
  double probe[TABLE_UNITS][MPT_GEMM_COUNT][MPT_PRECISION_COUNT];
} world;

mpt_status world_of_table(const table_network *n, const policy_table *t, world *w,
                          mpt_error *error);
/* As statistics of real networks suggest: scores lognormal, damage kappa * score with a deviation
 * of 0.7, adjacent layers that hurt each other, 15% of what does not add up, noise that grows with
 * the damage. In bf16 a sixteenth. */
mpt_status world_draw(const table_network *n, uint64_t draw, world *w, mpt_error *error);
void world_clear(world *w);

/* The metric of that training; infinite: it diverged. */
double world_metric(const world *w, int policy, int seed);

/* The fastest policy whose damage is within the budget by a deviation of a pair at least. */
int world_best(const world *w, double budget);
/* Whether it meets the budget, as far as is known: a standard error counts for it. */
bool world_meets(const world *w, int policy, double budget);

#endif
