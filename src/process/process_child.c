#include "process/process_child.h"
#include "base/error.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

/* ---- its environment ---- */

static bool has_name_of(const char *entry, const char *other) {
  const size_t length = strcspn(other, "=");
  return strncmp(entry, other, length) == 0 && entry[length] == '=';
}

static bool is_replaced(const char *entry, const char *const *added) {
  for (; *added != NULL; added++)
    if (has_name_of(entry, *added))
      return true;
  return false;
}

/* This process's, with the names in `added` as they are there. The texts are not copied. */
static char **environment_with(const char *const *added) {
  size_t count = 0, used = 0;
  while (environ != NULL && environ[count] != NULL)
    count++;
  for (size_t i = 0; added[i] != NULL; i++)
    count++;
  char **all = calloc(count + 1, sizeof *all);
  if (all == NULL)
    return NULL;
  for (size_t i = 0; environ != NULL && environ[i] != NULL; i++)
    if (!is_replaced(environ[i], added))
      all[used++] = environ[i];
  for (size_t i = 0; added[i] != NULL; i++)
    all[used++] = (char *)added[i];
  return all;
}

/* ---- in the child: nothing that another thread may have locked when it was made ---- */

typedef enum failed_at { AT_DIRECTORY, AT_SHELL, AT_LIMIT, AT_DESCRIPTORS } failed_at;
typedef struct failure {
  failed_at at;
  int code;
} failure;

/* Signals as a program finds them that was started from a shell. */
static void default_signals(void) {
  sigset_t none;
  for (int number = 1; number < NSIG; number++)
    signal(number, SIG_DFL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

/* All beside 0, 1, 2 and those that were asked for are closed by exec. */
static bool keep_descriptors(const process_options *o) {
#ifdef SYS_close_range
  if (syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) != 0)
#endif
    for (int file = 3; file < 65536; file++)
      fcntl(file, F_SETFD, FD_CLOEXEC);
  for (int i = 0; i < o->descriptor_count; i++)
    if (fcntl(o->descriptors[i], F_SETFD, 0) != 0)
      return false;
  return true;
}

static failed_at prepare(const process_options *o, int nothing, int output, pid_t parent) {
  setsid();
  default_signals();
  /* It is of no use to anyone once who asked for it is gone. */
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent)
    _exit(1);
  /* Those of a parent that began without 0, 1 or 2 may be among them. */
  nothing = fcntl(nothing, F_DUPFD_CLOEXEC, 3);
  output = fcntl(output, F_DUPFD_CLOEXEC, 3);
  if (dup2(nothing, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0 || !keep_descriptors(o))
    return AT_DESCRIPTORS;
  if (o->directory != NULL && chdir(o->directory) != 0)
    return AT_DIRECTORY;
  const struct rlimit most = {(rlim_t)o->file_bytes, (rlim_t)o->file_bytes};
  if (o->file_bytes > 0 && setrlimit(RLIMIT_FSIZE, &most) != 0)
    return AT_LIMIT;
  return AT_SHELL;
}

static void become(const process_options *o, char **environment, int nothing, int output,
                   int report, pid_t parent) {
  char *arguments[] = {"sh", "-c", (char *)o->command, NULL};
  failure f = {.at = prepare(o, nothing, output, parent)};
  if (f.at == AT_SHELL)
    execve("/bin/sh", arguments, environment);
  f.code = errno;
  while (write(report, &f, sizeof f) < 0 && errno == EINTR) {
  }
  _exit(127);
}

/* ---- in the parent ---- */

static mpt_status fail_start(const process_options *o, const failure *f, mpt_error *error) {
  const char *why = strerror(f->code);
  switch (f->at) {
  case AT_DIRECTORY:
    return mpt_fail(error, MPT_ERROR_IO, "cannot run a program in '%s': %s", o->directory, why);
  case AT_LIMIT:
    return mpt_fail(error, MPT_ERROR_IO, "cannot limit a program's files to %lld bytes: %s",
                    (long long)o->file_bytes, why);
  case AT_DESCRIPTORS:
    return mpt_fail(error, MPT_ERROR_IO, "cannot hand a program its descriptors: %s", why);
  default:
    return mpt_fail(error, MPT_ERROR_IO, "cannot run '/bin/sh': %s", why);
  }
}

/* Hears from the child why it could not begin; silence is success. */
static mpt_status hear_start(const process_options *o, int report, pid_t pid, mpt_error *error) {
  failure f;
  ssize_t got;
  while ((got = read(report, &f, sizeof f)) < 0 && errno == EINTR) {
  }
  if (got != (ssize_t)sizeof f)
    return MPT_OK;
  while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
  }
  return fail_start(o, &f, error);
}

mpt_status process_child_start(const process_options *o, int output, pid_t *pid, mpt_error *error) {
  static const char *const none[] = {NULL};
  mpt_status status = MPT_OK;
  int report[2] = {-1, -1};
  const pid_t parent = getpid();
  char **environment = environment_with(o->environment != NULL ? o->environment : none);
  const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (environment == NULL)
    MPT_TRY(mpt_fail_memory(error, "a program's environment", 0));
  if (nothing < 0 || pipe2(report, O_CLOEXEC) != 0)
    MPT_TRY(mpt_fail(error, MPT_ERROR_IO, "cannot start a program: %s", strerror(errno)));
  *pid = fork();
  if (*pid == 0)
    become(o, environment, nothing, output, report[1], parent);
  if (*pid < 0)
    MPT_TRY(mpt_fail(error, MPT_ERROR_IO, "cannot start a program: %s", strerror(errno)));
  close(report[1]);
  report[1] = -1;
  status = hear_start(o, report[0], *pid, error);
fail:
  free(environment);
  if (nothing >= 0)
    close(nothing);
  for (int i = 0; i < 2; i++)
    if (report[i] >= 0)
      close(report[i]);
  return status;
}
