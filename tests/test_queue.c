/* Queues and their memory, and the team of threads: every task once, whatever the counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kernels/cpu/cpu.h"
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static mpt_queue *open_queue(int threads) {
  mpt_queue_config config = mpt_queue_config_default();
  config.threads = threads;
  mpt_queue *queue;
  mpt_error error;
  if (mpt_queue_open(&config, &queue, &error) != MPT_OK)
    fail_msg("%s", error.message);
  return queue;
}

static void assert_refused(mpt_queue_config config, mpt_status expected, const char *words) {
  mpt_queue *queue = (mpt_queue *)&config;
  mpt_error error;
  assert_int_equal(mpt_queue_open(&config, &queue, &error), expected);
  assert_non_null(strstr(error.message, words));
  assert_ptr_equal(queue, &config); /* left as it was */
}

static void bad_configurations_are_refused(void **state) {
  (void)state;
  mpt_queue_config config = mpt_queue_config_default();
  config.threads = 0;
  assert_refused(config, MPT_ERROR_ARGUMENT, "threads is 0, expected 1 to 256");
  config.threads = 257;
  assert_refused(config, MPT_ERROR_ARGUMENT, "threads is 257");
  config = mpt_queue_config_default();
  config.backend = "abacus";
  assert_refused(config, MPT_ERROR_UNSUPPORTED, "backend 'abacus' is not built in (built: cpu");
  config = mpt_queue_config_default();
  config.device_index = 1;
  assert_refused(config, MPT_ERROR_ARGUMENT, "device 0 only, not 1");
  config = mpt_queue_config_default();
  config.stream = &config;
  assert_refused(config, MPT_ERROR_ARGUMENT, "owns_stream");
  config.owns_stream = false;
  assert_refused(config, MPT_ERROR_ARGUMENT, "no streams");
  assert_int_equal(mpt_queue_open(NULL, NULL, NULL), MPT_ERROR_ARGUMENT);
}

static void a_queue_tells_what_it_is(void **state) {
  (void)state;
  mpt_queue *queue = open_queue(3);
  assert_string_equal(mpt_queue_backend(queue), "cpu");
  assert_int_equal(mpt_queue_threads(queue), 3);
  assert_int_equal(mpt_queue_device(queue).kind, MPT_DEVICE_CPU);
  assert_int_equal(mpt_queue_synchronize(queue, NULL), MPT_OK);
  mpt_queue_close(queue);
  mpt_queue_close(NULL);
}

static void memory_is_aligned_and_zero(void **state) {
  (void)state;
  mpt_queue *queue = open_queue(1);
  static const size_t sizes[] = {0, 1, 255, 256, 257, 100000};
  for (int i = 0; i < 6; i++) {
    char *data;
    assert_int_equal(mpt_memory_allocate(queue, sizes[i], (void **)&data, NULL), MPT_OK);
    assert_int_equal((uintptr_t)data % 256, 0);
    for (size_t j = 0; j < sizes[i]; j++)
      assert_int_equal(data[j], 0);
    mpt_memory_free(queue, data);
  }
  mpt_memory_free(queue, NULL);
  mpt_queue_close(queue);
}

static void upload_rounds_and_download_returns(void **state) {
  (void)state;
  mpt_queue *queue = open_queue(1);
  float values[3] = {1.03f, -1e9f, NAN}, got[3];
  void *data;
  assert_int_equal(mpt_memory_allocate(queue, sizeof values, &data, NULL), MPT_OK);
  mpt_tensor t = mpt_tensor_of(data, MPT_FP8_E4M3, 1, (int64_t[]){3});
  assert_int_equal(mpt_tensor_count(&t), 3);
  assert_int_equal(mpt_tensor_bytes(&t), 12);
  assert_int_equal(mpt_tensor_upload(queue, values, &t, NULL), MPT_OK);
  assert_int_equal(mpt_tensor_download(queue, &t, got, NULL), MPT_OK);
  assert_true(got[0] == 1.0f && got[1] == -448.0f && isnan(got[2]));
  t.rank = 2, t.shape[0] = 2, t.shape[1] = 1, t.strides[0] = 2;
  mpt_error error;
  assert_int_equal(mpt_tensor_download(queue, &t, got, &error), MPT_ERROR_ARGUMENT);
  assert_non_null(strstr(error.message, "strided view"));
  mpt_memory_free(queue, data);
  mpt_queue_close(queue);
}

