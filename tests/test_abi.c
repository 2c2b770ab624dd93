/* What programs that were compiled earlier rest on: sizes of structs, numbers of enumerators. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "mptune/mptune.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void numbers_stay_as_they_are(void **state) {
  (void)state;
  static const struct {
    int number;
    const char *name;
  } statuses[] = {{0, "MPT_OK"},
                  {1, "MPT_ERROR_ARGUMENT"},
                  {2, "MPT_ERROR_MEMORY"},
                  {3, "MPT_ERROR_IO"},
                  {4, "MPT_ERROR_NOT_FOUND"},
                  {5, "MPT_ERROR_SYNTAX"},
                  {6, "MPT_ERROR_SHAPE"},
                  {7, "MPT_ERROR_UNSUPPORTED"},
                  {8, "MPT_ERROR_MISMATCH"},
                  {9, "MPT_ERROR_VERSION"},
                  {10, "MPT_ERROR_BUSY"},
                  {11, "MPT_ERROR_NONFINITE"},
                  {12, "MPT_ERROR_DEVICE"},
                  {13, "MPT_ERROR_INTERRUPTED"},
                  {14, "MPT_ERROR_INTERNAL"},
                  {15, "MPT_ERROR_DAMAGED"},
                  {16, "MPT_ERROR_DEVICE_MEMORY"},
                  {17, "MPT_ERROR_UNPREPARED"},
                  {18, "MPT_ERROR_PROGRAM"}};
  const int count = (int)(sizeof statuses / sizeof *statuses);
  assert_int_equal(count, MPT_STATUS_COUNT);
  for (int i = 0; i < count; i++)
    assert_string_equal(mpt_status_name((mpt_status)statuses[i].number), statuses[i].name);
  assert_string_equal(mpt_status_text((mpt_status)count), "unknown status");
  assert_string_equal(mpt_status_name((mpt_status)-1), "unknown status");

  static const char *const formats[] = {"fp32", "tf32", "bf16", "fp16", "fp8_e4m3", "fp8_e5m2"};
  for (int i = 0; i < 6; i++)
    assert_string_equal(mpt_format_get((mpt_format)i)->name, formats[i]);
  static const char *const precisions[] = {"fp32", "tf32", "bf16", "fp16", "fp8"};
  for (int i = 0; i < 5; i++)
    assert_string_equal(mpt_precision_name((mpt_precision)i), precisions[i]);
  static const char *const verdicts[] = {"unverified", "pass", "fail", "inconclusive", "reference"};
  for (int i = 0; i < 5; i++)
    assert_string_equal(mpt_verdict_name((mpt_verdict)i), verdicts[i]);
  assert_int_equal(MPT_RUN_TRAIN, 0);
  assert_int_equal(MPT_RUN_EVALUATE, 1);
  assert_int_equal(MPT_RUN_PLAIN, 2);
  assert_int_equal(MPT_STATISTICS_LITE, 1);
  assert_int_equal(MPT_STATISTICS_FULL, 2);
}

/* kDLCPU and kDLCUDA of dlpack.h. */
static void devices_have_the_numbers_of_dlpack(void **state) {
  (void)state;
  const int64_t shape[1] = {1};
  float x;
  assert_int_equal(MPT_DEVICE_CPU, 1);
  assert_int_equal(MPT_DEVICE_CUDA, 2);
  assert_int_equal(mpt_tensor_of(&x, MPT_FP32, 1, shape).device.kind, 1);
}

static void the_library_tells_its_version(void **state) {
  (void)state;
  char text[32];
  int number = mpt_version_number();
  snprintf(text, sizeof text, "%d.%d.%d", number / 10000, number / 100 % 100, number % 100);
  assert_string_equal(mpt_version(), text);
  assert_string_equal(mpt_version(), MPTUNE_VERSION);
  assert_int_equal(number, MPTUNE_VERSION_NUMBER);
}

/* ---- struct_size ---- */

/* Opens with a struct of `size` bytes that say so, followed by what must not be read. */
typedef mpt_status opener(const void *options, mpt_error *error);

static mpt_status open_sized(opener *open, const void *whole, size_t known, uint32_t size,
                             mpt_error *error) {
  unsigned char *bytes = malloc(size > known ? size : known);
  assert_non_null(bytes);
  memset(bytes, 0xEE, size > known ? size : known);
  memcpy(bytes, whole, size < known ? size : known);
  memcpy(bytes, &size, sizeof size);
  mpt_status status = open(bytes, error);
  free(bytes);
  return status;
}

static void assert_rule(opener *open, const void *whole, size_t known, size_t first,
                        const char *name) {
  mpt_error error;
  for (size_t size = 0; size <= known + 64; size += 4) {
    mpt_status status = open_sized(open, whole, known, (uint32_t)size, &error);
    if (size >= first && size <= known) {
      if (status != MPT_OK)
        fail_msg("%s of %zu bytes: %s", name, size, error.message);
      continue;
    }
    assert_int_equal(status, MPT_ERROR_VERSION);
    assert_non_null(strstr(error.message, name));
    assert_non_null(strstr(error.message, size > known ? "newer" : "no version"));
  }
}

static mpt_status open_queue(const void *options, mpt_error *error) {
  mpt_queue *opened = NULL;
  mpt_status status = mpt_queue_open(options, &opened, error);
  mpt_queue_close(opened);
  return status;
}

