#include "base/file.h"
#include "base/error.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static mpt_status fail_errno(mpt_error *error, const char *verb, const char *path) {
  const int code = errno;
  return mpt_fail(error, code == ENOENT ? MPT_ERROR_NOT_FOUND : MPT_ERROR_IO, "cannot %s '%s': %s",
                  verb, path, strerror(code));
}

/* Reads to the end, which for a pipe no size tells; one byte over the limit is too many. */
static mpt_status read_all(int file, const char *path, size_t limit, char **data, size_t *length,
                           mpt_error *error) {
  size_t capacity = 65536, used = 0;
  char *buffer = malloc(capacity + 1);
  while (buffer != NULL) {
    const ssize_t got = read(file, buffer + used, capacity - used);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0) {
      mpt_status status = fail_errno(error, "read", path);
      free(buffer);
      return status;
    }
    if (got == 0)
      break;
    used += (size_t)got;
    if (used > limit) {
      free(buffer);
      return mpt_fail(error, MPT_ERROR_IO, "'%s' has more than %zu bytes, the most that are read",
                      path, limit);
    }
    if (used == capacity) {
      capacity *= 2;
      char *grown = realloc(buffer, capacity + 1);
      if (grown == NULL)
        free(buffer);
      buffer = grown;
    }
  }
  if (buffer == NULL)
    return mpt_fail_memory(error, path, capacity);
  buffer[used] = '\0';
  *data = buffer;
  *length = used;
  return MPT_OK;
}

mpt_status mpt_file_read(const char *path, size_t limit, char **data, size_t *length,
                         mpt_error *error) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return fail_errno(error, "read", path);
  struct stat about;
  mpt_status status;
  if (fstat(file, &about) == 0 && S_ISDIR(about.st_mode))
    status = mpt_fail(error, MPT_ERROR_IO, "'%s' is a directory, not a file", path);
  else if (S_ISREG(about.st_mode) && (size_t)about.st_size > limit)
    status = mpt_fail(error, MPT_ERROR_IO, "'%s' has %lld bytes; at most %zu are read", path,
                      (long long)about.st_size, limit);
  else
    status = read_all(file, path, limit, data, length, error);
  close(file);
  return status;
}

static bool write_all(int file, const char *data, size_t length) {
  while (length > 0) {
    const ssize_t done = write(file, data, length);
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0)
      return false;
    data += done;
    length -= (size_t)done;
  }
  return true;
}

/* So that the new name is on disk too. */
static void sync_directory(const char *path) {
  char *copy = strdup(path);
  if (copy == NULL)
    return;
  const int directory = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0) {
    fsync(directory);
    close(directory);
  }
  free(copy);
}

/* A new file beside `path`, with the permissions that the umask gives; -1 and errno on failure. */
static int open_beside(const char *path, char *beside, size_t size) {
  for (int attempt = 0; attempt < 1000; attempt++) {
    snprintf(beside, size, "%s.%ld-%d.tmp", path, (long)getpid(), attempt);
    const int file = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file >= 0)
      flock(file, LOCK_EX | LOCK_NB); /* for as long as its writer lives, on whatever machine */
    if (file >= 0 || errno != EEXIST)
      return file;
  }
  return -1;
}

/* ---- what writers that were killed left behind ---- */

/* The whole number that a text begins with, without leading zeros, and *text moved behind it; -1
 * where there is none, or one that is no process's. */
static long whole_number(const char **text) {
  const char *begin = *text;
  long value = 0;
  for (; **text >= '0' && **text <= '9' && value < INT_MAX / 10; ++*text)
    value = 10 * value + (**text - '0');
  const bool leading = begin[0] == '0' && *text > begin + 1;
  return *text == begin || leading ? -1 : value;
}

/* "NAME.PID-N.tmp", as open_beside makes it, of a process that does not live. */
static bool is_left_over(const char *entry, const char *name) {
  const size_t length = strlen(name);
  if (strncmp(entry, name, length) != 0 || entry[length] != '.')
    return false;
  const char *rest = entry + length + 1;
  const long process = whole_number(&rest);
  if (process <= 0 || *rest++ != '-' || whole_number(&rest) < 0 || strcmp(rest, ".tmp") != 0)
    return false;
  return kill((pid_t)process, 0) != 0 && errno == ESRCH;
}

