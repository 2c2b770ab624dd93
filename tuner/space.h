/* The search space: which layers the tuner chooses for, and what for.
 *
 * A unit is a layer whose format is chosen: linear, conv2d, attention, embedding. Every other layer
 * follows: its storage format is that of the unit that produces its (first) input, so an activation
 * or a norm never forces a conversion of its own. The residual stream of a network therefore has
 * the storage format of the unit that starts it.
 */
#ifndef SPACE_H
#define SPACE_H

#include "tuner/cost.h"
#include "tuner/frontier.h"

typedef struct space_unit {
  int layer; /* of the graph */
  int choice_count;
  mpt_layer_policy *choices; /* the first is the reference's */
  int leader;                /* unit whose storage this unit's input has: its producer seen through
                                followers; -1 for the data */
} space_unit;

typedef struct space {
  const graph *graph; /* as trained; borrowed */
  space_unit *units;
  int unit_count;
  int *leader_of_layer; /* [graph layers]: the unit that a layer is or follows, -1 the data */
} space;

/* Choices of every unit: the precisions that the device has natively, less the exclusions, pins
 * applied; each of them for the whole layer, or (per_gemm) for each GEMM. A pin that matches no
 * layer, or names a format the device lacks, is MPT_ERROR_SYNTAX at its place. */
mpt_status space_build(const workload *w, const graph *g, const profile *p, space **out,
                       mpt_error *error);
void space_free(space *s);

/* The full assignment [graph layers] of one choice for each unit. */
void space_assignment(const space *s, const int *choice, mpt_layer_policy *assignment);
/* The choices of a full assignment; false when it is not in the space. */
bool space_choices(const space *s, const mpt_layer_policy *assignment, int *choice);
/* All layers in one precision, as canonical in this space: layers without a GEMM have fp32, bf16 or
 * fp16. *permitted says whether exclusions, pins and the device allow it. */
void space_uniform(const space *s, mpt_precision precision, mpt_layer_policy *assignment,
                   bool *permitted);

/* The fastest choice whose predicted increase, the sum of increase[unit][choice] (INFINITY:
 * vetoed), is at most `budget`. `priced` is the graph at the size that is priced: the same layers.
 * Where a residual stream makes a unit's input depend on a unit other than the one before it, that
 * stream's storage format is enumerated (docs/how-it-works.md says when this is exact). */
mpt_status space_solve(const space *s, const graph *priced, const profile *p,
                       const optimizer_spec *optimizer, double *const *increase, double budget,
                       int *choice, frontier_solution *certificate, mpt_error *error);

#endif
