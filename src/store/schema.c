/* The store's tables, and bringing an older store up to them. */
#include "base/error.h"
#include "store/database.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What each schema added to the one before. Real numbers have no declared type: SQLite then stores
 * their eight bytes as they are. NULL is NaN. Losses, histograms and contributions are arrays in
 * the machine's own (little-endian) bytes. */
static const char *const changes[STORE_SCHEMA] = {
    "CREATE TABLE notes (name TEXT PRIMARY KEY, json TEXT NOT NULL);"
    "CREATE TABLE policies (id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, label TEXT,"
    "  assignment TEXT, predicted_seconds, predicted_increase);"
    "CREATE TABLE evaluations (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE,"
    "  policy TEXT NOT NULL, purpose TEXT, seed INTEGER, steps INTEGER, steps_done INTEGER,"
    "  diverged INTEGER, stopped INTEGER, metric, metric_plain, held_out_loss, output_difference,"
    "  host_seconds, total_seconds, memory_bytes INTEGER, failure TEXT, losses BLOB, counters TEXT,"
    "  time INTEGER);"
    "CREATE INDEX evaluations_by_policy ON evaluations (policy);"
    "CREATE TABLE times (policy TEXT NOT NULL, device TEXT NOT NULL, measured INTEGER, seconds,"
    "  parts TEXT, PRIMARY KEY (policy, device));"
    "CREATE TABLE statistics (id INTEGER PRIMARY KEY, key TEXT NOT NULL, step INTEGER NOT NULL,"
    "  layer TEXT NOT NULL, operand INTEGER NOT NULL, count INTEGER, zeros INTEGER, nans INTEGER,"
    "  infinities INTEGER, amax_bits INTEGER, amin_bits INTEGER, sum, sum_of_squares,"
    "  histogram BLOB, UNIQUE (key, step, layer, operand));",

    "CREATE TABLE conditions (hash TEXT PRIMARY KEY, training TEXT NOT NULL, data TEXT NOT NULL,"
    "  steps INTEGER NOT NULL, numerics TEXT NOT NULL);"
    "ALTER TABLE evaluations ADD COLUMN condition TEXT;"
    "ALTER TABLE evaluations ADD COLUMN judged INTEGER;"
    "ALTER TABLE evaluations ADD COLUMN correct BLOB;"
    "ALTER TABLE evaluations ADD COLUMN contributions BLOB;"
    "ALTER TABLE evaluations ADD COLUMN unit;"
    "CREATE TABLE attempts (condition TEXT NOT NULL, position INTEGER NOT NULL,"
    "  policy TEXT NOT NULL, weight, first_seed INTEGER NOT NULL,"
    "  PRIMARY KEY (condition, position), UNIQUE (condition, policy));"
    "CREATE TABLE processes (id INTEGER PRIMARY KEY, seconds);",

    "CREATE TABLE trajectory (evaluation INTEGER PRIMARY KEY, policy TEXT, label TEXT,"
    "  predicted_seconds, seconds, predicted_increase, measured_increase, measured_change,"
    "  verdict_text TEXT);",
};

static mpt_status execute_all(store *s, const char *statements, mpt_error *error) {
  mpt_status status = MPT_OK;
  for (const char *rest = statements; *rest != '\0' && status == MPT_OK;) {
    const char *next = strchr(rest, ';') + 1;
    char *statement = strndup(rest, (size_t)(next - rest));
    status = statement == NULL ? mpt_fail_memory(error, s->path, 0)
                               : database_execute(s, statement, error);
    free(statement);
    rest = next;
  }
  return status;
}

static mpt_status set_pragma(store *s, const char *name, long value, mpt_error *error) {
  char sql[96];
  snprintf(sql, sizeof sql, "PRAGMA %s = %ld", name, value);
  return database_execute(s, sql, error);
}

/* In one transaction: a store is of one schema or of another. */
mpt_status schema_bring_up(store *s, int from, mpt_error *error) {
  mpt_status status = MPT_OK;
  MPT_TRY(store_begin(s, error));
  for (int schema = from; schema < STORE_SCHEMA; schema++)
    MPT_TRY(execute_all(s, changes[schema], error));
  if (from == 1)
    MPT_TRY(schema_1_migrate(s, error));
  if (from == 1 || from == 2)
    MPT_TRY(schema_2_migrate(s, error));
  MPT_TRY(set_pragma(s, "application_id", STORE_APPLICATION, error));
  MPT_TRY(set_pragma(s, "user_version", STORE_SCHEMA, error));
  status = store_end(s, error);
fail:
  return status;
}
