/* `mptune eval`: given policies beside the reference, under the same seeds. */
#include "base/error.h"
#include "base/progress.h"
#include "base/shown.h"
#include "train/trainer.h"
#include "tuner/label.h"
#include "tuner/results.h"
#include "tuner/search.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Resolves a policy on the graph's layers; formats of layers that a policy file gives another
 * storage than the space would are taken as they are written. */
static mpt_status resolved(search *s, const tuner_policy *given, const char *label, candidate **out,
                           mpt_error *error) {
  const mpt_policy *policy = given->policy;
  bool permitted;
  mpt_layer_info *layers = graph_layer_infos(s->problem.graph);
  mpt_layer_policy *assignment = calloc((size_t)s->problem.graph->layer_count, sizeof *assignment);
  mpt_status status = MPT_OK;
  mpt_resolve_options options = mpt_resolve_options_default();
  if (layers == NULL || assignment == NULL) {
    status = mpt_fail_memory(error, "a policy's formats", 0);
    goto fail;
  }
  options.device_formats = s->problem.profile->formats;
  MPT_TRY(mpt_policy_resolve(policy, layers, s->problem.graph->layer_count, &options, assignment,
                             error));
  if (given->uniform)
    space_uniform(s->problem.space, mpt_policy_default(policy), assignment, &permitted);
  MPT_TRY(ledger_candidate(&s->ledger, &s->problem, &s->model.prices, assignment,
                           train_loss_scale(s->problem.workload, policy), label, out, error));
fail:
  free(assignment);
  free(layers);
  return status;
}

mpt_status tuner_evaluate(const workload *w, const tuner_options *options,
                          const tuner_policy *policies, int count, int seeds,
                          tuner_summary *summary, mpt_error *error) {
  search s;
  candidate **evaluated = NULL;
  char(*labels)[LABEL_SIZE] = NULL;
  workload seeded = *w;
  seeded.reference_seeds = seeds;
  *summary = (tuner_summary){.predicted = true, .proxy = w->priced.present};
  mpt_status status = MPT_OK;
  MPT_TRY(search_open(&s, &seeded, options, false, error));
  s.clock.planned = seeds * (count + 1);
  MPT_TRY(stage_reference(&s, error));
  s.problem.may_give_up = false; /* what was asked for is trained to its end */
  summary->rows = calloc((size_t)count + 1, sizeof *summary->rows);
  evaluated = calloc((size_t)count + 1, sizeof *evaluated);
  labels = calloc((size_t)count + 1, sizeof *labels);
  if (summary->rows == NULL || evaluated == NULL || labels == NULL) {
    status = mpt_fail_memory(error, "the summary", 0);
    goto fail;
  }
  label_paths(policies, count, labels);
  for (int i = 0; i < count; i++) {
    MPT_TRY(resolved(&s, &policies[i], labels[i], &evaluated[i], error));
    while (evaluated[i]->seed_count < seeds)
      MPT_TRY(search_try(&s, evaluated[i], error));
  }
  summary->predicted = !s.problem.place.measures;
  summary->relative = w->budget.relative;
  MPT_TRY(search_see(&s, error));
  const search_view view = view_of(&s);
  summary->rows[summary->row_count++] = search_row(&view, &s.ledger.reference);
  for (int i = 0; i < count; i++) {
    tuner_row *row = &summary->rows[summary->row_count++];
    *row = search_row(&view, evaluated[i]);
    row->refused = NULL; /* what was asked for is not chosen among */
    /* Another policy may have had the label in an earlier evaluation: then it has a number here. */
    if (strncmp(row->label, labels[i], strlen(labels[i])) != 0)
      mpt_copy_text(row->label, sizeof row->label, labels[i]);
  }
  snprintf(summary->policy_path, sizeof summary->policy_path, "%s", options->run);
  summary->evaluations = s.ledger.trainings;
fail:
  mpt_progress_end();
  free(evaluated);
  free(labels);
  search_close(&s);
  if (status != MPT_OK)
    tuner_summary_clear(summary);
  return status;
}
