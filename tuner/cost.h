/* The predicted step time of an assignment on a device profile: GEMMs, distinct copies, and every
 * other pass (design: sum over GEMMs + copies + passes). */
#ifndef COST_H
#define COST_H

#include "train/graph.h"
#include "workload/profile.h"

typedef struct cost_parts {
  double gemms, copies, passes, total; /* seconds */
  double extrapolated;                 /* share of the GEMM time priced outside the table */
} cost_parts;

/* Of a whole assignment, one entry per layer of `g` (the graph at the priced size). */
mpt_status cost_predict(const graph *g, const profile *p, const optimizer_spec *optimizer,
                        const mpt_layer_policy *assignment, cost_parts *parts, mpt_error *error);

/* ---- the same cost taken apart for the solver ---- */

/* Seconds of the layer's three GEMMs (or attention's products) and of its own passes. */
double cost_layer(const graph *g, const profile *p, int layer, const mpt_layer_policy *formats);

/* Seconds of the copies of one tensor: one for each distinct format that a consumer's operand
 * needs and that is not the storage format. `consumers` are the tensor's reading layers. */
double cost_tensor_copies(const graph *g, const profile *p, int tensor,
                          const mpt_layer_policy *assignment);
/* And of its gradient, stored as its consumers' dgrad says, read by its producer. */
double cost_gradient_copies(const graph *g, const profile *p, int tensor,
                            const mpt_layer_policy *assignment);
/* And of the layer's weight: distinct formats its GEMMs need; tied layers share. */
double cost_weight_copies(const graph *g, const profile *p, int layer,
                          const mpt_layer_policy *assignment);

#endif
