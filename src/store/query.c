/* Queries, and what SQLite's failures mean to a user. */
#include "base/clock.h"
#include "base/error.h"
#include "store/database.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SYNC_SECONDS 1.0

void database_sync_next(store *s) {
  s->synced = -INFINITY;
}

/* In WAL, FULL syncs at every commit, and with it all that were made before; NORMAL at none. */
static void choose_sync(store *s) {
  if (s->lock < 0 || sqlite3_get_autocommit(s->database) == 0)
    return;
  const bool due = mpt_clock_seconds() - s->synced >= SYNC_SECONDS;
  if (due != s->syncs &&
      sqlite3_exec(s->database, due ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL",
                   NULL, NULL, NULL) == SQLITE_OK)
    s->syncs = due;
}

/* Whether a change was committed, by itself or as the end of a group. */
static void note_sync(const query *q) {
  store *s = q->s;
  if (s->syncs && q->code == SQLITE_OK && sqlite3_get_autocommit(s->database) != 0 &&
      (s->grouping || sqlite3_stmt_readonly(q->statement) == 0))
    s->synced = mpt_clock_seconds();
}

/* To prepare a statement takes longer than to run most of them. */
static sqlite3_stmt *take_kept(store *s, const char *sql) {
  for (int i = 0; i < DATABASE_KEPT; i++) {
    sqlite3_stmt *statement = s->kept[i];
    if (statement == NULL || strcmp(sqlite3_sql(statement), sql) != 0)
      continue;
    s->kept[i] = NULL;
    return statement;
  }
  return NULL;
}

static void keep_statement(store *s, sqlite3_stmt *statement) {
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  sqlite3_finalize(s->kept[s->next_kept]);
  s->kept[s->next_kept] = statement;
  s->next_kept = (s->next_kept + 1) % DATABASE_KEPT;
}

void database_close(store *s) {
  for (int i = 0; i < DATABASE_KEPT; i++) {
    sqlite3_finalize(s->kept[i]);
    s->kept[i] = NULL;
  }
  sqlite3_close(s->database);
  s->database = NULL;
}

query query_begin(store *s, const char *sql) {
  choose_sync(s);
  query q = {.s = s, .statement = take_kept(s, sql)};
  if (q.statement == NULL)
    q.code = sqlite3_prepare_v2(s->database, sql, -1, &q.statement, NULL);
  return q;
}

bool query_row(query *q) {
  if (q->code != SQLITE_OK || q->out_of_memory || q->damaged[0] != '\0' || q->done)
    return false;
  const int code = sqlite3_step(q->statement);
  q->position = 0;
  q->done = code == SQLITE_DONE; /* one more step would run it again */
  if (code != SQLITE_ROW && code != SQLITE_DONE)
    q->code = code;
  return code == SQLITE_ROW;
}

