/* Programs under evaluation, good and bad: what becomes of each, and that none takes the evaluator
 * down. tests/data/program.sh behaves as it is told. */
#include "base/clock.h"
#include "base/file.h"
#include "near.h"
#include "process/process.h"
#include "store_fixture.h"
#include "tuner/evaluators/command.h"
#include <dirent.h>
#include <sys/statvfs.h>

enum { STEPS = 12 };

typedef struct rig {
  command_options options;
  command_program program;
  evaluator *evaluator;
  char command[700], run[600];
  mpt_layer_policy formats[2];
  int64_t id;
} rig;

static rig rig_for(void **state, const char *behaviour) {
  rig r = {.options = command_options_default()};
  snprintf(r.run, sizeof r.run, "%s/run", (const char *)*state);
  snprintf(r.command, sizeof r.command, "exec sh %s/tests/data/program.sh %s", MPTUNE_SOURCE_DIR,
           behaviour);
  r.options.metric = "val_loss";
  r.options.steps = STEPS;
  r.options.grace = 0.3;
  return r;
}

static void open_rig(rig *r) {
  mpt_error error = {0};
  r->options.command = r->command;
  r->options.run = r->run;
  if (command_first_run(&r->options, NULL, &r->program, &error) != MPT_OK ||
      command_open(&r->options, &r->program, &r->evaluator, &error) != MPT_OK)
    fail_msg("%s", error.message);
}

static void close_rig(rig *r) {
  evaluator_close(r->evaluator);
  command_program_clear(&r->program);
}

/* Policies are known by a hash that begins with their format. */
static evaluation_request request_of(rig *r, request_kind kind, mpt_precision precision,
                                     uint64_t seed) {
  evaluation_request request = {.id = ++r->id,
                                .kind = kind,
                                .seed = seed,
                                .steps = STEPS,
                                .assignment = r->formats,
                                .loss_scale = {MPT_LOSS_SCALE_NONE, 1},
                                .instruments = {4, 4}};
  for (int i = 0; i < 2; i++)
    r->formats[i] = mpt_layer_policy_of(precision);
  snprintf(request.policy, sizeof request.policy, "%s-0123456789", mpt_precision_name(precision));
  snprintf(request.key, sizeof request.key, "key-%d", (int)r->id);
  snprintf(request.condition, sizeof request.condition, "condition");
  snprintf(request.purpose, sizeof request.purpose, "%s",
           precision == MPT_PRECISION_FP32 ? "reference" : "candidate");
  return request;
}

static evaluation_record carry_out(rig *r, const evaluation_request *request) {
  mpt_error error = {0};
  evaluation_record record = {0};
  bool found = false;
  if (evaluator_submit(r->evaluator, request, &error) != MPT_OK ||
      evaluator_poll(r->evaluator, NULL, NULL, &found, &record, &error) != MPT_OK) {
    fail_msg("%s", error.message);
    abort();
  }
  assert_true(found);
  assert_int_equal(record.id, request->id);
  return record;
}

static evaluation_record train(rig *r, mpt_precision precision, uint64_t seed) {
  const evaluation_request request = request_of(r, REQUEST_TRAIN, precision, seed);
  return carry_out(r, &request);
}

/* One training by a program of that behaviour. */
static evaluation_record train_by(void **state, const char *behaviour, rig *r) {
  *r = rig_for(state, behaviour);
  open_rig(r);
  return train(r, MPT_PRECISION_BF16, 2);
}

static void expect_good(const evaluation_record *record) {
  if (record->status != MPT_OK)
    fail_msg("%s", record->error.message);
  assert_false(record->evaluation.diverged || record->evaluation.stopped);
  assert_near(record->evaluation.metric, 503.2, 1e-9);
  assert_int_equal(record->evaluation.steps_done, STEPS);
}

static void expect_text(const char *text, const char *wanted) {
  if (text == NULL) {
    fail_msg("nothing is said, where '%s' should be", wanted);
    abort(); /* for readers that do not know that it does not return */
  }
  if (strstr(text, wanted) == NULL)
    fail_msg("'%s' is not in: %s", wanted, text);
}

/* ---- good ones ---- */

