/* A search that may train little trains what promises most. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tiny_search.h"
#include <jansson.h>

/* What was trained, in order: the run's note of it. The caller releases it. */
static json_t *trained(const char *run) {
  mpt_error error = {0};
  store *s = NULL;
  char *text = NULL;
  if (store_open(run, STORE_READ, &s, &error) != MPT_OK ||
      store_get(s, "trajectory", &text, &error) != MPT_OK)
    fail_msg("%s", error.message);
  store_close(s);
  assert_non_null(text);
  json_t *json = json_loads(text, 0, NULL);
  free(text);
  assert_true(json_is_array(json));
  return json;
}

static const char *label_of(const json_t *row) {
  return json_string_value(json_object_get(row, "label"));
}

static bool is_uniform(const json_t *row) {
  return strncmp(label_of(row), "all-", 4) == 0;
}

static void uniform_policies_are_trained_from_the_fastest_on(void **state) {
  char run[600];
  workload *w = tiny(*state, MLP ADAM LARGE);
  tuner_options options = options_in(*state, "run", run);
  tuner_summary summary = tune(w, &options);
  json_t *all = trained(run);
  double before = 0;
  int count = 0;
  size_t i;
  json_t *row;
  json_array_foreach(all, i, row) {
    if (!is_uniform(row))
      continue;
    const double seconds = json_number_value(json_object_get(row, "seconds"));
    assert_true(seconds >= before);
    before = seconds;
    count++;
  }
  assert_true(count >= 3);
  json_decref(all);
  tuner_summary_clear(&summary);
  workload_free(w);
}

static void one_evaluation_is_of_the_fastest_uniform_policy(void **state) {
  char run[600];
  workload *w = tiny(*state, MLP ADAM LARGE);
  tuner_options options = options_in(*state, "run", run);
  options.max_evaluations = 1;
  tuner_summary summary = tune(w, &options);
  const tuner_row *fastest = row_named(&summary, "all-fp32");
  for (int i = 0; i < summary.row_count; i++)
    if (strncmp(summary.rows[i].label, "all-", 4) == 0 &&
        summary.rows[i].step_seconds < fastest->step_seconds)
      fastest = &summary.rows[i];
  assert_true(fastest->ratio < 0.9);
  json_t *all = trained(run);
  assert_int_equal(json_array_size(all), 1);
  assert_string_equal(label_of(json_array_get(all, 0)), fastest->label);
  json_decref(all);
  tuner_summary_clear(&summary);
  workload_free(w);
}

#define IN_A_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_A_DIRECTORY(uniform_policies_are_trained_from_the_fastest_on),
      IN_A_DIRECTORY(one_evaluation_is_of_the_fastest_uniform_policy),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
