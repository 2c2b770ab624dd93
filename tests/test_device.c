/* What is said of devices: every built-in backend, and a GPU where there is one. */
#include "mptune/mptune.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void backends_are_listed_once_each(void **state) {
  (void)state;
  assert_string_equal(mpt_backend_name(0), "cpu");
  int count = 0;
  while (mpt_backend_name(count) != NULL)
    count++;
  for (int i = 0; i < count; i++)
    for (int j = 0; j < i; j++)
      assert_string_not_equal(mpt_backend_name(i), mpt_backend_name(j));
  assert_null(mpt_backend_name(-1));
}

static void the_cpu_is_one_device_that_emulates(void **state) {
  (void)state;
  mpt_device_info info;
  mpt_device_activity activity;
  mpt_error error = {0};
  int count = 0;
  assert_int_equal(mpt_device_count("cpu", &count, &error), MPT_OK);
  assert_int_equal(count, 1);
  assert_int_equal(mpt_device_describe("cpu", 0, &info, &error), MPT_OK);
  assert_true(info.name[0] != '\0' && info.processors >= 1 && info.memory_bytes > 1 << 20);
  assert_string_equal(info.uuid, "");
  for (int f = 0; f < MPT_FORMAT_COUNT; f++)
    assert_int_equal(info.standing[f], f == MPT_FP32 ? MPT_NATIVE : MPT_EMULATED);
  assert_int_equal(mpt_device_describe("cpu", 1, &info, &error), MPT_ERROR_ARGUMENT);
  assert_int_equal(mpt_device_observe("cpu", 0, &activity, &error), MPT_ERROR_UNSUPPORTED);
}

static void what_is_not_there_is_said_in_words(void **state) {
  (void)state;
  mpt_error error = {0};
  int count = -1;
  assert_int_equal(mpt_device_count("abacus", &count, &error), MPT_ERROR_UNSUPPORTED);
  assert_non_null(strstr(error.message, "abacus"));
  assert_int_equal(count, -1);
  assert_int_equal(mpt_device_count(NULL, &count, &error), MPT_ERROR_ARGUMENT);
}

static void a_gpu_knows_its_formats_and_versions(void **state) {
  (void)state;
  mpt_error error = {0};
  int count = 0;
  mpt_status status = mpt_device_count("cuda", &count, &error);
  if (status == MPT_ERROR_UNSUPPORTED) {
    assert_non_null(strstr(error.message, "cuda"));
    print_message("skipped: %s\n", error.message);
    skip();
  }
  assert_int_equal(status, MPT_OK);
  for (int i = 0; i < count; i++) {
    mpt_device_info info;
    assert_int_equal(mpt_device_describe("cuda", i, &info, &error), MPT_OK);
    assert_true(info.name[0] != '\0' && info.processors >= 1 && info.memory_bytes > 1 << 30);
    assert_int_equal(strlen(info.uuid), strlen("GPU-00000000-0000-0000-0000-000000000000"));
    assert_true(info.cuda[0] != '\0' && info.driver_cuda[0] != '\0');
    double capability = atof(info.capability);
    assert_int_equal(info.standing[MPT_FP8_E4M3], capability > 8.85 ? MPT_NATIVE : MPT_ABSENT);
    assert_int_equal(info.standing[MPT_BF16], capability > 7.95 ? MPT_NATIVE : MPT_ABSENT);
    if (info.nvml) {
      mpt_device_activity a;
      assert_int_equal(mpt_device_observe("cuda", i, &a, &error), MPT_OK);
      assert_true(isnan(a.clock_hertz) || a.clock_hertz > 1e8);
      assert_true(isnan(a.energy_joules) || a.energy_joules > 0);
      assert_true(info.driver[0] != '\0');
    }
  }
  mpt_device_info none;
  assert_int_equal(mpt_device_describe("cuda", count, &none, &error), MPT_ERROR_ARGUMENT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(backends_are_listed_once_each),
      cmocka_unit_test(the_cpu_is_one_device_that_emulates),
      cmocka_unit_test(what_is_not_there_is_said_in_words),
      cmocka_unit_test(a_gpu_knows_its_formats_and_versions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
