/* Where the files of a data set are: in a Debian package's place on this machine, in the cache
 * where ./mptune unpacks packages that it does not install, or at a path. */
#include "base/error.h"
#include "base/file.h"
#include "data/source.h"
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 1024, MAX_FILES = 10000 };

static mpt_status package_cache(const char *package, char folder[PATH_SIZE], mpt_error *error) {
  char name[PATH_SIZE];
  snprintf(name, sizeof name, "packages/%s/", package);
  return mpt_cache_path(name, folder, PATH_SIZE, error);
}

/* Whether the package's files are on this machine. Asked of dpkg, since a glob could match files of
 * other packages: perl-modules has one file where perl-doc has 200. Without dpkg: yes. */
static bool installed(const char *package) {
  static const char dpkg[] = "/var/lib/dpkg/info";
  char path[PATH_SIZE];
  snprintf(path, sizeof path, "%s/%s.list", dpkg, package);
  return access(path, F_OK) == 0 || access(dpkg, F_OK) != 0;
}

static int compare_paths(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A pattern has ways to leave the root of its package: `.?` matches `..`, and links lead out. */
static mpt_status check_below(const char *root, const char *path, mpt_error *error) {
  errno = 0;
  char *whole = realpath(root, NULL), *real = realpath(path, NULL);
  const size_t length = whole != NULL ? strlen(whole) : 0;
  mpt_status status = MPT_OK;
  if ((whole == NULL || real == NULL) && errno == ENOMEM)
    status = mpt_fail_memory(error, path, strlen(path));
  else if (whole == NULL || real == NULL)
    status = mpt_fail_at(error, MPT_ERROR_IO, path, 0, 0, "cannot tell where it is");
  else if (length > 1 && (strncmp(real, whole, length) != 0 || real[length] != '/'))
    status = mpt_fail_at(error, MPT_ERROR_ARGUMENT, path, 0, 0,
                         "is '%s', outside of the package's root '%s'", real, whole);
  free(whole);
  free(real);
  return status;
}

/* Keeps the first path of each file: /usr/share/perl/5.36 is a link to 5.36.0, and a glob finds
 * both. */
static mpt_status drop_twins(const char *root, glob_t *found, file_list *files, mpt_error *error) {
  struct identity {
    dev_t device;
    ino_t inode;
  } *seen = calloc(found->gl_pathc, sizeof *seen);
  files->paths = calloc(found->gl_pathc, sizeof *files->paths);
  mpt_status status = MPT_OK;
  if (seen == NULL || files->paths == NULL) {
    status = mpt_fail_memory(error, "names of files", found->gl_pathc * sizeof *seen);
    goto done;
  }
  qsort(found->gl_pathv, found->gl_pathc, sizeof *found->gl_pathv, compare_paths);
  for (size_t i = 0; i < found->gl_pathc && status == MPT_OK; i++) {
    const char *path = found->gl_pathv[i];
    struct stat info;
    if (stat(path, &info) != 0) {
      status = mpt_fail_at(error, MPT_ERROR_NOT_FOUND, path, 0, 0,
                           "no such file (a link that leads nowhere?)");
      break;
    }
    if (*root != '\0' && (status = check_below(root, path, error)) != MPT_OK)
      break;
    bool twin = false;
    for (int j = 0; j < files->count && !twin; j++)
      twin = seen[j].device == info.st_dev && seen[j].inode == info.st_ino;
    if (twin)
      continue;
    if (S_ISDIR(info.st_mode)) {
      status = mpt_fail_at(error, MPT_ERROR_IO, path, 0, 0, "is a directory; name its files: %s/*",
                           path);
      break;
    }
    seen[files->count] = (struct identity){info.st_dev, info.st_ino};
    if ((files->paths[files->count++] = strdup(path)) == NULL)
      status = mpt_fail_memory(error, "names of files", strlen(path));
  }
done:
  free(seen);
  if (status != MPT_OK)
    files_free(files);
  return status;
}

/* files->count stays 0 when nothing matches. A path that is there is taken as it is: `a[1].txt` is
 * a name before it is a pattern. */
static mpt_status find_below(const char *root, const char *pattern, file_list *files,
                             mpt_error *error) {
  char path[2 * PATH_SIZE], *paths[] = {path};
  glob_t found;
  snprintf(path, sizeof path, "%s%s", root, pattern);
  if (access(path, F_OK) == 0) {
    found = (glob_t){.gl_pathc = 1, .gl_pathv = paths};
    return drop_twins(root, &found, files, error);
  }
  int result = glob(path, GLOB_NOSORT, NULL, &found);
  if (result == GLOB_NOSPACE)
    return mpt_fail_memory(error, "names of files", sizeof found);
  if (result != 0)
    return MPT_OK;
  mpt_status status =
      found.gl_pathc > MAX_FILES
          ? mpt_fail(error, MPT_ERROR_ARGUMENT, "'%s' matches %zu files; at most %d are read",
                     pattern, found.gl_pathc, MAX_FILES)
          : drop_twins(root, &found, files, error);
  globfree(&found);
  return status;
}

mpt_status files_find(const data_spec *spec, const char *pattern, file_list *files,
                      mpt_error *error) {
  char root[PATH_SIZE] = "/";
  *files = (file_list){0};
  if (spec->package[0] == '\0') {
    MPT_RETURN_IF_FAILED(find_below("", pattern, files, error));
    if (files->count == 0)
      return mpt_fail(error, MPT_ERROR_NOT_FOUND,
                      "no file '%s'; paths of data are relative to the working directory", pattern);
    return MPT_OK;
  }
  bool here = installed(spec->package);
  if (!here)
    MPT_RETURN_IF_FAILED(package_cache(spec->package, root, error));
  MPT_RETURN_IF_FAILED(find_below(root, pattern, files, error));
  if (files->count > 0)
    return MPT_OK;
  if (here)
    return mpt_fail(error, MPT_ERROR_NOT_FOUND,
                    "no file '/%s' of package %s; install it (apt-get install %s), or look where "
                    "this version of it has its files",
                    pattern, spec->package, spec->package);
  if (access(root, F_OK) == 0)
    return mpt_fail(
        error, MPT_ERROR_NOT_FOUND,
        "no file '%s' of package %s, which is unpacked in '%s'; look where this version "
        "of it has its files",
        pattern, spec->package, root);
  return mpt_fail(error, MPT_ERROR_NOT_FOUND,
                  "no data of package %s: it is not installed, and '%s' is not below '%s'; install "
                  "it (apt-get install %s), or let ./mptune fetch it",
                  spec->package, pattern, root, spec->package);
}

void files_free(file_list *files) {
  for (int i = 0; files->paths != NULL && i < files->count; i++)
    free(files->paths[i]);
  free(files->paths);
  *files = (file_list){0};
}
