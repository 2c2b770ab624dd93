/* A small workload, written to a directory of the test, and searches of it. */
#ifndef TINY_SEARCH_H
#define TINY_SEARCH_H

#include "store_fixture.h"
#include "tuner/tuner.h"
#include "workload/workload.h"

#define TINY_DATA                                                                                  \
  "schema: mptune/workload@1\n"                                                                    \
  "name: tiny\n"                                                                                   \
  "data: {kind: synthetic, samples: 800, held_out: 400, features: 16, classes: 4, hidden: 4}\n"    \
  "loss: cross_entropy\n"                                                                          \
  "batch: 32\n"                                                                                    \
  "steps: 60\n"                                                                                    \
  "target: synthetic-bits\n"
#define MLP   "model: {preset: mlp, widths: [32, 32], outputs: 16}\n"
#define ADAM  "optimizer: {kind: adam, learning_rate: 2.0e-03}\n"
#define LARGE "budget: {worse_by: 10%}\n"

/* The data's lines, and `rest`. */
static inline workload *tiny(const char *directory, const char *rest) {
  char path[600];
  mpt_error error = {0};
  workload *w = NULL;
  snprintf(path, sizeof path, "%s/tiny.yaml", directory);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fprintf(file, "%s%s", TINY_DATA, rest);
  fclose(file);
  if (workload_load(path, &w, &error) != MPT_OK)
    fail_msg("%s", error.message);
  return w;
}

static inline tuner_summary tune(const workload *w, const tuner_options *options) {
  mpt_error error = {0};
  tuner_summary summary;
  if (tuner_run(w, options, &summary, &error) != MPT_OK)
    fail_msg("%s", error.message);
  return summary;
}

static inline tuner_options options_in(const char *directory, const char *name, char run[600]) {
  tuner_options options = tuner_options_default();
  snprintf(run, 600, "%s/%s", directory, name);
  options.run = run;
  options.backend = "cpu";
  return options;
}

static inline const tuner_row *row_named(const tuner_summary *summary, const char *label) {
  for (int i = 0; i < summary->row_count; i++)
    if (strcmp(summary->rows[i].label, label) == 0)
      return &summary->rows[i];
  fail_msg("no row '%s'", label);
  return NULL;
}

#endif
