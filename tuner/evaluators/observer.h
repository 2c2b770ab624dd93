/* What an instrumented training collects: full statistics of every layer and operand at sampled
 * steps, and at others the measurements that sensitivity scores are made of. */
#ifndef OBSERVER_H
#define OBSERVER_H

#include "train/graph.h"
#include "tuner/evaluators/evaluator.h"
#include "tuner/evaluators/operand_probe.h"

typedef struct observer {
  const graph *graph;
  operand_probe *probe;
  observation seen; /* so far */
  bool out_of_memory;
} observer;

/* `layers` are those that are probed. The caller closes it, also after a failure. */
mpt_status observer_open(observer *o, const graph *g, const int *layers, int layer_count,
                         const mpt_loss_scale_policy *loss_scale, mpt_error *error);
void observer_close(observer *o);
void observer_statistics(observer *o, int64_t step, int layer, mpt_operand operand,
                         const mpt_statistics *statistics);
/* Hands over what was seen, once the training is done. */
mpt_status observer_finish(observer *o, observation *seen, mpt_error *error);

#endif
