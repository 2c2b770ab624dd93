/* A search whose step times are measured. Formats are emulated here, so the times mean nothing:
 * what is tested is that they are measured, kept, used, and said. */
#include "base/text.h"
#include "report/report.h"
#include "tiny_search.h"
#include "tuner/machine.h"
#include "tuner/recipes.h"

#define DEVICE "emulated on this processor"
static tuner_options measured_in(const char *directory, char run[600]) {
  tuner_options options = tuner_options_default();
  snprintf(run, 600, "%s/run", directory);
  options.run = run;
  options.backend = "cpu";
  options.target = "here";
  options.emulated_times = true;
  return options;
}

/* All that the store has of a policy's times, and how many were made in turn with others. */
static char *times_of(store *s, const char *policy, int *in_turn) {
  store_time time = {0};
  bool found = false;
  assert_int_equal(store_find_time(s, policy, DEVICE, &found, &time, NULL), MPT_OK);
  if (!found)
    return NULL;
  mpt_text all = {0};
  assert_true(time.measured && time.seconds > 0);
  for (int i = 0; i < time.parts.run_count; i++) {
    const store_run *r = &time.parts.runs[i];
    *in_turn += r->in_turn;
    mpt_text_addf(&all, "%s %.17g %.17g %lld %d\n", r->run, r->seconds, r->deviation,
                  (long long)r->steps, r->in_turn);
  }
  assert_true(all.length > 0 && !all.failed);
  store_time_clear(&time);
  return all.data;
}

typedef struct seen_times {
  int policies, timed, in_turn, evaluations;
  char *text[64];
} seen_times;

static seen_times look(const char *run) {
  seen_times seen = {0};
  store_policy *policies = NULL;
  store_evaluation *evaluations = NULL;
  store *s = fixture_open(run, STORE_READ);
  assert_int_equal(store_all_policies(s, &policies, &seen.policies, NULL), MPT_OK);
  assert_int_equal(store_all_evaluations(s, &evaluations, &seen.evaluations, NULL), MPT_OK);
  assert_true(seen.policies < 64);
  for (int i = 0; i < seen.policies; i++) {
    seen.text[i] = times_of(s, policies[i].hash, &seen.in_turn);
    seen.timed += seen.text[i] != NULL;
    free(policies[i].assignment);
  }
  for (int i = 0; i < seen.evaluations; i++)
    store_evaluation_clear(&evaluations[i]);
  free(policies);
  free(evaluations);
  store_close(s);
  return seen;
}

static void forget(seen_times *seen) {
  for (int i = 0; i < seen->policies; i++)
    free(seen->text[i]);
}

/* The reference is not permitted, so that something else must win, however slow it is here. */
#define FAST_FP8 "fprop=fp8+fast,dgrad=fp8,wgrad=fp8"
#define ANYTHING "exclude: [fp32]\n"

static void every_policy_that_is_trained_is_timed(void **state) {
  char run[600];
  workload *w = tiny(*state, MLP ADAM LARGE ANYTHING);
  tuner_options options = measured_in(*state, run);
  tuner_summary summary = tune(w, &options);
  assert_false(summary.predicted);
  assert_true(summary.found && summary.row_count >= 5);
  for (int i = 0; i < summary.row_count; i++) {
    const tuner_row *row = &summary.rows[i];
    assert_true(row->measured);
    assert_true(row->step_seconds > 0 && row->predicted_seconds > 0);
    assert_true(row->step_seconds != row->predicted_seconds);
  }
  assert_non_null(strstr(summary.message, "(measured)"));
  seen_times seen = look(run);
  assert_true(seen.timed >= 5);
  forget(&seen);
  tuner_summary_clear(&summary);
  workload_free(w);
}

