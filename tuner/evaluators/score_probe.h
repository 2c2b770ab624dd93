/* The accumulator that the trainer's probe feeds during an instrumented run. */
#ifndef SCORE_PROBE_H
#define SCORE_PROBE_H

#include "mptune/tensor.h"
#include "store/run_scores.h"
#include "train/graph.h"

typedef struct score_probe score_probe;
/* Of the layers `layers`; graph and layers must outlive it. */
mpt_status score_probe_open(const graph *g, const int *layers, int layer_count,
                            const mpt_loss_scale_policy *loss_scale, score_probe **out,
                            mpt_error *error);
void score_probe_close(score_probe *p); /* NULL is allowed */
void score_probe_layer(score_probe *p, mpt_queue *queue, int64_t step, int layer,
                       const mpt_tensor *input, const mpt_tensor *weight,
                       const mpt_tensor *grad_output);
/* What was measured, with names from the graph; *scores is cleared by the caller. */
mpt_status score_probe_scores(const score_probe *p, store_scores *scores, mpt_error *error);

#endif
