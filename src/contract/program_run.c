#include "contract/program_run.h"
#include "base/error.h"
#include "base/file.h"
#include "contract/event_reader.h"
#include "contract/policy_json.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { EXIT_UNTESTED = 125, LAST_LINES = 3, PATH_SIZE = 512 };

struct program_run {
  char work[PATH_SIZE], policy[PATH_SIZE], events[PATH_SIZE], log[PATH_SIZE];
  process *process;
  event_reader *reader;
  answer answer;
  job job;
  bool first, has_layers; /* of a first run: it said all that was asked */
  bool stopped;
  double limit;
  int64_t file_bytes;
  program_listener *listener;
  void *context;
  mpt_error fault; /* in what it said; MPT_OK: none */
};

/* ---- before ---- */

/* Half of what is free: one file must not fill the disk that the search writes to. */
static int64_t largest_file(const char *directory) {
  struct statvfs about;
  if (statvfs(directory, &about) != 0)
    return 0;
  const double free_bytes = (double)about.f_bavail * (double)about.f_frsize;
  return (int64_t)fmin(fmax(free_bytes / 2, 1 << 20), 1e18);
}

static mpt_status set_path(char path[PATH_SIZE], const char *directory, const char *name,
                           mpt_error *error) {
  const int length = snprintf(path, PATH_SIZE, "%s%s%s", directory, *name != '\0' ? "/" : "", name);
  return length < PATH_SIZE ? MPT_OK
                            : mpt_fail(error, MPT_ERROR_ARGUMENT,
                                       "the path '%.100s...' is too long; at most %d "
                                       "bytes",
                                       directory, PATH_SIZE - 1);
}

static mpt_status prepare(program_run *r, const program_run_options *o, mpt_error *error) {
  char *text = NULL;
  MPT_RETURN_IF_FAILED(set_path(r->work, o->work, "", error));
  MPT_RETURN_IF_FAILED(set_path(r->log, o->log, "", error));
  MPT_RETURN_IF_FAILED(set_path(r->policy, o->work, "policy.json", error));
  MPT_RETURN_IF_FAILED(set_path(r->events, o->work, "events.jsonl", error));
  MPT_RETURN_IF_FAILED(mpt_directory_make(o->work, error));
  MPT_RETURN_IF_FAILED(policy_json(o->policy, &text, error));
  const mpt_status status = mpt_file_write(r->policy, text, strlen(text), error);
  free(text);
  MPT_RETURN_IF_FAILED(status);
  const int file = open(r->events, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0)
    return mpt_fail(error, MPT_ERROR_IO, "cannot write '%s': %s", r->events, strerror(errno));
  close(file);
  return event_reader_open(r->events, &r->reader, error);
}

static mpt_status start(program_run *r, const program_run_options *o, mpt_error *error) {
  char **environment = job_environment(&r->job, o->environment);
  if (environment == NULL)
    return mpt_fail_memory(error, "a program's environment", 0);
  process_options p = process_options_default();
  p.command = o->command;
  p.environment = (const char *const *)environment;
  p.log = r->log;
  p.file_bytes = r->file_bytes = largest_file(o->work);
  p.limit = o->limit;
  p.grace = o->grace;
  const mpt_status status = process_start(&p, &r->process, error);
  free(environment);
  return status;
}

mpt_status program_run_start(const program_run_options *options, program_run **out,
                             mpt_error *error) {
  program_run *r = calloc(1, sizeof *r);
  if (r == NULL)
    return mpt_fail_memory(error, "a run of the program", sizeof *r);
  answer_begin(&r->answer, &options->terms);
  r->first = options->first;
  r->limit = options->limit;
  r->listener = options->listener;
  r->context = options->context;
  mpt_status status = prepare(r, options, error);
  r->job = options->job;
  r->job.policy = r->policy;
  r->job.events = r->events;
  if (status == MPT_OK)
    status = start(r, options, error);
  if (status == MPT_OK)
    *out = r;
  else
    program_run_close(r, false);
  return status;
}

/* ---- meanwhile ---- */

process *program_run_process(const program_run *r) {
  return r->process;
}

