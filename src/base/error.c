#include "base/error.h"
#include "base/shown.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#undef mpt_fail
#undef mpt_fail_at
#undef mpt_fail_memory

static const char *const status_texts[MPT_STATUS_COUNT] = {
#define TEXT(name, number, text) [number] = (text),
    MPT_STATUS_LIST(TEXT)
#undef TEXT
};

static const char *const status_names[MPT_STATUS_COUNT] = {
#define NAME(name, number, text) [number] = #name,
    MPT_STATUS_LIST(NAME)
#undef NAME
};

const char *mpt_status_text(mpt_status status) {
  return (unsigned)status < MPT_STATUS_COUNT ? status_texts[status] : "unknown status";
}

const char *mpt_status_name(mpt_status status) {
  return (unsigned)status < MPT_STATUS_COUNT ? status_names[status] : "unknown status";
}

static void set(mpt_error *error, mpt_status status, const char *file, int line, int column,
                const char *format, va_list arguments) {
  if (error == NULL)
    return;
  /* The new message may quote the old one, so it is put together apart. */
  mpt_error made = {.status = status, .line = line, .column = column};
  if (file != NULL)
    mpt_copy_text(made.file, sizeof made.file, file);
  if (vsnprintf(made.message, sizeof made.message, format, arguments) >= (int)sizeof made.message)
    mpt_utf8_trim(made.message);
  *error = made;
}

mpt_status mpt_fail(mpt_error *error, mpt_status status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  set(error, status, NULL, 0, 0, format, arguments);
  va_end(arguments);
  return status;
}

mpt_status mpt_fail_at(mpt_error *error, mpt_status status, const char *file, int line, int column,
                       const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  set(error, status, file, line, column, format, arguments);
  va_end(arguments);
  return status;
}

mpt_status mpt_fail_memory(mpt_error *error, const char *what, size_t bytes) {
  return mpt_fail(error, MPT_ERROR_MEMORY, "out of memory for %s (%zu bytes)", what, bytes);
}