static void a_training_is_a_record(void **state) {
  rig r;
  evaluation_record record = train_by(state, "good", &r);
  const store_evaluation *e = &record.evaluation;
  expect_good(&record);
  assert_string_equal(e->policy, "bf16-0123456789");
  assert_string_equal(e->key, "key-1");
  assert_string_equal(e->condition, "condition");
  assert_string_equal(e->purpose, "candidate");
  assert_int_equal(e->seed, 2);
  assert_int_equal(e->loss_count, STEPS);
  for (int i = 0; i < STEPS; i++)
    assert_near(e->losses[i], 1003.2 - 10 * i, 1e-9);
  assert_near(record.time.seconds, 0.017, 1e-12);
  assert_near(e->host_seconds, 0.017, 1e-12);
  assert_true(isnan(e->metric_plain) && isnan(e->output_difference));
  assert_true(e->total_seconds > 0 && e->total_seconds < 60);
  assert_null(e->failure);
  evaluation_record_clear(&record);
  close_rig(&r);
}

static void the_first_run_tells_who_it_is(void **state) {
  rig r = rig_for(state, "good");
  open_rig(&r);
  evaluator_description about;
  evaluator_describe(r.evaluator, &about);
  assert_string_equal(about.name, "program.sh");
  assert_int_equal(about.capacity, 1);
  assert_int_equal(r.program.layer_count, 2);
  assert_string_equal(r.program.layers[1].name, "fc2");
  assert_int_equal(r.program.layers[1].shape[1], 16);
  assert_int_equal(r.program.layers[1].rows, 32);
  assert_int_equal(r.program.capabilities, 1u << CAPABILITY_TIME | 1u << CAPABILITY_OBSERVE);
  assert_string_equal(r.program.versions, "{\"sh\":\"1\"}");
  assert_int_equal(r.program.uncovered.count, 1);
  close_rig(&r);
}

static void a_first_run_that_trains_is_ended(void **state) {
  rig r;
  evaluation_record record = train_by(state, "trains_at_once", &r);
  assert_int_equal(r.program.layer_count, 2);
  expect_good(&record);
  evaluation_record_clear(&record);
  close_rig(&r);
}

static void times_and_observations_are_asked_for(void **state) {
  rig r = rig_for(state, "good");
  open_rig(&r);
  evaluation_request request = request_of(&r, REQUEST_TIME, MPT_PRECISION_FP8, 1);
  evaluation_record record = carry_out(&r, &request);
  assert_int_equal(record.status, MPT_OK);
  assert_near(record.time.seconds, 0.013, 1e-12);
  assert_near(record.time.deviation, 0.001, 1e-12);
  assert_int_equal(record.time.steps, STEPS);
  evaluation_record_clear(&record);
  request = request_of(&r, REQUEST_OBSERVE, MPT_PRECISION_FP32, 1);
  record = carry_out(&r, &request);
  assert_int_equal(record.status, MPT_OK);
  assert_near(record.evaluation.metric, 500.1, 1e-9);
  assert_int_equal(record.seen.count, 1);
  assert_string_equal(record.seen.statistics[0].layer, "fc1");
  assert_near(mpt_statistics_amax(&record.seen.statistics[0].statistics), 2.5, 0);
  const store_scores *scores = &record.seen.scores;
  assert_int_equal(scores->count, 4); /* fc1 was probed in one format alone */
  for (int i = 0; i < scores->count; i++) {
    assert_string_equal(scores->scores[i].layer, "fc2");
    assert_int_equal(scores->scores[i].precision, MPT_PRECISION_TF32 + i);
    assert_near(scores->scores[i].dgrad, 0.25, 0);
  }
  assert_near(scores->scores[2].forward, 0.5, 0);
  assert_near(scores->scores[3].forward, 0.75, 0); /* the last counts */
  assert_true(isnan(scores->scores[3].wgrad));
  evaluation_record_clear(&record);
  close_rig(&r);
}

