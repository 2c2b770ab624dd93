/* A whole search without a training: an evaluator replays the records of an earlier one. */
#include "store/database.h"
#include "store/run_trajectory.h"
#include "tiny_search.h"
#include "train/trainer.h"
#include "tuner/evaluators/replayer.h"

mpt_status __real_train_run(const train_options *options, train_result *result, mpt_error *error);
mpt_status __wrap_train_run(const train_options *options, train_result *result, mpt_error *error);

static int trainings;

mpt_status __wrap_train_run(const train_options *options, train_result *result, mpt_error *error) {
  trainings++;
  return __real_train_run(options, result, error);
}

static evaluator *records_of(const char *run, int workers) {
  mpt_error error = {0};
  evaluator *e = NULL;
  if (replayer_open(run, workers, &e, &error) != MPT_OK)
    fail_msg("%s", error.message);
  return e;
}

/* What a run decided, without what clocks wrote. */
static char *decisions(const char *run) {
  static const char *const names[] = {"sensitivity", "reference"};
  mpt_error error = {0};
  mpt_text all = {0};
  store *s = NULL;
  assert_int_equal(store_open(run, STORE_READ, &s, &error), MPT_OK);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    char *text = NULL;
    assert_int_equal(note_get(s, names[i], &text, &error), MPT_OK);
    mpt_text_addf(&all, "%s\n%s\n", names[i], text == NULL ? "none" : text);
    free(text);
  }
  store_trajectory trajectory;
  assert_int_equal(store_get_trajectory(s, &trajectory, &error), MPT_OK);
  for (int i = 0; i < trajectory.count; i++) {
    const store_step *x = &trajectory.steps[i];
    mpt_text_addf(&all, "%d %s %s %.17g %.17g %.17g %.17g %.17g %s\n", x->evaluation, x->policy,
                  x->label, x->predicted_seconds, x->seconds, x->predicted_increase,
                  x->measured_increase, x->measured_change, x->verdict_text);
  }
  store_trajectory_clear(&trajectory);
  store_close(s);
  assert_false(all.failed);
  return all.data;
}

static char *policy_without_time(const char *run) {
  char path[700], line[1024];
  mpt_text all = {0};
  snprintf(path, sizeof path, "%s/policy.yaml", run);
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  while (fgets(line, sizeof line, file) != NULL)
    if (strncmp(line, "  time: ", 8) != 0)
      mpt_text_add(&all, line);
  fclose(file);
  assert_true(all.length > 200);
  return all.data;
}

static void same_answer(void **state, const char *budget, bool measured) {
  char first[600], second[600];
  char rest[400];
  snprintf(rest, sizeof rest, "%s%s%s", MLP, ADAM, budget);
  workload *w = tiny(*state, rest);
  tuner_options a = options_in(*state, "first", first), b = options_in(*state, "second", second);
  if (measured) {
    a.target = b.target = "here";
    a.emulated_times = b.emulated_times = true;
  }
  trainings = 0;
  tuner_summary one = tune(w, &a);
  assert_true(trainings >= 3);
  trainings = 0;
  b.evaluator = records_of(first, 1);
  tuner_summary two = tune(w, &b);
  assert_int_equal(trainings, 0);
  assert_true(replayer_seconds(b.evaluator) > 0);
  assert_string_equal(one.message, two.message);
  assert_int_equal(one.evaluations, two.evaluations);
  char *x = decisions(first), *y = decisions(second);
  assert_string_equal(x, y);
  if (!measured) /* emulated times say by chance whether anything is worth a try */
    assert_non_null(strstr(x, "\n3 "));
  free(x);
  free(y);
  x = policy_without_time(first);
  y = policy_without_time(second);
  assert_string_equal(x, y);
  free(x);
  free(y);
  evaluator_close(b.evaluator);
  tuner_summary_clear(&one);
  tuner_summary_clear(&two);
  workload_free(w);
}

static void a_replayed_search_trains_nothing_and_reaches_the_same_policy(void **state) {
  same_answer(state, "budget: {worse_by: 0.02}\n", false);
}