mpt_status store_damaged(const store *s, mpt_error *error, const char *format, ...) {
  char what[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  return mpt_fail(error, MPT_ERROR_DAMAGED, "'%s' is damaged: %s; start anew beside it (--fresh)",
                  s->path, what);
}

static mpt_status explain(store *s, int code, mpt_error *error) {
  const char *text = sqlite3_errmsg(s->database);
  if (code == SQLITE_IOERR_WRITE || code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_SHMSIZE)
    return mpt_fail(error, MPT_ERROR_IO,
                    "cannot write '%s' (a quota, a limit on file sizes, or a failing disk); make "
                    "room, then the same command continues",
                    s->path);
  switch (code & 0xff) {
  case SQLITE_FULL:
    return mpt_fail(
        error, MPT_ERROR_IO,
        "the disk is full: '%s' cannot grow; make room, then the same command continues", s->path);
  case SQLITE_NOTADB:
    return mpt_fail(error, MPT_ERROR_SYNTAX,
                    "'%s' is not a run store; move it away, or choose another directory (-o)",
                    s->path);
  case SQLITE_ERROR: /* a table or column that every store has is not there */
  case SQLITE_CORRUPT:
    return store_damaged(s, error, "%s", text);
  case SQLITE_NOMEM:
    return mpt_fail_memory(error, s->path, 0);
  case SQLITE_BUSY:
  case SQLITE_LOCKED:
    return mpt_fail(error, MPT_ERROR_BUSY, "'%s' is in use by another process (%s)", s->path, text);
  default:
    return mpt_fail(error, MPT_ERROR_IO, "cannot use '%s': %s", s->path, text);
  }
}

/* Some failures make SQLite roll back by itself. */
static void take_group_back(store *s) {
  if (!s->grouping)
    return;
  s->grouping = false;
  if (sqlite3_get_autocommit(s->database) == 0)
    sqlite3_exec(s->database, "ROLLBACK", NULL, NULL, NULL);
}

mpt_status query_end(query *q, mpt_error *error) {
  while (query_row(q))
    ;
  mpt_status status = MPT_OK;
  if (q->out_of_memory)
    status = mpt_fail_memory(error, q->s->path, 0);
  else if (q->code != SQLITE_OK)
    status = explain(q->s, q->code, error);
  else if (q->damaged[0] != '\0')
    status = store_damaged(q->s, error, "%s", q->damaged);
  note_sync(q);
  if (status == MPT_OK && q->statement != NULL)
    keep_statement(q->s, q->statement);
  else
    sqlite3_finalize(q->statement);
  q->statement = NULL;
  if (status != MPT_OK)
    take_group_back(q->s);
  return status;
}

static void note(query *q, int code) {
  if (q->code == SQLITE_OK)
    q->code = code;
}

void bind_text(query *q, const char *text) {
  if (q->code == SQLITE_OK)
    note(q, sqlite3_bind_text(q->statement, ++q->position, text, -1, SQLITE_STATIC));
}

void bind_integer(query *q, int64_t value) {
  if (q->code == SQLITE_OK)
    note(q, sqlite3_bind_int64(q->statement, ++q->position, value));
}

void bind_real(query *q, double value) {
  if (q->code == SQLITE_OK) /* SQLite stores NaN as NULL */
    note(q, sqlite3_bind_double(q->statement, ++q->position, value));
}

void bind_blob(query *q, const void *data, size_t bytes) {
  if (q->code == SQLITE_OK)
    note(q, sqlite3_bind_blob64(q->statement, ++q->position, data, bytes, SQLITE_STATIC));
}

/* ---- columns, whose types anybody may have changed ---- */

void query_damaged(query *q, const char *format, ...) {
  if (q->damaged[0] != '\0')
    return;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(q->damaged, sizeof q->damaged, format, arguments);
  va_end(arguments);
}

/* The next column, where it has that type or is NULL. */
static int next_column(query *q, int type, const char *what) {
  const int column = q->position++, found = sqlite3_column_type(q->statement, column);
  const bool whole_number = type == SQLITE_FLOAT && found == SQLITE_INTEGER;
  if (found != type && found != SQLITE_NULL && !whole_number)
    query_damaged(q, "a column '%.60s' is not %s", sqlite3_column_name(q->statement, column), what);
  return column;
}

static bool is_null(const query *q, int column) {
  return sqlite3_column_type(q->statement, column) == SQLITE_NULL;
}

int64_t column_integer(query *q) {
  return sqlite3_column_int64(q->statement, next_column(q, SQLITE_INTEGER, "a whole number"));
}

int64_t column_count(query *q, int64_t most) {
  const bool absent = is_null(q, q->position);
  const int64_t value = column_integer(q);
  if (absent)
    query_damaged(q, "a column '%.60s' is empty",
                  sqlite3_column_name(q->statement, q->position - 1));
  if (value >= 0 && value <= most)
    return value;
  query_damaged(q, "a column '%.60s' is %lld", sqlite3_column_name(q->statement, q->position - 1),
                (long long)value);
  return 0;
}

double column_real(query *q) {
  const int column = next_column(q, SQLITE_FLOAT, "a number");
  return is_null(q, column) ? NAN : sqlite3_column_double(q->statement, column);
}

static void *copy_column(query *q, int column, size_t *bytes) {
  const void *data = sqlite3_column_blob(q->statement, column);
  *bytes = (size_t)sqlite3_column_bytes(q->statement, column);
  if (is_null(q, column))
    return NULL;
  char *copy = malloc(*bytes + 1);
  if (copy == NULL || (data == NULL && *bytes > 0)) {
    free(copy);
    q->out_of_memory = true;
    *bytes = 0;
    return NULL;
  }
  if (*bytes > 0)
    memcpy(copy, data, *bytes);
  copy[*bytes] = '\0';
  return copy;
}

void *column_blob(query *q, size_t *bytes) {
  return copy_column(q, next_column(q, SQLITE_BLOB, "a blob"), bytes);
}

char *column_text(query *q) {
  size_t bytes;
  return copy_column(q, next_column(q, SQLITE_TEXT, "a text"), &bytes);
}

void column_string(query *q, char *text, size_t size) {
  const int column = next_column(q, SQLITE_TEXT, "a text");
  const char *value = (const char *)sqlite3_column_text(q->statement, column);
  if (value == NULL && !is_null(q, column))
    q->out_of_memory = true;
  if (value != NULL && strlen(value) >= size)
    query_damaged(q, "a column '%.60s' is longer than %zu bytes",
                  sqlite3_column_name(q->statement, column), size - 1);
  snprintf(text, size, "%s", value == NULL ? "" : value);
}

bool list_grow(query *q, void **array, int count, size_t element) {
  if ((count & (count - 1)) != 0) /* room is always the next power of two */
    return true;
  void *grown = realloc(*array, (count == 0 ? 1 : 2 * (size_t)count) * element);
  if (grown == NULL)
    q->out_of_memory = true;
  else
    *array = grown;
  return grown != NULL;
}
