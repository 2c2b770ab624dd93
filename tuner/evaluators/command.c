#include "tuner/evaluators/command.h"
#include "base/error.h"
#include "base/progress.h"
#include "contract/program_worker.h"
#include "tuner/evaluators/command_record.h"
#include "tuner/evaluators/command_start.h"
#include "tuner/evaluators/command_trust.h"
#include "tuner/evaluators/hopeless.h"
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_LIMIT  60.0
#define LIMIT_FACTOR 10.0 /* times the reference's longest run */
enum { TIMED_STEPS = 26 };

/* A request that is carried out. */
typedef struct flight {
  evaluation_request request;
  program_run *run; /* NULL: the slot is free */
  command_seen seen;
  hopeless hopeless;
  bool given_up, cancelled;
  bool served, fresh; /* by a worker that stays; not by one any more */
  int64_t told;       /* steps that progress was called for */
  int64_t order;
} flight;

typedef struct command_evaluator {
  evaluator base;
  command_options options;
  const command_program *program;
  char run[PATH_MAX];       /* absolute */
  flight *flights;          /* [workers] */
  process **awaited;        /* [workers]: scratch */
  program_worker **serving; /* [workers]: those that stay; NULL: none yet */
  int64_t submitted, jobs;
  /* Records that need no run, or could not begin: given out first. */
  evaluation_record *waiting; /* [workers] */
  int waiting_count;
  double longest; /* of the reference's good trainings, seconds a step; 0: none yet */
  command_trust trust;
  bool advised;
} command_evaluator;

command_options command_options_default(void) {
  return (command_options){.workers = 1, .grace = 10};
}

/* ---- requests ---- */

static bool can(const command_evaluator *c, event_capability capability) {
  return (c->program->capabilities >> capability & 1) != 0;
}

static command_asked asked_of(const command_evaluator *c, const evaluation_request *r, int worker) {
  static const char *const kinds[] = {
      [REQUEST_TRAIN] = "train", [REQUEST_OBSERVE] = "observe", [REQUEST_TIME] = "time"};
  command_asked what = {
      .worker = worker,
      .job = {.mode = JOB_TRAIN, .seed = r->seed, .steps = r->steps, .until = r->steps}};
  if (r->kind == REQUEST_OBSERVE && can(c, CAPABILITY_OBSERVE)) {
    what.job.mode = JOB_OBSERVE;
    what.job.statistics_every = r->instruments.statistics_every;
  }
  if (r->kind == REQUEST_TIME) {
    what.job.mode = JOB_TIME;
    what.job.until = r->steps < TIMED_STEPS ? r->steps : TIMED_STEPS;
  }
  snprintf(what.name, sizeof what.name, "%s-%.12s-%" PRIu64, kinds[r->kind], r->policy, r->seed);
  if (r->kind == REQUEST_TIME) /* one policy is timed several times */
    snprintf(what.name, sizeof what.name, "time-%.12s-%" PRId64, r->policy, r->id);
  return what;
}

static double limit_of(const command_evaluator *c, const command_asked *what) {
  if (c->options.limit > 0 || c->longest == 0)
    return c->options.limit;
  const double steps = (double)what->job.steps; /* a part of them takes no longer */
  return fmax(LEAST_LIMIT, LIMIT_FACTOR * c->longest * steps);
}

/* What is verified is run by itself: no run before it can have left anything. */
static bool may_serve(const command_evaluator *c, const flight *f) {
  return can(c, CAPABILITY_SERVE) && !f->fresh && strcmp(f->request.purpose, "verify") != 0;
}