static void the_policy_says_that_its_time_is_measured(void **state) {
  char run[600], path[620];
  mpt_error error = {0};
  mpt_policy *policy = NULL;
  workload *w = tiny(*state, MLP ADAM LARGE ANYTHING);
  tuner_options options = measured_in(*state, run);
  tuner_summary summary = tune(w, &options);
  snprintf(path, sizeof path, "%s/policy.yaml", run);
  if (mpt_policy_load(path, &policy, &error) != MPT_OK)
    fail_msg("%s", error.message);
  assert_true(mpt_policy_get_result(policy).time_measured);
  assert_string_equal(mpt_policy_get_provenance(policy, "target"), DEVICE);
  assert_non_null(strstr(mpt_policy_get_provenance(policy, "times"), "measured: "));
  assert_non_null(strstr(mpt_policy_get_provenance(policy, "times"), "predicted "));
  mpt_policy_free(policy);
  tuner_summary_clear(&summary);
  workload_free(w);
}

static void contains(const char *text, const char *words) {
  if (strstr(text, words) == NULL)
    fail_msg("'%s' is not in the report", words);
}

static void reports_show_the_prediction_beside_what_was_measured(void **state) {
  static const char *const words[][4] = {
      [REPORT_HTML] = {"step (measured)<th>predicted<th>of reference", "a step (measured; ",
                       "Every step time, on ", "corrected by the step times measured"},
      [REPORT_MARKDOWN] = {"| step (measured) | predicted | of reference |", "a step (measured; ",
                           "Step times are measured", "corrected by the step times measured"},
      [REPORT_JSON] = {"\"times\": \"measured\"", "\"predicted_seconds\": ", "\"measured\": true",
                       "\"predicted\": false"}};
  char run[600];
  workload *w = tiny(*state, MLP ADAM LARGE ANYTHING);
  tuner_options options = measured_in(*state, run);
  tuner_summary summary = tune(w, &options);
  for (int kind = REPORT_HTML; kind <= REPORT_JSON; kind++) {
    char *text = NULL;
    mpt_error error = {0};
    if (report_text(run, (report_kind)kind, &text, &error) != MPT_OK)
      fail_msg("%s", error.message);
    for (int i = 0; i < 4; i++)
      contains(text, words[kind][i]);
    free(text);
  }
  tuner_summary_clear(&summary);
  workload_free(w);
}

/* Nothing is timed twice, and what was measured decides as it did. */
static void the_same_command_again_times_nothing(void **state) {
  char run[600];
  workload *w = tiny(*state, MLP ADAM LARGE ANYTHING);
  tuner_options options = measured_in(*state, run);
  tuner_summary first = tune(w, &options);
  seen_times before = look(run);
  tuner_summary second = tune(w, &options);
  seen_times after = look(run);
  assert_int_equal(before.evaluations, after.evaluations);
  assert_int_equal(before.policies, after.policies);
  int compared = 0;
  for (int i = 0; i < before.policies; i++)
    if (before.text[i] != NULL) {
      assert_string_equal(before.text[i], after.text[i]);
      compared++;
    }
  assert_true(compared >= 5);
  assert_true(first.tuning_seconds < second.tuning_seconds);
  assert_int_equal(first.row_count, second.row_count);
  for (int i = 0; i < first.row_count; i++) {
    assert_string_equal(first.rows[i].label, second.rows[i].label);
    assert_true(first.rows[i].step_seconds == second.rows[i].step_seconds);
    assert_int_equal(first.rows[i].winner, second.rows[i].winner);
  }
  forget(&before);
  forget(&after);
  tuner_summary_clear(&first);
  tuner_summary_clear(&second);
  workload_free(w);
}

