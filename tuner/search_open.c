/* Opening a search: its parts, and who carries out what it asks for. */
#include "base/error.h"
#include "tuner/evaluators/builtin.h"
#include "tuner/search.h"
#include <stdlib.h>

/* The built-in trainer, unless another was given. */
static mpt_status open_evaluator(search *s, mpt_error *error) {
  s->evaluator = s->problem.options->evaluator;
  if (s->evaluator != NULL)
    return MPT_OK;
  const int layers = s->problem.graph->layer_count, units = s->problem.space->unit_count;
  int *probed = calloc((size_t)units + 1, sizeof *probed);
  int *blamed = calloc((size_t)layers + 1, sizeof *blamed);
  mpt_status status = MPT_OK;
  if (probed == NULL || blamed == NULL) {
    status = mpt_fail_memory(error, "the built-in trainer", 0);
    goto fail;
  }
  for (int u = 0; u < units; u++)
    probed[u] = s->problem.space->units[u].layer;
  /* The unit that the layer is or follows, whose format it has. */
  for (int i = 0; i < layers; i++) {
    const int leader = s->problem.space->leader_of_layer[i];
    blamed[i] = leader >= 0 ? s->problem.space->units[leader].layer : -1;
  }
  const builtin_options options = {.workload = s->problem.workload,
                                   .graph = s->problem.graph,
                                   .data = s->problem.data,
                                   .backend = s->problem.place.backend,
                                   .device_index = s->problem.place.device_index,
                                   .probed_layers = probed,
                                   .probed_count = units,
                                   .blamed = blamed};
  status = builtin_open(&options, &s->evaluator, error);
  s->owns_evaluator = status == MPT_OK;
fail:
  free(probed);
  free(blamed);
  return status;
}

search_view view_of(const search *s) {
  return (search_view){.problem = &s->problem, .ledger = &s->ledger, .model = &s->model};
}

mpt_status search_open(search *s, const workload *w, const tuner_options *options, bool owner,
                       mpt_error *error) {
  *s = (search){0};
  search_clock_start(&s->clock, options->interrupted, options->max_seconds);
  MPT_RETURN_IF_FAILED(problem_open(&s->problem, w, options, owner, error));
  model_open(&s->model, &s->problem);
  MPT_RETURN_IF_FAILED(open_evaluator(s, error));
  MPT_RETURN_IF_FAILED(ledger_open(&s->ledger, &s->problem, owner, error));
  return owner && s->ledger.store != NULL ? search_clock_keep(&s->clock, s->ledger.store, error)
                                          : MPT_OK;
}

void search_close(search *s) {
  model_close(&s->model);
  if (s->owns_evaluator)
    evaluator_close(s->evaluator);
  ledger_close(&s->ledger);
  problem_close(&s->problem);
  *s = (search){0};
}
