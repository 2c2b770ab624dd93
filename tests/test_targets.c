/* Labels and targets that the loss does not take are refused where they stand, before training. */
#include "data/dataset.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char table[64], file[64];

static void put(const char *path, const char *text) {
  FILE *out = fopen(path, "w");
  assert_non_null(out);
  fputs(text, out);
  fclose(out);
}

/* A workload of that loss over the data, loaded and its data opened. */
static mpt_status open_data(const char *data, const char *loss, mpt_error *error) {
  char text[1024];
  workload *w = NULL;
  dataset *opened = NULL;
  snprintf(text, sizeof text,
           "schema: mptune/workload@1\nmodel: {preset: mlp, widths: [4], outputs: 1}\ndata: {%s}\n"
           "loss: %s\noptimizer: {kind: sgd, learning_rate: 0.1}\nbatch: 1\nsteps: 1\n"
           "budget: {worse_by: 1%%}\n",
           data, loss);
  put(file, text);
  *error = (mpt_error){.message = ""};
  mpt_status status = workload_load(file, &w, error);
  if (status == MPT_OK)
    status = dataset_open(&w->data, &opened, error);
  dataset_close(opened);
  workload_free(w);
  return status;
}

/* A table whose fifth line ends in `value`. */
static mpt_status open_table(const char *value, const char *classes, const char *loss,
                             mpt_error *error) {
  char text[256], data[256];
  snprintf(text, sizeof text, "1,0\n2,1\n3,0\n4,1\n5,%s\n6,1\n", value);
  put(table, text);
  snprintf(data, sizeof data, "kind: csv, file: %s%s", table, classes);
  return open_data(data, loss, error);
}

static void assert_refused(mpt_status status, const mpt_error *error, const char *path, int line,
                           int column, const char *says) {
  if (status == MPT_OK || strstr(error->message, says) == NULL || error->line != line ||
      error->column != column || strcmp(error->file, path) != 0)
    fail_msg("wanted %s:%d:%d '%s', got %s:%d:%d '%s'", path, line, column, says, error->file,
             error->line, error->column, error->message);
}

static void binary_cross_entropy_takes_probabilities(void **state) {
  (void)state;
  static const char *const good[] = {"0", "1", "0.5", "1e-30", "-0", "1.0"};
  static const struct {
    const char *value, *says;
  } bad[] = {
      {"-1", "target -1 is not in [0, 1]; binary_cross_entropy takes probabilities"},
      {"2", "target 2 is not in [0, 1]"},
      {"1.001", "target 1.001 is not in [0, 1]"},
      {"-1e-9", "target -1e-09 is not in [0, 1]"},
      {"255", "target 255 is not in [0, 1]"},
  };
  mpt_error error;
  for (size_t i = 0; i < sizeof good / sizeof *good; i++)
    if (open_table(good[i], "", "binary_cross_entropy", &error) != MPT_OK)
      fail_msg("%s: %s", good[i], error.message);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_refused(open_table(bad[i].value, "", "binary_cross_entropy", &error), &error, table, 5,
                   3, bad[i].says);
    assert_int_equal(open_table(bad[i].value, "", "mse", &error), MPT_OK);
  }
}

static void synthetic_targets_are_no_probabilities(void **state) {
  (void)state;
  static const char data[] = "kind: synthetic, samples: 20, features: 2, targets: 1";
  mpt_error error;
  assert_refused(open_data(data, "binary_cross_entropy", &error), &error, file, 4, 7,
                 "takes targets in [0, 1], and those of synthetic data have any size");
  assert_int_equal(open_data(data, "mse", &error), MPT_OK);
}

static void targets_and_labels_are_finite_and_there(void **state) {
  (void)state;
  static const char *const bad[] = {"nan", "inf", "-inf", "1e39", "", "x"};
  mpt_error error;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_refused(open_table(bad[i], "", "mse", &error), &error, table, 5, 3, "");
    assert_refused(open_table(bad[i], "", "binary_cross_entropy", &error), &error, table, 5, 3, "");
    assert_refused(open_table(bad[i], ", classes: 3", "cross_entropy", &error), &error, table, 5, 3,
                   "");
  }
}

static void labels_are_classes(void **state) {
  (void)state;
  static const struct {
    const char *value, *says;
  } bad[] = {{"-100", "label -100 is out of range: there are 3 classes, 0 to 2"},
             {"-1", "label -1 is out of range"},
             {"3", "label 3 is out of range"},
             {"255", "label 255 is out of range"},
             {"0.5", "label 0.5 is out of range"}};
  static const char *const losses[] = {"cross_entropy", "nll"};
  mpt_error error;
  for (size_t i = 0; i < 2 * sizeof bad / sizeof *bad; i++)
    assert_refused(open_table(bad[i / 2].value, ", classes: 3", losses[i % 2], &error), &error,
                   table, 5, 3, bad[i / 2].says);
  assert_int_equal(open_table("2", ", classes: 3", "cross_entropy", &error), MPT_OK);
}

static void synthetic_features_are_finite(void **state) {
  (void)state;
  mpt_error error;
  static const char large[] = "kind: synthetic, samples: 20, features: 2, classes: 2, "
                              "scale_high: 1.0e+30, outliers: 0.5, outlier_scale: 1.0e+30";
  assert_refused(open_data(large, "cross_entropy", &error), &error, file, 3, 7,
                 "beyond the largest fp32 number");
  static const char small[] = "kind: synthetic, samples: 20, features: 2, classes: 2, "
                              "scale_low: 1.0e-300";
  assert_refused(open_data(small, "cross_entropy", &error), &error, file, 3, 74,
                 "scale_low must be from 1e-30 to 1e+30");
}

int main(void) {
  sprintf(table, "/tmp/mptune-targets-%d.csv", (int)getpid());
  sprintf(file, "/tmp/mptune-targets-%d.yaml", (int)getpid());
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(binary_cross_entropy_takes_probabilities),
      cmocka_unit_test(synthetic_targets_are_no_probabilities),
      cmocka_unit_test(targets_and_labels_are_finite_and_there),
      cmocka_unit_test(labels_are_classes),
      cmocka_unit_test(synthetic_features_are_finite),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove(table);
  remove(file);
  return failed;
}
