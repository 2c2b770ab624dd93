/* The promise on every shipped workload: the winner is never slower than a uniform policy that
 * meets the budget. Each workload is tuned; every permitted uniform policy whose step is faster
 * than the winner's is then verified apart from the search, under seeds of its own. One that passes
 * breaks the promise.
 *
 *   bench_uniform DIRECTORY WORKLOAD...    keeps its runs in DIRECTORY
 *
 * Exit 1 when the promise is broken. */
#include "../verified_afresh.h"

#define EQUAL_TIME 0.005

static void print_row(const char *name, const char *label, const tuner_row *row,
                      const tuner_row *winner, const char *note) {
  printf("| %s | %s | %.3f | %.3f | %s |\n", name, label, row->ratio, winner->ratio, note);
  fflush(stdout);
}

/* How many uniform policies break the promise. */
static int check(const char *directory, const char *path, mpt_error *error) {
  workload *w = NULL;
  tuner_summary summary = {0};
  tuner_options options = tuner_options_default();
  char run[600], fresh[600];
  int broken = 0;
  mpt_status status = workload_load(path, &w, error);
  if (status != MPT_OK)
    return -1;
  snprintf(run, sizeof run, "%s/%s", directory, w->name);
  snprintf(fresh, sizeof fresh, "%s/%s-afresh", directory, w->name);
  options.run = run;
  status = tuner_run(w, &options, &summary, error);
  const tuner_row *winner = NULL;
  for (int i = 0; i < summary.row_count; i++)
    if (summary.rows[i].winner)
      winner = &summary.rows[i];
  if (status == MPT_OK && winner != NULL)
    print_row(w->name, winner->label, winner, winner, "winner");
  for (int i = 0; i < summary.row_count && status == MPT_OK && winner != NULL; i++) {
    const tuner_row *row = &summary.rows[i];
    mpt_precision q;
    if (strncmp(row->label, "all-", 4) != 0 || row == winner || row->refused != NULL ||
        mpt_precision_parse(row->label + 4, &q, NULL) != MPT_OK)
      continue;
    if (row->step_seconds >= winner->step_seconds * (1 - EQUAL_TIME)) {
      print_row(w->name, row->label, row, winner, "not faster");
      continue;
    }
    verify_result afresh = {0};
    status = verified_afresh(w, fresh, q, &afresh, error);
    if (status != MPT_OK)
      break;
    const bool passes = afresh.verdict == MPT_VERDICT_PASS;
    print_row(w->name, row->label, row, winner,
              passes                               ? "faster, and meets the budget: broken"
              : afresh.verdict == MPT_VERDICT_FAIL ? "faster, misses the budget"
                                                   : "faster, inconclusive");
    broken += passes;
  }
  tuner_summary_clear(&summary);
  workload_free(w);
  return status == MPT_OK ? broken : -1;
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: bench_uniform DIRECTORY WORKLOAD...\n");
    return 2;
  }
  int broken = 0;
  printf("| workload | policy | time | winner's time | |\n| --- | --- | --- | --- | --- |\n");
  for (int i = 2; i < argc; i++) {
    mpt_error error = {0};
    const int here = check(argv[1], argv[i], &error);
    if (here < 0) {
      fprintf(stderr, "error: %s: %s\n", argv[i], error.message);
      return 2;
    }
    broken += here;
  }
  return broken > 0;
}