static void a_program_of_which_only_a_metric_is_known_will_do(void **state) {
  rig r;
  evaluation_record record = train_by(state, "only_a_metric", &r);
  expect_good(&record);
  assert_true(isnan(record.time.seconds));
  for (int i = 0; i < STEPS; i++)
    assert_true(isnan(record.evaluation.losses[i]));
  evaluation_record_clear(&record);
  evaluation_request request = request_of(&r, REQUEST_TIME, MPT_PRECISION_FP8, 1);
  record = carry_out(&r, &request); /* not asked: not known */
  assert_int_equal(record.status, MPT_OK);
  assert_true(isnan(record.time.seconds));
  request = request_of(&r, REQUEST_OBSERVE, MPT_PRECISION_BF16, 2);
  record = carry_out(&r, &request);
  expect_good(&record);
  assert_int_equal(record.seen.count, 0);
  assert_int_equal(record.seen.scores.count, 0);
  evaluation_record_clear(&record);
  close_rig(&r);
}

static void what_does_no_harm_is_good(void **state) {
  static const char *const behaviours[] = {"nonsense_printed", "half_a_line", "changes_directory",
                                           "prints_much",      "flood",       "leaves_a_child"};
  for (size_t i = 0; i < sizeof behaviours / sizeof behaviours[0]; i++) {
    rig r;
    evaluation_record record = train_by(state, behaviours[i], &r);
    expect_good(&record);
    evaluation_record_clear(&record);
    close_rig(&r);
  }
}

/* ---- failed ones: the policy did not do ---- */

static void expect_failure(void **state, const char *behaviour, double limit, const char *text) {
  rig r = rig_for(state, behaviour);
  r.options.limit = limit;
  open_rig(&r);
  evaluation_record record = train(&r, MPT_PRECISION_BF16, 2);
  if (record.status != MPT_OK)
    fail_msg("%s: %s", behaviour, record.error.message);
  assert_true(record.evaluation.diverged);
  assert_true(isnan(record.evaluation.metric));
  expect_text(record.evaluation.failure, text);
  evaluation_record_clear(&record);
  close_rig(&r);
}

static void failed_programs_are_failed_policies(void **state) {
  expect_failure(
      state, "crashes", 0,
      "the program failed with exit code 3; it printed last 'Traceback (most recent call "
      "last):|ValueError: no such kernel' (");
  expect_failure(state, "killed", 0, "the program was killed (SIGKILL: often for want of memory)");
  expect_failure(state, "segfaults", 0, "the program was ended by SIGSEGV; it printed nothing");
  expect_failure(state, "nan", 0, "the metric is not finite");
  expect_failure(state, "nan_loss", 0, "the metric is not finite, since step 3");
  expect_failure(state, "fills_the_disk", 0, "a file of the program grew beyond ");
}

static void one_that_hangs_is_ended(void **state) {
  const double began = mpt_clock_seconds();
  expect_failure(state, "hangs", 0.5,
                 "the program ran longer than 0.5 s, its limit; --limit gives it more; it printed "
                 "last 'waiting for a lock' (");
  expect_failure(state, "hangs_stubbornly", 0.5, "the program ran longer than 0.5 s");
  assert_true(mpt_clock_seconds() - began < 20);
}

static void the_log_of_a_run_has_what_it_printed(void **state) {
  rig r;
  evaluation_record record = train_by(state, "crashes", &r);
  char path[700], *text = NULL;
  size_t length;
  snprintf(path, sizeof path, "%s/logs/train-bf16-0123456-2.log", r.run);
  assert_int_equal(mpt_file_read(path, 1 << 20, &text, &length, NULL), MPT_OK);
  assert_string_equal(text, "Traceback (most recent call last):\nValueError: no such kernel\n");
  expect_text(record.evaluation.failure, path);
  free(text);
  evaluation_record_clear(&record);
  close_rig(&r);
}

static void its_files_are_limited_to_half_of_the_disk(void **state) {
  rig r;
  char path[700], *text = NULL;
  size_t length;
  struct statvfs about;
  evaluation_record record = train_by(state, "file_limit", &r);
  expect_good(&record);
  snprintf(path, sizeof path, "%s/logs/train-bf16-0123456-2.log", r.run);
  assert_int_equal(mpt_file_read(path, 1 << 20, &text, &length, NULL), MPT_OK);
  assert_int_equal(statvfs(r.run, &about), 0);
  const double limit = atof(text) * 512,
               free_bytes = (double)about.f_bavail * (double)about.f_frsize;
  assert_true(limit > 0.3 * free_bytes && limit < 0.7 * free_bytes); /* others write meanwhile */
  free(text);
  evaluation_record_clear(&record);
  close_rig(&r);
}

