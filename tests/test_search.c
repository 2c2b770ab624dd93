/* What the search promises, on networks that train in a few milliseconds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "store/database.h"
#include "store/run_trajectory.h"
#include "tiny_search.h"
#include "tuner/ledger.h"
#include "verified_afresh.h"
#include <jansson.h>

#define NONE "budget: {worse_by: 1.0e-12}\n" /* that only the reference meets */

static const tuner_row *winner_of(const tuner_summary *summary) {
  const tuner_row *winner = NULL;
  for (int i = 0; i < summary->row_count; i++) {
    if (!summary->rows[i].winner)
      continue;
    assert_null(winner);
    winner = &summary->rows[i];
  }
  assert_non_null(winner);
  return winner;
}

/* A note of the run's store, without what a clock wrote. */
static char *note(const char *run, const char *name) {
  mpt_error error = {0};
  store *s = NULL;
  char *text = NULL;
  if (store_open(run, STORE_READ, &s, &error) != MPT_OK ||
      note_get(s, name, &text, &error) != MPT_OK)
    fail_msg("%s", error.message);
  store_close(s);
  assert_non_null(text);
  json_t *json = json_loads(text, 0, NULL);
  assert_non_null(json);
  free(text);
  if (json_is_object(json)) {
    json_object_del(json, "tuning_seconds");
    json_object_del(json, "payback_seconds");
  }
  text = json_dumps(json, JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
  json_decref(json);
  return text;
}

static void assert_same_trajectory(const char *first, const char *second) {
  store_trajectory of[2];
  const char *const runs[] = {first, second};
  for (int i = 0; i < 2; i++) {
    store *s = fixture_open(runs[i], STORE_READ);
    assert_int_equal(store_get_trajectory(s, &of[i], NULL), MPT_OK);
    store_close(s);
  }
  assert_true(of[0].count > 2);
  assert_int_equal(of[0].count, of[1].count);
  for (int i = 0; i < of[0].count; i++) {
    const store_step *x = &of[0].steps[i], *y = &of[1].steps[i];
    assert_int_equal(x->evaluation, i + 1);
    assert_string_equal(x->policy, y->policy);
    assert_string_equal(x->verdict_text, y->verdict_text);
    assert_memory_equal(&x->measured_change, &y->measured_change, sizeof(double));
  }
  store_trajectory_clear(&of[0]);
  store_trajectory_clear(&of[1]);
}

static void the_same_seed_gives_the_same_winner_and_figures(void **state) {
  static const char *const names[] = {"winner", "sensitivity", "reference"};
  char first[600], second[600];
  workload *w = tiny(*state, MLP ADAM LARGE);
  tuner_options a = options_in(*state, "first", first), b = options_in(*state, "second", second);
  tuner_summary one = tune(w, &a), two = tune(w, &b);
  assert_true(one.gain);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    char *x = note(first, names[i]), *y = note(second, names[i]);
    assert_string_equal(x, y);
    free(x);
    free(y);
  }
  assert_same_trajectory(first, second);
  tuner_summary_clear(&one);
  tuner_summary_clear(&two);
  workload_free(w);
}

/* Of the trainings of the reference: each of another seed, which the note has too. */
static json_t *reference_metrics(const char *run) {
  char *text = note(run, "reference");
  json_t *json = json_loads(text, 0, NULL);
  json_t *metrics = json_incref(json_object_get(json, "metrics"));
  json_decref(json);
  free(text);
  return metrics;
}

static void another_seed_trains_something_else(void **state) {
  char first[600], second[600];
  workload *w = tiny(*state, MLP ADAM LARGE);
  tuner_options a = options_in(*state, "first", first), b = options_in(*state, "second", second);
  b.seed = 77;
  tuner_summary one = tune(w, &a), two = tune(w, &b);
  json_t *x = reference_metrics(first), *y = reference_metrics(second);
  assert_int_equal(json_array_size(x), 3);
  assert_int_equal(json_array_size(y), 3);
  for (size_t i = 0; i < 9; i++)
    assert_true(json_real_value(json_array_get(x, i / 3)) !=
                json_real_value(json_array_get(y, i % 3)));
  json_decref(x);
  json_decref(y);
  tuner_summary_clear(&one);
  tuner_summary_clear(&two);
  workload_free(w);
}

