#include "tuner/evaluators/command_start.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "contract/program_worker.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_LIMIT 600.0 /* seconds of the first run, unless another limit was given */

/* What the options of a run point to. */
typedef struct option_texts {
  char work[PATH_MAX + 120], log[PATH_MAX + 120], device[40];
  const char *environment[2];
} option_texts;

static mpt_status make_options(const command_options *o, const char *run, const char *name,
                               int worker, option_texts *t, program_run_options *out,
                               mpt_error *error) {
  t->environment[0] = t->environment[1] = NULL;
  if (o->devices > 0) {
    snprintf(t->device, sizeof t->device, "CUDA_VISIBLE_DEVICES=%d", worker % o->devices);
    t->environment[0] = t->device;
  }
  snprintf(t->work, sizeof t->work, "%s/logs", run);
  MPT_RETURN_IF_FAILED(mpt_directory_make(t->work, error));
  snprintf(t->log, sizeof t->log, "%s/logs/%s.log", run, name);
  snprintf(t->work, sizeof t->work, "%s/work/%s", run, name);
  *out = (program_run_options){.command = o->command,
                               .environment = t->environment,
                               .work = t->work,
                               .log = t->log,
                               .grace = o->grace};
  return MPT_OK;
}

/* One that is well: the one there is, or another in its place. */
static mpt_status ready_worker(const command_options *o, const char *run, const command_asked *what,
                               const mpt_policy *policy, const answer_terms *terms,
                               program_worker **worker, mpt_error *error) {
  option_texts texts;
  program_run_options options;
  char name[40];
  if (*worker != NULL && program_worker_is_well(*worker))
    return MPT_OK;
  program_worker_close(*worker);
  *worker = NULL;
  snprintf(name, sizeof name, "worker-%d", what->worker + 1);
  MPT_RETURN_IF_FAILED(make_options(o, run, name, what->worker, &texts, &options, error));
  options.policy = policy;
  options.terms = *terms;
  options.job = what->job;
  return program_worker_start(&options, worker, error);
}

mpt_status command_start(const command_options *o, const char *run, const command_asked *what,
                         const mpt_policy *policy, const answer_terms *terms, double limit,
                         command_seen *seen, program_worker **worker, program_run **out,
                         mpt_error *error) {
  option_texts texts;
  program_run_options options;
  MPT_RETURN_IF_FAILED(make_options(o, run, what->name, what->worker, &texts, &options, error));
  options.policy = policy;
  options.job = what->job;
  options.terms = *terms;
  options.first = what->first;
  options.limit = limit;
  options.listener = seen != NULL ? command_seen_take : NULL;
  options.context = seen;
  if (worker == NULL)
    return program_run_start(&options, out, error);
  MPT_RETURN_IF_FAILED(ready_worker(o, run, what, policy, terms, worker, error));
  return program_run_serve(&options, *worker, what->id, out, error);
}

mpt_status command_absolute(const char *run, char path[PATH_MAX], mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_directory_make(run, error));
  return realpath(run, path) != NULL
             ? MPT_OK
             : mpt_fail(error, MPT_ERROR_IO, "'%s' has no absolute path", run);
}

/* ---- the first run ---- */

static mpt_status take_program(const answer *a, command_program *program, mpt_error *error) {
  const event_hello *h = &a->hello;
  const event_layers *l = &a->layers;
  memcpy(program->program, h->program, sizeof program->program);
  memcpy(program->device, h->device, sizeof program->device);
  program->capabilities = h->capabilities;
  program->formats = h->formats;
  program->layers = malloc((size_t)l->count * sizeof *program->layers);
  program->uncovered.names = malloc(((size_t)l->uncovered.count + 1) * sizeof *l->uncovered.names);
  if (program->layers == NULL || program->uncovered.names == NULL)
    return mpt_fail_memory(error, "a program's layers", (size_t)l->count * sizeof *l->layers);
  memcpy(program->layers, l->layers, (size_t)l->count * sizeof *program->layers);
  program->layer_count = l->count;
  if (l->uncovered.count > 0)
    memcpy(program->uncovered.names, l->uncovered.names,
           (size_t)l->uncovered.count * sizeof *l->uncovered.names);
  program->uncovered.count = l->uncovered.count;
  json_t *versions = h->versions != NULL ? json_incref(h->versions) : json_object();
  return mpt_json_dump(versions, JSON_COMPACT | JSON_SORT_KEYS, "versions", &program->versions,
                       error);
}

static mpt_status await_first(program_run *r, const volatile int *interrupted,
                              command_program *program, mpt_error *error) {
  program_end end;
  mpt_error why;
  process *p = program_run_process(r);
  while (!program_run_ended(r, &end, &why)) {
    process_wait(&p, 1, COMMAND_LISTEN_EVERY);
    program_run_listen(r);
    if (interrupted != NULL && *interrupted)
      program_run_stop(r);
  }
  if (end == PROGRAM_GOOD)
    return take_program(program_run_answer(r), program, error);
  if (error != NULL)
    *error = why;
  return why.status;
}

mpt_status command_first_run(const command_options *options, const volatile int *interrupted,
                             command_program *program, mpt_error *error) {
  char run[PATH_MAX];
  mpt_policy *policy = NULL;
  program_run *r = NULL;
  mpt_status status = MPT_OK;
  *program = (command_program){0};
  MPT_RETURN_IF_FAILED(command_absolute(options->run, run, error));
  MPT_TRY(mpt_policy_uniform(options->reference, &policy, error));
  const command_asked what = {.first = true,
                              .name = "first",
                              .job = {.mode = JOB_TRAIN, .seed = 1, .steps = options->steps}};
  const answer_terms terms = {.until = options->steps, .metric = options->metric, .policy = policy};
  const double limit = options->limit > 0 ? options->limit : FIRST_LIMIT;
  MPT_TRY(command_start(options, run, &what, policy, &terms, limit, NULL, NULL, &r, error));
  status = await_first(r, interrupted, program, error);
fail:
  program_run_close(r, status != MPT_OK);
  mpt_policy_free(policy);
  return status;
}

void command_program_clear(command_program *program) {
  free(program->versions);
  free(program->layers);
  free(program->uncovered.names);
  *program = (command_program){0};
}