/* Carries out what is asked for, from the store where it is there; how many were not. */
static int carry_out(search *s, turns *t, char *order) {
  mpt_error error = {0};
  int made = 0, done = 0;
  for (;;) {
    requests out = {0};
    if (turns_go_on(t, &s->problem, &s->ledger, &s->model, &out, &error) != MPT_OK)
      fail_msg("%s", error.message);
    if (out.count == 0) {
      requests_clear(&out);
      return made;
    }
    assert_true(out.count == 1 && done < 6); /* side by side they would slow each other down */
    const asked a = out.list[0];
    assert_true(a.request.kind == REQUEST_TIME && a.request.in_turn);
    order[done++] = a.candidate->label[0];
    bool found = false;
    evaluation_record record;
    assert_int_equal(search_recall(s, &a, &found, &record, &error), MPT_OK);
    if (!found)
      record = (evaluation_record){.time = {.seconds = 1 + 0.001 * made++, .steps = 9}};
    assert_int_equal(ledger_tell(&s->ledger, &s->problem, a.candidate, &a.request, &record, &error),
                     MPT_OK);
    evaluation_record_clear(&record);
    requests_clear(&out);
  }
}

/* A B A B A B, each time as a run of its own, and none of it twice. */
static void finalists_are_timed_in_turn(void **state) {
  static const mpt_precision precisions[] = {MPT_PRECISION_BF16, MPT_PRECISION_TF32,
                                             MPT_PRECISION_FP16};
  static const char *const labels[] = {"A", "B", "far"};
  char run[600];
  mpt_error error = {0};
  workload *w = tiny(*state, MLP ADAM LARGE);
  tuner_options options = measured_in(*state, run);
  for (int again = 0; again < 2; again++) {
    search s;
    turns t = {0};
    char order[64] = "";
    candidate *finalists[3];
    if (search_open(&s, w, &options, SEARCH_TUNE, &error) != MPT_OK)
      fail_msg("%s", error.message);
    mpt_layer_policy *assignment = calloc((size_t)s.problem.graph->layer_count, sizeof *assignment);
    for (int i = 0; i < 3; i++) {
      bool permitted;
      space_uniform(s.problem.space, precisions[i], assignment, &permitted);
      assert_int_equal(ledger_candidate(&s.ledger, &s.problem, &s.model.prices, assignment,
                                        w->loss_scale, labels[i], &finalists[i], &error),
                       MPT_OK);
      finalists[i]->seconds = i == 2 ? 2 : 1 + 0.01 * i; /* the last is not close */
    }
    assert_int_equal(turns_begin(&t, &s.problem, &s.model, finalists, 3, 1, &error), MPT_OK);
    assert_int_equal(carry_out(&s, &t, order), again ? 0 : 6);
    assert_string_equal(order, "ABABAB");
    for (int i = 0; i < 2; i++) {
      int in_turn = 0;
      assert_int_equal(finalists[i]->timed.count, 3);
      assert_true(finalists[i]->seconds == 1.002 + 0.001 * i);
      free(times_of(s.ledger.store, finalists[i]->hash, &in_turn));
      assert_int_equal(in_turn, 3);
    }
    assert_int_equal(finalists[2]->timed.count, 0);
    turns_clear(&t);
    free(assignment);
    search_close(&s);
  }
  workload_free(w);
}

static void what_is_not_trained_is_timed(void **state) {
  char run[600];
  workload *w = tiny(*state, MLP ADAM LARGE);
  tuner_options options = measured_in(*state, run);
  tuner_summary summary = tune(w, &options);
  assert_true(summary.row_count >= 5);
  for (int i = 0; i < summary.row_count; i++)
    assert_true(summary.rows[i].measured && summary.rows[i].step_seconds > 0);
  tuner_summary_clear(&summary);
  workload_free(w);
}

static void times_of_an_emulated_device_are_refused(void **state) {
  char run[600];
  mpt_error error = {0};
  tuner_summary summary;
  workload *w = tiny(*state, MLP ADAM LARGE);
  tuner_options options = measured_in(*state, run);
  options.emulated_times = false;
  assert_int_equal(tuner_run(w, &options, &summary, &error), MPT_ERROR_ARGUMENT);
  assert_non_null(strstr(error.message, "emulated"));
  assert_int_equal(access(run, F_OK), -1);
  workload_free(w);
}

