/* Status codes and error messages.
 *
 * Every function that can fail returns an mpt_status and takes, last, an optional mpt_error that
 * receives the message. NULL is allowed everywhere an mpt_error is asked for. On failure outputs
 * are left as they were unless the function says otherwise. The library never prints, never exits,
 * and installs no handler.
 */
#ifndef MPTUNE_STATUS_H
#define MPTUNE_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(MPT_BUILDING_SHARED)
#define MPT_API __attribute__((visibility("default")))
#else
#define MPT_API
#endif

/* ENTRY(name, number, text). A number is never given to another status: programs are compiled
 * against older headers. */
#define MPT_STATUS_LIST(ENTRY)                                                                     \
  ENTRY(MPT_OK, 0, "ok")                                                                           \
  ENTRY(MPT_ERROR_ARGUMENT, 1, "an argument is out of range or NULL")                              \
  ENTRY(MPT_ERROR_MEMORY, 2, "out of memory")                                                      \
  ENTRY(MPT_ERROR_IO, 3, "a file could not be read or written")                                    \
  ENTRY(MPT_ERROR_NOT_FOUND, 4, "not found")                                                       \
  ENTRY(MPT_ERROR_SYNTAX, 5, "a file does not follow its schema")                                  \
  ENTRY(MPT_ERROR_SHAPE, 6, "shapes do not fit together")                                          \
  ENTRY(MPT_ERROR_UNSUPPORTED, 7, "the backend or device does not support this")                   \
  ENTRY(MPT_ERROR_MISMATCH, 8, "a file was made for something else")                               \
  ENTRY(MPT_ERROR_VERSION, 9, "a file was written by another version")                             \
  ENTRY(MPT_ERROR_BUSY, 10, "in use by another process")                                           \
  ENTRY(MPT_ERROR_NONFINITE, 11, "a value became infinite or not a number")                        \
  ENTRY(MPT_ERROR_DEVICE, 12, "the device or its driver failed")                                   \
  ENTRY(MPT_ERROR_INTERRUPTED, 13, "interrupted")                                                  \
  ENTRY(MPT_ERROR_INTERNAL, 14, "internal error")                                                  \
  ENTRY(MPT_ERROR_DAMAGED, 15, "what was stored is damaged")                                       \
  ENTRY(MPT_ERROR_DEVICE_MEMORY, 16, "the device has too little memory")                           \
  ENTRY(MPT_ERROR_UNPREPARED, 17, "this was not prepared before the step")                         \
  ENTRY(MPT_ERROR_PROGRAM, 18, "a program under evaluation failed")

#define MPT_STATUS_ENUM(name, number, text) name = (number),
typedef enum mpt_status { MPT_STATUS_LIST(MPT_STATUS_ENUM) MPT_STATUS_COUNT } mpt_status;
#undef MPT_STATUS_ENUM

/* What went wrong, where. `file` is empty when the error is not about a file; `line` and `column`
 * count from 1 and are 0 when unknown. */
typedef struct mpt_error {
  mpt_status status;
  int line;
  int column;
  char file[256];
  char message[768]; /* lower case, no full stop: the thing, the place, the remedy */
} mpt_error;

/* The general text of a status; never NULL. */
MPT_API const char *mpt_status_text(mpt_status status);

/* The name of a status as written in C, "MPT_ERROR_IO"; never NULL. */
MPT_API const char *mpt_status_name(mpt_status status);

#ifdef __cplusplus
}
#endif
#endif