static void measured_times_are_replayed_too(void **state) {
  same_answer(state, LARGE, true);
}

static void what_was_not_recorded_is_named(void **state) {
  char first[600], second[600];
  mpt_error error = {0};
  tuner_summary summary = {0};
  workload *w = tiny(*state, MLP ADAM LARGE);
  tuner_options a = options_in(*state, "first", first), b = options_in(*state, "second", second);
  tuner_summary one = tune(w, &a);
  tuner_summary_clear(&one);
  b.seed = 50; /* others than those of the records */
  b.evaluator = records_of(first, 1);
  assert_int_equal(tuner_run(w, &b, &summary, &error), MPT_ERROR_NOT_FOUND);
  fixture_contains(&error, "has no record of policy");
  fixture_contains(&error, "seed 50 (reference)");
  evaluator_close(b.evaluator);
  workload_free(w);
}

/* ---- several at once ---- */

static evaluation_request request_for(const store_evaluation *e, int64_t id) {
  evaluation_request r = {
      .id = id, .kind = REQUEST_TRAIN, .seed = e->seed, .steps = e->steps, .purpose = "candidate"};
  memcpy(r.key, e->key, sizeof r.key);
  memcpy(r.policy, e->policy, sizeof r.policy);
  return r;
}

static void several_in_flight_come_back_as_they_would_have_ended(void **state) {
  char path[600];
  mpt_error error = {0};
  store *s = NULL;
  static const double seconds[] = {5, 1, 3, 2};
  store_evaluation all[4];
  snprintf(path, sizeof path, "%s/run", (const char *)*state);
  assert_int_equal(store_open(path, STORE_WRITE, &s, &error), MPT_OK);
  for (int i = 0; i < 4; i++) {
    all[i] = (store_evaluation){
        .seed = (uint64_t)i, .steps = 10, .metric = i, .total_seconds = seconds[i]};
    snprintf(all[i].key, sizeof all[i].key, "%064d", i);
    snprintf(all[i].policy, sizeof all[i].policy, "%064d", 7);
    snprintf(all[i].purpose, sizeof all[i].purpose, "candidate");
    assert_int_equal(store_put_evaluation(s, &all[i], &error), MPT_OK);
  }
  store_close(s);
  evaluator *e = records_of(path, 3);
  evaluator_description is;
  evaluator_describe(e, &is);
  assert_int_equal(is.capacity, 3);
  evaluation_request r[4];
  for (int i = 0; i < 4; i++) {
    r[i] = request_for(&all[i], 100 + i);
    assert_int_equal(evaluator_submit(e, &r[i], &error), i < 3 ? MPT_OK : MPT_ERROR_BUSY);
  }
  static const int64_t order[] = {101, 102, 103};
  evaluation_record record;
  bool found = false;
  for (int i = 0; i < 3; i++) {
    assert_int_equal(evaluator_poll(e, NULL, NULL, &found, &record, &error), MPT_OK);
    assert_true(found);
    assert_int_equal(record.status, MPT_OK);
    assert_int_equal(record.id, order[i]);
    assert_true(record.evaluation.metric == (double)(order[i] - 100));
    evaluation_record_clear(&record);
    if (i == 0) /* at 1 s: it ends at 3 s, after the one that was there before */
      assert_int_equal(evaluator_submit(e, &r[3], &error), MPT_OK);
  }
  assert_true(replayer_seconds(e) == 3.0);
  evaluator_cancel(e, 100);
  assert_int_equal(evaluator_poll(e, NULL, NULL, &found, &record, &error), MPT_OK);
  assert_true(found);
  assert_int_equal(record.id, 100);
  assert_int_equal(record.status, MPT_ERROR_INTERRUPTED);
  evaluation_record_clear(&record);
  assert_int_equal(evaluator_poll(e, NULL, NULL, &found, &record, &error), MPT_OK);
  assert_false(found);
  evaluator_close(e);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_replayed_search_trains_nothing_and_reaches_the_same_policy),
      TEST(measured_times_are_replayed_too),
      TEST(what_was_not_recorded_is_named),
      TEST(several_in_flight_come_back_as_they_would_have_ended),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
