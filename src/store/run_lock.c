/* One writer for each run: flock on RUN/lock, which the system gives back when its holder dies,
 * however it dies. The process id in it is for the message alone. */
#include "base/error.h"
#include "store/database.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOCK_SIZE = 32 }; /* a process id, and more room than it takes */

static mpt_status in_use(const char *directory, int file, mpt_error *error) {
  char holder[LOCK_SIZE] = "";
  const ssize_t length = pread(file, holder, sizeof holder - 1, 0);
  const long process = length > 0 ? strtol(holder, NULL, 10) : 0;
  char who[48] = "another process";
  if (process > 0)
    snprintf(who, sizeof who, "process %ld", process);
  return mpt_fail(error, MPT_ERROR_BUSY,
                  "'%s' is in use by %s; wait for it, or choose another directory (-o)", directory,
                  who);
}

/* A link is not followed, and what is no lock is not touched: its text would be lost. */
static bool is_lock(int file) {
  struct stat about;
  return fstat(file, &about) == 0 && S_ISREG(about.st_mode) && about.st_size < LOCK_SIZE;
}

mpt_status run_lock_take(const char *directory, int *lock, mpt_error *error) {
  const size_t size = strlen(directory) + sizeof "/lock";
  char *path = malloc(size);
  if (path == NULL)
    return mpt_fail_memory(error, directory, size);
  snprintf(path, size, "%s/lock", directory);
  const int file = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
  const int opening = errno;
  free(path);
  if (file < 0 ? opening == ELOOP || opening == EISDIR : !is_lock(file)) {
    if (file >= 0)
      close(file);
    return mpt_fail(error, MPT_ERROR_IO,
                    "'%s/lock' is not a lock that mptune made; take it away, or choose another "
                    "directory (-o)",
                    directory);
  }
  if (file < 0)
    return mpt_fail(error, MPT_ERROR_IO,
                    "cannot write to the run directory '%s': %s; choose another one (-o)",
                    directory, strerror(opening));
  if (flock(file, LOCK_EX | LOCK_NB) != 0) {
    mpt_status status =
        errno == EWOULDBLOCK
            ? in_use(directory, file, error)
            : mpt_fail(error, MPT_ERROR_IO, "cannot lock '%s/lock': %s; choose a local directory",
                       directory, strerror(errno));
    close(file);
    return status;
  }
  char holder[LOCK_SIZE];
  const int length = snprintf(holder, sizeof holder, "%ld\n", (long)getpid());
  if (ftruncate(file, 0) != 0 || pwrite(file, holder, (size_t)length, 0) != length) {
    mpt_status status =
        mpt_fail(error, MPT_ERROR_IO, "cannot write '%s/lock': %s", directory, strerror(errno));
    close(file);
    return status;
  }
  *lock = file;
  return MPT_OK;
}

/* The file stays: taking it away would let two writers lock two files of one name. */
void run_lock_release(int lock) {
  if (lock < 0)
    return;
  if (ftruncate(lock, 0) != 0) {
    /* The id that stays in it names nobody who holds it. */
  }
  close(lock);
}
