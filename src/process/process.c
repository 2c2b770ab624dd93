#include "process/process.h"
#include "base/clock.h"
#include "base/error.h"
#include "process/process_child.h"
#include "process/process_group.h"
#include "process/process_log.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_AGAIN  0.02    /* seconds: into /proc, and without a pidfd whether it has ended */
#define HELPERS_END 0.5     /* after it, by themselves */
#define GIVE_UP     5.0     /* after KILL: what does not die of it waits for a device */
enum { MOST_AT_ONCE = 64 }; /* reads of a log before others have their turn */

typedef enum phase {
  PHASE_RUNS,
  PHASE_LEFT, /* it has ended, and others of its session not yet; it is not reaped before them */
  PHASE_ENDED
} phase;

struct process {
  pid_t pid;
  int pidfd;  /* -1: none here */
  int output; /* what it prints, -1: at its end */
  process_log log;
  phase phase;
  double started, limit, grace;
  double kill_at; /* KILL is due; INFINITY: no TERM was sent */
  double give_up_at;
  process_result result;
};

process_options process_options_default(void) {
  return (process_options){.log_bytes = 4 << 20, .grace = 10};
}

/* ---- starting ---- */

static int open_pidfd(pid_t pid) {
#ifdef SYS_pidfd_open
  return (int)syscall(SYS_pidfd_open, pid, 0);
#else
  (void)pid;
  return -1;
#endif
}

mpt_status process_start(const process_options *options, process **out, mpt_error *error) {
  mpt_status status = MPT_OK;
  int ends[2] = {-1, -1};
  process *p = calloc(1, sizeof *p);
  if (p == NULL)
    return mpt_fail_memory(error, "a process", sizeof *p);
  p->pidfd = p->output = p->log.file = -1;
  p->limit = options->limit;
  p->grace = options->grace;
  p->kill_at = p->give_up_at = INFINITY;
  MPT_TRY(process_log_open(&p->log, options->log, options->log_bytes, error));
  if (pipe2(ends, O_CLOEXEC) != 0)
    MPT_TRY(mpt_fail(error, MPT_ERROR_IO, "no pipe to a program: %s", strerror(errno)));
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  fcntl(ends[0], F_SETPIPE_SZ, 1 << 20); /* it is read when there is time */
  MPT_TRY(process_child_start(options, ends[1], &p->pid, error));
  close(ends[1]);
  p->output = ends[0];
  p->pidfd = open_pidfd(p->pid);
  p->started = mpt_clock_seconds();
  *out = p;
  return MPT_OK;
fail:
  if (ends[0] >= 0)
    close(ends[0]);
  if (ends[1] >= 0)
    close(ends[1]);
  process_log_close(&p->log);
  free(p);
  return status;
}

/* ---- what it prints ---- */

static void close_output(process *p) {
  if (p->output >= 0)
    close(p->output);
  p->output = -1;
}

/* What there is by now, up to a bound: one that prints without end must not keep the others. */
static void read_output(process *p) {
  char bytes[65536];
  for (int i = 0; i < MOST_AT_ONCE && p->output >= 0; i++) {
    const ssize_t got = read(p->output, bytes, sizeof bytes);
    if (got > 0)
      process_log_add(&p->log, bytes, (size_t)got);
    else if (got == 0 || errno != EINTR) {
      if (got == 0 || errno != EAGAIN)
        close_output(p);
      return;
    }
  }
}

/* ---- ending ---- */

static void terminate(process *p, double now) {
  if (isfinite(p->kill_at))
    return;
  process_group_signal(p->pid, SIGTERM);
  p->kill_at = now + p->grace;
}

static void kill_when_due(process *p, double now) {
  if (now < p->kill_at || isfinite(p->give_up_at))
    return;
  process_group_signal(p->pid, SIGKILL);
  p->result.killed = true;
  p->give_up_at = now + GIVE_UP;
}

static bool has_exited(const process *p, siginfo_t *about) {
  about->si_pid = 0;
  return waitid(P_PID, (id_t)p->pid, about, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         about->si_pid == p->pid;
}

static void note_exit(process *p, const siginfo_t *about, double now) {
  p->phase = PHASE_LEFT;
  p->result.signalled = about->si_code != CLD_EXITED;
  p->result.code = about->si_status;
  p->result.seconds = now - p->started;
  if (p->pidfd >= 0)
    close(p->pidfd);
  p->pidfd = -1;
}

static void note_end(process *p) {
  read_output(p);
  close_output(p);
  process_log_close(&p->log);
  p->result.printed = p->log.printed;
  p->phase = PHASE_ENDED;
}

/* It has ended: have the others of its session? Helpers often end a moment later. */
static void look_at_others(process *p, double now) {
  int status;
  const int others = process_group_count(p->pid);
  const bool due = now - p->started >= p->result.seconds + HELPERS_END;
  p->result.lost = others > 0 && now >= p->give_up_at;
  if (others > 0 && due && !isfinite(p->kill_at)) {
    p->result.left_behind = others;
    terminate(p, now);
  }
  if (others > 0 && !p->result.lost)
    return;
  note_end(p);
  while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR) {
  }
}