static void the_winner_is_never_slower_than_a_uniform_policy_that_verifies(void **state) {
  static const char *const budgets[] = {"budget: {worse_by: 0.02}\n", "budget: {worse_by: 0.1}\n"};
  for (int b = 0; b < 2; b++) {
    char rest[400], run[600], name[16];
    snprintf(rest, sizeof rest, "%s%s%s", MLP, ADAM, budgets[b]);
    snprintf(name, sizeof name, "budget%d", b);
    workload *w = tiny(*state, rest);
    tuner_options options = options_in(*state, name, run);
    tuner_summary summary = tune(w, &options);
    const double winner = winner_of(&summary)->step_seconds;
    int passed = 0;
    for (int q = MPT_PRECISION_TF32; q < MPT_PRECISION_COUNT; q++) {
      char label[32];
      verify_result afresh = {0};
      mpt_error error = {0};
      snprintf(label, sizeof label, "all-%s", mpt_precision_name((mpt_precision)q));
      if (verified_afresh(w, *state, (mpt_precision)q, &afresh, &error) != MPT_OK)
        fail_msg("%s", error.message);
      if (afresh.verdict != MPT_VERDICT_PASS)
        continue;
      passed++;
      assert_true(winner <= row_named(&summary, label)->step_seconds * 1.005);
    }
    assert_true(passed > 0);
    tuner_summary_clear(&summary);
    workload_free(w);
  }
}

static void a_reference_that_diverges_is_named(void **state) {
  char run[600];
  mpt_error error = {0};
  tuner_summary summary;
  workload *w =
      tiny(*state, MLP "optimizer: {kind: sgd, learning_rate: 1.0e+06, momentum: 0.9}\n" LARGE);
  tuner_options options = options_in(*state, "diverges", run);
  assert_int_equal(tuner_run(w, &options, &summary, &error), MPT_ERROR_NONFINITE);
  assert_non_null(strstr(error.message, "layer '"));
  assert_non_null(strstr(error.message, "at step "));
  workload_free(w);
}

#define OVERFLOWING                                                                                \
  "model:\n"                                                                                       \
  "  layers:\n"                                                                                    \
  "    - {name: fc1, kind: linear, features: 32}\n"                                                \
  "    - {name: relu1, kind: relu}\n"                                                              \
  "    - {name: up, kind: scale, output_scale: 1048576.0}\n"                                       \
  "    - {name: large, kind: linear, features: 32, bias: false}\n"                                 \
  "    - {name: down, kind: scale, output_scale: 9.5367431640625e-07}\n"                           \
  "    - {name: relu2, kind: relu}\n"                                                              \
  "    - {name: head, kind: linear, features: 16}\n"

static void a_candidate_that_diverges_does_not_end_the_search(void **state) {
  char run[600];
  workload *w = tiny(*state, OVERFLOWING ADAM LARGE);
  tuner_options options = options_in(*state, "overflows", run);
  tuner_summary summary = tune(w, &options);
  const tuner_row *fp16 = row_named(&summary, "all-fp16");
  assert_false(isfinite(fp16->seen.worse));
  assert_true(isnan(fp16->seen.metric));
  assert_true(summary.found && summary.gain);
  assert_int_equal(winner_of(&summary)->verdict, MPT_VERDICT_PASS);
  tuner_summary_clear(&summary);
  workload_free(w);
}

static void nothing_permitted_that_passes_is_not_found(void **state) {
  char run[600];
  workload *w = tiny(*state, MLP ADAM NONE "exclude: [fp32, tf32]\n");
  tuner_options options = options_in(*state, "excluded", run);
  tuner_summary summary = tune(w, &options);
  assert_false(summary.found);
  assert_false(summary.gain);
  assert_non_null(summary.message);
  tuner_summary_clear(&summary);
  workload_free(w);
}

