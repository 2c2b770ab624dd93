/* GPUs that are too old: for the cuda backend, and for fp8. What the device says of itself is made
 * up, so that this is tested without such a GPU, and without any. */
#include "tiny_search.h"
#include "tuner/place.h"

mpt_status __real_mpt_device_describe(const char *backend, int index, mpt_device_info *info,
                                      mpt_error *error);
mpt_status __wrap_mpt_device_describe(const char *backend, int index, mpt_device_info *info,
                                      mpt_error *error);

static struct { const char *name, *capability; } gpu;

mpt_status __wrap_mpt_device_describe(const char *backend, int index, mpt_device_info *info,
                                      mpt_error *error) {
  if (strcmp(backend, "cuda") != 0)
    return __real_mpt_device_describe(backend, index, info, error);
  *info = (mpt_device_info){.processors = 1};
  snprintf(info->name, sizeof info->name, "%s", gpu.name);
  snprintf(info->capability, sizeof info->capability, "%s", gpu.capability);
  const double capability = atof(gpu.capability);
  for (int f = 0; f < MPT_FORMAT_COUNT; f++) {
    const bool fp8 = f == MPT_FP8_E4M3 || f == MPT_FP8_E5M2;
    info->standing[f] = capability > (fp8 ? 8.85 : 7.95) ? MPT_NATIVE : MPT_ABSENT;
  }
  return MPT_OK;
}

static void a_gpu_too_old_is_passed_over_and_refused_by_name(void **state) {
  (void)state;
  mpt_error error = {0};
  const char *backend = NULL;
  gpu.name = "NVIDIA Old";
  gpu.capability = "7.5";
  assert_int_equal(place_backend(NULL, 0, &backend, &error), MPT_OK);
  assert_string_equal(backend, "cpu");
  assert_int_equal(place_backend("cuda", 0, &backend, &error), MPT_ERROR_UNSUPPORTED);
  fixture_contains(&error, "NVIDIA Old has compute capability 7.5");
  fixture_contains(&error, "needs 8.0");
  fixture_contains(&error, "--backend cpu");
  /* A GPU by its number was asked for. */
  assert_int_equal(place_backend(NULL, 1, &backend, &error), MPT_ERROR_UNSUPPORTED);
  assert_int_equal(place_backend("cpu", 1, &backend, &error), MPT_ERROR_ARGUMENT);
  fixture_contains(&error, "--device 1");
  gpu.capability = "8.0";
  assert_int_equal(place_backend(NULL, 0, &backend, &error), MPT_OK);
  assert_string_equal(backend, "cuda");
  assert_int_equal(place_backend("auto", 1, &backend, &error), MPT_OK);
  assert_string_equal(backend, "cuda");
}

/* A policy that asks for what the GPU lacks names the layers. */
static void a_format_that_the_gpu_lacks_is_refused_by_layer(void **state) {
  (void)state;
  mpt_error error = {0};
  mpt_policy *policy = NULL;
  mpt_layer_policy assignment;
  bool fast;
  mpt_resolve_options resolve = mpt_resolve_options_default();
  const mpt_layer_info layer = {
      .name = "head", .kind = "linear", .rank = 2, .shape = {16, 16}, .rows = 32};
  gpu.name = "NVIDIA Middle-Aged";
  gpu.capability = "8.0";
  assert_int_equal(place_formats("cuda", 0, &resolve.device_formats, &fast, &error), MPT_OK);
  assert_int_equal(mpt_policy_uniform(MPT_PRECISION_FP8, &policy, &error), MPT_OK);
  assert_int_equal(mpt_policy_resolve(policy, &layer, 1, &resolve, &assignment, &error),
                   MPT_ERROR_UNSUPPORTED);
  fixture_contains(&error, "head");
  fixture_contains(&error, "fp8");
  mpt_policy_free(policy);
  assert_int_equal(mpt_policy_uniform(MPT_PRECISION_BF16, &policy, &error), MPT_OK);
  assert_int_equal(mpt_policy_resolve(policy, &layer, 1, &resolve, &assignment, &error), MPT_OK);
  mpt_policy_free(policy);
  assert_false(fast);
  gpu.capability = "8.9";
  assert_int_equal(place_formats("cuda", 0, &resolve.device_formats, &fast, &error), MPT_OK);
  assert_true(fast);
  assert_int_equal(place_formats("cpu", 0, &resolve.device_formats, &fast, &error), MPT_OK);
  assert_false(fast);
}

