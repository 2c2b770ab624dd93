/* Ways to search, each played in a played_search.h: they train through it, and set `chosen`. */
#ifndef METHODS_H
#define METHODS_H

#include "tests/bench/tables/played_search.h"

typedef void search_method(played *s);

/* simple_methods.c: one seed for each policy, the layers ordered by score or by what was measured
 */
search_method method_promote; /* all fastest; the most sensitive layer back, until it passes */
search_method method_one_at_a_time; /* each layer alone; sorted; a cut between them, by bisection */
search_method method_delta;         /* delta debugging: which layers must go back */
search_method method_random;        /* any that is faster than the best so far */
search_method method_fastest;       /* in the order of their times */
search_method method_scores;        /* the solver on the scores; nothing is trained */
/* model_search.c: tuner/model */
search_method method_model;

/* todays_search.c: mptune tune itself, in DIRECTORY, its trainings answered by the world, until it
 * would verify. Fills s->score from what its probe saw. */
mpt_status play_todays_search(played *s, const char *directory, mpt_error *error);

/* The solver at these increases; 0, the reference, where nothing is found. */
int solve_choice(const played *s, double *const *increase, double budget);

#endif