/* The search is over, and says so: a report of it must not call it unfinished. */
static void nothing_permitted_that_trains_is_a_result(void **state) {
  char run[600];
  workload *w = tiny(*state, OVERFLOWING ADAM LARGE "exclude: [fp32, tf32, bf16, fp8]\n");
  tuner_options options = options_in(*state, "nothing", run);
  tuner_summary summary = tune(w, &options);
  assert_false(summary.found);
  assert_non_null(strstr(summary.message, "the layers that block"));
  assert_non_null(strstr(summary.message, "large (input overflows fp16"));
  assert_string_equal(summary.policy_path, "");
  char *winner = note(run, "winner");
  assert_null(strstr(winner, "\"assignment\""));
  assert_non_null(strstr(winner, "nothing permitted trains"));
  free(winner);
  tuner_summary_clear(&summary);
  workload_free(w);
}

static void observing_says_where_a_reference_diverged(void **state) {
  char run[600];
  mpt_error error = {0};
  tuner_observation seen;
  workload *good = tiny(*state, MLP ADAM LARGE);
  tuner_options options = options_in(*state, "observed", run);
  assert_int_equal(tuner_observe(good, &options, &seen, &error), MPT_OK);
  assert_string_equal(seen.failure, "");
  assert_int_equal(strlen(seen.key), 64);
  workload_free(good);
  workload *bad =
      tiny(*state, MLP "optimizer: {kind: sgd, learning_rate: 1.0e+06, momentum: 0.9}\n" LARGE);
  options = options_in(*state, "observed-bad", run);
  assert_int_equal(tuner_observe(bad, &options, &seen, &error), MPT_OK);
  assert_non_null(strstr(seen.failure, "layer '"));
  assert_non_null(strstr(seen.failure, "at step "));
  workload_free(bad);
}

static void slower_than_an_excluded_reference_is_still_a_winner(void **state) {
  char run[600];
  workload *w = tiny(*state, MLP ADAM LARGE "reference: bf16\nexclude: [bf16, fp16, fp8]\n");
  tuner_options options = options_in(*state, "slower", run);
  tuner_summary summary = tune(w, &options);
  assert_true(summary.found);
  assert_int_equal(winner_of(&summary)->verdict, MPT_VERDICT_PASS);
  tuner_summary_clear(&summary);
  workload_free(w);
}

static void no_more_candidates_are_trained_than_asked_for(void **state) {
  workload *w = tiny(*state, MLP ADAM "budget: {worse_by: 0.002}\n");
  for (int most = 1; most <= 6; most += 2) {
    char run[600], name[16];
    snprintf(name, sizeof name, "most%d", most);
    tuner_options options = options_in(*state, name, run);
    options.max_evaluations = most;
    tuner_summary summary = tune(w, &options);
    assert_int_equal(summary.evaluations, most);
    tuner_summary_clear(&summary);
  }
  workload_free(w);
}

static void a_budget_that_only_the_reference_meets_is_no_gain(void **state) {
  char run[600];
  workload *w = tiny(*state, MLP ADAM NONE);
  tuner_options options = options_in(*state, "strict", run);
  tuner_summary summary = tune(w, &options);
  assert_true(summary.found);
  assert_false(summary.gain);
  assert_true(winner_of(&summary)->reference);
  tuner_summary_clear(&summary);
  workload_free(w);
}

/* How many trainings a run's store has, and the seconds of all of them. */
static int trained(const char *run, double *seconds) {
  mpt_error error = {0};
  store *s = NULL;
  store_evaluation *all = NULL;
  int count = 0;
  *seconds = 0;
  if (store_open(run, STORE_READ, &s, &error) != MPT_OK ||
      store_all_evaluations(s, &all, &count, &error) != MPT_OK)
    fail_msg("%s", error.message);
  for (int i = 0; i < count; i++) {
    *seconds += all[i].total_seconds;
    store_evaluation_clear(&all[i]);
  }
  free(all);
  store_close(s);
  return count;
}

/* What verification needs is there already: nothing is trained, and the answer is the same. The
 * search took the wall time of both processes. */