/* A search for a device that has fp8, trained on one that lacks it, leaves fp8 out. */
static void a_search_leaves_out_what_the_gpu_lacks(void **state) {
  char run[600];
  mpt_error error = {0};
  place here;
  profile *p = NULL;
  workload *w = tiny(*state, MLP ADAM LARGE);
  tuner_options options = options_in(*state, "old", run);
  const uint32_t fp8 = 1u << MPT_FP8_E4M3 | 1u << MPT_FP8_E5M2;
  options.backend = "cuda";
  options.target = "nvidia-h200";
  gpu.name = "NVIDIA Middle-Aged";
  gpu.capability = "8.0";
  assert_int_equal(place_open(w, &options, &here, &p, &error), MPT_OK);
  assert_int_equal(p->formats & fp8, 0);
  assert_true((p->formats & 1u << MPT_BF16) != 0);
  profile_free(p);
  gpu.capability = "8.9";
  assert_int_equal(place_open(w, &options, &here, &p, &error), MPT_OK);
  assert_int_equal(p->formats & fp8, fp8);
  profile_free(p);
  workload_free(w);
}

/* Times measured here need the profile of this very device. */
static void a_gpu_without_a_profile_asks_for_one(void **state) {
  char run[600];
  mpt_error error = {0};
  place here;
  profile *p = NULL;
  workload *w = tiny(*state, MLP ADAM LARGE);
  tuner_options options = options_in(*state, "none", run);
  options.backend = "cuda";
  gpu.name = "NVIDIA Unheard-of";
  gpu.capability = "9.0";
  assert_int_equal(place_open(w, &options, &here, &p, &error), MPT_ERROR_NOT_FOUND);
  fixture_contains(&error, "NVIDIA Unheard-of");
  fixture_contains(&error, "mptune bench");
  workload_free(w);
}

/* What is said on standard error while place_open runs; the caller frees it. */
static char *said_by_place_open(const workload *w, const tuner_options *options, place *here,
                                profile **p) {
  mpt_error error = {0};
  FILE *heard = tmpfile();
  const int before = dup(STDERR_FILENO);
  assert_true(heard != NULL && before >= 0 && dup2(fileno(heard), STDERR_FILENO) >= 0);
  const mpt_status status = place_open(w, options, here, p, &error);
  fflush(stderr);
  dup2(before, STDERR_FILENO);
  close(before);
  if (status != MPT_OK)
    fail_msg("%s", error.message);
  const off_t length = lseek(fileno(heard), 0, SEEK_END);
  assert_true(length >= 0);
  char *text = calloc((size_t)length + 1, 1);
  assert_non_null(text);
  assert_int_equal(pread(fileno(heard), text, (size_t)length, 0), length);
  fclose(heard);
  return text;
}

/* The H200's profile on an H200 with another driver is refused unless forced. */
static void a_profile_of_other_versions_is_refused_unless_forced(void **state) {
  char run[600];
  mpt_error error = {0};
  place here;
  profile *p = NULL;
  workload *w = tiny(*state, MLP ADAM LARGE);
  tuner_options options = options_in(*state, "versions", run);
  options.backend = "cuda";
  gpu.name = "NVIDIA H200";
  gpu.capability = "9.0";
  assert_int_equal(place_open(w, &options, &here, &p, &error), MPT_ERROR_MISMATCH);
  fixture_contains(&error, "the driver is");
  fixture_contains(&error, "measure this device (mptune bench), or --force it");
  assert_null(p);
  /* Forced, it says what differs and what follows, and advises nothing that was just done. */
  options.force = true;
  char *said = said_by_place_open(w, &options, &here, &p);
  assert_non_null(strstr(said, "warning: device profile 'nvidia-h200' was measured elsewhere: "));
  assert_non_null(strstr(said, "the driver is"));
  assert_non_null(strstr(said, "taken all the same"));
  assert_null(strstr(said, "--force"));
  free(said);
  assert_true(here.measures);
  profile_free(p);
  workload_free(w);
}

#define IN_A_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_gpu_too_old_is_passed_over_and_refused_by_name),
      cmocka_unit_test(a_format_that_the_gpu_lacks_is_refused_by_layer),
      IN_A_DIRECTORY(a_search_leaves_out_what_the_gpu_lacks),
      IN_A_DIRECTORY(a_gpu_without_a_profile_asks_for_one),
      IN_A_DIRECTORY(a_profile_of_other_versions_is_refused_unless_forced),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
