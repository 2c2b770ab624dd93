#include "contract/event_reader.h"
#include "base/error.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 65536 };

struct event_reader {
  int file;
  char path[512];
  char *bytes;             /* what was read and not given out: [from, to) */
  size_t capacity;         /* doubles, up to the limit of a line and a chunk */
  size_t from, to, looked; /* no line ends in [from, looked) */
  int64_t taken;           /* bytes of the file read so far */
  int64_t lines;
};

mpt_status event_reader_open(const char *path, event_reader **out, mpt_error *error) {
  event_reader *r = calloc(1, sizeof *r);
  char *bytes = malloc(CHUNK);
  if (r == NULL || bytes == NULL) {
    free(r);
    free(bytes);
    return mpt_fail_memory(error, "events", CHUNK);
  }
  r->bytes = bytes;
  r->capacity = CHUNK;
  snprintf(r->path, sizeof r->path, "%s", path);
  r->file = open(path, O_RDONLY | O_CLOEXEC);
  if (r->file < 0) {
    const mpt_status status =
        mpt_fail(error, MPT_ERROR_IO, "cannot read '%s': %s", path, strerror(errno));
    event_reader_close(r);
    return status;
  }
  *out = r;
  return MPT_OK;
}

void event_reader_close(event_reader *r) {
  if (r == NULL)
    return;
  if (r->file >= 0)
    close(r->file);
  free(r->bytes);
  free(r);
}

int64_t event_reader_lines(const event_reader *r) {
  return r->lines;
}

static int line_number(const event_reader *r) {
  return r->lines < INT_MAX ? (int)r->lines + 1 : INT_MAX;
}

static mpt_status fail_line(const event_reader *r, mpt_error *error) {
  return mpt_fail_at(error, MPT_ERROR_SYNTAX, r->path, line_number(r), 0,
                     "the line has more than %d bytes, the most of an event; write less in one",
                     EVENT_LINE_LIMIT);
}

/* Room for a chunk behind what is kept. */
static mpt_status make_room(event_reader *r, mpt_error *error) {
  if (r->from > 0) {
    memmove(r->bytes, r->bytes + r->from, r->to - r->from);
    r->to -= r->from;
    r->looked -= r->from;
    r->from = 0;
  }
  if (r->to > EVENT_LINE_LIMIT)
    return fail_line(r, error);
  if (r->capacity - r->to >= CHUNK)
    return MPT_OK;
  char *grown = realloc(r->bytes, 2 * r->capacity);
  if (grown == NULL)
    return mpt_fail_memory(error, "a line of events", 2 * r->capacity);
  r->bytes = grown;
  r->capacity *= 2;
  return MPT_OK;
}

/* A program that opened the file to write it anew, and not to append, has lost what it said. */
static mpt_status check_file(const event_reader *r, mpt_error *error) {
  struct stat about;
  if (fstat(r->file, &about) == 0 && (about.st_size < r->taken || about.st_nlink == 0))
    return mpt_fail_at(error, MPT_ERROR_SYNTAX, r->path, 0, 0,
                       "the file was %s while it was read; open it to append (O_APPEND, 'a', >>)",
                       about.st_nlink == 0 ? "replaced" : "written anew");
  return MPT_OK;
}

/* *more is false at the end of what there is. */
static mpt_status read_chunk(event_reader *r, bool *more, mpt_error *error) {
  ssize_t got;
  MPT_RETURN_IF_FAILED(make_room(r, error));
  while ((got = read(r->file, r->bytes + r->to, CHUNK)) < 0 && errno == EINTR) {
  }
  if (got < 0)
    return mpt_fail(error, MPT_ERROR_IO, "cannot read '%s': %s", r->path, strerror(errno));
  *more = got > 0;
  r->to += (size_t)got;
  r->taken += got;
  return got == 0 ? check_file(r, error) : MPT_OK;
}

/* A complete line, without its end; NULL where there is none yet. */
static mpt_status next_line(event_reader *r, const char **line, size_t *length, mpt_error *error) {
  *line = NULL;
  for (bool more = true; more;) {
    const char *end = memchr(r->bytes + r->looked, '\n', r->to - r->looked);
    if (end != NULL) {
      *line = r->bytes + r->from;
      *length = (size_t)(end - *line);
      r->from = r->looked = (size_t)(end - r->bytes) + 1;
      return *length > EVENT_LINE_LIMIT ? fail_line(r, error) : MPT_OK;
    }
    r->looked = r->to;
    MPT_RETURN_IF_FAILED(read_chunk(r, &more, error));
  }
  return MPT_OK;
}

static bool is_blank(const char *line, size_t length) {
  while (length > 0 && isspace((unsigned char)line[length - 1]))
    length--;
  return length == 0;
}

mpt_status event_reader_next(event_reader *r, bool *found, event *out, mpt_error *error) {
  const char *line;
  size_t length = 0;
  *found = false;
  for (;;) {
    MPT_RETURN_IF_FAILED(next_line(r, &line, &length, error));
    if (line == NULL)
      return MPT_OK;
    if (!is_blank(line, length))
      MPT_RETURN_IF_FAILED(event_read(line, length, r->path, line_number(r), found, out, error));
    r->lines++;
    if (*found)
      return MPT_OK;
  }
}
