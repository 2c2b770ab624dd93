/* Fastest assignment with predicted increase at most b: exact, with a certificate.
 *
 * The layers stand in a sequence. Each has choices with a time and an increase; between neighbours
 * there is a conversion time that depends on both choices; a group of consecutive layers that read
 * one tensor (q, k, v) pays for each distinct copy once. Label-setting dynamic programming over
 * (choice of the last layer, copies made so far in the open group) with dominance on
 * (seconds, increase), pruned by lower bounds of what is left to do.
 *
 * Times and increases are rounded to 2^-52 of the largest total, so that sums are exact and equal
 * means equal: among assignments equally fast the one with the least increase is found, and an
 * increase that exceeds the budget by rounding alone is within it.
 */
#ifndef FRONTIER_H
#define FRONTIER_H

#include "mptune/mptune.h"

typedef struct frontier_problem {
  int layer_count;
  int *choice_count;    /* [layer] */
  double **seconds;     /* [layer][choice], >= 0 */
  double **increase;    /* [layer][choice], >= 0; INFINITY: vetoed, also at an infinite budget */
  double ***conversion; /* [layer][choice of layer - 1][choice], >= 0; layer 0: NULL */
  /* Shared copies: layers of one group are consecutive and have the same group number, -1 none.
   * copies[layer][choice] is a bit set of the copies it needs; a copy costs
   * copy_seconds[group][bit] once for the group. */
  int *group;            /* [layer] */
  uint32_t **copies;     /* [layer][choice], NULL where group is -1 */
  double **copy_seconds; /* [group][32], >= 0 */
  int group_count;
  double fixed_seconds; /* of everything no choice changes */
} frontier_problem;

typedef struct frontier_solution {
  int *choice; /* [layer] */
  double seconds, increase;
  double bound;   /* no assignment within the budget is faster than this */
  double gap;     /* seconds - bound, 0 when exact */
  int64_t labels; /* how many were kept: the work it took */
} frontier_solution;

#define FRONTIER_LABELS 4000000 /* a label limit that fits in 100 MB */

/* MPT_ERROR_NOT_FOUND when nothing meets the budget. The caller frees with frontier_clear. When
 * more than `label_limit` labels are needed the solution is the best found, with its gap. A number
 * that is negative or not one is MPT_ERROR_ARGUMENT. */
mpt_status frontier_solve(const frontier_problem *problem, double budget, int64_t label_limit,
                          frontier_solution *solution, mpt_error *error);
void frontier_clear(frontier_solution *solution);

#endif