/* ---- refused ones: nothing is known of the policy ---- */

static void expect_refusal(void **state, const char *behaviour, const char *text) {
  rig r;
  evaluation_record record = train_by(state, behaviour, &r);
  if (record.status != MPT_ERROR_PROGRAM)
    fail_msg("%s: %s: %s", behaviour, mpt_status_name(record.status), record.error.message);
  expect_text(record.error.message, text);
  assert_null(record.evaluation.losses);
  evaluation_record_clear(&record);
  evaluation_record again = train(&r, MPT_PRECISION_FP32, 1); /* it goes on */
  assert_int_equal(again.id, 2);
  evaluation_record_clear(&again);
  close_rig(&r);
}

static void what_breaks_the_contract_is_refused(void **state) {
  expect_refusal(state, "nonsense", "write one JSON object a line");
  expect_refusal(state, "few_formats",
                 "the program cannot apply bf16: it is not among the formats of its 'hello'");
  expect_refusal(state, "stats_of_no_layer",
                 "event 'probe' names the layer 'fc9', which the event 'layers' does not");
  expect_refusal(state, "long_line", "the line has more than 16777216 bytes");
  expect_refusal(state, "other_layers",
                 "layer 'fc1' is linear [16, 9], and was linear [16, 8] in the first run");
  expect_refusal(state, "not_applied",
                 "layer 'fc1' got fp32 in fprop, and the policy says bf16, and it is not the only "
                 "one; apply the file that MPTUNE_POLICY names");
  expect_refusal(state, "no_metric",
                 "the program ended without the metric 'val_loss'; send it after the last step");
  expect_refusal(
      state, "other_metric",
      "the program ended without the metric 'val_loss', and sent 'val_accuracy'; name it "
      "with --metric");
  expect_refusal(state, "untested",
                 "the program says that it could not test the policy (exit code 125); it printed "
                 "last 'out of memory' (");
}

static void a_fault_names_the_line_of_the_events(void **state) {
  rig r;
  evaluation_record record = train_by(state, "nonsense", &r);
  char path[700];
  snprintf(path, sizeof path, "%s/work/train-bf16-0123456-2/events.jsonl", r.run);
  assert_string_equal(record.error.file, path);
  assert_int_equal(record.error.line, 4);
  assert_int_equal(access(path, R_OK), 0); /* kept, to be looked at */
  evaluation_record_clear(&record);
  close_rig(&r);
}

static void a_time_that_was_promised_must_come(void **state) {
  rig r = rig_for(state, "no_time");
  open_rig(&r);
  const evaluation_request request = request_of(&r, REQUEST_TIME, MPT_PRECISION_FP8, 1);
  evaluation_record record = carry_out(&r, &request);
  assert_int_equal(record.status, MPT_OK); /* its steps have seconds */
  assert_near(record.time.seconds, 0.013, 1e-12);
  evaluation_record_clear(&record);
  close_rig(&r);
}

/* ---- the first run ---- */

