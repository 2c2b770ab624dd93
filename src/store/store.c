/* Groups of puts, and the named texts. */
#include "store/store.h"
#include "base/error.h"
#include "base/sha256.h"
#include "store/database.h"

mpt_status database_execute(store *s, const char *sql, mpt_error *error) {
  query q = query_begin(s, sql);
  return query_end(&q, error);
}

mpt_status store_begin(store *s, mpt_error *error) {
  if (s->grouping)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "a group of puts is open already");
  MPT_RETURN_IF_FAILED(database_execute(s, s->lock < 0 ? "BEGIN" : "BEGIN IMMEDIATE", error));
  s->grouping = true;
  return MPT_OK;
}

mpt_status store_end(store *s, mpt_error *error) {
  if (!s->grouping)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "no group of puts is open");
  MPT_RETURN_IF_FAILED(database_execute(s, "COMMIT", error));
  s->grouping = false;
  return MPT_OK;
}

void store_cancel(store *s) {
  if (s->grouping)
    sqlite3_exec(s->database, "ROLLBACK", NULL, NULL, NULL);
  s->grouping = false;
}

static mpt_status put_note(store *s, const char *command, const char *name, const char *text,
                           mpt_error *error) {
  query q = query_begin(s, command);
  bind_text(&q, name);
  bind_text(&q, text);
  return query_end(&q, error);
}

mpt_status note_set(store *s, const char *name, const char *text, mpt_error *error) {
  return put_note(s,
                  "INSERT INTO notes VALUES (?1, ?2) "
                  "ON CONFLICT (name) DO UPDATE SET json = excluded.json",
                  name, text, error);
}

mpt_status note_add(store *s, const char *name, const char *text, mpt_error *error) {
  return put_note(s, "INSERT INTO notes VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING", name, text,
                  error);
}

mpt_status note_get(store *s, const char *name, char **text, mpt_error *error) {
  char *there = NULL;
  query q = query_begin(s, "SELECT json FROM notes WHERE name = ?");
  bind_text(&q, name);
  if (query_row(&q))
    there = column_text(&q);
  MPT_RETURN_IF_FAILED(query_end(&q, error)); /* with a text nothing can fail any more */
  *text = there;
  return MPT_OK;
}

void store_hash(const char *text, size_t length, char hex[65]) {
  mpt_sha256_hex(text, length, hex);
}