static void the_same_command_again_trains_nothing(void **state) {
  char run[600];
  workload *w = tiny(*state, MLP ADAM LARGE);
  tuner_options options = options_in(*state, "again", run);
  double seconds, again;
  const double began = mpt_clock_seconds();
  tuner_summary first = tune(w, &options);
  const double took = mpt_clock_seconds() - began;
  char *before = note(run, "winner");
  const int trainings = trained(run, &seconds);
  tuner_summary second = tune(w, &options);
  const double both = mpt_clock_seconds() - began;
  char *after = note(run, "winner");
  assert_string_equal(before, after);
  assert_true(trainings > 0);
  assert_int_equal(trained(run, &again), trainings);
  assert_true(first.tuning_seconds > seconds && first.tuning_seconds <= took);
  assert_true(second.tuning_seconds > first.tuning_seconds && second.tuning_seconds <= both);
  free(before);
  free(after);
  tuner_summary_clear(&first);
  tuner_summary_clear(&second);
  workload_free(w);
}

static void what_is_observed_later_changes_no_winner(void **state) {
  static const char *const names[] = {"sensitivity", "winner"};
  char run[600];
  mpt_error error = {0};
  tuner_observation seen;
  workload *w = tiny(*state, MLP ADAM LARGE);
  tuner_options options = options_in(*state, "observed-later", run), shorter = options;
  tuner_summary first = tune(w, &options);
  char *before[2] = {note(run, names[0]), note(run, names[1])};
  shorter.evaluation_steps = 5;
  assert_int_equal(tuner_observe(w, &shorter, &seen, &error), MPT_OK);
  tuner_summary second = tune(w, &options);
  for (int i = 0; i < 2; i++) {
    char *after = note(run, names[i]);
    assert_string_equal(before[i], after);
    free(before[i]);
    free(after);
  }
  tuner_summary_clear(&first);
  tuner_summary_clear(&second);
  workload_free(w);
}

/* Whatever the message speaks of stands in the table. */
static void what_is_written_though_it_does_not_pass_has_a_row(void **state) {
  char run[600];
  workload *w = tiny(*state, MLP ADAM NONE "exclude: [fp32, tf32]\n"
                                           "pins:\n"
                                           "  - {layers: fc1, format: bf16}\n"
                                           "  - {layers: [\"fc[2-9]\", head], format: fp16}\n");
  tuner_options options = options_in(*state, "pinned", run);
  tuner_summary summary = tune(w, &options);
  assert_false(summary.found);
  const tuner_row *row = row_named(&summary, "candidate 1");
  assert_non_null(strstr(summary.message, "candidate 1"));
  assert_false(row->winner);
  assert_true(row->seen.pairs > 0);
  tuner_summary_clear(&summary);
  workload_free(w);
}

/* Seeds of verification are none that a search has looked at, also of a search that began under
 * another seed. */
static void a_search_does_not_begin_among_the_seeds_of_verification(void **state) {
  char run[600];
  mpt_error error = {0};
  tuner_summary summary;
  workload *w = tiny(*state, MLP ADAM LARGE);
  tuner_options options = options_in(*state, "seeds", run);
  summary = tune(w, &options);
  assert_true(summary.gain);
  tuner_summary_clear(&summary);
  const uint64_t first = options.seed + SEARCH_FRESH_SEEDS;
  for (int i = 0; i < 2; i++) { /* its first seed, or its last is among them */
    options.seed =
        i == 0 ? first + VERIFY_MOST_TRIED - 1 : first - (uint64_t)w->reference_seeds + 1;
    assert_int_equal(tuner_run(w, &options, &summary, &error), MPT_ERROR_MISMATCH);
    fixture_contains(&error, "belong to verification");
  }
  options.seed = first + 10 * VERIFY_MOST_TRIED;
  summary = tune(w, &options);
  tuner_summary_clear(&summary);
  workload_free(w);
}

/* A search under another budget left policies behind: a new one takes a number that is free, and
 * keeps it when it is proposed again. */
