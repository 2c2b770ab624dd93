/* What is put into a run is what is read from it, whatever values it has; and what is not there is
 * none. test_store_damaged has what is wrong. */
#include "store/database.h"
#include "store/run_definition.h"
#include "store/run_faults.h"
#include "store/run_reference.h"
#include "store/run_scores.h"
#include "store/run_winner.h"
#include "store/timing_runs.h"
#include "store_fixture.h"
#include "workload/workload.h"
#include <jansson.h>

#define ODD_TEXT "\"\\\n\t\303\251\342\202\254</script>"

static void a_winner_comes_back(void **state) {
  const store_pair assignment[] = {{"fc1", "fp8"}, {ODD_TEXT, "fprop=fp8,dgrad=bf16,wgrad=tf32"}};
  const store_reason reasons[] = {
      {.layer = ODD_TEXT, .formats = "bf16", .reason = ODD_TEXT, .flip = ""}, {.layer = "b"}};
  const store_row rows[] = {{.label = "all-fp8",
                             .policy = "h",
                             .step_seconds = 5e-324,
                             .predicted_seconds = INFINITY,
                             .ratio = 1.0 / 3,
                             .verdict = "timed only",
                             .winner = true,
                             .memory_bytes = INT64_C(1) << 53,
                             .accuracy = {.metric = -0.1,
                                          .worse_by_absolute = NAN,
                                          .deviation_of_pairs = 1.7976931348623157e308,
                                          .interval = {.lower = -INFINITY, .confidence = 0.95},
                                          .pairs = 24,
                                          .fresh = true}}};
  const store_winner winner = {.verdict = MPT_VERDICT_INCONCLUSIVE,
                               .gain = true,
                               .message = "not \377 UTF-8",
                               .rows = rows,
                               .row_count = 1,
                               .tuning_seconds = 0.1,
                               .payback_seconds = NAN,
                               .otherwise = "",
                               .evaluations = 26,
                               .policy = "h",
                               .label = ODD_TEXT,
                               .assignment = assignment,
                               .assignment_count = 2,
                               .step_seconds = NAN,
                               .reasons = reasons,
                               .reason_count = 2};
  store *s = fixture_open(*state, STORE_WRITE);
  store_winner back;
  bool found = false;
  assert_int_equal(store_put_winner(s, &winner, NULL), MPT_OK);
  assert_int_equal(store_get_winner(s, &back, &found, NULL), MPT_OK);
  assert_true(found && back.gain && !back.predicted && back.verdict == MPT_VERDICT_INCONCLUSIVE);
  assert_string_equal(back.message, "not \357\277\275 UTF-8");
  assert_string_equal(back.label, ODD_TEXT);
  assert_string_equal(back.otherwise, "");
  assert_true(back.tuning_seconds == 0.1 && isnan(back.payback_seconds));
  assert_true(isnan(back.step_seconds) && back.ratio == 0 && back.evaluations == 26);
  assert_int_equal(back.assignment_count, 2);
  assert_string_equal(back.assignment[1].name, ODD_TEXT);
  assert_string_equal(back.assignment[1].text, "fprop=fp8,dgrad=bf16,wgrad=tf32");
  assert_int_equal(back.reason_count, 2);
  assert_string_equal(back.reasons[0].reason, ODD_TEXT);
  assert_string_equal(back.reasons[0].flip, "");
  assert_true(back.reasons[1].formats == NULL && back.reasons[1].reason == NULL);
  assert_int_equal(back.row_count, 1);
  const store_row *row = &back.rows[0];
  assert_true(row->step_seconds == 5e-324 && row->ratio == 1.0 / 3);
  assert_true(isnan(row->predicted_seconds)); /* infinite: null */
  assert_true(row->winner && !row->reference && row->memory_bytes == INT64_C(1) << 53);
  assert_true(row->accuracy.metric == -0.1 && isnan(row->accuracy.worse_by_absolute));
  assert_true(row->accuracy.deviation_of_pairs == 1.7976931348623157e308);
  assert_true(isnan(row->accuracy.interval.lower) && row->accuracy.interval.upper == 0);
  assert_true(row->accuracy.pairs == 24 && row->accuracy.fresh);
  store_winner_clear(&back);
  assert_null(back.message);
  store_close(s);
}

