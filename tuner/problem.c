#include "tuner/problem.h"
#include "base/error.h"
#include "tuner/budget.h"
#include "tuner/evaluators/command.h"
#include "tuner/verify_plan.h"
#include <stdio.h>
#include <string.h>

static mpt_status build_graphs(problem *p, mpt_error *error) {
  const workload *w = p->workload;
  dataset_info info = *dataset_get_info(p->data);
  MPT_RETURN_IF_FAILED(
      graph_build(w, &w->model, w->batch, w->data.sequence, &info, &p->graph, error));
  model_spec model = {0};
  int64_t batch = 0, sequence = 0;
  MPT_RETURN_IF_FAILED(workload_priced_model(w, &model, &batch, &sequence, error));
  info.sequence = sequence;
  if (w->priced.present && w->priced.vocabulary > 0)
    info.classes = w->priced.vocabulary;
  mpt_status status = graph_build(w, &model, batch, sequence, &info, &p->priced, error);
  model_free(&model);
  return status;
}

/* What cannot be trained, or not be judged, is refused before a directory is made for it. */
static mpt_status check_data(const problem *p, bool judges, mpt_error *error) {
  const workload *w = p->workload;
  const dataset_info *info = dataset_get_info(p->data);
  if (w->batch > info->training)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "a batch of %lld samples is more than the %lld there are to train on; make the "
                    "batch smaller",
                    (long long)w->batch, (long long)info->training);
  return judges ? budget_check_resolution(w, budget_judged(w, info),
                                          p->options->alpha * VERIFY_MOST_WEIGHT, p->options->pairs,
                                          error)
                : MPT_OK;
}

static void identify_profile(problem *p) {
  const profile *from = p->profile;
  if (from->synthetic)
    snprintf(p->profile_identity, sizeof p->profile_identity, "%.60s, %.60s", from->name,
             from->device);
  else
    snprintf(p->profile_identity, sizeof p->profile_identity,
             "%.60s, %.60s, driver %.40s, CUDA %.20s, %.30s", from->name, from->device,
             from->driver, from->cuda, from->measured);
}

/* A program's data is its own affair: that it changed is not seen. */
static void make_condition(problem *p) {
  store_condition *c = &p->condition;
  memcpy(c->training, p->training_hash, sizeof c->training);
  snprintf(c->data, sizeof c->data, "%s",
           p->data != NULL ? dataset_get_info(p->data)->hash : "a program's");
  c->steps = p->steps;
  snprintf(c->numerics, sizeof c->numerics, "%s", p->place.numerics);
  store_condition_hash(c);
}

/* What the built-in trainer trains. */
static mpt_status open_network(problem *p, bool judges, mpt_error *error) {
  MPT_RETURN_IF_FAILED(dataset_open(&p->workload->data, &p->data, error));
  MPT_RETURN_IF_FAILED(check_data(p, judges, error));
  MPT_RETURN_IF_FAILED(build_graphs(p, error));
  return place_open(p->workload, p->options, &p->place, &p->profile, error);
}

/* What somebody's program trains: nothing is known but its layers. */
static mpt_status open_program(problem *p, bool judges, mpt_error *error) {
  const command_program *program = p->options->program;
  if (program == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "the workload '%s' is trained by a program",
                    p->workload->name);
  if (judges)
    MPT_RETURN_IF_FAILED(budget_check_resolution(
        p->workload, 0, p->options->alpha * VERIFY_MOST_WEIGHT, p->options->pairs, error));
  MPT_RETURN_IF_FAILED(graph_apart(program->layers, program->layer_count, &p->graph, error));
  MPT_RETURN_IF_FAILED(graph_apart(program->layers, program->layer_count, &p->priced, error));
  return place_of_program(p->workload, p->options, &p->place, &p->profile, error);
}

mpt_status problem_open(problem *p, const workload *w, const tuner_options *options, bool judges,
                        mpt_error *error) {
  *p = (problem){.workload = w, .options = options, .may_give_up = true};
  p->steps = options->evaluation_steps > 0 ? options->evaluation_steps : w->steps;
  p->sign = workload_larger_is_better(w) ? -1 : 1;
  MPT_RETURN_IF_FAILED(w->command[0] != '\0' ? open_program(p, judges, error)
                                             : open_network(p, judges, error));
  identify_profile(p);
  MPT_RETURN_IF_FAILED(space_build(w, p->graph, p->profile, p->place.fast, &p->space, error));
  MPT_RETURN_IF_FAILED(workload_training_hash(w, p->training_hash, error));
  make_condition(p);
  return MPT_OK;
}

void problem_close(problem *p) {
  space_free(p->space);
  profile_free(p->profile);
  graph_free(p->priced);
  graph_free(p->graph);
  dataset_close(p->data);
  *p = (problem){0};
}
