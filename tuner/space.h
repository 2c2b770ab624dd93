/* The search space: which layers the tuner chooses for, and what for.
 *
 * A unit is a layer whose format is chosen: linear, conv2d, attention, embedding, and any layer
 * that a pin names. Every other layer follows: its storage format is that of the unit that produces
 * its (first) input, so an activation or a norm never forces a conversion of its own. The residual
 * stream of a network therefore has the storage format of the unit that starts it.
 */
#ifndef SPACE_H
#define SPACE_H

#include "profile/profile.h"
#include "train/graph.h"
#include "tuner/frontier.h"

typedef struct space_unit {
  int layer; /* of the graph */
  int choice_count;
  mpt_layer_policy *choices; /* the first is the reference's, where it is permitted */
  int leader;                /* unit whose storage this unit's input has: its producer seen through
                                followers; -1 for the data */
} space_unit;

typedef struct space {
  const workload *workload; /* borrowed, like the graph */
  const graph *graph;       /* as trained */
  space_unit *units;        /* in the order of their layers */
  int unit_count;
  int *leader_of_layer; /* [graph layers]: the unit that a layer is or follows, -1 the data */
  bool fast;            /* fp8 fprop has accumulate: fast */
} space;

/* Choices of every unit: the precisions that the device has natively, less the exclusions, pins
 * applied (the first that matches a layer holds for it, and outdoes the exclusions); each of them
 * for the whole layer, or (per_gemm) for each GEMM. A pin that matches no layer, or names a format
 * the device lacks, is MPT_ERROR_SYNTAX at its place; exclusions that leave nothing are too. With
 * `fast`, fp8 has the sums of tensor cores in fprop: what is trained on them may have them. */
mpt_status space_build(const workload *w, const graph *g, const profile *p, bool fast, space **out,
                       mpt_error *error);
void space_free(space *s); /* NULL is allowed */

/* All of a layer's GEMMs in that precision, as this space writes them. */
mpt_layer_policy space_policy_of(const space *s, mpt_precision precision);
/* The full assignment [graph layers] of one choice for each unit. */
void space_assignment(const space *s, const int *choice, mpt_layer_policy *assignment);
/* The policy of one layer when the unit that it is or follows has `leader`. */
mpt_layer_policy space_layer_policy(const space *s, int layer, const mpt_layer_policy *leader);
/* The choices of a full assignment; false when it is not in the space. */
bool space_choices(const space *s, const mpt_layer_policy *assignment, int *choice);
/* Why an assignment is not in the space, of the first layer that is to blame: "against a pin",
 * "excluded", "not native" of this device, or "not searched": such a mix is not among the choices.
 * NULL when it is in it. */
const char *space_refusal(const space *s, const profile *p, const mpt_layer_policy *assignment);
/* Makes an assignment one that pins, exclusions and the device permit: a pinned unit takes its pin,
 * a precision that is not permitted the next one that is, more accurate before less; the layers
 * that follow a unit follow it. Whether that changed anything. */
bool space_project(const space *s, mpt_layer_policy *assignment);
/* graph_uniform. *permitted says whether exclusions, pins and the device allow it. */
void space_uniform(const space *s, mpt_precision precision, mpt_layer_policy *assignment,
                   bool *permitted);

/* The fastest choice whose predicted increase, the sum of increase[unit][choice] (INFINITY:
 * vetoed), is at most `budget`. `priced` is the graph at the size that is priced: the same layers.
 * What a cost takes from units further back than the one before (the storage of a residual stream,
 * copies that q made and v may read) is carried along. The answer is exact, gap 0, unless more of
 * that is open at once than can be carried (a dozen skips), or too many labels are needed; then it
 * is the best found, and certificate->bound is what no assignment within the budget undercuts.
 * MPT_ERROR_NOT_FOUND when nothing meets the budget. */
mpt_status space_solve(const space *s, const graph *priced, const profile *p,
                       const optimizer_spec *optimizer, double *const *increase, double budget,
                       int *choice, frontier_solution *certificate, mpt_error *error);

#endif