static void no_two_policies_of_a_run_have_one_label(void **state) {
  char run[600];
  store *s = NULL;
  workload *w = tiny(*state, MLP ADAM NONE "exclude: [fp32, tf32]\n"
                                           "pins:\n"
                                           "  - {layers: fc1, format: bf16}\n"
                                           "  - {layers: [\"fc[2-9]\", head], format: fp16}\n");
  tuner_options options = options_in(*state, "labels", run);
  assert_int_equal(store_open(run, STORE_WRITE, &s, NULL), MPT_OK);
  for (int i = 1; i <= 5; i++) {
    store_policy other = {.assignment = (char *)"fc1 fp32\n"};
    snprintf(other.hash, sizeof other.hash, "other %d", i);
    snprintf(other.label, sizeof other.label, "candidate %d", i);
    assert_int_equal(store_put_policy(s, &other, NULL), MPT_OK);
  }
  store_close(s);
  for (int twice = 0; twice < 2; twice++) {
    tuner_summary summary = tune(w, &options);
    assert_true(row_named(&summary, "candidate 6")->seen.pairs > 0);
    tuner_summary_clear(&summary);
  }
  workload_free(w);
}

/* The note of the definition with a member of it changed. */
static void redefine(const char *run, const char *member, json_t *value) {
  store *s = NULL;
  char *text = NULL;
  assert_int_equal(store_open(run, STORE_WRITE, &s, NULL), MPT_OK);
  assert_int_equal(note_get(s, "definition", &text, NULL), MPT_OK);
  json_t *json = json_loads(text, 0, NULL);
  free(text);
  assert_int_equal(json_object_set_new(json, member, value), 0);
  text = json_dumps(json, 0);
  assert_int_equal(note_set(s, "definition", text, NULL), MPT_OK);
  free(text);
  json_decref(json);
  store_close(s);
}

/* Of a run of schema 1 it is not known: that mptune may have read the same file otherwise. */
static void a_run_of_other_data_is_not_continued(void **state) {
  char run[600];
  mpt_error error = {0};
  tuner_summary summary;
  workload *w = tiny(*state, MLP ADAM LARGE);
  tuner_options options = options_in(*state, "other-data", run);
  summary = tune(w, &options);
  tuner_summary_clear(&summary);
  redefine(run, "data_hash", json_string("another"));
  assert_int_equal(tuner_run(w, &options, &summary, &error), MPT_ERROR_MISMATCH);
  fixture_contains(&error, "the data has changed since the search");
  fixture_contains(&error, "began: its results");
  redefine(run, "from_schema", json_integer(1));
  assert_int_equal(tuner_run(w, &options, &summary, &error), MPT_ERROR_MISMATCH);
  fixture_contains(&error, "began, or that earlier mptune read it otherwise: its results");
  workload_free(w);
}

#define IN_A_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_A_DIRECTORY(the_same_seed_gives_the_same_winner_and_figures),
      IN_A_DIRECTORY(another_seed_trains_something_else),
      IN_A_DIRECTORY(the_winner_is_never_slower_than_a_uniform_policy_that_verifies),
      IN_A_DIRECTORY(a_reference_that_diverges_is_named),
      IN_A_DIRECTORY(a_candidate_that_diverges_does_not_end_the_search),
      IN_A_DIRECTORY(nothing_permitted_that_passes_is_not_found),
      IN_A_DIRECTORY(nothing_permitted_that_trains_is_a_result),
      IN_A_DIRECTORY(observing_says_where_a_reference_diverged),
      IN_A_DIRECTORY(slower_than_an_excluded_reference_is_still_a_winner),
      IN_A_DIRECTORY(no_more_candidates_are_trained_than_asked_for),
      IN_A_DIRECTORY(a_budget_that_only_the_reference_meets_is_no_gain),
      IN_A_DIRECTORY(the_same_command_again_trains_nothing),
      IN_A_DIRECTORY(what_is_observed_later_changes_no_winner),
      IN_A_DIRECTORY(what_is_written_though_it_does_not_pass_has_a_row),
      IN_A_DIRECTORY(a_run_of_other_data_is_not_continued),
      IN_A_DIRECTORY(no_two_policies_of_a_run_have_one_label),
      IN_A_DIRECTORY(a_search_does_not_begin_among_the_seeds_of_verification),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
