/* Fastest assignment with predicted increase at most b: exact, with a certificate.
 *
 * The layers stand in a sequence. Each has choices with a time and an increase; between neighbours
 * there is a conversion time that depends on both choices. What depends on choices further back (a
 * copy already made for q that k may read, the storage format of a residual stream) is carried in a
 * memory: one of a few values before each layer, which follows from the memory before the last
 * layer and its choice. Label-setting dynamic programming over (memory, choice) with dominance on
 * (seconds, increase), pruned by lower bounds of what is left to do.
 *
 * Times and increases are rounded to 2^-52 of the largest total, so that sums are exact and equal
 * means equal: among assignments equally fast the one with the least increase is found, and an
 * increase that exceeds the budget by rounding alone is within it.
 */
#ifndef FRONTIER_H
#define FRONTIER_H

#include "mptune/status.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct frontier_layer {
  int choice_count;
  double *seconds;        /* [choice], >= 0 */
  double *increase;       /* [choice], >= 0; INFINITY: vetoed, also at an infinite budget */
  double *conversion;     /* [choice of the layer before][choice], >= 0; NULL: none */
  int memory_count;       /* 1: nothing further back matters. 1 for the first layer */
  double *memory_seconds; /* [memory][choice], >= 0; NULL: none */
  int *next;              /* [memory of the layer before][choice there]: memory; NULL: always 0 */
} frontier_layer;

typedef struct frontier_problem {
  int layer_count;
  frontier_layer *layers;
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
