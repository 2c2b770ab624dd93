/* Records and fields of a csv file (RFC 4180): a field in quotes may hold commas, line ends and
 * doubled quotes. Taken besides: a byte order mark, blanks around fields, blank lines, lines that
 * end in CR LF, LF or CR. Every line of the file is counted. */
#include "base/error.h"
#include "data/csv.h"
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BYTES  ((int64_t)4 << 30)
#define MOST_RECORD ((size_t)16 << 20)
enum { END = -1 };

mpt_status csv_fail(const char *path, const csv_field *field, mpt_error *error, const char *format,
                    ...) {
  char message[sizeof error->message];
  bool countable = field->line <= INT_MAX && field->column <= INT_MAX;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  return mpt_fail_at(error, MPT_ERROR_SYNTAX, path, countable ? (int)field->line : 0,
                     countable ? (int)field->column : 0, "%s", message);
}

const char *csv_text(const csv_record *record, int field) {
  return record->text + record->fields[field].start;
}

void csv_record_free(csv_record *record) {
  free(record->text);
  free(record->fields);
  *record = (csv_record){0};
}

/* ---- characters ---- */

/* The next byte, left where it is; END also when reading failed. */
static int peek(csv_scanner *s) {
  if (s->at < s->filled)
    return s->buffer[s->at];
  if (s->status != MPT_OK)
    return END;
  s->at = 0;
  s->filled = stream_read(&s->stream, s->buffer, sizeof s->buffer);
  s->status = stream_check(&s->stream, s->error);
  if (s->status != MPT_OK)
    s->filled = 0;
  return s->filled > 0 ? s->buffer[0] : END;
}

/* Goes behind the byte that peek gave; a line ends at LF, at CR LF, and at CR alone. */
static void advance(csv_scanner *s) {
  int byte = s->buffer[s->at++];
  if (byte == '\n' || (byte == '\r' && peek(s) != '\n')) {
    s->line++;
    s->column = 1;
  } else {
    s->column += (byte & 0xC0) != 0x80; /* UTF-8 characters, not their bytes */
  }
}

static bool ends_line(int byte) {
  return byte == '\n' || byte == '\r' || byte == END;
}

static void skip_blanks(csv_scanner *s) {
  while (peek(s) == ' ' || peek(s) == '\t')
    advance(s);
}

static mpt_status fail_here(csv_scanner *s, const char *message) {
  csv_field here = {.line = s->line, .column = s->column};
  return csv_fail(s->stream.path, &here, s->error, "%s", message);
}

/* ---- fields ---- */

static mpt_status put(csv_scanner *s, csv_record *record, int byte) {
  if (record->length == record->room) {
    size_t room = 2 * record->room + 256;
    char *text = room > MOST_RECORD ? NULL : realloc(record->text, room);
    if (text == NULL && room > MOST_RECORD)
      return csv_fail(s->stream.path, &record->fields[0], s->error,
                      "a line of more than 16 MiB; does a quoted field not end?");
    if (text == NULL)
      return mpt_fail_memory(s->error, "a line", room);
    record->text = text;
    record->room = room;
  }
  record->text[record->length++] = (char)byte;
  return MPT_OK;
}

/* Takes what stands at the scanner; a NUL would end the text before its end. */
static mpt_status put_next(csv_scanner *s, csv_record *record) {
  int byte = peek(s);
  if (byte == '\0')
    return fail_here(s, "a NUL byte; a csv file is text (if it is UTF-16, save it as UTF-8)");
  MPT_RETURN_IF_FAILED(put(s, record, byte));
  advance(s);
  return MPT_OK;
}

static csv_field *new_field(csv_scanner *s, csv_record *record) {
  if (record->count == record->field_room) {
    int room = 2 * record->field_room + 16;
    csv_field *fields = realloc(record->fields, (size_t)room * sizeof *fields);
    if (fields == NULL)
      return NULL;
    record->fields = fields;
    record->field_room = room;
  }
  csv_field *field = &record->fields[record->count++];
  *field = (csv_field){.start = record->length, .line = s->line, .column = s->column};
  return field;
}

/* From the opening quote to what stands behind the closing one. */
static mpt_status read_quoted(csv_scanner *s, csv_record *record, const csv_field *field) {
  for (advance(s);;) {
    int byte = peek(s);
    if (byte == END)
      return s->status != MPT_OK
                 ? s->status
                 : csv_fail(s->stream.path, field, s->error, "a quoted field that does not end");
    if (byte == '"') {
      advance(s);
      if (peek(s) != '"')
        break;
    }
    MPT_RETURN_IF_FAILED(put_next(s, record));
  }
  skip_blanks(s);
  if (peek(s) != ',' && !ends_line(peek(s)))
    return fail_here(s, "text behind a closing quote; a quote within quotes is doubled");
  return MPT_OK;
}

static mpt_status read_plain(csv_scanner *s, csv_record *record, size_t start) {
  while (peek(s) != ',' && !ends_line(peek(s)))
    MPT_RETURN_IF_FAILED(put_next(s, record));
  while (record->length > start &&
         (record->text[record->length - 1] == ' ' || record->text[record->length - 1] == '\t'))
    record->length--;
  return MPT_OK;
}

static mpt_status read_field(csv_scanner *s, csv_record *record) {
  if (record->count == CSV_MAX_COLUMNS)
    return csv_fail(s->stream.path, &record->fields[0], s->error, "more than %d columns",
                    CSV_MAX_COLUMNS);
  skip_blanks(s);
  csv_field *field = new_field(s, record);
  if (field == NULL)
    return mpt_fail_memory(s->error, "fields", (size_t)record->count * sizeof *field);
  field->quoted = peek(s) == '"';
  MPT_RETURN_IF_FAILED(field->quoted ? read_quoted(s, record, field)
                                     : read_plain(s, record, field->start));
  field->length = record->length - field->start;
  return put(s, record, '\0');
}

/* ---- records ---- */

/* Fields up to the end of the line. */
static mpt_status read_record(csv_scanner *s, csv_record *record) {
  record->count = 0;
  record->length = 0;
  for (;;) {
    MPT_RETURN_IF_FAILED(read_field(s, record));
    int behind = peek(s);
    if (behind == END)
      return s->status;
    advance(s);
    if (behind == '\r' && peek(s) == '\n')
      advance(s);
    if (behind != ',')
      return MPT_OK;
  }
}

mpt_status csv_scan_next(csv_scanner *s, csv_record *record) {
  do {
    record->count = 0;
    if (peek(s) == END)
      return s->status;
    MPT_RETURN_IF_FAILED(read_record(s, record));
  } while (record->count == 1 && record->fields[0].length == 0 && !record->fields[0].quoted);
  return MPT_OK;
}

mpt_status csv_scan_open(csv_scanner *s, const char *path, mpt_error *error) {
  *s = (csv_scanner){.line = 1, .column = 1, .error = error};
  MPT_RETURN_IF_FAILED(stream_open(path, STREAM_WHOLE, MOST_BYTES, "; train on a part of the file",
                                   &s->stream, error));
  peek(s);
  if (s->filled >= 3 && memcmp(s->buffer, "\xEF\xBB\xBF", 3) == 0)
    s->at = 3;
  return MPT_OK;
}

mpt_status csv_scan_close(csv_scanner *s, mpt_status status) {
  return stream_close(&s->stream, status, s->error);
}