static void what_is_not_there_is_none(void **state) {
  static const char *const texts[] = {
      "{}",
      "{\"name\": null, \"budget\": null, \"target\": {}, \"started\": null, \"pairs\": null}",
      "{\"something\": {\"else\": [1, 2]}, \"versions\": {\"zlib\": 7}}"};
  store *s = fixture_open(*state, STORE_WRITE);
  for (int i = -1; i < 3; i++) {
    store_definition d;
    bool found = false;
    if (i >= 0)
      assert_int_equal(note_set(s, "definition", texts[i], NULL), MPT_OK);
    assert_int_equal(store_get_definition(s, &d, &found, NULL), MPT_OK);
    assert_int_equal(found, i >= 0);
    assert_true(d.name == NULL && d.budget.text == NULL && d.versions.mptune == NULL);
    assert_true(isnan(d.alpha) && isnan(d.budget.worse_by) && isnan(d.budget.max_diverged));
    assert_true(d.pairs == -1 && d.started == -1 && d.from_schema == -1 && d.metric == -1);
    assert_true(!d.budget.relative && !d.budget.of_error && !d.over_population);
    assert_true(d.target.predicted && !d.target.synthetic); /* not measured, as far as is known */
    assert_null(store_definition_metric(&d));
    store_definition_clear(&d);
  }
  store_close(s);
}

static void words_of_flags(void **state) {
  store *s = fixture_open(*state, STORE_WRITE);
  for (int i = 0; i < 4; i++) {
    char *text = NULL;
    bool found = false;
    const store_definition d = {.metric = METRIC_F1,
                                .over_population = (i & 1) != 0,
                                .budget = {.text = "1%", .of_error = (i & 2) != 0},
                                .from_schema = -1};
    store_definition back;
    assert_int_equal(store_put_definition(s, &d, false, NULL), MPT_OK);
    assert_int_equal(note_get(s, "definition", &text, NULL), MPT_OK);
    assert_true((strstr(text, "\"population\"") != NULL) == d.over_population);
    assert_true((strstr(text, "\"of\": \"error\"") != NULL) == d.budget.of_error);
    assert_null(strstr(text, "from_schema"));
    free(text);
    assert_int_equal(store_get_definition(s, &back, &found, NULL), MPT_OK);
    assert_true(back.over_population == d.over_population && back.metric == METRIC_F1);
    assert_true(back.budget.of_error == d.budget.of_error);
    assert_string_equal(store_definition_metric(&back), "f1");
    store_definition_clear(&back);
  }
  store_close(s);
}

static void one_that_is_there_is_kept(void **state) {
  static const char *const policies[] = {"first", "second", "third"};
  static const bool keep[] = {true, true, false};
  static const char *const expected[] = {"first", "first", "third"};
  store *s = fixture_open(*state, STORE_WRITE);
  for (int i = 0; i < 3; i++) {
    const int64_t seeds[] = {1, INT64_C(1) << 53};
    const store_reference r = {.policy = policies[i], .seeds = seeds, .seed_count = 2};
    store_reference back;
    bool found = false;
    assert_int_equal(store_put_reference(s, &r, keep[i], NULL), MPT_OK);
    assert_int_equal(store_get_reference(s, &back, &found, NULL), MPT_OK);
    assert_string_equal(back.policy, expected[i]);
    assert_int_equal(back.seed_count, 2);
    assert_true(back.seeds[1] == INT64_C(1) << 53);
    assert_true(back.metrics == NULL && back.metric_count == 0);
    store_reference_clear(&back);
  }
  store_close(s);
}

static void scores_are_of_one_training(void **state) {
  enum { MANY = 3000 };
  static store_score scores[MANY];
  store *s = fixture_open(*state, STORE_WRITE);
  for (int i = 0; i < MANY; i++)
    scores[i] = (store_score){.layer = "fc1",
                              .precision = (mpt_precision)(i % MPT_PRECISION_COUNT),
                              .forward = -1.0 / (i + 1),
                              .dgrad = i == 7 ? NAN : 1e-30,
                              .operands = {[MPT_GRAD_OUTPUT] = {.vanished = 1, .amax = INFINITY}}};
  const store_scores all = {.scores = scores, .count = MANY};
  store_scores back;
  bool found = true;
  assert_int_equal(store_put_scores(s, "k", &all, NULL), MPT_OK);
  assert_int_equal(store_get_scores(s, "another", &back, &found, NULL), MPT_OK);
  assert_true(!found && back.count == 0);
  store_scores_clear(&back);
  assert_int_equal(store_get_scores(s, "k", &back, &found, NULL), MPT_OK);
  assert_int_equal(back.count, MANY);
  for (int i = 0; i < MANY; i++) {
    const store_score *x = &back.scores[i];
    assert_true(x->precision == scores[i].precision && x->forward == scores[i].forward);
    assert_true(i == 7 ? isnan(x->dgrad) : x->dgrad == 1e-30);
    assert_true(x->operands[MPT_GRAD_OUTPUT].vanished == 1 && x->operands[MPT_INPUT].vanished == 0);
    assert_true(isnan(x->operands[MPT_GRAD_OUTPUT].amax) && x->operands[MPT_INPUT].amax == 0);
  }
  store_scores_clear(&back);
  store_close(s);
}

