/* `mptune eval`: given policies beside the reference, under the same seeds. */
#include "base/error.h"
#include "train/trainer.h"
#include "tuner/stages.h"
#include <stdlib.h>

/* Resolves a policy on the graph's layers; formats of layers that a policy file gives another
 * storage than the space would are taken as they are written. */
static mpt_status resolve(const problem *p, ledger *l, const model *m, const tuner_policy *given,
                          const char *label, candidate **out, mpt_error *error) {
  const mpt_policy *policy = given->policy;
  bool permitted;
  mpt_layer_info *layers = graph_layer_infos(p->graph);
  mpt_layer_policy *assignment = calloc((size_t)p->graph->layer_count, sizeof *assignment);
  mpt_status status = MPT_OK;
  mpt_resolve_options options = mpt_resolve_options_default();
  if (layers == NULL || assignment == NULL) {
    status = mpt_fail_memory(error, "a policy's formats", 0);
    goto fail;
  }
  options.device_formats = p->profile->formats;
  MPT_TRY(mpt_policy_resolve(policy, layers, p->graph->layer_count, &options, assignment, error));
  if (given->uniform)
    space_uniform(p->space, mpt_policy_default(policy), assignment, &permitted);
  MPT_TRY(ledger_candidate(l, p, &m->prices, assignment, train_loss_scale(p->workload, policy),
                           label, out, error));
fail:
  free(assignment);
  free(layers);
  return status;
}

static mpt_status resolve_all(const problem *p, ledger *l, const model *m, given_policies *g,
                              mpt_error *error) {
  const size_t count = (size_t)g->count + 1;
  g->candidates = calloc(count, sizeof *g->candidates);
  g->labels = calloc(count, sizeof *g->labels);
  if (g->candidates == NULL || g->labels == NULL)
    return mpt_fail_memory(error, "the policies", 0);
  label_paths(g->policies, g->count, g->labels);
  for (int i = 0; i < g->count; i++)
    MPT_RETURN_IF_FAILED(resolve(p, l, m, &g->policies[i], g->labels[i], &g->candidates[i], error));
  return MPT_OK;
}

void given_policies_clear(given_policies *g) {
  free(g->candidates);
  free(g->labels);
  *g = (given_policies){0};
}

/* All that is missing at once: nothing hangs on what another comes to. */
mpt_status stage_given(const problem *p, ledger *l, model *m, given_policies *g, requests *out,
                       mpt_error *error) {
  if (g->candidates == NULL)
    MPT_RETURN_IF_FAILED(resolve_all(p, l, m, g, error));
  for (int i = 0; i < g->count; i++) {
    candidate *c = g->candidates[i];
    bool taken = out->count == 0;
    while (taken && c->seed_count < l->reference_seeds)
      MPT_RETURN_IF_FAILED(try_seed(p, l, m, c, out, &taken, error));
    for (int s = c->seed_count; s < l->reference_seeds; s++)
      MPT_RETURN_IF_FAILED(
          ask_training(p, l, m, c, l->reference_seed[s], trial_purpose(c), out, error));
  }
  return MPT_OK;
}
