#include "contract/run_files.h"
#include "base/error.h"
#include "base/file.h"
#include "contract/policy_json.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Half of what is free: one file must not fill the disk that the search writes to. */
static int64_t largest_file(const char *directory) {
  struct statvfs about;
  if (statvfs(directory, &about) != 0)
    return 0;
  const double free_bytes = (double)about.f_bavail * (double)about.f_frsize;
  return (int64_t)fmin(fmax(free_bytes / 2, 1 << 20), 1e18);
}

static mpt_status set_path(char path[RUN_PATH], const char *directory, const char *name,
                           mpt_error *error) {
  const int length = snprintf(path, RUN_PATH, "%s%s%s", directory, *name != '\0' ? "/" : "", name);
  return length < RUN_PATH ? MPT_OK
                           : mpt_fail(error, MPT_ERROR_ARGUMENT,
                                      "the path '%.100s...' is too long; at most %d "
                                      "bytes",
                                      directory, RUN_PATH - 1);
}

mpt_status run_files_make(run_files *f, const char *work, const char *log, const mpt_policy *policy,
                          mpt_error *error) {
  char *text = NULL;
  MPT_RETURN_IF_FAILED(set_path(f->work, work, "", error));
  MPT_RETURN_IF_FAILED(set_path(f->log, log, "", error));
  MPT_RETURN_IF_FAILED(set_path(f->policy, work, "policy.json", error));
  MPT_RETURN_IF_FAILED(set_path(f->events, work, "events.jsonl", error));
  MPT_RETURN_IF_FAILED(mpt_directory_make(work, error));
  MPT_RETURN_IF_FAILED(policy_json(policy, &text, error));
  const mpt_status status = mpt_file_write(f->policy, text, strlen(text), error);
  free(text);
  MPT_RETURN_IF_FAILED(status);
  const int file = open(f->events, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0)
    return mpt_fail(error, MPT_ERROR_IO, "cannot write '%s': %s", f->events, strerror(errno));
  close(file);
  return MPT_OK;
}

void run_files_remove(const run_files *f) {
  unlink(f->policy);
  unlink(f->events);
  rmdir(f->work);
}

mpt_status run_files_start(run_files *f, const program_run_options *options, job *j, double limit,
                           const int *descriptors, int descriptor_count, process **out,
                           mpt_error *error) {
  j->policy = f->policy;
  j->events = f->events;
  char **environment = job_environment(j, options->environment);
  if (environment == NULL)
    return mpt_fail_memory(error, "a program's environment", 0);
  process_options p = process_options_default();
  p.command = options->command;
  p.environment = (const char *const *)environment;
  p.log = f->log;
  p.file_bytes = f->file_bytes = largest_file(f->work);
  p.limit = limit;
  p.grace = options->grace;
  p.descriptors = descriptors;
  p.descriptor_count = descriptor_count;
  const mpt_status status = process_start(&p, out, error);
  free(environment);
  return status;
}
