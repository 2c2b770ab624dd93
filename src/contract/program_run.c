#include "contract/program_run.h"
#include "base/clock.h"
#include "base/error.h"
#include "contract/event_reader.h"
#include "contract/program_worker.h"
#include "contract/run_files.h"
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_UNTESTED = 125, LAST_LINES = 3 };

struct program_run {
  run_files files;
  process *process;        /* its own; NULL where a worker serves */
  program_worker *worker;  /* borrowed */
  int64_t id;              /* of the worker's job */
  double started, seconds; /* of that */
  bool introduced, late;
  event_reader *reader;
  answer answer;
  job job;
  bool first, has_layers; /* of a first run: it said all that was asked */
  bool stopped;
  double limit;
  program_listener *listener;
  void *context;
  mpt_error fault; /* in what it said; MPT_OK: none */
};

/* ---- before ---- */

static mpt_status begin(const program_run_options *options, program_run **out, mpt_error *error) {
  program_run *r = calloc(1, sizeof *r);
  if (r == NULL)
    return mpt_fail_memory(error, "a run of the program", sizeof *r);
  answer_begin(&r->answer, &options->terms);
  r->first = options->first;
  r->limit = options->limit;
  r->listener = options->listener;
  r->context = options->context;
  r->job = options->job;
  mpt_status status =
      run_files_make(&r->files, options->work, options->log, options->policy, error);
  if (status == MPT_OK)
    status = event_reader_open(r->files.events, &r->reader, error);
  if (status == MPT_OK)
    *out = r;
  else
    program_run_close(r, false);
  return status;
}

mpt_status program_run_start(const program_run_options *options, program_run **out,
                             mpt_error *error) {
  program_run *r = NULL;
  MPT_RETURN_IF_FAILED(begin(options, &r, error));
  const mpt_status status =
      run_files_start(&r->files, options, &r->job, options->limit, NULL, 0, &r->process, error);
  if (status == MPT_OK)
    *out = r;
  else
    program_run_close(r, false);
  return status;
}

mpt_status program_run_serve(const program_run_options *options, program_worker *worker, int64_t id,
                             program_run **out, mpt_error *error) {
  program_run *r = NULL;
  MPT_RETURN_IF_FAILED(begin(options, &r, error));
  r->worker = worker;
  r->id = id;
  r->started = mpt_clock_seconds();
  r->job.policy = r->files.policy;
  r->job.events = r->files.events;
  const mpt_status status = program_worker_give(worker, &r->job, id, error);
  if (status == MPT_OK)
    *out = r;
  else
    program_run_close(r, false);
  return status;
}

/* ---- meanwhile ---- */

process *program_run_process(const program_run *r) {
  return r->worker != NULL ? program_worker_process(r->worker) : r->process;
}

const answer *program_run_answer(const program_run *r) {
  return &r->answer;
}

void program_run_stop(program_run *r) {
  r->stopped = true;
  process_stop(program_run_process(r));
}

/* One event; whether there may be more to read. */
static bool take_next(program_run *r) {
  event e;
  bool found;
  mpt_status status = event_reader_next(r->reader, &found, &e, &r->fault);
  if (status != MPT_OK || !found)
    return false;
  if (r->first && (e.kind == EVENT_STEP || e.kind == EVENT_METRIC) &&
      r->answer.heard[EVENT_APPLIED]) {
    r->has_layers = true; /* it trains though no step was asked */
    event_clear(&e);
    process_stop(program_run_process(r));
    return false;
  }
  mpt_error why = {0};
  status = answer_take(&r->answer, &e, &why);
  if (status != MPT_OK)
    mpt_fail_at(&r->fault, status, r->files.events, (int)event_reader_lines(r->reader), 0, "%s",
                why.message);
  else if (r->listener != NULL)
    r->listener(r->context, &e);
  event_clear(&e);
  return status == MPT_OK;
}

/* What a worker says of itself, and how long it takes; whether its job's events may be read. */
static bool hear_worker(program_run *r) {
  const answer *a;
  program_worker_listen(r->worker, &r->fault);
  r->seconds = mpt_clock_seconds() - r->started;
  if (!r->late && r->limit > 0 && r->seconds > r->limit) {
    r->late = true;
    process_stop(program_run_process(r));
  }
  if (r->introduced || !program_worker_introduced(r->worker, &a))
    return r->introduced;
  r->introduced = answer_adopt(&r->answer, a, &r->fault) == MPT_OK;
  return r->introduced;
}

void program_run_listen(program_run *r) {
  if (r->worker != NULL && !hear_worker(r)) {
    if (r->fault.status != MPT_OK)
      process_stop(program_run_process(r));
    return;
  }
  while (!r->has_layers && r->fault.status == MPT_OK && take_next(r)) {
  }
  if (r->fault.status != MPT_OK)
    process_stop(program_run_process(r));
}

/* ---- afterwards ---- */

/* "; it printed last: '...' (FILE)", shortened to what a message holds. */
static void add_log(const program_run *r, char *text, size_t size) {
  char lines[300];
  process_last_lines(program_run_process(r), LAST_LINES, lines, sizeof lines);
  for (char *c = lines; (c = strchr(c, '\n')) != NULL;)
    *c = '|';
  if (lines[0] == '\0')
    snprintf(text, size, "; it printed nothing");
  else
    snprintf(text, size, "; it printed last '%s' (%s)", lines, r->files.log);
}

