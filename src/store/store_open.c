/* Opening and closing the store. */
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "store/database.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static mpt_status ask_integer(store *s, const char *sql, int64_t *value, mpt_error *error) {
  query q = query_begin(s, sql);
  if (query_row(&q))
    *value = column_integer(&q);
  return query_end(&q, error);
}

static mpt_status check_damage(store *s, mpt_error *error) {
  char found[512] = "";
  query q = query_begin(s, "PRAGMA quick_check(1)");
  if (query_row(&q))
    column_string(&q, found, sizeof found);
  MPT_RETURN_IF_FAILED(query_end(&q, error));
  if (strcmp(found, "ok") == 0)
    return MPT_OK;
  if (strstr(found, "error code=7") != NULL) /* SQLITE_NOMEM, as the check words it */
    return mpt_fail_memory(error, s->path, 0);
  return store_damaged(s, error, "%.100s", found);
}

/* Whose database it is, and its schema: 0 of a new one, or one whose maker was killed before its
 * first word. */
static mpt_status check_owner(store *s, int *schema, mpt_error *error) {
  int64_t application = 0, version = 0, objects = 0;
  MPT_RETURN_IF_FAILED(ask_integer(s, "PRAGMA application_id", &application, error));
  MPT_RETURN_IF_FAILED(ask_integer(s, "PRAGMA user_version", &version, error));
  MPT_RETURN_IF_FAILED(ask_integer(s, "SELECT count(*) FROM sqlite_master", &objects, error));
  *schema = 0;
  if (application == 0 && version == 0 && objects == 0)
    return MPT_OK;
  if (application != STORE_APPLICATION)
    return mpt_fail(error, MPT_ERROR_SYNTAX,
                    "'%s' is a database of another program, not a run store; choose another "
                    "directory (-o)",
                    s->path);
  if (version < 1 || version > STORE_SCHEMA)
    return mpt_fail(error, MPT_ERROR_VERSION,
                    "'%s' was written by a %s mptune: its store has schema %lld, this one (%s) "
                    "knows %d; use that mptune, or choose another directory (-o)",
                    s->path, version > STORE_SCHEMA ? "newer" : "different", (long long)version,
                    MPTUNE_VERSION, STORE_SCHEMA);
  *schema = (int)version;
  return check_damage(s, error);
}

static mpt_status no_run(const char *directory, mpt_error *error) {
  return mpt_fail(error, MPT_ERROR_NOT_FOUND,
                  "there is no run in '%s' (no run.sqlite); mptune tune makes one", directory);
}

static mpt_status open_writer(store *s, mpt_error *error) {
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  struct stat about; /* the lock beside a link would not be that of the store that it leads to */
  if (lstat(s->path, &about) == 0 && !S_ISREG(about.st_mode))
    return mpt_fail(error, MPT_ERROR_IO,
                    "'%s' is not a store that mptune made; take it away, or choose another "
                    "directory (-o)",
                    s->path);
  query opened = {
      .s = s, .done = true, .code = sqlite3_open_v2(s->path, &s->database, flags, NULL)};
  MPT_RETURN_IF_FAILED(query_end(&opened, error));
  sqlite3_extended_result_codes(s->database, 1);
  sqlite3_busy_timeout(s->database, 10000); /* a reader in the way of a checkpoint */
  int schema = 0;
  MPT_RETURN_IF_FAILED(check_owner(s, &schema, error));
  MPT_RETURN_IF_FAILED(database_execute(s, "PRAGMA journal_mode = WAL", error));
  database_sync_next(s);
  return schema < STORE_SCHEMA ? schema_bring_up(s, schema, error) : MPT_OK;
}

/* As a URI whose file nobody changes: SQLite then needs no files beside it. */
static char *immutable_name(const char *path) {
  mpt_text uri = {0};
  mpt_text_add(&uri, "file:");
  for (const char *c = path; *c != '\0'; c++) {
    if (strchr("?#%", *c) != NULL)
      mpt_text_addf(&uri, "%%%02X", (unsigned char)*c);
    else
      mpt_text_add_bytes(&uri, c, 1);
  }
  mpt_text_add(&uri, "?immutable=1");
  if (!uri.failed)
    return uri.data;
  mpt_text_free(&uri);
  return NULL;
}

static mpt_status open_reader_as(store *s, const char *name, int flags, int *schema,
                                 mpt_error *error) {
  query opened = {.s = s,
                  .done = true,
                  .code = sqlite3_open_v2(name, &s->database, SQLITE_OPEN_READONLY | flags, NULL)};
  mpt_status status = query_end(&opened, error);
  if (status == MPT_OK) {
    sqlite3_extended_result_codes(s->database, 1);
    sqlite3_busy_timeout(s->database, 10000);
    status = check_owner(s, schema, error);
  }
  return status;
}

/* An older store is brought up in memory: a reader changes no file. */
static mpt_status read_copy(store *s, int schema, mpt_error *error) {
  sqlite3 *copy = NULL;
  int code = sqlite3_open(":memory:", &copy);
  sqlite3_backup *backup =
      code == SQLITE_OK ? sqlite3_backup_init(copy, "main", s->database, "main") : NULL;
  if (backup == NULL || sqlite3_backup_step(backup, -1) != SQLITE_DONE) {
    sqlite3_backup_finish(backup);
    sqlite3_close(copy);
    return mpt_fail(error, MPT_ERROR_IO, "cannot read '%s' into memory", s->path);
  }
  sqlite3_backup_finish(backup);
  database_close(s);
  s->database = copy;
  return schema_bring_up(s, schema, error);
}

static mpt_status open_reader(store *s, const char *directory, mpt_error *error) {
  struct stat about;
  if (stat(s->path, &about) != 0 && (errno == ENOENT || errno == ENOTDIR))
    return no_run(directory, error);
  int schema = 0;
  mpt_status status = open_reader_as(s, s->path, 0, &schema, error);
  const int code = s->database == NULL ? 0 : sqlite3_errcode(s->database) & 0xff;
  if (status != MPT_OK && (code == SQLITE_CANTOPEN || code == SQLITE_READONLY)) {
    /* A directory that cannot be written: no files can be made beside a store that was closed. */
    char *name = immutable_name(s->path);
    if (name == NULL)
      return mpt_fail_memory(error, s->path, 0);
    database_close(s);
    status = open_reader_as(s, name, SQLITE_OPEN_URI, &schema, error);
    free(name);
  }
  if (status != MPT_OK)
    return status;
  if (schema == 0)
    return no_run(directory, error);
  return schema < STORE_SCHEMA ? read_copy(s, schema, error) : MPT_OK;
}

mpt_status store_open(const char *directory, store_access access, store **out, mpt_error *error) {
  const size_t size = strlen(directory) + sizeof "/run.sqlite";
  store *s = calloc(1, sizeof *s);
  mpt_status status = MPT_OK;
  if (s == NULL || (s->path = malloc(size)) == NULL) {
    free(s);
    return mpt_fail_memory(error, directory, size);
  }
  snprintf(s->path, size, "%s/run.sqlite", directory);
  s->lock = -1;
  if (access == STORE_READ) {
    MPT_TRY(open_reader(s, directory, error));
  } else {
    MPT_TRY(mpt_directory_make(directory, error));
    MPT_TRY(run_lock_take(directory, &s->lock, error));
    MPT_TRY(open_writer(s, error));
  }
  *out = s;
  return MPT_OK;
fail:
  store_close(s);
  return status;
}

void store_close(store *s) {
  if (s == NULL)
    return;
  database_close(s); /* takes back a group that is open */
  run_lock_release(s->lock);
  free(s->path);
  free(s);
}
