/* Run stores: the input is SQL that changes the store of a finished search, a statement or more, as
 * a disk, an editor or another version of mptune might have. Every reader then reads it: those of
 * the store, the reports, and a search that continues, but trains nothing.
 *
 * The bytes of the file itself are SQLite's to check (test_store_refuses has damaged ones). */
#include "fuzz.h"
#include "report/report.h"
#include "store/run_definition.h"
#include "store/run_reference.h"
#include "store/run_scores.h"
#include "store/run_trajectory.h"
#include "store/run_winner.h"
#include "tuner/tuner.h"
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

static const char workload_text[] =
    "schema: mptune/workload@1\n"
    "name: stores\n"
    "model: {preset: mlp, widths: [16], outputs: 4}\n"
    "data: {kind: synthetic, samples: 120, held_out: 40, features: 8, classes: 4, hidden: 4}\n"
    "loss: cross_entropy\n"
    "optimizer: {kind: adam, learning_rate: 5.0e-03}\n"
    "batch: 16\n"
    "steps: 20\n"
    "budget: {worse_by: 20%}\n"
    "target: synthetic-bits\n";

static workload *w;
static char run[512], database[600];
static char *whole; /* the database's bytes, as the search left them */
static size_t length;

static mpt_status search(const volatile int *interrupted, mpt_error *error) {
  tuner_options options = tuner_options_default();
  tuner_summary summary;
  options.run = run;
  options.backend = "cpu";
  options.interrupted = interrupted;
  mpt_status status = tuner_run(w, &options, &summary, error);
  if (status == MPT_OK)
    tuner_summary_clear(&summary);
  return status;
}

static void end_context(void) {
  free(whole);
  workload_free(w);
}

static void begin_context(void) {
  mpt_error error = {0};
  setenv("MPTUNE_PROFILES", MPTUNE_SOURCE_DIR "/profiles/devices", 1);
  snprintf(run, sizeof run, "%s/run", fuzz_folder());
  snprintf(database, sizeof database, "%s/run.sqlite", run);
  const char *path = fuzz_file("workload.yaml", workload_text, sizeof workload_text - 1);
  fuzz_must(workload_load(path, &w, &error), &error);
  fuzz_must(search(NULL, &error), &error);
  FILE *file = fopen(database, "rb");
  FUZZ_REQUIRE(file != NULL && fseek(file, 0, SEEK_END) == 0);
  length = (size_t)ftell(file);
  rewind(file);
  whole = malloc(length);
  FUZZ_REQUIRE(whole != NULL && fread(whole, 1, length, file) == length);
  fclose(file);
  atexit(end_context);
}

/* Rows may change, and nothing else: no other files, no tables, nothing that takes long. */
static int allow(void *context, int action, const char *a, const char *b, const char *c,
                 const char *d) {
  (void)context, (void)a, (void)b, (void)c, (void)d;
  const bool allowed = action == SQLITE_UPDATE || action == SQLITE_INSERT ||
                       action == SQLITE_DELETE || action == SQLITE_READ || action == SQLITE_SELECT;
  return allowed ? SQLITE_OK : SQLITE_DENY;
}

static int stop(void *context) {
  (void)context;
  return 1;
}

/* False where it is no SQL, or changed nothing. */
static bool damage(const uint8_t *data, size_t size) {
  char extra[640];
  sqlite3 *db = NULL;
  for (int i = 0; i < 2; i++) {
    snprintf(extra, sizeof extra, "%s%s", database, i == 0 ? "-wal" : "-shm");
    unlink(extra);
  }
  fuzz_file("run/run.sqlite", whole, length);
  char *sql = strndup((const char *)data, size);
  FUZZ_REQUIRE(sql != NULL && sqlite3_open(database, &db) == SQLITE_OK);
  sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 1 << 20);
  sqlite3_progress_handler(db, 100000, stop, NULL);
  sqlite3_set_authorizer(db, allow, NULL);
  sqlite3_exec(db, sql, NULL, NULL, NULL);
  const bool changed = sqlite3_total_changes(db) > 0;
  sqlite3_close(db);
  free(sql);
  return changed;
}

static void read_records(store *s) {
  mpt_error error = {0};
  bool found = false;
  store_definition definition;
  store_layers layers;
  store_reference reference;
  store_sensitivity sensitivity;
  store_trajectory trajectory;
  store_winner winner;
  if (fuzz_succeeded(store_get_definition(s, &definition, &found, &error), &error))
    store_definition_clear(&definition);
  if (fuzz_succeeded(store_get_layers(s, &layers, &found, &error), &error))
    store_layers_clear(&layers);
  if (fuzz_succeeded(store_get_reference(s, &reference, &found, &error), &error))
    store_reference_clear(&reference);
  if (fuzz_succeeded(store_get_sensitivity(s, &sensitivity, &found, &error), &error))
    store_sensitivity_clear(&sensitivity);
  if (fuzz_succeeded(store_get_trajectory(s, &trajectory, &error), &error))
    store_trajectory_clear(&trajectory);
  if (fuzz_succeeded(store_get_winner(s, &winner, &found, &error), &error))
    store_winner_clear(&winner);
}

static void read_rows(void) {
  mpt_error error = {0};
  store *s = NULL;
  store_evaluation *evaluations = NULL;
  store_policy *policies = NULL;
  store_statistics *statistics = NULL;
  int count = 0;
  if (!fuzz_succeeded(store_open(run, STORE_READ, &s, &error), &error))
    return;
  if (fuzz_succeeded(store_all_evaluations(s, &evaluations, &count, &error), &error)) {
    for (int i = 0; i < count; i++) {
      bool found = false;
      store_time time;
      if (fuzz_succeeded(store_find_time(s, evaluations[i].policy, "", &found, &time, &error),
                         &error) &&
          found)
        store_time_clear(&time);
      store_evaluation_clear(&evaluations[i]);
    }
    free(evaluations);
  }
  if (fuzz_succeeded(store_all_policies(s, &policies, &count, &error), &error)) {
    for (int i = 0; i < count; i++)
      free(policies[i].assignment);
    free(policies);
  }
  if (fuzz_succeeded(store_all_statistics(s, NULL, &statistics, &count, &error), &error)) {
    for (int i = 0; i < count; i++)
      FUZZ_REQUIRE(statistics[i].operand >= 0 && statistics[i].operand < MPT_OPERAND_COUNT);
    free(statistics);
  }
  read_records(s);
  store_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const volatile int interrupted = 1;
  mpt_error error = {0};
  if (w == NULL)
    begin_context();
  if (!damage(data, size))
    return 0;
  read_rows();
  for (int kind = REPORT_HTML; kind <= REPORT_JSON; kind++) {
    char *text = NULL;
    if (fuzz_succeeded(report_text(run, (report_kind)kind, &text, &error), &error))
      free(text);
  }
  fuzz_succeeded(search(&interrupted, &error), &error);
  return 0;
}