static void a_first_run_that_fails_says_why(void **state) {
  static const struct {
    const char *behaviour, *command, *text;
  } cases[] = {
      {"hangs_at_first", NULL, "the program ran longer than 0.5 s"},
      {NULL, "echo no module named torch; exit 1",
       "the program failed with exit code 1; it printed last 'no module named torch'"},
      {NULL, "/no/such/program", "/no/such/program: not found"},
      {NULL, "true",
       "the program ended without the event 'hello'; append it to the file that "
       "MPTUNE_EVENTS names"},
      {NULL, "exit 125", "could not test the policy"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    mpt_error error = {0};
    rig r = rig_for(state, cases[i].behaviour != NULL ? cases[i].behaviour : "");
    r.options.command = cases[i].command != NULL ? cases[i].command : r.command;
    r.options.run = r.run;
    r.options.limit = 0.5;
    assert_int_equal(command_first_run(&r.options, NULL, &r.program, &error), MPT_ERROR_PROGRAM);
    expect_text(error.message, cases[i].text);
    command_program_clear(&r.program);
  }
}

/* ---- whether it can be trusted ---- */

static void one_that_ignores_the_seed_is_noticed(void **state) {
  rig r = rig_for(state, "ignores_the_seed");
  open_rig(&r);
  evaluation_record record = train(&r, MPT_PRECISION_FP32, 1);
  assert_int_equal(record.status, MPT_OK);
  evaluation_record_clear(&record);
  record = train(&r, MPT_PRECISION_FP32, 2);
  assert_int_equal(record.status, MPT_ERROR_ARGUMENT);
  expect_text(record.error.message, "the seeds 1 and 2 gave the very same losses: the program does "
                                    "not heed MPTUNE_SEED");
  evaluation_record_clear(&record);
  close_rig(&r);
}

static int repeats_of(void **state, const char *behaviour) {
  rig r = rig_for(state, behaviour);
  open_rig(&r);
  evaluation_record record = train(&r, MPT_PRECISION_FP32, 1);
  evaluation_record_clear(&record);
  assert_int_equal(command_repeats(r.evaluator), -1);
  /* The few steps of a timing are enough. */
  const evaluation_request request = request_of(&r, REQUEST_TIME, MPT_PRECISION_FP32, 1);
  record = carry_out(&r, &request);
  assert_int_equal(record.status, MPT_OK);
  evaluation_record_clear(&record);
  const int repeats = command_repeats(r.evaluator);
  close_rig(&r);
  return repeats;
}

static void one_that_does_not_repeat_itself_is_noticed(void **state) {
  assert_int_equal(repeats_of(state, "good"), 1);
  assert_int_equal(repeats_of(state, "does_not_repeat"), 0);
}

static void another_goal_is_noticed(void **state) {
  rig r = rig_for(state, "good");
  r.options.larger_is_better = true;
  open_rig(&r);
  evaluation_record record = train(&r, MPT_PRECISION_FP32, 1);
  assert_int_equal(record.status, MPT_ERROR_ARGUMENT);
  expect_text(record.error.message, "the program says that a smaller 'val_loss' is better");
  evaluation_record_clear(&record);
  close_rig(&r);
}

/* ---- requests ---- */

typedef struct canceller {
  evaluator *evaluator;
  int calls;
} canceller;

static void cancel_at_once(void *context, int64_t id, int64_t step, int64_t steps) {
  canceller *c = context;
  assert_int_equal(steps, STEPS);
  assert_int_equal(step, 0);
  c->calls++;
  evaluator_cancel(c->evaluator, id);
}

static void one_that_is_cancelled_is_ended(void **state) {
  rig r = rig_for(state, "hangs");
  mpt_error error = {0};
  evaluation_record record;
  bool found = false;
  open_rig(&r);
  const evaluation_request request = request_of(&r, REQUEST_TRAIN, MPT_PRECISION_BF16, 2);
  canceller c = {.evaluator = r.evaluator};
  const double began = mpt_clock_seconds();
  assert_int_equal(evaluator_submit(r.evaluator, &request, &error), MPT_OK);
  assert_int_equal(evaluator_submit(r.evaluator, &request, &error), MPT_ERROR_BUSY);
  assert_int_equal(evaluator_poll(r.evaluator, cancel_at_once, &c, &found, &record, &error),
                   MPT_OK);
  assert_true(found && c.calls > 0);
  assert_int_equal(record.status, MPT_ERROR_INTERRUPTED);
  assert_true(mpt_clock_seconds() - began < 10);
  assert_int_equal(evaluator_poll(r.evaluator, NULL, NULL, &found, &record, &error), MPT_OK);
  assert_false(found);
  close_rig(&r);
}

static void one_that_cannot_win_is_given_up(void **state) {
  rig r = rig_for(state, "falls_behind");
  double losses[STEPS] = {0};
  open_rig(&r);
  evaluation_request request = request_of(&r, REQUEST_TRAIN, MPT_PRECISION_BF16, 2);
  request.limit = (request_limit){.losses = losses, .hopeless = 10};
  evaluation_record record = carry_out(&r, &request);
  assert_int_equal(record.status, MPT_OK);
  assert_true(record.evaluation.stopped);
  assert_false(record.evaluation.diverged);
  assert_true(record.evaluation.steps_done >= STEPS / 2);
  assert_string_equal(record.evaluation.failure, "given up early: far behind the reference");
  evaluation_record_clear(&record);
  close_rig(&r);
}

static void several_run_side_by_side(void **state) {
  rig r = rig_for(state, "good");
  mpt_error error = {0};
  r.options.workers = 3;
  open_rig(&r);
  mpt_layer_policy formats[3][2];
  static const mpt_precision precisions[] = {MPT_PRECISION_FP32, MPT_PRECISION_BF16,
                                             MPT_PRECISION_FP8};
  static const double metrics[] = {500.2, 503.2, 507.2};
  for (int i = 0; i < 3; i++) {
    evaluation_request request = request_of(&r, REQUEST_TRAIN, precisions[i], 2);
    memcpy(formats[i], r.formats, sizeof formats[i]);
    request.assignment = formats[i];
    assert_int_equal(evaluator_submit(r.evaluator, &request, &error), MPT_OK);
  }
  int seen = 0;
  for (int i = 0; i < 3; i++) {
    evaluation_record record;
    bool found = false;
    assert_int_equal(evaluator_poll(r.evaluator, NULL, NULL, &found, &record, &error), MPT_OK);
    assert_true(found && record.status == MPT_OK);
    assert_near(record.evaluation.metric, metrics[record.id - 1], 1e-9);
    seen |= 1 << record.id;
    evaluation_record_clear(&record);
  }
  assert_int_equal(seen, 1 << 1 | 1 << 2 | 1 << 3);
  close_rig(&r);
}

static int entries_of(const char *path) {
  int count = 0;
  const struct dirent *each;
  DIR *directory = opendir(path);
  assert_non_null(directory);
  while ((each = readdir(directory)) != NULL)
    count += each->d_name[0] != '.';
  closedir(directory);
  return count;
}

static void good_runs_leave_their_logs_alone(void **state) {
  rig r = rig_for(state, "good");
  char path[700];
  open_rig(&r);
  const int before = entries_of("/proc/self/fd");
  for (int i = 0; i < 5; i++) {
    evaluation_record record = train(&r, MPT_PRECISION_FP32, (uint64_t)i);
    assert_int_equal(record.status, MPT_OK);
    evaluation_record_clear(&record);
  }
  assert_int_equal(entries_of("/proc/self/fd"), before);
  snprintf(path, sizeof path, "%s/work", r.run);
  assert_int_equal(entries_of(path), 0);
  snprintf(path, sizeof path, "%s/logs", r.run);
  assert_int_equal(entries_of(path), 6);
  close_rig(&r);
}

int main(void) {
#define IN_DIRECTORY(test)                                                                         \
  cmocka_unit_test_setup_teardown(test, fixture_setup_in_memory, fixture_teardown)
  const struct CMUnitTest tests[] = {
      IN_DIRECTORY(a_training_is_a_record),
      IN_DIRECTORY(the_first_run_tells_who_it_is),
      IN_DIRECTORY(a_first_run_that_trains_is_ended),
      IN_DIRECTORY(times_and_observations_are_asked_for),
      IN_DIRECTORY(a_program_of_which_only_a_metric_is_known_will_do),
      IN_DIRECTORY(what_does_no_harm_is_good),
      IN_DIRECTORY(failed_programs_are_failed_policies),
      IN_DIRECTORY(one_that_hangs_is_ended),
      IN_DIRECTORY(the_log_of_a_run_has_what_it_printed),
      IN_DIRECTORY(its_files_are_limited_to_half_of_the_disk),
      IN_DIRECTORY(what_breaks_the_contract_is_refused),
      IN_DIRECTORY(a_fault_names_the_line_of_the_events),
      IN_DIRECTORY(a_time_that_was_promised_must_come),
      IN_DIRECTORY(a_first_run_that_fails_says_why),
      IN_DIRECTORY(one_that_ignores_the_seed_is_noticed),
      IN_DIRECTORY(one_that_does_not_repeat_itself_is_noticed),
      IN_DIRECTORY(another_goal_is_noticed),
      IN_DIRECTORY(one_that_is_cancelled_is_ended),
      IN_DIRECTORY(one_that_cannot_win_is_given_up),
      IN_DIRECTORY(several_run_side_by_side),
      IN_DIRECTORY(good_runs_leave_their_logs_alone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