const answer *program_run_answer(const program_run *r) {
  return &r->answer;
}

void program_run_stop(program_run *r) {
  r->stopped = true;
  process_stop(r->process);
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
    process_stop(r->process);
    return false;
  }
  mpt_error why = {0};
  status = answer_take(&r->answer, &e, &why);
  if (status != MPT_OK)
    mpt_fail_at(&r->fault, status, r->events, (int)event_reader_lines(r->reader), 0, "%s",
                why.message);
  else if (r->listener != NULL)
    r->listener(r->context, &e);
  event_clear(&e);
  return status == MPT_OK;
}

void program_run_listen(program_run *r) {
  while (!r->has_layers && r->fault.status == MPT_OK && take_next(r)) {
  }
  if (r->fault.status != MPT_OK)
    process_stop(r->process);
}

/* ---- afterwards ---- */

/* "; it printed last: '...' (FILE)", shortened to what a message holds. */
static void add_log(const program_run *r, char *text, size_t size) {
  char lines[300];
  process_last_lines(r->process, LAST_LINES, lines, sizeof lines);
  for (char *c = lines; (c = strchr(c, '\n')) != NULL;)
    *c = '|';
  if (lines[0] == '\0')
    snprintf(text, size, "; it printed nothing");
  else
    snprintf(text, size, "; it printed last '%s' (%s)", lines, r->log);
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
  mpt_fail(why, MPT_ERROR_NONFINITE, "%s%s", what, log);
  return PROGRAM_FAILED;
}

static program_end ended_by_signal(const program_run *r, int number, mpt_error *why) {
  char name[20];
  process_signal_name(number, name, sizeof name);
  if (number == SIGXFSZ)
    return fail(r, why,
                "a file of the program grew beyond %" PRId64 " bytes, half of what was free on the "
                "disk; write less, or free some",
                r->file_bytes);
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

static program_end judge(const program_run *r, const process_result *result, mpt_error *why) {
  if (r->stopped) {
    mpt_fail(why, MPT_ERROR_INTERRUPTED, "interrupted");
    return PROGRAM_STOPPED;
  }
  if (r->fault.status != MPT_OK) {
    *why = r->fault;
    return PROGRAM_REFUSED;
  }
  if (r->has_layers)
    return check_answer(r, why);
  if (result->timed_out)
    return fail(r, why, "the program ran longer than %.3g s, its limit; --limit gives it more",
                r->limit);
  if (result->signalled)
    return ended_by_signal(r, result->code, why);
  if (result->code == EXIT_UNTESTED) {
    fail(r, why, "the program says that it could not test the policy (exit code 125)");
    why->status = MPT_ERROR_UNSUPPORTED;
    return PROGRAM_UNTESTED;
  }
  if (result->code != 0)
    return fail(r, why, "the program failed with exit code %d", result->code);
  return check_answer(r, why);
}

bool program_run_ended(program_run *r, program_end *end, mpt_error *why) {
  process_result result;
  if (!process_ended(r->process, &result))
    return false;
  program_run_listen(r); /* what it said last */
  *why = (mpt_error){0};
  *end = judge(r, &result, why);
  return true;
}

double program_run_seconds(const program_run *r) {
  process_result result = {0};
  process_ended(r->process, &result);
  return result.seconds;
}

void program_run_advice(const program_run *r, char *text, size_t size) {
  process_result result = {0};
  process_ended(r->process, &result);
  text[0] = '\0';
  if (result.lost)
    snprintf(text, size,
             "a process of the program could not be ended, not by KILL either: it waits for a "
             "device or a disk; look for it before its memory is missed (%s)",
             r->log);
  else if (result.left_behind > 0)
    snprintf(text, size,
             "the program left %d processes running when it exited, which were ended; let it wait "
             "for those that it starts (%s)",
             result.left_behind, r->log);
}

void program_run_close(program_run *r, bool keep) {
  if (r == NULL)
    return;
  process_close(r->process);
  event_reader_close(r->reader);
  if (!keep) {
    unlink(r->policy);
    unlink(r->events);
    rmdir(r->work);
  }
  answer_end(&r->answer);
  free(r);
}
