/* Whole files: read with a limit, written so that a crash leaves the old or the new. */
#ifndef MPT_BASE_FILE_H
#define MPT_BASE_FILE_H

#include "mptune/status.h"
#include <stddef.h>

/* Reads at most `limit` bytes into a buffer that the caller frees with free(); it has a NUL after
 * `*length` bytes. A directory, a file over the limit and an unreadable one are MPT_ERROR_IO, a
 * missing one MPT_ERROR_NOT_FOUND. */
mpt_status mpt_file_read(const char *path, size_t limit, char **data, size_t *length,
                         mpt_error *error);

/* Writes beside `path`, fsyncs, renames, fsyncs the directory: what stood there is replaced, a link
 * too, never what it leads to. A pipe or a character device is written to; what else is no file is
 * MPT_ERROR_IO. What writers of the same file that were killed left beside it ("NAME.PID-N.tmp") is
 * taken away first. */
mpt_status mpt_file_write(const char *path, const char *data, size_t length, mpt_error *error);

/* mkdir -p. */
mpt_status mpt_directory_make(const char *path, mpt_error *error);

/* `name` in the user's cache: in $MPTUNE_CACHE, else $XDG_CACHE_HOME/mptune, else ~/.cache/mptune,
 * where ~ is $HOME, or the system's entry for the user where that is unset. MPT_ERROR_ARGUMENT
 * where there is neither, and where `path` is too short. src/packages.sh has the same rule. */
mpt_status mpt_cache_path(const char *name, char *path, size_t size, mpt_error *error);

#endif
