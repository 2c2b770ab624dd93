/* The data of the shipped workloads is what their files say. Fetched by ./run-tests. */
#include "data/dataset.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static workload *load(const char *name, dataset **data) {
  char path[256];
  workload *w;
  mpt_error error;
  sprintf(path, "%s/profiles/workloads/%s.yaml", MPTUNE_SOURCE_DIR, name);
  if (workload_load(path, &w, &error) != MPT_OK || dataset_open(&w->data, data, &error) != MPT_OK)
    fail_msg("%s:%d:%d: %s", error.file, error.line, error.column, error.message);
  return w;
}

/* Labels are balanced enough that no class is lost. */
static void check_labels(const dataset *data, const workload *w, int least) {
  const dataset_info *info = dataset_get_info(data);
  dataset_batch batch;
  int counts[16] = {0};
  assert_int_equal(dataset_batch_make(data, w->batch, &batch, NULL), MPT_OK);
  for (int step = 0; step < 2000 / w->batch; step++) {
    assert_int_equal(dataset_training_batch(data, 1, step, &batch, NULL), MPT_OK);
    for (int64_t i = 0; i < w->batch; i++)
      counts[batch.labels[i]]++;
  }
  for (int64_t c = 0; c < info->classes; c++)
    assert_true(counts[c] >= least);
  dataset_batch_free(&batch);
}

static void fashion(void **state) {
  (void)state;
  static const char *const names[] = {"fashion-mlp", "fashion-cnn"};
  for (int i = 0; i < 2; i++) {
    dataset *data = NULL;
    workload *w = load(names[i], &data);
    const dataset_info *info = dataset_get_info(data);
    assert_int_equal(info->rank, 3);
    assert_int_equal(info->shape[1], 28);
    assert_int_equal(info->classes, 10);
    assert_int_equal(info->training, w->data.samples > 0 ? w->data.samples : 60000);
    assert_int_equal(info->held_out, w->data.held_out > 0 ? w->data.held_out : 10000);
    check_labels(data, w, 100);
    dataset_close(data);
    workload_free(w);
  }
}

static void breast_cancer(void **state) {
  (void)state;
  static const char *const names[] = {"breast-cancer", "tiny-classifier"};
  static const int features[] = {30, 10};
  for (int i = 0; i < 2; i++) {
    dataset *data = NULL;
    workload *w = load(names[i], &data);
    const dataset_info *info = dataset_get_info(data);
    assert_int_equal(info->shape[0], features[i]);
    assert_int_equal(info->training, 455);
    assert_int_equal(info->held_out, 114);
    check_labels(data, w, 500);
    dataset_close(data);
    workload_free(w);
  }
}

static void english_text(void **state) {
  (void)state;
  dataset *data = NULL;
  workload *w = load("text-gpt", &data);
  const dataset_info *info = dataset_get_info(data);
  dataset_batch batch;
  int spaces = 0, letters = 0;
  assert_true(info->tokens && info->training > 4000000);
  assert_int_equal(dataset_batch_make(data, w->batch, &batch, NULL), MPT_OK);
  int64_t rows = w->batch * info->sequence;
  for (int step = 0; step < 20; step++) {
    assert_int_equal(dataset_training_batch(data, 1, step, &batch, NULL), MPT_OK);
    for (int64_t i = 0; i < rows; i++) {
      spaces += batch.ids[i] == ' ';
      letters += batch.ids[i] >= 'a' && batch.ids[i] <= 'z';
    }
  }
  assert_true(spaces > 20 * rows / 20 && letters > 20 * rows / 2);
  dataset_batch_free(&batch);
  dataset_close(data);
  workload_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fashion),
      cmocka_unit_test(breast_cancer),
      cmocka_unit_test(english_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
