#include "tuner/evaluators/observer.h"
#include "base/error.h"
#include <stdlib.h>
#include <string.h>

mpt_status observer_open(observer *o, const graph *g, const int *layers, int layer_count,
                         const mpt_loss_scale_policy *loss_scale, mpt_error *error) {
  *o = (observer){.graph = g};
  return operand_probe_open(g, layers, layer_count, loss_scale, &o->probe, error);
}

void observer_close(observer *o) {
  operand_probe_close(o->probe);
  free(o->seen.statistics);
  store_scores_clear(&o->seen.scores);
  *o = (observer){0};
}

void observer_statistics(observer *o, int64_t step, int layer, mpt_operand operand,
                         const mpt_statistics *statistics) {
  store_statistics row = {.step = step, .operand = operand, .statistics = *statistics};
  memcpy(row.layer, o->graph->layers[layer].info.name, sizeof row.layer);
  if (!observation_add(&o->seen, &row))
    o->out_of_memory = true;
}

mpt_status observer_finish(observer *o, observation *seen, mpt_error *error) {
  if (o->out_of_memory)
    return mpt_fail_memory(error, "statistics", 0);
  MPT_RETURN_IF_FAILED(operand_probe_scores(o->probe, &o->seen.scores, error));
  *seen = o->seen;
  o->seen = (observation){0};
  return MPT_OK;
}
