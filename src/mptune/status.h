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

#define MPT_STATUS_LIST(ENTRY)                                                                     \
  ENTRY(MPT_OK, "ok")                                                                              \
  ENTRY(MPT_ERROR_ARGUMENT, "an argument is out of range or NULL")                                 \
  ENTRY(MPT_ERROR_MEMORY, "out of memory")                                                         \
  ENTRY(MPT_ERROR_IO, "a file could not be read or written")                                       \
  ENTRY(MPT_ERROR_NOT_FOUND, "not found")                                                          \
  ENTRY(MPT_ERROR_SYNTAX, "a file does not follow its schema")                                     \
  ENTRY(MPT_ERROR_SHAPE, "shapes do not fit together")                                             \
  ENTRY(MPT_ERROR_UNSUPPORTED, "the backend or device does not support this")                      \
  ENTRY(MPT_ERROR_MISMATCH, "a file was made for something else")                                  \
  ENTRY(MPT_ERROR_VERSION, "a file was written by another version")                                \
  ENTRY(MPT_ERROR_BUSY, "in use by another process")                                               \
  ENTRY(MPT_ERROR_NONFINITE, "a value became infinite or not a number")                            \
  ENTRY(MPT_ERROR_DEVICE, "the device or its driver failed")                                       \
  ENTRY(MPT_ERROR_INTERRUPTED, "interrupted")                                                      \
  ENTRY(MPT_ERROR_INTERNAL, "internal error")                                                      \
  ENTRY(MPT_ERROR_DAMAGED, "what was stored is damaged")                                           \
  ENTRY(MPT_ERROR_DEVICE_MEMORY, "the device has too little memory")

#define MPT_STATUS_ENUM(name, text) name,
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