/* Measured and predicted have identities of their own: a prediction is never taken for a time. */
static void predictions_are_kept_apart(void **state) {
  char run[600];
  workload *w = tiny(*state, MLP ADAM LARGE ANYTHING);
  tuner_options options = measured_in(*state, run), priced = options;
  priced.target = "synthetic-bits";
  tuner_summary first = tune(w, &options), second = tune(w, &priced);
  assert_false(first.predicted);
  assert_true(second.predicted);
  assert_true(second.row_count >= 5);
  for (int i = 0; i < second.row_count; i++) {
    assert_false(second.rows[i].measured);
    assert_true(second.rows[i].step_seconds == second.rows[i].predicted_seconds);
  }
  tuner_summary_clear(&first);
  tuner_summary_clear(&second);
  workload_free(w);
}

typedef struct rule_expected {
  const char *layer, *formats;
} rule_expected;

static void check_rule(const char *workload_file, int64_t sequence, const rule_expected *expected,
                       size_t count) {
  mpt_error error = {0};
  workload *w = NULL;
  graph *g = NULL;
  profile *p = NULL;
  space *s = NULL;
  const dataset_info info = {.tokens = true, .sequence = sequence, .classes = 256};
  if (workload_load(workload_file, &w, &error) != MPT_OK ||
      graph_build(w, &w->model, w->batch, sequence, &info, &g, &error) != MPT_OK ||
      profile_load("nvidia-h200", &p, &error) != MPT_OK ||
      space_build(w, g, p, true, &s, &error) != MPT_OK) {
    fail_msg("%s", error.message);
    return;
  }
  mpt_layer_policy *assignment = calloc((size_t)g->layer_count, sizeof *assignment);
  int *choice = calloc((size_t)s->unit_count, sizeof *choice);
  recipe_assignment(s, RECIPE_TORCHAO, assignment);
  for (size_t i = 0; i < count; i++) {
    char formats[160];
    mpt_layer_policy_text(&assignment[graph_find(g, expected[i].layer)], formats, sizeof formats);
    assert_string_equal(formats, expected[i].formats);
  }
  assert_true(space_choices(s, assignment, choice));
  free(choice);
  free(assignment);
  space_free(s);
  profile_free(p);
  graph_free(g);
  workload_free(w);
}

/* By the weights' shapes alone: at width 768 a projection is too small, at 2048 nothing is. */
static void torchaos_rule_is_a_policy_of_the_space(void **state) {
  (void)state;
  static const rule_expected small[] = {
      {"blocks.3.attn.qkv", FAST_FP8}, {"blocks.3.attn.proj", "bf16"},
      {"blocks.3.mlp.fc1", FAST_FP8},  {"blocks.3.mlp.fc2", "bf16"},
      {"blocks.3.mlp.gelu", "bf16"},   {"head", FAST_FP8}};
  static const rule_expected large[] = {{"blocks.3.attn.proj", FAST_FP8},
                                        {"blocks.3.mlp.fc2", FAST_FP8},
                                        {"blocks.3.mlp.gelu", "bf16"}};
  check_rule(MPTUNE_SOURCE_DIR "/profiles/workloads/gpt2-124m.yaml", 1024, small,
             sizeof small / sizeof *small);
  check_rule(MPTUNE_SOURCE_DIR "/profiles/workloads/gpt-800m.yaml", 2048, large,
             sizeof large / sizeof *large);
}

#define IN_A_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_A_DIRECTORY(every_policy_that_is_trained_is_timed),
      IN_A_DIRECTORY(the_policy_says_that_its_time_is_measured),
      IN_A_DIRECTORY(reports_show_the_prediction_beside_what_was_measured),
      IN_A_DIRECTORY(the_same_command_again_times_nothing),
      IN_A_DIRECTORY(finalists_are_timed_in_turn),
      IN_A_DIRECTORY(what_is_not_trained_is_timed),
      IN_A_DIRECTORY(times_of_an_emulated_device_are_refused),
      IN_A_DIRECTORY(predictions_are_kept_apart),
      cmocka_unit_test(torchaos_rule_is_a_policy_of_the_space),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
