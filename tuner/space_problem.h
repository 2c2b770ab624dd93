/* From the terms of a space (space_terms.h) to a problem for frontier.h. Private to the solver of a
 * space.
 *
 * A term belongs to the last unit that it reads, i:
 *
 *   it reads i alone              seconds[c]
 *   it reads i - 1 and i          conversion[q][c]
 *   it reads units further back   memory_seconds[memory][c]
 *
 * The memory before unit i holds what terms of the third kind still will read of the units before
 * it: aspects of their choices, and of copies that are shared the union of what was needed so far.
 * Where that comes to too many values, units are forgotten: a term that reads a forgotten unit from
 * afar takes whichever value of it is the cheapest, less a price that the unit pays for the value
 * that it really has. Whatever the prices, no assignment is slower in that problem than in truth.
 */
#ifndef SPACE_PROBLEM_H
#define SPACE_PROBLEM_H

#include "tuner/space_terms.h"

typedef struct memory_cell {
  int unit; /* of an aspect, else -1 */
  int term; /* of a union */
  ranking by;
} memory_cell;

/* What may be remembered before one unit. */
typedef struct memories {
  memory_cell *cells;
  int cell_count;
  uint32_t *values; /* [memory][cell]: a rank, or a copy_set */
  int count, capacity;
} memories;

/* States of one unit, memories times choices: as many as are solved exactly; and as many as where
 * something was forgotten and the problem is solved again and again. */
enum { EXACT_STATES = 1 << 16, RELAXED_STATES = 1 << 11 };

typedef struct space_problem {
  term_list terms;
  int exact_states, relaxed_states;
  frontier_problem problem;
  memories *before;             /* [unit] */
  int *last;                    /* [term] */
  bool *distant;                /* [term] */
  bool *forgotten;              /* [unit] */
  int forgotten_count;          /* units, and unions that were split */
  int *of_last, *of_last_start; /* terms by their last unit: [of_last_start[u], ...[u + 1]) */
} space_problem;

/* `sp->terms` has been made. `increase` is borrowed. */
mpt_status problem_make(space_problem *sp, double *const *increase, mpt_error *error);
/* Times anew, from the prices as they are. */
void problem_fill(space_problem *sp);
void problem_free(space_problem *sp);
/* Whether term `index` takes the cheapest value of this unit. */
bool problem_drops(const space_problem *sp, int index, int unit);
/* The least seconds of the term, prices subtracted, over the values of what it drops; the ranks of
 * the other reads are in `rank`, and the cheapest are written beside them. */
double problem_relaxed(space_problem *sp, int index, int *rank, copy_set set);

#endif