static mpt_status begin(command_evaluator *c, flight *f, mpt_error *error) {
  const evaluation_request *r = &f->request;
  const command_program *p = c->program;
  const int slot = (int)(f - c->flights);
  command_asked what = asked_of(c, r, slot);
  what.id = ++c->jobs;
  f->served = may_serve(c, f);
  mpt_policy *policy = NULL;
  mpt_status status = MPT_OK;
  MPT_TRY(mpt_policy_from_assignment(what.name, p->layers, r->assignment, p->layer_count,
                                     r->loss_scale, &policy, error));
  const answer_terms terms = {.until = what.job.until,
                              .metric = c->options.metric,
                              .layers = p->layers,
                              .layer_count = p->layer_count,
                              .formats = r->assignment};
  if (f->served)
    status = command_start(&c->options, c->run, &what, policy, &terms, limit_of(c, &what), &f->seen,
                           &c->serving[slot], &f->run, error);
  if (!f->served || status == MPT_ERROR_PROGRAM) { /* also where a worker ends at once */
    f->served = false;
    status = command_start(&c->options, c->run, &what, policy, &terms, limit_of(c, &what), &f->seen,
                           NULL, &f->run, error);
  }
fail:
  mpt_policy_free(policy);
  return status;
}

/* A record that is given out without a run. */
static void answer_now(command_evaluator *c, const evaluation_request *r, mpt_status status,
                       const mpt_error *why) {
  evaluation_record *record = &c->waiting[c->waiting_count++];
  *record = (evaluation_record){
      .id = r->id, .status = status, .time = {.seconds = NAN, .deviation = NAN}};
  if (why != NULL)
    record->error = *why;
}

/* A format that the program cannot apply; MPT_PRECISION_COUNT: none. */
static mpt_precision foreign_format(const command_evaluator *c, const evaluation_request *r) {
  for (int i = 0; i < c->program->layer_count; i++)
    for (int g = 0; g < MPT_GEMM_COUNT && mpt_layer_has_gemm(c->program->layers[i].kind); g++)
      if ((c->program->formats >> r->assignment[i].gemm[g].precision & 1) == 0)
        return r->assignment[i].gemm[g].precision;
  return MPT_PRECISION_COUNT;
}

static int in_flight(const command_evaluator *c) {
  int count = c->waiting_count;
  for (int i = 0; i < c->options.workers; i++)
    count += c->flights[i].run != NULL;
  return count;
}

static mpt_status command_submit(evaluator *e, const evaluation_request *request,
                                 mpt_error *error) {
  command_evaluator *c = (command_evaluator *)e;
  if (in_flight(c) >= c->options.workers)
    return mpt_fail(error, MPT_ERROR_BUSY, "%d requests are in flight, as many as there may be",
                    in_flight(c));
  mpt_error why = {0};
  const mpt_precision foreign = foreign_format(c, request);
  if (request->kind == REQUEST_TIME &&
      (!can(c, CAPABILITY_TIME) || foreign < MPT_PRECISION_COUNT)) {
    answer_now(c, request, MPT_OK, NULL); /* not known */
    return MPT_OK;
  }
  if (foreign < MPT_PRECISION_COUNT) {
    const mpt_status status =
        mpt_fail(&why, MPT_ERROR_PROGRAM,
                 "the program cannot apply %s: it is not among the formats of its 'hello'",
                 mpt_precision_name(foreign));
    answer_now(c, request, status, &why);
    return MPT_OK;
  }
  flight *f = c->flights;
  while (f->run != NULL)
    f++;
  *f = (flight){.request = *request, .seen = {.program = c->program}, .order = c->submitted++};
  const mpt_status status = begin(c, f, &why);
  if (status != MPT_OK)
    answer_now(c, request, status, &why);
  return MPT_OK;
}

/* ---- while programs run ---- */

/* Tells of the steps that were heard of; and that it is still there, though none was. */
static void tell(flight *f, evaluator_progress *progress, void *context) {
  const answer *a = program_run_answer(f->run);
  const int64_t before = f->told;
  for (; f->told < a->loss_count && !f->given_up; f->told++)
    if (hopeless_at(&f->hopeless, &f->request.limit, f->request.steps, f->told, a->losses[f->told]))
      f->given_up = true;
  if (progress != NULL && (f->told > before || a->loss_count == 0))
    progress(context, f->request.id, f->told > 0 ? f->told - 1 : 0, f->request.steps);
}

