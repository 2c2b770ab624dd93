/* The store's connection, and queries on it. Private to src/store/.
 *
 * A query is begun, its parameters bound in order, its rows fetched, its columns read in order, and
 * ended; a failure on the way is remembered and reported by the end:
 *
 *   query q = query_begin(s, "SELECT json FROM notes WHERE name = ?");
 *   bind_text(&q, name);
 *   while (query_row(&q))
 *     text = column_text(&q);
 *   return query_end(&q, error);
 */
#ifndef DATABASE_H
#define DATABASE_H

#include "store/store.h"
#include <sqlite3.h>

/* "mptu": a database that is not a run store is never written to. */
#define STORE_APPLICATION 0x6d707475
/* Raised with every change of the tables (schema.c); an older store is then brought up. */
#define STORE_SCHEMA 3

#define DATABASE_KEPT 16

struct store {
  sqlite3 *database;
  sqlite3_stmt
      *kept[DATABASE_KEPT]; /* ended ones, for the next query of the same text; NULL: none */
  int next_kept;
  char *path;    /* of the database */
  int lock;      /* file descriptor, -1 for a reader */
  bool grouping; /* between store_begin and store_end */
  bool syncs;    /* the next commit waits until it is on the disk */
  double synced; /* when one last did, monotonic seconds */
};

typedef struct query {
  store *s;
  sqlite3_stmt *statement;
  int code;     /* the first failure, or SQLITE_OK */
  int position; /* of the next parameter, or column */
  bool done, out_of_memory;
  char damaged[160]; /* what is wrong with a row; empty: nothing */
} query;

query query_begin(store *s, const char *sql);
bool query_row(query *q); /* false at the end, and on failure */
/* Runs what gives no rows, frees the statement; a failure takes the group that is open back. */
mpt_status query_end(query *q, mpt_error *error);

void bind_text(query *q, const char *text); /* NULL is NULL, as NaN is */
void bind_integer(query *q, int64_t value);
void bind_real(query *q, double value);
void bind_blob(query *q, const void *data, size_t bytes); /* data NULL: NULL */

/* A value of another type, and a string that does not fit, are damage, which the end reports. */
int64_t column_integer(query *q);                      /* NULL is 0 */
int64_t column_count(query *q, int64_t most);          /* 0 to most */
double column_real(query *q);                          /* NULL is NaN */
char *column_text(query *q);                           /* a copy, NULL for NULL */
void column_string(query *q, char *text, size_t size); /* NULL is empty */
void *column_blob(query *q, size_t *bytes);            /* a copy, NULL for NULL */
/* What a reader finds wrong with a row besides; the first is kept. */
void query_damaged(query *q, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Room for one more element of an array that the caller owns; false when there is no memory. */
bool list_grow(query *q, void **array, int count, size_t element);

mpt_status database_execute(store *s, const char *sql, mpt_error *error);
void database_close(store *s); /* one that is not open: nothing */

/* What is committed survives the process, whatever ends it. It survives a loss of power when its
 * frames are synced, which takes as long as a training of a small network: of a second's commits
 * one is. The next one is, whenever the last was. */
void database_sync_next(store *s);
/* schema.c: from schema `from` (0: an empty database) to STORE_SCHEMA, in one transaction. */
mpt_status schema_bring_up(store *s, int from, mpt_error *error);
/* What the tables of schema 1 (2) held, into those of today, which were added. */
mpt_status schema_1_migrate(store *s, mpt_error *error);
mpt_status schema_2_migrate(store *s, mpt_error *error);
/* run_trajectory.c: a row, and nothing else. */
struct store_step;
mpt_status trajectory_add(store *s, const struct store_step *step, mpt_error *error);

/* store.c: texts by name. `add`: one that is there stays. */
mpt_status note_set(store *s, const char *name, const char *text, mpt_error *error);
mpt_status note_add(store *s, const char *name, const char *text, mpt_error *error);
/* *text is NULL where there is none, else the caller's. */
mpt_status note_get(store *s, const char *name, char **text, mpt_error *error);

/* run_lock.c: one writer for each run. */
mpt_status run_lock_take(const char *directory, int *lock, mpt_error *error);
void run_lock_release(int lock);

#endif
