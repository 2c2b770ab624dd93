/* The answer where not everything could be remembered (space_problem.h). Private to the solver of a
 * space.
 *
 * The relaxed problem bounds the time from below for any prices; the best prices are sought by
 * subgradients with Polyak's steps (Held, Wolfe and Crowder 1974): a unit's value is made dearer
 * where a term took another for it, and the term's dearer to take. Each solution is an assignment
 * within the budget; single units are then changed as long as that makes it faster. */
#ifndef SPACE_RELAX_H
#define SPACE_RELAX_H

#include "tuner/space_problem.h"

/* As frontier_solve, of the true problem. */
mpt_status relax_solve(space_problem *sp, double budget, frontier_solution *solution,
                       mpt_error *error);

#endif