/* Listens to all; *ended is one that has. */
static void listen(command_evaluator *c, evaluator_progress *progress, void *context,
                   flight **ended) {
  *ended = NULL;
  for (int i = 0; i < c->options.workers; i++) {
    flight *f = &c->flights[i];
    if (f->run == NULL)
      continue;
    program_run_listen(f->run);
    tell(f, progress, context);
    if (f->given_up && !f->cancelled)
      program_run_stop(f->run);
    if (program_run_over(f->run) && (*ended == NULL || f->order < (*ended)->order))
      *ended = f;
  }
}

static flight *await(command_evaluator *c, evaluator_progress *progress, void *context) {
  for (;;) {
    flight *ended;
    int count = 0;
    listen(c, progress, context, &ended);
    if (ended != NULL)
      return ended;
    for (int i = 0; i < c->options.workers; i++)
      if (c->flights[i].run != NULL)
        c->awaited[count++] = program_run_process(c->flights[i].run);
    process_wait(c->awaited, count,
                 can(c, CAPABILITY_SERVE) ? COMMAND_ANSWERS_EVERY : COMMAND_LISTEN_EVERY);
  }
}

/* ---- records ---- */

static void advise(command_evaluator *c, const flight *f) {
  char text[700];
  program_run_advice(f->run, text, sizeof text);
  if (text[0] == '\0' || c->advised)
    return;
  mpt_log_warning("%s", text);
  c->advised = true; /* once */
}

/* What a good run says of the program, and of the time that others may take. */
static mpt_status learn(command_evaluator *c, const flight *f, mpt_error *error) {
  const evaluation_request *r = &f->request;
  const answer *a = program_run_answer(f->run);
  const int before = c->trust.repeats;
  if (a->metric_heard && a->larger_is_better != c->options.larger_is_better)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "the program says that a %s '%s' is better, and the search was told the other "
                    "way; make them agree",
                    a->larger_is_better ? "larger" : "smaller", c->options.metric);
  if (r->kind != REQUEST_TIME && strcmp(r->purpose, "reference") == 0)
    c->longest = fmax(c->longest, program_run_seconds(f->run) / (double)r->steps);
  MPT_RETURN_IF_FAILED(command_trust_note(&c->trust, r, a, error));
  if (c->trust.repeats == 0 && before != 0)
    mpt_log_warning("two runs with the seed %" PRIu64 " came to different losses: the program does "
                    "not repeat itself; the difference counts as noise, and verdicts take more "
                    "pairs; deterministic kernels would save them",
                    c->trust.repeated_seed);
  return MPT_OK;
}

static mpt_status settle(command_evaluator *c, flight *f, evaluation_record *record,
                         mpt_error *error) {
  program_end end = PROGRAM_GOOD;
  mpt_error why = {0};
  program_run_ended(f->run, &end, &why);
  advise(c, f);
  if (f->cancelled || (end == PROGRAM_STOPPED && !f->given_up))
    return mpt_fail(error, MPT_ERROR_INTERRUPTED, "interrupted");
  if (end == PROGRAM_GOOD)
    MPT_RETURN_IF_FAILED(learn(c, f, error));
  if (end == PROGRAM_UNTESTED || end == PROGRAM_REFUSED ||
      (end == PROGRAM_FAILED && f->request.kind == REQUEST_TIME)) {
    *error = why;
    return why.status;
  }
  const command_ending ending = {.end = end,
                                 .why = &why,
                                 .seconds = program_run_seconds(f->run),
                                 .hopeless = end == PROGRAM_STOPPED && f->given_up};
  return command_record_fill(&f->request, program_run_answer(f->run), &ending, &f->seen, record,
                             error);
}

static void finish(command_evaluator *c, flight *f, evaluation_record *record) {
  mpt_error why = {0};
  const mpt_status status = settle(c, f, record, &why);
  if (status != MPT_OK)
    evaluation_record_clear(record);
  record->id = f->request.id;
  record->status = status;
  record->error = why;
  program_run_close(f->run, status != MPT_OK && status != MPT_ERROR_INTERRUPTED);
  command_seen_clear(&f->seen);
  f->run = NULL;
}