/* A file whose lock nobody holds, and no link. */
static void remove_left_over(int directory, const char *entry) {
  struct stat about;
  const int file = openat(directory, entry, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (file < 0)
    return;
  if (fstat(file, &about) == 0 && S_ISREG(about.st_mode) && flock(file, LOCK_EX | LOCK_NB) == 0)
    unlinkat(directory, entry, 0);
  close(file);
}

static void remove_left_overs(const char *path) {
  const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
  char *folder = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
  DIR *directory = folder == NULL ? NULL : opendir(folder);
  for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;)
    if (is_left_over(entry->d_name, name))
      remove_left_over(dirfd(directory), entry->d_name);
  if (directory != NULL)
    closedir(directory);
  free(folder);
}

/* A rename over /dev/null would leave a file in its place. */
static mpt_status write_to_device(const char *path, const char *data, size_t length,
                                  mpt_error *error) {
  const int file = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
  if (file < 0)
    return fail_errno(error, "write", path);
  mpt_status status = write_all(file, data, length) ? MPT_OK : fail_errno(error, "write", path);
  if (close(file) != 0 && status == MPT_OK)
    status = fail_errno(error, "write", path);
  return status;
}

mpt_status mpt_file_write(const char *path, const char *data, size_t length, mpt_error *error) {
  struct stat about;
  const bool there = stat(path, &about) == 0;
  if (there && (S_ISCHR(about.st_mode) || S_ISFIFO(about.st_mode)))
    return write_to_device(path, data, length, error);
  if (there && !S_ISREG(about.st_mode) && !S_ISDIR(about.st_mode))
    return mpt_fail(error, MPT_ERROR_IO, "cannot write '%s': it is not a file", path);
  const size_t size = strlen(path) + 64;
  char *beside = malloc(size);
  if (beside == NULL)
    return mpt_fail_memory(error, path, size);
  mpt_status status = MPT_OK;
  remove_left_overs(path);
  const int file = open_beside(path, beside, size);
  if (file < 0) {
    status = fail_errno(error, "write", path);
    free(beside);
    return status;
  }
  bool good = write_all(file, data, length) && fsync(file) == 0;
  if (!good)
    status = fail_errno(error, "write", path);
  if (close(file) != 0 && good)
    status = fail_errno(error, "write", path), good = false;
  if (good && rename(beside, path) != 0)
    status = fail_errno(error, "write", path), good = false;
  if (good)
    sync_directory(path);
  else
    unlink(beside);
  free(beside);
  return status;
}

mpt_status mpt_directory_make(const char *path, mpt_error *error) {
  char *part = strdup(path);
  if (part == NULL)
    return mpt_fail_memory(error, path, strlen(path));
  mpt_status status = MPT_OK;
  for (char *slash = part + 1;; slash++) {
    slash = strchr(slash, '/');
    if (slash != NULL)
      *slash = '\0';
    if (mkdir(part, 0755) != 0 && errno != EEXIST) {
      status = fail_errno(error, "make the directory", path);
      break;
    }
    if (slash == NULL)
      break;
    *slash = '/';
  }
  struct stat about;
  if (status == MPT_OK && (stat(path, &about) != 0 || !S_ISDIR(about.st_mode)))
    status = mpt_fail(error, MPT_ERROR_IO, "'%s' is not a directory", path);
  free(part);
  return status;
}

/* $HOME, else the home that the system knows for the user; "" where there is none. */
static void find_home(char *home, size_t size) {
  const char *given = getenv("HOME");
  char names[4096];
  struct passwd user, *found = NULL;
  home[0] = '\0';
  if (given == NULL || *given == '\0') {
    if (getpwuid_r(getuid(), &user, names, sizeof names, &found) != 0 || found == NULL)
      return;
    given = user.pw_dir;
  }
  if (strlen(given) < size)
    strcpy(home, given);
}

mpt_status mpt_cache_path(const char *name, char *path, size_t size, mpt_error *error) {
  const char *cache = getenv("MPTUNE_CACHE"), *xdg = getenv("XDG_CACHE_HOME");
  char home[PATH_MAX];
  int length;
  if (cache != NULL && *cache != '\0')
    length = snprintf(path, size, "%s/%s", cache, name);
  else if (xdg != NULL && *xdg != '\0')
    length = snprintf(path, size, "%s/mptune/%s", xdg, name);
  else {
    find_home(home, sizeof home);
    if (home[0] == '\0')
      return mpt_fail(error, MPT_ERROR_ARGUMENT,
                      "there is no home for the cache; set MPTUNE_CACHE to a folder");
    length = snprintf(path, size, "%s/.cache/mptune/%s", home, name);
  }
  if (length >= (int)size)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "the path of the cache is longer than %zu bytes",
                    size - 1);
  return MPT_OK;
}
