/* A device that fails in the middle of a search, and policies that do not fit into its memory: the
 * trainer is wrapped, and fails where it is told to. */
#include "tiny_search.h"
#include "train/trainer.h"

mpt_status __real_train_run(const train_options *options, train_result *result, mpt_error *error);
mpt_status __wrap_train_run(const train_options *options, train_result *result, mpt_error *error);

/* Trainings whose layers are all in that precision end like this, that many times. */
static struct {
  mpt_precision precision;
  mpt_status status;
  const char *message;
  int times, met;
} fault;

static bool is_hit(const train_options *o) {
  bool hit = fault.times > 0;
  for (int i = 0; i < o->graph->layer_count; i++)
    if (o->graph->layers[i].has_gemm)
      hit = hit && o->assignment[i].gemm[MPT_FPROP].precision == fault.precision;
  return hit;
}

mpt_status __wrap_train_run(const train_options *options, train_result *result, mpt_error *error) {
  if (!is_hit(options))
    return __real_train_run(options, result, error);
  fault.times--;
  fault.met++;
  *result = (train_result){0};
  if (error != NULL) {
    *error = (mpt_error){.status = fault.status};
    snprintf(error->message, sizeof error->message, "%s", fault.message);
  }
  return fault.status;
}

static void fail_with(mpt_status status, const char *message, mpt_precision precision, int times) {
  fault.precision = precision;
  fault.status = status;
  fault.message = message;
  fault.times = times;
  fault.met = 0;
}

static void ends_with_the_device(const workload *w, const tuner_options *options) {
  mpt_error error = {0};
  tuner_summary summary;
  assert_int_equal(tuner_run(w, options, &summary, &error), MPT_ERROR_DEVICE);
  fixture_contains(&error, "an illegal memory access");
  fixture_contains(&error, "what was learned is saved, the same command continues");
}

#define KERNEL "gemm: an illegal memory access was encountered"

static void the_same_command_continues_after_a_fault(void **state) {
  char run[600], undisturbed[600];
  workload *w = tiny(*state, MLP ADAM LARGE);
  tuner_options options = options_in(*state, "fault", run);
  tuner_options other = options_in(*state, "other", undisturbed);
  fail_with(MPT_ERROR_DEVICE, KERNEL, MPT_PRECISION_FP8, 1);
  ends_with_the_device(w, &options);
  tuner_summary continued = tune(w, &options), plain = tune(w, &other);
  assert_int_equal(fault.met, 1);
  assert_int_equal(continued.row_count, plain.row_count);
  for (int i = 0; i < plain.row_count; i++) {
    assert_string_equal(continued.rows[i].label, plain.rows[i].label);
    assert_int_equal(continued.rows[i].winner, plain.rows[i].winner);
    assert_int_equal(continued.rows[i].verdict, plain.rows[i].verdict);
  }
  tuner_summary_clear(&continued);
  tuner_summary_clear(&plain);
  workload_free(w);
}

/* A kernel that fails each time does not keep a search from its end. */
static void an_evaluation_that_failed_twice_is_left_behind(void **state) {
  char run[600];
  workload *w = tiny(*state, MLP ADAM LARGE);
  tuner_options options = options_in(*state, "twice", run);
  fail_with(MPT_ERROR_DEVICE, KERNEL, MPT_PRECISION_FP8, 100);
  ends_with_the_device(w, &options);
  ends_with_the_device(w, &options);
  tuner_summary summary = tune(w, &options);
  assert_int_equal(fault.met, 2);
  assert_true(summary.found);
  assert_false(row_named(&summary, "all-fp8")->winner);
  assert_false(isfinite(row_named(&summary, "all-fp8")->seen.worse));
  tuner_summary_clear(&summary);
  workload_free(w);
}

#define FULL "activations of a batch of 32: out of memory; make the batch smaller"

static void a_policy_that_does_not_fit_fails_alone(void **state) {
  char run[600];
  workload *w = tiny(*state, MLP ADAM LARGE);
  tuner_options options = options_in(*state, "full", run);
  fail_with(MPT_ERROR_DEVICE_MEMORY, FULL, MPT_PRECISION_FP8, 100);
  tuner_summary summary = tune(w, &options);
  assert_true(fault.met > 0);
  assert_true(summary.found && summary.gain);
  assert_false(row_named(&summary, "all-fp8")->winner);
  tuner_summary_clear(&summary);
  workload_free(w);
}

#define HOST "out of memory for a session (4096 bytes)"

/* Memory of the host that is short says nothing of a policy: the search ends, nothing is taken down
 * about the policy, and the same command comes to what it would have. */
static void a_host_without_memory_fails_no_policy(void **state) {
  char run[600];
  mpt_error error = {0};
  tuner_summary summary;
  workload *w = tiny(*state, MLP ADAM LARGE);
  tuner_options options = options_in(*state, "host", run);
  fail_with(MPT_ERROR_MEMORY, HOST, MPT_PRECISION_FP8, 1);
  assert_int_equal(tuner_run(w, &options, &summary, &error), MPT_ERROR_MEMORY);
  fixture_contains(&error, HOST);
  summary = tune(w, &options);
  assert_true(isfinite(row_named(&summary, "all-fp8")->seen.worse));
  tuner_summary_clear(&summary);
  workload_free(w);
}

static void a_reference_that_does_not_fit_asks_for_a_smaller_batch(void **state) {
  char run[600];
  mpt_error error = {0};
  tuner_summary summary;
  workload *w = tiny(*state, MLP ADAM LARGE);
  tuner_options options = options_in(*state, "reference", run);
  fail_with(MPT_ERROR_DEVICE_MEMORY, FULL, MPT_PRECISION_FP32, 1);
  assert_int_equal(tuner_run(w, &options, &summary, &error), MPT_ERROR_DEVICE_MEMORY);
  fixture_contains(&error, FULL);
  summary = tune(w, &options); /* nothing was lost */
  assert_true(summary.found);
  tuner_summary_clear(&summary);
  workload_free(w);
}

#define IN_A_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_A_DIRECTORY(the_same_command_continues_after_a_fault),
      IN_A_DIRECTORY(an_evaluation_that_failed_twice_is_left_behind),
      IN_A_DIRECTORY(a_policy_that_does_not_fit_fails_alone),
      IN_A_DIRECTORY(a_host_without_memory_fails_no_policy),
      IN_A_DIRECTORY(a_reference_that_does_not_fit_asks_for_a_smaller_batch),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
