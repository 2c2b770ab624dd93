/* The accumulator that the trainer's probe feeds during an instrumented run. */
#ifndef OPERAND_PROBE_H
#define OPERAND_PROBE_H

#include "mptune/tensor.h"
#include "store/run_scores.h"
#include "train/graph.h"

typedef struct operand_probe operand_probe;
/* Of the layers `layers`; graph and layers must outlive it. */
mpt_status operand_probe_open(const graph *g, const int *layers, int layer_count,
                              const mpt_loss_scale_policy *loss_scale, operand_probe **out,
                              mpt_error *error);
void operand_probe_close(operand_probe *p); /* NULL is allowed */
void operand_probe_layer(operand_probe *p, mpt_queue *queue, int64_t step, int layer,
                         const mpt_tensor *input, const mpt_tensor *weight,
                         const mpt_tensor *grad_output);
/* What was seen, with names from the graph, a row for each layer and precision below fp32; the
 * scores themselves are NaN (score_points.h fills them). *scores is cleared by the caller. */
mpt_status operand_probe_scores(const operand_probe *p, store_scores *scores, mpt_error *error);

#endif