static program_end fail(const program_run *r, mpt_error *why, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static program_end fail(const program_run *r, mpt_error *why, const char *format, ...) {
  char what[300], log[900];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  add_log(r, log, sizeof log);
  mpt_fail(why, MPT_ERROR_PROGRAM, "%s%s", what, log);
  return PROGRAM_FAILED;
}

static program_end ended_by_signal(const program_run *r, int number, mpt_error *why) {
  char name[20];
  process_signal_name(number, name, sizeof name);
  if (number == SIGXFSZ)
    return fail(r, why,
                "a file of the program grew beyond %" PRId64 " bytes, half of what was free on the "
                "disk; write less, or free some",
                r->files.file_bytes);
  if (number == SIGKILL)
    return fail(r, why, "the program was killed (SIGKILL: often for want of memory)");
  return fail(r, why, "the program was ended by %s", name);
}

/* What it must have said. */
static program_end check_answer(const program_run *r, mpt_error *why) {
  const answer *a = &r->answer;
  if (answer_check_end(a, why) != MPT_OK)
    return PROGRAM_REFUSED;
  if (r->first)
    return PROGRAM_GOOD;
  if (r->job.mode == JOB_TIME) {
    if (a->heard[EVENT_TIME] || a->second_count > 0)
      return PROGRAM_GOOD;
    mpt_fail(why, MPT_ERROR_SYNTAX,
             "the program ended without the event 'time', though it has the capability; send it in "
             "mode time, or leave 'time' out of hello's capabilities");
    return PROGRAM_REFUSED;
  }
  if (r->job.until < r->job.steps)
    return PROGRAM_GOOD;
  if (!a->metric_heard) {
    mpt_fail(why, MPT_ERROR_SYNTAX,
             a->other_metric[0] != '\0'
                 ? "the program ended without the metric '%s', and sent '%s'; name it with --metric"
                 : "the program ended without the metric '%s'; send it after the last step%s",
             a->terms.metric, a->other_metric);
    return PROGRAM_REFUSED;
  }
  if (isfinite(a->metric))
    return PROGRAM_GOOD;
  const int64_t step = a->nonfinite.step >= 0 ? a->nonfinite.step : a->nonfinite_step;
  if (step >= 0)
    return fail(r, why, "the metric is not finite, since step %" PRId64 "%s%s", step,
                a->nonfinite.layer[0] != '\0' ? " in layer " : "", a->nonfinite.layer);
  return fail(r, why, "the metric is not finite");
}

/* How the process ended, or the worker says that it would have. */
static program_end judge_code(const program_run *r, int code, const char *words, mpt_error *why) {
  if (code == EXIT_UNTESTED) {
    fail(r, why, "the program says that it could not test the policy (exit code 125)%s%s",
         *words != '\0' ? ": " : "", words);
    return PROGRAM_UNTESTED;
  }
  if (code != 0)
    return fail(r, why, "the program failed with exit code %d%s%s", code,
                *words != '\0' ? ": " : "", words);
  return check_answer(r, why);
}

static program_end judge_late(const program_run *r, mpt_error *why) {
  return fail(r, why, "the program ran longer than %.3g s, its limit; --limit gives it more",
              r->limit);
}

static program_end judge_process(const program_run *r, const process_result *result,
                                 mpt_error *why) {
  if (r->has_layers)
    return check_answer(r, why);
  if (result->timed_out)
    return judge_late(r, why);
  if (result->signalled)
    return ended_by_signal(r, result->code, why);
  return judge_code(r, result->code, "", why);
}

static program_end judge(const program_run *r, mpt_error *why) {
  process_result result = {0};
  int code;
  const char *words;
  if (r->stopped) {
    mpt_fail(why, MPT_ERROR_INTERRUPTED, "interrupted");
    return PROGRAM_STOPPED;
  }
  if (r->fault.status != MPT_OK) {
    *why = r->fault;
    return PROGRAM_REFUSED;
  }
  process_ended(program_run_process(r), &result);
  if (r->worker == NULL)
    return judge_process(r, &result, why);
  if (program_worker_answered(r->worker, r->id, &code, &words))
    return judge_code(r, code, words, why);
  return r->late ? judge_late(r, why) : fail(r, why, "the worker ended in the middle of a job");
}

bool program_run_over(const program_run *r) {
  int code;
  const char *words;
  return process_ended(program_run_process(r), NULL) ||
         (r->worker != NULL && program_worker_answered(r->worker, r->id, &code, &words));
}

bool program_run_ended(program_run *r, program_end *end, mpt_error *why) {
  if (!program_run_over(r))
    return false;
  program_run_listen(r); /* what it said last */
  *why = (mpt_error){0};
  *end = judge(r, why);
  if (*end == PROGRAM_REFUSED)
    why->status = MPT_ERROR_PROGRAM; /* whatever rule it broke */
  return true;
}

bool program_run_served_badly(const program_run *r) {
  int code = 0;
  const char *words;
  return r->worker != NULL && !r->stopped &&
         (!program_worker_answered(r->worker, r->id, &code, &words) ||
          (code != 0 && code != EXIT_UNTESTED));
}

double program_run_seconds(const program_run *r) {
  process_result result = {0};
  if (r->worker != NULL)
    return r->seconds;
  process_ended(r->process, &result);
  return result.seconds;
}

void program_run_advice(const program_run *r, char *text, size_t size) {
  process_result result = {0};
  text[0] = '\0';
  if (r->worker == NULL)
    process_ended(r->process, &result);
  if (result.lost)
    snprintf(text, size,
             "a process of the program could not be ended, not by KILL either: it waits for a "
             "device or a disk; look for it before its memory is missed (%s)",
             r->files.log);
  else if (result.left_behind > 0)
    snprintf(text, size,
             "the program left %d processes running when it exited, which were ended; let it wait "
             "for those that it starts (%s)",
             result.left_behind, r->files.log);
}

void program_run_close(program_run *r, bool keep) {
  if (r == NULL)
    return;
  process_close(r->process);
  event_reader_close(r->reader);
  if (!keep)
    run_files_remove(&r->files);
  answer_end(&r->answer);
  free(r);
}