typedef struct tally {
  atomic_int runs[600];
} tally;

static void count_task(void *context, int task) {
  atomic_fetch_add(&((tally *)context)->runs[task], 1);
}

/* Rounds of changing size, close upon each other: a worker late for one must not disturb the next.
 */
static void every_task_runs_once(void **state) {
  (void)state;
  for (int threads = 1; threads <= 5; threads += 2) {
    mpt_queue *queue = open_queue(threads);
    for (int round = 0; round < 2000; round++) {
      static tally t;
      memset(&t, 0, sizeof t);
      int tasks = 1 + round * 7 % 9;
      mpt_cpu_parallel(queue, tasks, count_task, &t);
      for (int i = 0; i < 12; i++)
        assert_int_equal(atomic_load(&t.runs[i]), i < tasks);
    }
    static tally many;
    memset(&many, 0, sizeof many);
    mpt_cpu_parallel(queue, 600, count_task, &many);
    for (int i = 0; i < 600; i++)
      assert_int_equal(atomic_load(&many.runs[i]), 1);
    mpt_queue_close(queue);
  }
}

static void parts_cover_everything_once(void **state) {
  (void)state;
  for (int64_t count = 1; count < 200; count += 13)
    for (int tasks = 1; tasks <= 7; tasks++)
      for (int64_t grain = 1; grain <= 64; grain *= 4) {
        int64_t next = 0;
        for (int task = 0; task < tasks; task++) {
          int64_t begin, end;
          mpt_cpu_part(count, grain, tasks, task, &begin, &end);
          assert_true(begin == next && end >= begin);
          assert_true(end == count || end % grain == 0);
          next = end;
        }
        assert_int_equal(next, count);
      }
}

static void spans_cover_every_element_once(void **state) {
  (void)state;
  static const int64_t shapes[][2] = {{1, 1}, {1, 20000}, {7, 3}, {300, 65}, {3, 9000}};
  for (int i = 0; i < 5; i++)
    for (int tasks = 1; tasks <= 3; tasks++) {
      mpt_tensor x = {.rank = 2, .shape = {shapes[i][0], shapes[i][1]}, .strides = {10000, 1}};
      int64_t next = 0;
      for (int task = 0; task < tasks; task++)
        for (mpt_cpu_span s = mpt_cpu_span_first(&x, tasks, task); s.count > 0;
             mpt_cpu_span_next(&s)) {
          assert_int_equal(s.index, next);
          assert_int_equal(s.row * x.shape[1] + s.column, next);
          assert_true(s.column + s.count <= x.shape[1] && s.count <= MPT_CPU_CHUNK);
          next += s.count;
        }
      assert_int_equal(next, x.shape[0] * x.shape[1]);
    }
}

static void scratch_is_aligned_and_apart(void **state) {
  (void)state;
  mpt_queue *queue = open_queue(1);
  for (size_t bytes = 1; bytes < 100000; bytes = bytes * 7 + 1) {
    char *scratch;
    size_t stride;
    assert_int_equal(mpt_cpu_scratch(queue, 3, bytes, &scratch, &stride, NULL), MPT_OK);
    assert_int_equal((uintptr_t)scratch % 64, 0);
    assert_true(stride >= bytes && stride % 64 == 0);
    memset(scratch, 1, 3 * stride); /* is all ours: the sanitizer looks */
  }
  mpt_queue_close(queue);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bad_configurations_are_refused),
      cmocka_unit_test(a_queue_tells_what_it_is),
      cmocka_unit_test(memory_is_aligned_and_zero),
      cmocka_unit_test(upload_rounds_and_download_returns),
      cmocka_unit_test(every_task_runs_once),
      cmocka_unit_test(parts_cover_everything_once),
      cmocka_unit_test(spans_cover_every_element_once),
      cmocka_unit_test(scratch_is_aligned_and_apart),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