/* Whether the job of a worker that failed is tried once more, in a process of its own. */
static bool try_afresh(command_evaluator *c, flight *f) {
  program_end end;
  mpt_error why = {0};
  if (!f->served || f->cancelled || f->given_up || !program_run_ended(f->run, &end, &why) ||
      !program_run_served_badly(f->run))
    return false;
  mpt_log_detail("a worker failed, its job is tried in a process of its own: %s", why.message);
  program_run_close(f->run, false);
  command_seen_clear(&f->seen);
  program_worker **worker = &c->serving[f - c->flights];
  program_worker_close(*worker);
  *worker = NULL;
  *f = (flight){
      .request = f->request, .seen = {.program = c->program}, .fresh = true, .order = f->order};
  const mpt_status status = begin(c, f, &why);
  if (status != MPT_OK)
    answer_now(c, &f->request, status, &why);
  return true;
}

/* ---- the table ---- */

static void command_describe(const evaluator *e, evaluator_description *description) {
  const command_evaluator *c = (const command_evaluator *)e;
  *description =
      (evaluator_description){.name = c->program->program,
                              .lacks = (can(c, CAPABILITY_OBSERVE) ? 0 : EVALUATOR_NO_SCORES) |
                                       (can(c, CAPABILITY_TIME) ? 0 : EVALUATOR_NO_TIMES),
                              .capacity = c->options.workers};
}

static mpt_status command_poll(evaluator *e, evaluator_progress *progress, void *context,
                               bool *found, evaluation_record *record, mpt_error *error) {
  command_evaluator *c = (command_evaluator *)e;
  (void)error;
  *found = in_flight(c) > 0;
  if (!*found)
    return MPT_OK;
  while (c->waiting_count == 0) {
    flight *f = await(c, progress, context);
    if (try_afresh(c, f))
      continue;
    finish(c, f, record);
    return MPT_OK;
  }
  *record = c->waiting[--c->waiting_count];
  return MPT_OK;
}

static void command_cancel(evaluator *e, int64_t id) {
  command_evaluator *c = (command_evaluator *)e;
  for (int i = 0; i < c->options.workers; i++) {
    flight *f = &c->flights[i];
    if (f->run == NULL || f->request.id != id)
      continue;
    f->cancelled = true;
    program_run_stop(f->run);
  }
}

static void command_close(evaluator *e) {
  command_evaluator *c = (command_evaluator *)e;
  for (int i = 0; c->flights != NULL && i < c->options.workers; i++) {
    program_run_close(c->flights[i].run, false);
    command_seen_clear(&c->flights[i].seen);
  }
  for (int i = 0; c->serving != NULL && i < c->options.workers; i++)
    program_worker_close(c->serving[i]);
  free(c->serving);
  free(c->flights);
  free(c->awaited);
  free(c->waiting);
  free(c);
}

static const evaluator_table command_table = {.describe = command_describe,
                                              .submit = command_submit,
                                              .poll = command_poll,
                                              .cancel = command_cancel,
                                              .close = command_close};

mpt_status command_open(const command_options *options, const command_program *program,
                        evaluator **out, mpt_error *error) {
  mpt_status status = MPT_OK;
  command_evaluator *c = calloc(1, sizeof *c);
  if (c == NULL)
    return mpt_fail_memory(error, "a program's evaluator", sizeof *c);
  c->base.table = &command_table;
  c->options = *options;
  c->program = program;
  c->flights = calloc((size_t)options->workers, sizeof *c->flights);
  c->awaited = calloc((size_t)options->workers, sizeof *c->awaited);
  c->serving = calloc((size_t)options->workers, sizeof *c->serving);
  c->waiting = calloc((size_t)options->workers, sizeof *c->waiting);
  command_trust_begin(&c->trust);
  if (c->flights == NULL || c->awaited == NULL || c->serving == NULL || c->waiting == NULL)
    MPT_TRY(mpt_fail_memory(error, "a program's evaluator", 0));
  MPT_TRY(command_absolute(options->run, c->run, error));
  *out = &c->base;
  return MPT_OK;
fail:
  command_close(&c->base);
  return status;
}

int command_repeats(const evaluator *e) {
  return ((const command_evaluator *)e)->trust.repeats;
}
