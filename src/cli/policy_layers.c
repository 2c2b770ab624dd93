#include "cli/policy_layers.h"
#include "base/error.h"
#include "base/progress.h"
#include "train/graph.h"
#include <stdlib.h>
#include <string.h>

/* The layers of a workload's model; the data is opened, because shapes begin with it. */
static mpt_status workload_layers(const char *path, policy_layers *list, mpt_error *error) {
  workload *w = NULL;
  dataset *data = NULL;
  graph *g = NULL;
  mpt_status status = MPT_OK;
  MPT_TRY(workload_load(path, &w, error));
  MPT_TRY(dataset_open(&w->data, &data, error));
  MPT_TRY(graph_build(w, &w->model, w->batch, w->data.sequence, dataset_get_info(data), &g, error));
  list->layers = graph_layer_infos(g);
  list->count = g->layer_count;
  if (list->layers == NULL)
    status = mpt_fail_memory(error, "the layers' names", 0);
fail:
  graph_free(g);
  dataset_close(data);
  workload_free(w);
  return status;
}

mpt_status policy_layers_find(const char *path, const mpt_policy *policy, policy_layers *list,
                              mpt_error *error) {
  if (path != NULL)
    return workload_layers(path, list, error);
  const mpt_layer_info *own = mpt_policy_layers(policy, &list->count);
  if (list->count == 0)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "the policy does not say for which layers it was made; give a WORKLOAD");
  list->layers = malloc((size_t)list->count * sizeof *list->layers);
  if (list->layers == NULL)
    return mpt_fail_memory(error, "the layers' names", 0);
  memcpy(list->layers, own, (size_t)list->count * sizeof *list->layers);
  return MPT_OK;
}

static void warn(void *context, const char *message) {
  ++*(int *)context;
  mpt_log_warning("%s", message);
}

mpt_status policy_layers_resolve(const cli_values *values, const mpt_policy *policy,
                                 const policy_layers *list, mpt_layer_policy **assignment,
                                 int *warnings, mpt_error *error) {
  mpt_resolve_options options = mpt_resolve_options_default();
  options.strict = !values->lenient;
  options.force = values->force;
  options.on_warning = warn;
  options.context = warnings;
  *assignment = calloc((size_t)list->count + 1, sizeof **assignment);
  if (*assignment == NULL)
    return mpt_fail_memory(error, "the layers' formats", 0);
  return mpt_policy_resolve(policy, list->layers, list->count, &options, *assignment, error);
}
