/* Setting error messages. Every function returns the status, so that a caller writes
 * `return mpt_fail(error, MPT_ERROR_IO, "cannot read '%s': %s", path, strerror(errno));` */
#ifndef MPT_BASE_ERROR_H
#define MPT_BASE_ERROR_H

#include "mptune/status.h"
#include <stddef.h>

#ifdef __cplusplus
extern "C" { /* the launchers of kernels/cuda report errors too */
#endif

mpt_status mpt_fail(mpt_error *error, mpt_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with a place in a file; line and column count from 1, 0 when unknown. */
mpt_status mpt_fail_at(mpt_error *error, mpt_status status, const char *file, int line, int column,
                       const char *format, ...) __attribute__((format(printf, 6, 7)));

/* MPT_ERROR_MEMORY: "out of memory for <what> (<bytes> bytes)". */
mpt_status mpt_fail_memory(mpt_error *error, const char *what, size_t bytes);

#ifdef __cplusplus
}
#endif

#ifdef __clang_analyzer__ /* sees one file at a time, and so not that a failure is never MPT_OK */
#define mpt_fail(error, status, ...)    (mpt_fail(error, status, __VA_ARGS__), status)
#define mpt_fail_at(error, status, ...) (mpt_fail_at(error, status, __VA_ARGS__), status)
#define mpt_fail_memory(...)            (mpt_fail_memory(__VA_ARGS__), MPT_ERROR_MEMORY)
#endif

/* Leaves through `fail` when a call does not succeed; the enclosing function has a `status`. */
#define MPT_TRY(call)                                                                              \
  do {                                                                                             \
    status = (call);                                                                               \
    if (status != MPT_OK)                                                                          \
      goto fail;                                                                                   \
  } while (0)

/* Returns at once when a call does not succeed, for functions with nothing to undo. */
#define MPT_RETURN_IF_FAILED(call)                                                                 \
  do {                                                                                             \
    mpt_status mpt_call_status_ = (call);                                                          \
    if (mpt_call_status_ != MPT_OK)                                                                \
      return mpt_call_status_;                                                                     \
  } while (0)

#endif
