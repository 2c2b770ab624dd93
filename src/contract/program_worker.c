#include "contract/program_worker.h"
#include "base/error.h"
#include "base/json.h"
#include "contract/event_lists.h"
#include "contract/event_reader.h"
#include "contract/run_files.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_SIZE = 8192 };
#define MOMENT 5.0 /* seconds to end by itself */

struct program_worker {
  run_files files;
  process *process;
  event_reader *reader;
  answer answer; /* hello and layers */
  int jobs, answers;
  char line[ANSWER_SIZE]; /* of an answer, as far as it has come */
  size_t length;
  int64_t answered; /* the last job, 0: none */
  int code;
  char words[512];
  bool unwell; /* it broke the contract: what it does now is not known */
};

/* ---- starting ---- */

static mpt_status open_pipes(int jobs[2], int answers[2], mpt_error *error) {
  if (pipe2(jobs, O_CLOEXEC) != 0 || pipe2(answers, O_CLOEXEC) != 0)
    return mpt_fail(error, MPT_ERROR_IO, "no pipe to a worker: %s", strerror(errno));
  fcntl(answers[0], F_SETFL, O_NONBLOCK);
  fcntl(jobs[1], F_SETFL, O_NONBLOCK);
  return MPT_OK;
}

static void close_pipe(int ends[2]) {
  for (int i = 0; i < 2; i++)
    if (ends[i] >= 0)
      close(ends[i]);
}

mpt_status program_worker_start(const program_run_options *options, program_worker **out,
                                mpt_error *error) {
  int jobs[2] = {-1, -1}, answers[2] = {-1, -1};
  mpt_status status = MPT_OK;
  program_worker *w = calloc(1, sizeof *w);
  if (w == NULL)
    return mpt_fail_memory(error, "a worker", sizeof *w);
  w->jobs = w->answers = -1;
  answer_begin(&w->answer, &options->terms);
  MPT_TRY(run_files_make(&w->files, options->work, options->log, options->policy, error));
  MPT_TRY(event_reader_open(w->files.events, &w->reader, error));
  MPT_TRY(open_pipes(jobs, answers, error));
  const int given[2] = {jobs[0], answers[1]};
  job j = options->job;
  j.mode = JOB_SERVE;
  j.read_from = given[0];
  j.write_to = given[1];
  MPT_TRY(run_files_start(&w->files, options, &j, 0, given, 2, &w->process, error));
  w->jobs = jobs[1];
  w->answers = answers[0];
  jobs[1] = answers[0] = -1;
  *out = w;
fail:
  close_pipe(jobs);
  close_pipe(answers);
  if (status != MPT_OK)
    program_worker_close(w);
  return status;
}

void program_worker_close(program_worker *w) {
  if (w == NULL)
    return;
  if (w->jobs >= 0)
    close(w->jobs);
  if (w->process != NULL && !w->unwell)
    process_wait(&w->process, 1, MOMENT);
  process_close(w->process);
  if (w->answers >= 0)
    close(w->answers);
  event_reader_close(w->reader);
  run_files_remove(&w->files);
  answer_end(&w->answer);
  free(w);
}

process *program_worker_process(const program_worker *w) {
  return w->process;
}

bool program_worker_is_well(const program_worker *w) {
  return !w->unwell && !process_ended(w->process, NULL);
}

/* ---- jobs ---- */

/* Whether all was written; a reader that is gone is no signal to this process. */
static bool write_line(int file, const char *text, size_t length) {
  const struct timespec now = {0, 0};
  sigset_t pipe_signal, before, pending;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  sigpending(&pending);
  pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
  ssize_t done;
  while ((done = write(file, text, length)) < 0 && errno == EINTR) {
  }
  if (done < 0 && errno == EPIPE && !sigismember(&pending, SIGPIPE))
    sigtimedwait(&pipe_signal, NULL, &now);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return done == (ssize_t)length;
}

mpt_status program_worker_give(program_worker *w, const job *j, int64_t id, mpt_error *error) {
  char *text = NULL;
  MPT_RETURN_IF_FAILED(job_json(j, id, &text, error));
  const size_t length = strlen(text);
  text[length] = '\n';
  const bool given = write_line(w->jobs, text, length + 1);
  free(text);
  if (given)
    return MPT_OK;
  w->unwell = true;
  return mpt_fail(error, MPT_ERROR_PROGRAM,
                  "the worker does not read its jobs; read lines from the first descriptor of "
                  "MPTUNE_FDS until they end");
}

/* ---- what it says ---- */

static mpt_status read_answer(program_worker *w, mpt_error *error) {
  json_t *json = NULL;
  int64_t id = 0, code = 0;
  const mpt_status status = mpt_json_parse(w->line, w->length, "an answer", &json, error);
  const json_t *words = json_object_get(json, "error");
  const bool good = status == MPT_OK &&
                    event_read_integer(json_object_get(json, "job"), 1, 9e15, &id) &&
                    event_read_integer(json_object_get(json, "status"), 0, 255, &code);
  if (good) {
    w->answered = id;
    w->code = (int)code;
    snprintf(w->words, sizeof w->words, "%s",
             json_is_string(words) ? json_string_value(words) : "");
  }
  json_decref(json);
  return good ? MPT_OK
              : mpt_fail(error, MPT_ERROR_SYNTAX,
                         "the worker's answer '%.100s' is none; write {\"job\": ID, \"status\": 0} "
                         "to the second descriptor of MPTUNE_FDS, and nothing else",
                         w->line);
}

static mpt_status read_answers(program_worker *w, mpt_error *error) {
  char byte;
  while (read(w->answers, &byte, 1) == 1) {
    if (byte == '\n') {
      w->line[w->length] = '\0';
      MPT_RETURN_IF_FAILED(read_answer(w, error));
      w->length = 0;
      continue;
    }
    if (w->length + 1 == sizeof w->line)
      return mpt_fail(error, MPT_ERROR_SYNTAX, "the worker's answer has more than %d bytes",
                      ANSWER_SIZE - 1);
    w->line[w->length++] = byte;
  }
  return MPT_OK;
}

static mpt_status read_events(program_worker *w, mpt_error *error) {
  for (bool found = true; found && !w->answer.heard[EVENT_LAYERS];) {
    event e;
    MPT_RETURN_IF_FAILED(event_reader_next(w->reader, &found, &e, error));
    if (!found)
      break;
    const mpt_status status = answer_take(&w->answer, &e, error);
    event_clear(&e);
    MPT_RETURN_IF_FAILED(status);
  }
  return MPT_OK;
}

void program_worker_listen(program_worker *w, mpt_error *fault) {
  if (w->unwell)
    return;
  w->unwell = read_events(w, fault) != MPT_OK || read_answers(w, fault) != MPT_OK;
}

bool program_worker_introduced(const program_worker *w, const answer **a) {
  *a = &w->answer;
  return w->answer.heard[EVENT_LAYERS];
}

bool program_worker_answered(const program_worker *w, int64_t id, int *code, const char **words) {
  *code = w->code;
  *words = w->words;
  return w->answered == id;
}
