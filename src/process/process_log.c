#include "process/process_log.h"
#include "base/error.h"
#include "base/shown.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

mpt_status process_log_open(process_log *log, const char *path, int64_t most, mpt_error *error) {
  log->most = most;
  log->printed = 0;
  log->file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  return log->file >= 0
             ? MPT_OK
             : mpt_fail(error, MPT_ERROR_IO, "cannot write '%s': %s", path, strerror(errno));
}

/* A log that cannot be written (a full disk) is no reason to end the program whose it is. */
static void write_out(int file, const char *bytes, size_t length) {
  while (length > 0) {
    const ssize_t done = write(file, bytes, length);
    if (done < 0 && errno == EINTR)
      continue;
    if (done <= 0)
      return;
    bytes += done;
    length -= (size_t)done;
  }
}

void process_log_add(process_log *log, const char *bytes, size_t length) {
  if (log->printed < log->most) {
    const int64_t room = log->most - log->printed;
    write_out(log->file, bytes, (int64_t)length < room ? length : (size_t)room);
  }
  for (; length > PROCESS_LOG_END; length--, bytes++)
    log->printed++; /* it would be overwritten at once */
  for (; length > 0; length--, bytes++)
    log->end[log->printed++ % PROCESS_LOG_END] = *bytes;
}

/* The end in order; its length. */
static size_t end_of(const process_log *log, char *bytes) {
  const size_t length = log->printed < PROCESS_LOG_END ? (size_t)log->printed : PROCESS_LOG_END;
  for (size_t i = 0; i < length; i++)
    bytes[i] = log->end[((size_t)log->printed - length + i) % PROCESS_LOG_END];
  return length;
}

void process_log_close(process_log *log) {
  char bytes[PROCESS_LOG_END], note[120];
  if (log->file < 0)
    return;
  if (log->printed > log->most) {
    const int64_t beyond = log->printed - log->most;
    const size_t length = end_of(log, bytes),
                 shown = beyond < (int64_t)length ? (size_t)beyond : length;
    const int64_t left_out = beyond - (int64_t)shown;
    if (left_out > 0) {
      const int count =
          snprintf(note, sizeof note, "\n[mptune left out %lld bytes here]\n", (long long)left_out);
      write_out(log->file, note, (size_t)count);
    }
    write_out(log->file, bytes + length - shown, shown);
  }
  close(log->file);
  log->file = -1;
}

static bool is_blank(const char *from, const char *to) {
  for (; from < to; from++)
    if (strchr(" \t\r", *from) == NULL)
      return false;
  return true;
}

/* The last line before *end that is not blank, [*start, *stop), and *end moved before it; a
 * carriage return begins a line anew, as progress bars do. */
static bool line_before(const char *bytes, const char **end, const char **start,
                        const char **stop) {
  while (*end > bytes) {
    *stop = *end;
    while (*stop > bytes && ((*stop)[-1] == '\n' || (*stop)[-1] == '\r'))
      (*stop)--;
    *start = *stop;
    while (*start > bytes && (*start)[-1] != '\n' && (*start)[-1] != '\r')
      (*start)--;
    *end = *start;
    if (!is_blank(*start, *stop))
      return true;
  }
  return false;
}

/* A line as it is shown, cut to LONGEST bytes. */
static void add_line(mpt_text *out, const char *start, const char *stop) {
  enum { LONGEST = 400 };
  char line[LONGEST + 1];
  const size_t all = (size_t)(stop - start), used = all < LONGEST ? all : LONGEST;
  memcpy(line, start, used);
  line[used] = '\0';
  if (used < all)
    mpt_utf8_trim(line);
  mpt_text_add_shown(out, line);
}

void process_log_last_lines(const process_log *log, int lines, char *text, size_t size) {
  enum { MOST = 32 };
  char bytes[PROCESS_LOG_END + 1];
  const char *starts[MOST], *stops[MOST];
  const size_t length = end_of(log, bytes);
  const char *end = bytes + length;
  int count = 0;
  bytes[length] = '\0';
  for (size_t i = 0; i < length; i++)
    if (bytes[i] == '\0')
      bytes[i] = ' ';
  while (count < lines && count < MOST && line_before(bytes, &end, &starts[count], &stops[count]))
    count++;
  text[0] = '\0';
  /* As many as fit: rather the newest. */
  for (bool fits = false; count > 0 && !fits; count--) {
    mpt_text out = mpt_text_over(text, size);
    for (int i = count - 1; i >= 0; i--) {
      add_line(&out, starts[i], stops[i]);
      if (i > 0)
        mpt_text_add(&out, "\n");
    }
    fits = !out.failed;
  }
}
