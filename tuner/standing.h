/* Where policies stand against the budget and the reference's time. */
#ifndef STANDING_H
#define STANDING_H

#include "tuner/model.h"
#include "tuner/search_clock.h"

typedef enum standing { STANDING_UNKNOWN, STANDING_MEETS, STANDING_FAILS, STANDING_CLOSE } standing;
/* After its search seeds and verification. Close: within one standard error of the budget, while
 * there is a seed left that could tell. */
standing candidate_standing(const ledger *l, const model *m, const candidate *c);
/* Whether a is faster than b by more than noise. */
bool is_faster(const model *m, double a, double b);
/* The step time that a policy must stay below to be of use: the reference's, where it is permitted.
 */
double time_limit(const ledger *l);
/* The fastest that meets the budget so far, or NULL. */
candidate *best_so_far(const ledger *l, const model *m);
/* The progress line has it from now on. */
void show_best(search_clock *k, const ledger *l, const model *m);

#endif
