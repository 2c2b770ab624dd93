/* Programs that serve: one process that stays takes the jobs, and what becomes of it. */
#include "base/clock.h"
#include "base/file.h"
#include "near.h"
#include "store_fixture.h"
#include "tuner/evaluators/command.h"

enum { STEPS = 6 };

typedef struct rig {
  command_options options;
  command_program program;
  evaluator *evaluator;
  char command[1400], run[600], begun[600];
  mpt_layer_policy formats[1];
  int64_t id;
} rig;

static void open_rig(void **state, const char *behaviour, rig *r) {
  mpt_error error = {0};
  *r = (rig){.options = command_options_default()};
  snprintf(r->run, sizeof r->run, "%s/run", (const char *)*state);
  snprintf(r->begun, sizeof r->begun, "%s/begun", (const char *)*state);
  snprintf(r->command, sizeof r->command, "exec sh %s/tests/data/worker.sh %s %s",
           MPTUNE_SOURCE_DIR, behaviour, r->begun);
  r->options.command = r->command;
  r->options.run = r->run;
  r->options.metric = "val_loss";
  r->options.steps = STEPS;
  r->options.grace = 0.3;
  unlink(r->begun);
  if (command_first_run(&r->options, NULL, &r->program, &error) != MPT_OK ||
      command_open(&r->options, &r->program, &r->evaluator, &error) != MPT_OK)
    fail_msg("%s", error.message);
}

static void close_rig(rig *r) {
  evaluator_close(r->evaluator);
  command_program_clear(&r->program);
}

static evaluation_record train(rig *r, mpt_precision precision, uint64_t seed,
                               const char *purpose) {
  evaluation_request request = {.id = ++r->id,
                                .kind = REQUEST_TRAIN,
                                .seed = seed,
                                .steps = STEPS,
                                .assignment = r->formats,
                                .loss_scale = {MPT_LOSS_SCALE_NONE, 1}};
  mpt_error error = {0};
  evaluation_record record = {0};
  bool found = false;
  r->formats[0] = mpt_layer_policy_of(precision);
  snprintf(request.policy, sizeof request.policy, "%s-0123456789", mpt_precision_name(precision));
  snprintf(request.key, sizeof request.key, "key-%d", (int)r->id);
  snprintf(request.purpose, sizeof request.purpose, "%s", purpose);
  if (evaluator_submit(r->evaluator, &request, &error) != MPT_OK ||
      evaluator_poll(r->evaluator, NULL, NULL, &found, &record, &error) != MPT_OK || !found) {
    fail_msg("%s", error.message);
    abort();
  }
  return record;
}

/* What began, in its order: the modes, a line each. */
static void expect_begun(const rig *r, const char *wanted) {
  char *text = NULL;
  size_t length;
  assert_int_equal(mpt_file_read(r->begun, 1 << 20, &text, &length, NULL), MPT_OK);
  assert_string_equal(text, wanted);
  free(text);
}

static void expect_metric(const evaluation_record *record, double metric) {
  if (record->status != MPT_OK)
    fail_msg("%s", record->error.message);
  if (record->evaluation.diverged)
    fail_msg("%s", record->evaluation.failure);
  assert_near(record->evaluation.metric, metric, 1e-9);
  assert_int_equal(record->evaluation.loss_count, STEPS);
}

/* Also: that a served and a fresh evaluation agree. */
static void one_process_takes_all_but_verification(void **state) {
  rig r;
  open_rig(state, "good", &r);
  evaluation_record served = train(&r, MPT_PRECISION_FP32, 1, "reference");
  expect_metric(&served, 500.1);
  evaluation_record record = train(&r, MPT_PRECISION_BF16, 2, "candidate");
  expect_metric(&record, 503.2);
  evaluation_record_clear(&record);
  expect_begun(&r, "train\nserve\n"); /* the first run, and one worker */
  record = train(&r, MPT_PRECISION_FP32, 1, "verify");
  expect_metric(&record, 500.1);
  assert_memory_equal(record.evaluation.losses, served.evaluation.losses, STEPS * sizeof(double));
  evaluation_record_clear(&record);
  evaluation_record_clear(&served);
  expect_begun(&r, "train\nserve\ntrain\n");
  record = train(&r, MPT_PRECISION_FP8, 3, "candidate");
  expect_metric(&record, 507.3);
  evaluation_record_clear(&record);
  close_rig(&r);
  expect_begun(&r, "train\nserve\ntrain\nended\n"); /* by itself */
}

static void a_worker_that_fails_is_replaced_and_its_job_tried_afresh(void **state) {
  static const struct {
    const char *behaviour;
    double limit;
    const char *begun;
  } cases[] = {{"dies", 0, "train\nserve\ntrain\nserve\ntrain\n"},
               {"fails", 0, "train\nserve\nended\ntrain\nserve\nended\ntrain\n"},
               {"hangs", 0.4, "train\nserve\ntrain\nserve\ntrain\n"},
               {"dies_at_once", 0, "train\nserve\ntrain\nserve\ntrain\n"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    rig r;
    open_rig(state, cases[i].behaviour, &r);
    r.options.limit = cases[i].limit;
    evaluator_close(r.evaluator);
    assert_int_equal(command_open(&r.options, &r.program, &r.evaluator, NULL), MPT_OK);
    evaluation_record record = train(&r, MPT_PRECISION_BF16, 2, "candidate");
    expect_metric(&record, 503.2);
    evaluation_record_clear(&record);
    record = train(&r, MPT_PRECISION_FP32, 1, "candidate");
    expect_metric(&record, 500.1);
    evaluation_record_clear(&record);
    expect_begun(&r, cases[i].begun);
    close_rig(&r);
  }
}

static void what_a_worker_cannot_test_is_left_out(void **state) {
  rig r;
  open_rig(state, "skips", &r);
  evaluation_record record = train(&r, MPT_PRECISION_BF16, 2, "candidate");
  assert_int_equal(record.status, MPT_ERROR_PROGRAM);
  assert_non_null(strstr(record.error.message, "exit code 125"));
  evaluation_record_clear(&record);
  record = train(&r, MPT_PRECISION_BF16, 2, "candidate");
  evaluation_record_clear(&record);
  expect_begun(&r, "train\nserve\n"); /* it is well */
  close_rig(&r);
}

static void one_that_answers_nonsense_is_refused_and_replaced(void **state) {
  rig r;
  open_rig(state, "babbles", &r);
  const double began = mpt_clock_seconds();
  evaluation_record record = train(&r, MPT_PRECISION_BF16, 2, "candidate");
  assert_int_equal(record.status, MPT_OK); /* in a process of its own */
  expect_metric(&record, 503.2);
  evaluation_record_clear(&record);
  assert_true(mpt_clock_seconds() - began < 20);
  expect_begun(&r, "train\nserve\ntrain\n");
  close_rig(&r);
}

int main(void) {
#define IN_DIRECTORY(test)                                                                         \
  cmocka_unit_test_setup_teardown(test, fixture_setup_in_memory, fixture_teardown)
  const struct CMUnitTest tests[] = {
      IN_DIRECTORY(one_process_takes_all_but_verification),
      IN_DIRECTORY(a_worker_that_fails_is_replaced_and_its_job_tried_afresh),
      IN_DIRECTORY(what_a_worker_cannot_test_is_left_out),
      IN_DIRECTORY(one_that_answers_nonsense_is_refused_and_replaced),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
