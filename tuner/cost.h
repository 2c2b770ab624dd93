/* The predicted step time of an assignment on a device profile: GEMMs, distinct copies, and every
 * other pass.
 *
 *   step = accumulate (sum of GEMMs + copies of activations and gradients + passes of layers and
 *          loss) + copies of weights + optimizer
 *
 * A copy of a tensor in a format serves all layers that read it so. It costs
 *   16 and 32 bits:  one pass that reads the stored format and writes the other;
 *   fp8:             one pass that reads the stored format and writes a byte for each element, and
 *                    another byte where dgrad or wgrad need the transposed copy (fp8 GEMMs read
 *                    both operands along k). With current scaling the amax comes first: from the
 *                    kernel that wrote the tensor where it looks at what it writes (a layer's
 *                    sees_outputs, cross-entropy), else by a pass that reads the tensor.
 * Weights: Adam writes their copies in its own pass, as bytes more; with current scaling it finds
 * the amax, and the copy is a pass. Without Adam both are passes.
 * Attention converts what is stored otherwise while it reads it: as dear as such a copy.
 * fp32 and tf32 have one storage. Copies of fp8 and their GEMMs are padded to multiples of 16.
 */
#ifndef COST_H
#define COST_H

#include "profile/profile.h"
#include "train/graph.h"

typedef struct cost_parts {
  double gemms, copies, passes; /* seconds, as the profile has them */
  double total;                 /* their sum, each with the profile's factor */
  double extrapolated;          /* share of the GEMM time priced outside the table */
} cost_parts;

/* The step as the profile has it, whatever was measured since. */
double cost_uncorrected(const cost_parts *parts);

/* Of a whole assignment, one entry per layer of `g` (the graph at the priced size).
 * MPT_ERROR_UNSUPPORTED names the layer whose format the profile has no times for. */
mpt_status cost_predict(const graph *g, const profile *p, const optimizer_spec *optimizer,
                        const mpt_layer_policy *assignment, cost_parts *parts, mpt_error *error);

/* ---- the same cost taken apart, in seconds of one micro-batch. The sum of all of them is what
 * cost_predict says; the solver counts on it ---- */

/* The layer's GEMMs as a step makes them, bias included: 0 without, NaN when the profile lacks the
 * format. *extrapolated may be NULL: those of the seconds that lie outside the table. */
double cost_gemms(const graph *g, const profile *p, int layer, const mpt_layer_policy *formats,
                  double *extrapolated);
/* Its other work, forward and backward: reads the formats of the layer, of those that make its
 * inputs, and of the last readers of its inputs and output. */
double cost_passes(const graph *g, const profile *p, int layer, const mpt_layer_policy *assignment);
/* Whether the layer multiplies its input, and so reads it in a format of its own: linear, conv2d,
 * attention. All others read any. */
bool cost_reads_copies(const graph *g, int layer);
/* Which copies, by format, direction and whether their amax must be found: a bit for each, so that
 * what several layers need together is the union. */
typedef uint32_t copy_set;
/* Those that such a layer reads its input in. */
copy_set cost_copies_read(const graph *g, int layer, const mpt_layer_policy *formats);
/* Whether it shares them with other readers of its input; a convolution makes columns of its own.
 */
bool cost_shares_copies(const graph *g, int layer);
/* The copies of one tensor that its readers share: reads the formats of its producer, and the union
 * of what its readers need. */
double cost_input_copies(const graph *g, const profile *p, int tensor,
                         const mpt_layer_policy *assignment);
/* The same from what it reads: the format that the tensor is stored in, and that union. */
double cost_shared_copies(const graph *g, const profile *p, int tensor, mpt_format stored,
                          copy_set set);
/* The copies of a convolution's columns; 0 of any other layer. Reads the formats of the layer and
 * of the one that makes its input. */
double cost_column_copies(const graph *g, const profile *p, int layer,
                          const mpt_layer_policy *assignment);
/* The copies of its gradient that its producer's GEMMs need: reads the formats of its producer and
 * of its last reader. */
double cost_gradient_copies(const graph *g, const profile *p, int tensor,
                            const mpt_layer_policy *assignment);
/* The copies of the layer's weight, from its fp32 master, once a step. Tied layers make their own.
 */
double cost_weight_copies(const graph *g, const profile *p, const optimizer_spec *optimizer,
                          int layer, const mpt_layer_policy *formats);
/* Of the loss; reads the format of the output. */
double cost_loss(const graph *g, const profile *p, const mpt_layer_policy *assignment);
/* Of the optimizer, once a step, whatever the formats are. */
double cost_optimizer(const graph *g, const profile *p, const optimizer_spec *optimizer);

#endif
