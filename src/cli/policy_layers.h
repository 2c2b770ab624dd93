/* The layers that a policy is resolved for, for the verbs of `mptune policy`. */
#ifndef POLICY_LAYERS_H
#define POLICY_LAYERS_H

#include "cli/cli.h"

typedef struct policy_layers {
  mpt_layer_info *layers; /* owned */
  int count;
} policy_layers;

/* Of the workload when one is given, else those that the policy was made for. The caller frees
 * list->layers. */
mpt_status policy_layers_find(const char *path, const mpt_policy *policy, policy_layers *list,
                              mpt_error *error);
/* Their formats, which the caller frees; --lenient and --force hold. Warnings are printed, and
 * counted. */
mpt_status policy_layers_resolve(const cli_values *values, const mpt_policy *policy,
                                 const policy_layers *list, mpt_layer_policy **assignment,
                                 int *warnings, mpt_error *error);

#endif