/* It is stuck in the kernel: what it holds is lost, and nothing waits for it. */
static void give_up(process *p, double now) {
  p->result.lost = p->result.signalled = true;
  p->result.code = SIGKILL;
  p->result.seconds = now - p->started;
  if (p->pidfd >= 0)
    close(p->pidfd);
  p->pidfd = -1;
  note_end(p);
}

/* Brings it up to date. */
static void look_at(process *p, double now) {
  siginfo_t about;
  if (p->phase == PHASE_ENDED)
    return;
  read_output(p);
  if (p->phase == PHASE_RUNS && has_exited(p, &about))
    note_exit(p, &about, now);
  if (p->phase == PHASE_RUNS && p->limit > 0 && now - p->started >= p->limit &&
      !isfinite(p->kill_at)) {
    p->result.timed_out = true;
    terminate(p, now);
  }
  kill_when_due(p, now);
  if (p->phase == PHASE_LEFT)
    look_at_others(p, now);
  else if (now >= p->give_up_at)
    give_up(p, now);
}

bool process_ended(const process *p, process_result *result) {
  if (p->phase == PHASE_ENDED && result != NULL)
    *result = p->result;
  return p->phase == PHASE_ENDED;
}

void process_stop(process *p) {
  if (p->phase != PHASE_RUNS || isfinite(p->kill_at))
    return;
  p->result.stopped = true;
  terminate(p, mpt_clock_seconds());
}

/* ---- waiting ---- */

/* The moment at which something is to be done though nothing was heard. */
static double next_moment(const process *p, double now) {
  if (p->phase == PHASE_LEFT || (p->phase == PHASE_RUNS && p->pidfd < 0))
    return now + LOOK_AGAIN;
  if (isfinite(p->give_up_at))
    return p->give_up_at;
  const double limit =
      p->limit > 0 && !isfinite(p->kill_at) ? p->started + p->limit : (double)INFINITY;
  return fmin(p->kill_at, limit);
}

static int add_descriptors(const process *p, struct pollfd *polled, int count) {
  if (p->output >= 0)
    polled[count++] = (struct pollfd){.fd = p->output, .events = POLLIN};
  if (p->pidfd >= 0)
    polled[count++] = (struct pollfd){.fd = p->pidfd, .events = POLLIN};
  return count;
}

static bool look_at_all(process *const *processes, int count, double now) {
  bool ended = false;
  for (int i = 0; i < count; i++) {
    look_at(processes[i], now);
    ended = ended || processes[i]->phase == PHASE_ENDED;
  }
  return ended;
}

bool process_wait(process *const *processes, int count, double seconds) {
  const double until = mpt_clock_seconds() + seconds;
  struct pollfd *polled = calloc((size_t)count * 2 + 1, sizeof *polled);
  bool ended = false, interrupted = polled == NULL;
  for (;;) {
    const double now = mpt_clock_seconds();
    ended = look_at_all(processes, count, now);
    if (ended || interrupted || now >= until)
      break;
    double moment = until;
    int descriptors = 0;
    for (int i = 0; i < count; i++) {
      moment = fmin(moment, next_moment(processes[i], now));
      descriptors = add_descriptors(processes[i], polled, descriptors);
    }
    const double pause = ceil(1e3 * fmax(0, moment - now));
    interrupted = poll(polled, (nfds_t)descriptors, (int)fmin(pause, 1e6)) < 0;
  }
  free(polled);
  return ended;
}

/* ---- afterwards ---- */

void process_last_lines(const process *p, int lines, char *text, size_t size) {
  process_log_last_lines(&p->log, lines, text, size);
}

void process_close(process *p) {
  if (p == NULL)
    return;
  if (p->phase != PHASE_ENDED) {
    p->kill_at = p->give_up_at = INFINITY;
    p->grace = 0;
    terminate(p, mpt_clock_seconds());
    while (!process_wait(&p, 1, GIVE_UP)) {
    }
  }
  free(p);
}

void process_signal_name(int number, char *text, size_t size) {
  const char *name = sigabbrev_np(number);
  if (name != NULL)
    snprintf(text, size, "SIG%s", name);
  else
    snprintf(text, size, "signal %d", number);
}