static void *take(void *context, size_t bytes, int device, void *stream) {
  (void)context, (void)device, (void)stream;
  return aligned_alloc(256, bytes);
}

static void give(void *context, void *memory, int device, void *stream) {
  (void)context, (void)device, (void)stream;
  free(memory);
}

static mpt_status open_with_allocator(const void *options, mpt_error *error) {
  mpt_queue_config config = mpt_queue_config_default();
  config.allocator = options;
  return open_queue(&config, error);
}

static mpt_queue *queue;
static mpt_session_layer one_layer(void) {
  return (mpt_session_layer){
      .info = {.name = "a", .kind = "linear", .rank = 2, .shape = {4, 4}, .rows = 4}};
}

static mpt_status open_session(const void *options, mpt_error *error) {
  mpt_session *session = NULL;
  const mpt_session_layer layer = one_layer();
  mpt_status status = mpt_session_open(options, &layer, 1, &session, error);
  mpt_session_close(session);
  return status;
}

static mpt_status resolve(const void *options, mpt_error *error) {
  mpt_policy *policy;
  mpt_layer_policy formats;
  const mpt_session_layer layer = one_layer();
  assert_int_equal(mpt_policy_uniform(MPT_PRECISION_BF16, &policy, NULL), MPT_OK);
  mpt_status status = mpt_policy_resolve(policy, &layer.info, 1, options, &formats, error);
  mpt_policy_free(policy);
  return status;
}

static mpt_status prepare(const void *options, mpt_error *error) {
  mpt_session *session;
  void *workspace;
  const mpt_layer_policy formats = mpt_layer_policy_of(MPT_PRECISION_BF16);
  const mpt_session_layer layer = one_layer();
  mpt_session_config config = mpt_session_config_default();
  config.queue = queue;
  config.assignment = &formats;
  assert_int_equal(mpt_session_open(&config, &layer, 1, &session, NULL), MPT_OK);
  size_t bytes = mpt_session_workspace_bytes(session);
  assert_int_equal(mpt_memory_allocate(queue, bytes, &workspace, NULL), MPT_OK);
  assert_int_equal(mpt_session_set_workspace(session, workspace, bytes, NULL), MPT_OK);
  mpt_status status = mpt_session_prepare(session, options, error);
  mpt_session_close(session);
  mpt_memory_free(queue, workspace);
  return status;
}

#define END(type, member) (offsetof(type, member) + sizeof(((type *)0)->member))

static void older_structs_are_taken_and_newer_refused(void **state) {
  (void)state;
  const mpt_queue_config q = mpt_queue_config_default();
  assert_rule(open_queue, &q, sizeof q, END(mpt_queue_config, stream), "mpt_queue_config");
  assert_int_equal(open_queue(&q, NULL), MPT_OK);
  assert_int_equal(mpt_queue_open(&q, &queue, NULL), MPT_OK);
  const mpt_allocator a = {.struct_size = sizeof a, .allocate = take, .release = give};
  assert_rule(open_with_allocator, &a, sizeof a, sizeof a, "mpt_allocator");
  const mpt_layer_policy formats = mpt_layer_policy_of(MPT_PRECISION_BF16);
  mpt_session_config s = mpt_session_config_default();
  s.queue = queue;
  s.assignment = &formats;
  assert_rule(open_session, &s, sizeof s, sizeof s, "mpt_session_config");
  const mpt_resolve_options r = mpt_resolve_options_default();
  assert_rule(resolve, &r, sizeof r, sizeof r, "mpt_resolve_options");
  const mpt_prepare_options p = mpt_prepare_options_default();
  assert_rule(prepare, &p, sizeof p, END(mpt_prepare_options, plain), "mpt_prepare_options");
  mpt_queue_close(queue);
}

/* A program of before owns_stream: a stream is the caller's unless it is NULL. */
static void what_an_older_struct_lacks_has_its_default(void **state) {
  (void)state;
  mpt_queue_config config = mpt_queue_config_default();
  config.struct_size = END(mpt_queue_config, stream);
  config.owns_stream = false;
  config.allocator = (const mpt_allocator *)&config; /* not read */
  assert_int_equal(open_queue(&config, NULL), MPT_OK);
}

static void room_for_later_is_zero(void **state) {
  (void)state;
  mpt_error error;
  const mpt_layer_policy formats = mpt_layer_policy_of(MPT_PRECISION_BF16);
  mpt_queue_config q = mpt_queue_config_default();
  assert_int_equal(mpt_queue_open(&q, &queue, NULL), MPT_OK);
  mpt_session_config config = mpt_session_config_default();
  config.queue = queue;
  config.assignment = &formats;
  mpt_session *session = NULL;
  mpt_session_layer layer = one_layer();
  layer.reserved[3] = 1;
  assert_int_equal(mpt_session_open(&config, &layer, 1, &session, &error), MPT_ERROR_VERSION);
  assert_non_null(strstr(error.message, "reserved"));
  assert_null(session);
  mpt_queue_close(queue);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(numbers_stay_as_they_are),
      cmocka_unit_test(devices_have_the_numbers_of_dlpack),
      cmocka_unit_test(the_library_tells_its_version),
      cmocka_unit_test(older_structs_are_taken_and_newer_refused),
      cmocka_unit_test(what_an_older_struct_lacks_has_its_default),
      cmocka_unit_test(room_for_later_is_zero),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
