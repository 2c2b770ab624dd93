/* What the search came to, in words, and beside what people would have done without it. */
#ifndef OUTCOME_H
#define OUTCOME_H

#include "tuner/model.h"
#include "tuner/search_view.h"

/* The policy that most people would train in without a search: the fastest uniform one of 16 bits
 * that nothing speaks against, the winner itself where it is one; the reference where there is
 * none. */
const candidate *outcome_otherwise(const search_view *s, const candidate *winner);
/* What was trained on: "1 to 3 in the search, 9 fresh pairs from 1001". Seeds under which the
 * reference diverged are not among the search's: "3 of 1 to 4". */
#define OUTCOME_SEEDS_SIZE 120
void outcome_seeds(const search_view *s, const candidate *c, char text[OUTCOME_SEEDS_SIZE]);
/* The fastest that verification could not settle; NULL. */
const candidate *outcome_undecided(const search_view *s);
/* A paragraph for people; NULL when there is no memory. `predicted` names the layers that block:
 * the model's increases, made where something is written that did not pass; else NULL. */
char *outcome_message(const search_view *s, const candidate *winner, const candidate *written,
                      const increases *predicted);

#endif