static void runs_of_a_time_add_up(void **state) {
  store *s = fixture_open(*state, STORE_WRITE);
  store_time row = {.policy = "p", .device = "d", .measured = true};
  for (int i = 0; i < 3; i++) {
    char name[16];
    const timing_run run = {
        .seconds = 1.0 / (i + 3), .deviation = 1e-9 * i, .steps = i + 1, .in_turn = i == 2};
    snprintf(name, sizeof name, "run %d", i);
    row.seconds = run.seconds;
    assert_int_equal(store_add_timing_run(s, &row, name, &run, i == 0 ? NAN : 0.01, NULL), MPT_OK);
  }
  store_time back;
  timing_run run;
  bool found = false;
  assert_int_equal(store_find_time(s, "p", "d", &found, &back, NULL), MPT_OK);
  assert_true(found && back.parts.run_count == 3 && back.parts.noise == 0.01);
  assert_true(isnan(back.parts.gemms) && back.seconds == 1.0 / 5);
  store_time_clear(&back);
  assert_int_equal(store_find_timing_run(s, "p", "d", "run 2", &found, &run, NULL), MPT_OK);
  assert_true(found && run.in_turn && run.steps == 3 && run.seconds == 1.0 / 5);
  assert_int_equal(store_find_timing_run(s, "p", "d", "run 3", &found, &run, NULL), MPT_OK);
  assert_false(found);
  assert_int_equal(store_find_timing_run(s, "q", "d", "run 2", &found, &run, NULL), MPT_OK);
  assert_false(found);
  store_close(s);
}

static void a_fault_is_of_what_failed(void **state) {
  store *s = fixture_open(*state, STORE_WRITE);
  bool has = true;
  assert_int_equal(store_has_fault(s, "timed h", &has, NULL), MPT_OK);
  assert_false(has);
  assert_int_equal(store_put_fault(s, "timed h", NULL), MPT_OK);
  assert_int_equal(store_has_fault(s, "timed h", &has, NULL), MPT_OK);
  assert_true(has);
  assert_int_equal(store_has_fault(s, "h", &has, NULL), MPT_OK);
  assert_false(has);
  store_close(s);
}

/* As base/json has it: texts end at no zero, and nothing is deeper than Jansson goes. */
static void hostile_texts(void **state) {
  enum { DEEP = 5000 };
  char deep[DEEP + 20] = "{\"rows\": ";
  memset(deep + 9, '[', DEEP);
  const char *const texts[] = {"", "{\"message\": \"a\\u0000b\"}", deep, "{\"gain\": 1}", "nan"};
  store *s = fixture_open(*state, STORE_WRITE);
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    mpt_error error = {0};
    store_winner back;
    bool found = false;
    assert_int_equal(note_set(s, "winner", texts[i], NULL), MPT_OK);
    assert_int_equal(store_get_winner(s, &back, &found, &error), MPT_ERROR_DAMAGED);
    fixture_contains(&error, "the note 'winner'");
    assert_false(found);
    assert_true(back.rows == NULL && back.message == NULL);
  }
  store_close(s);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup_in_memory, fixture_teardown)
  const struct CMUnitTest tests[] = {
      TEST(a_winner_comes_back),
      TEST(what_is_not_there_is_none),
      TEST(words_of_flags),
      TEST(one_that_is_there_is_kept),
      TEST(scores_are_of_one_training),
      TEST(runs_of_a_time_add_up),
      TEST(a_fault_is_of_what_failed),
      TEST(hostile_texts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
