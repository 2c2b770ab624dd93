/* What the events writer writes is what the contract's reader reads. */
#include "contract/event_reader.h"
#include "session_rig.h"
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char path[64];
static int writes;      /* of this program, to a file of events */
static ssize_t shorten; /* so many bytes of a write get through, -1: all */

/* Stands in for the C library's. */
ssize_t write(int fd, const void *buf, size_t n) {
  const bool cut = fd > 2 && shorten >= 0 && (size_t)shorten < n;
  if (fd > 2)
    writes++;
  return syscall(SYS_write, fd, buf, cut ? (size_t)shorten : n);
}

static int begin(void **unused) {
  (void)unused;
  strcpy(path, "/tmp/mptune-events-XXXXXX");
  int file = mkstemp(path);
  assert_true(file >= 0);
  close(file);
  shorten = -1;
  return 0;
}

static int end(void **unused) {
  (void)unused;
  return unlink(path);
}

static mpt_events *open_events(void) {
  mpt_events *events;
  OK(mpt_events_open(path, &events, &ok_error));
  assert_non_null(events);
  return events;
}

static event_reader *reader;
static event next(event_kind kind) {
  event e = {0};
  bool found = false;
  OK(event_reader_next(reader, &found, &e, &ok_error));
  assert_true(found);
  assert_string_equal(event_name(e.kind), event_name(kind));
  return e;
}

static void nothing_follows(void) {
  event e;
  bool found = true;
  OK(event_reader_next(reader, &found, &e, &ok_error));
  assert_false(found);
  event_reader_close(reader);
}

static const mpt_layer_info layers[2] = {
    {.name = "blocks.0.fc1", .kind = "linear", .rank = 2, .shape = {64, 32}, .rows = 128},
    {.name = "conv \"1\"", .kind = "conv2d", .rank = 4, .shape = {8, 3, 5, 5}}};

static void every_event_is_read_as_it_was_written(void **unused) {
  (void)unused;
  mpt_events *w = open_events();
  static const char *const versions[] = {"torch", "2.11", "say \"x\"", "back\\slash\n", NULL};
  static const char *const capabilities[] = {"time", "observe", NULL};
  const mpt_events_hello_info hello = {.struct_size = sizeof hello,
                                       .program = "a \"program\"\t",
                                       .device = "NVIDIA H200",
                                       .versions = versions,
                                       .capabilities = capabilities,
                                       .precisions =
                                           1u << MPT_PRECISION_BF16 | 1u << MPT_PRECISION_FP8};
  mpt_layer_policy formats[2] = {
      formats_of(MPT_PRECISION_FP8, MPT_PRECISION_BF16, MPT_PRECISION_FP16),
      mpt_layer_policy_of(MPT_PRECISION_FP8)};
  formats[1].scaling = (mpt_scaling){MPT_SCALING_DELAYED, 16, 2};
  formats[1].gemm[MPT_FPROP].accumulate = MPT_ACCUMULATE_FAST;
  static const char *const uncovered[] = {"attn.in_proj", NULL};
  const mpt_events_time_info time = {.struct_size = sizeof time,
                                     .steps = 20,
                                     .median = 0.125,
                                     .spread = NAN,
                                     .compile = 31.5,
                                     .peak_bytes = 9663676416};
  OK(mpt_events_hello(w, &hello, &ok_error));
  OK(mpt_events_layers(w, layers, 2, uncovered, &ok_error));
  OK(mpt_events_applied(w, layers, formats, 2, &ok_error));
  OK(mpt_events_step(w, 0, 10.8203125, 0.31, &ok_error));
  OK(mpt_events_step(w, 1, NAN, NAN, &ok_error));
  OK(mpt_events_nonfinite(w, 1, "blocks.0.fc1", MPT_GRAD_OUTPUT, &ok_error));
  OK(mpt_events_nonfinite(w, 1, NULL, MPT_INPUT, &ok_error));
  OK(mpt_events_skipped(w, 1, &ok_error));
  OK(mpt_events_time(w, &time, &ok_error));
  OK(mpt_events_probe(w, "blocks.0.fc1", MPT_PRECISION_FP8, 1e-3, 0.25, INFINITY, 448.0,
                      &ok_error));
  OK(mpt_events_metric(w, "val_loss", 1e-300, false, &ok_error));
  OK(mpt_events_metric(w, "accuracy", NAN, true, &ok_error));
  OK(mpt_events_done(w, 2, &ok_error));
  mpt_events_close(w);
  assert_int_equal(writes, 13); /* one for each */

  OK(event_reader_open(path, &reader, &ok_error));
  event e = next(EVENT_HELLO);
  assert_int_equal(e.hello.protocol, 1);
  assert_string_equal(e.hello.program, "a \"program\"\t");
  assert_string_equal(e.hello.device, "NVIDIA H200");
  assert_int_equal(e.hello.capabilities, 1u << CAPABILITY_TIME | 1u << CAPABILITY_OBSERVE);
  assert_int_equal(e.hello.formats, 1u << MPT_PRECISION_BF16 | 1u << MPT_PRECISION_FP8);
  assert_string_equal(json_string_value(json_object_get(e.hello.versions, "say \"x\"")),
                      "back\\slash\n");
  event_clear(&e);
  e = next(EVENT_LAYERS);
  assert_int_equal(e.layers.count, 2);
  for (int i = 0; i < 2; i++) {
    assert_string_equal(e.layers.layers[i].name, layers[i].name);
    assert_string_equal(e.layers.layers[i].kind, layers[i].kind);
    assert_int_equal(e.layers.layers[i].rank, layers[i].rank);
    assert_memory_equal(e.layers.layers[i].shape, layers[i].shape, sizeof layers[i].shape);
    assert_int_equal(e.layers.layers[i].rows, layers[i].rows);
  }
  assert_int_equal(e.layers.uncovered.count, 1);
  assert_string_equal(e.layers.uncovered.names[0], "attn.in_proj");
  event_clear(&e);
  e = next(EVENT_APPLIED);
  assert_int_equal(e.applied.count, 2);
  for (int i = 0; i < 2; i++)
    assert_true(mpt_layer_policy_equal(&e.applied.layers[i].formats, &formats[i]));
  event_clear(&e);
  e = next(EVENT_STEP);
  assert_true(e.step.step == 0 && e.step.loss == 10.8203125 && e.step.seconds == 0.31);
  e = next(EVENT_STEP);
  assert_true(e.step.step == 1 && isnan(e.step.loss) && isnan(e.step.seconds));
  e = next(EVENT_NONFINITE);
  assert_int_equal(e.nonfinite.step, 1);
  assert_string_equal(e.nonfinite.layer, "blocks.0.fc1");
  assert_int_equal(e.nonfinite.operand, MPT_GRAD_OUTPUT);
  e = next(EVENT_NONFINITE);
  assert_string_equal(e.nonfinite.layer, "");
  e = next(EVENT_SKIPPED);
  assert_int_equal(e.skipped.step, 1);
  e = next(EVENT_TIME);
  assert_true(e.time.median == 0.125 && isnan(e.time.spread) && e.time.compile == 31.5);
  assert_true(e.time.steps == 20 && e.time.peak_bytes == 9663676416);
  e = next(EVENT_PROBE);
  assert_true(e.probe.forward == 1e-3 && e.probe.dgrad == 0.25 && isnan(e.probe.wgrad));
  assert_int_equal(e.probe.format, MPT_PRECISION_FP8);
  e = next(EVENT_METRIC);
  assert_string_equal(e.metric.name, "val_loss");
  assert_true(e.metric.value == 1e-300 && !e.metric.larger_is_better);
  e = next(EVENT_METRIC);
  assert_true(isnan(e.metric.value) && e.metric.larger_is_better);
  e = next(EVENT_DONE);
  assert_int_equal(e.done.steps, 2);
  nothing_follows();
}

/* ---- statistics ---- */
static mpt_statistics statistics_of(float *values, int64_t count, bool full) {
  mpt_statistics s;
  rig r = {0};
  mpt_queue_config config = mpt_queue_config_default();
  mpt_tensor x = vector(values, count);
  OK(mpt_queue_open(&config, &r.queue, &ok_error));
  OK(mpt_collect(r.queue, &x, full, &s, &ok_error));
  mpt_queue_close(r.queue);
  return s;
}

static void statistics_go_there_and_back(void **unused) {
  (void)unused;
  float finite[] = {0.0f, -0.0f, 1.5f, -3e-39f, 1000.0f, -2e30f};
  float wild[] = {0.0f, 1.5f, NAN, INFINITY, -300.0f};
  const mpt_statistics all[] = {statistics_of(finite, 6, true), statistics_of(finite, 6, false),
                                statistics_of(wild, 5, true), statistics_of(wild, 5, false)};
  mpt_events *w = open_events();
  for (int i = 0; i < 4; i++)
    OK(mpt_events_statistics(w, i, "fc", MPT_WEIGHT, &all[i], &ok_error));
  mpt_events_close(w);
  OK(event_reader_open(path, &reader, &ok_error));
  for (int i = 0; i < 4; i++) {
    event e = next(EVENT_STATS);
    const mpt_statistics *s = &e.stats.statistics;
    assert_int_equal(e.stats.step, i);
    assert_string_equal(e.stats.layer, "fc");
    assert_int_equal(e.stats.operand, MPT_WEIGHT);
    assert_int_equal(s->count, all[i].count);
    assert_int_equal(s->zeros, all[i].zeros);
    assert_int_equal(s->nans, all[i].nans);
    assert_int_equal(s->infinities, all[i].infinities);
    assert_int_equal(s->amin_bits, all[i].amin_bits);
    assert_int_equal(s->full, all[i].full);
    if (i < 2)
      assert_int_equal(s->amax_bits, all[i].amax_bits);
    if (all[i].full) {
      assert_memory_equal(s->histogram, all[i].histogram, sizeof s->histogram);
      assert_true(s->sum == all[i].sum && s->sum_of_squares == all[i].sum_of_squares);
    }
    event_clear(&e);
  }
  nothing_follows();
}

/* ---- where nobody listens, and what does not serve ---- */
static void without_a_file_nothing_is_written(void **unused) {
  (void)unused;
  mpt_events *w = (mpt_events *)path;
  unsetenv("MPTUNE_EVENTS");
  OK(mpt_events_open(NULL, &w, &ok_error));
  assert_null(w);
  OK(mpt_events_hello(w, NULL, &ok_error));
  OK(mpt_events_layers(w, NULL, 1, NULL, &ok_error));
  OK(mpt_events_applied(w, NULL, NULL, 1, &ok_error));
  OK(mpt_events_step(w, 0, 0, 0, &ok_error));
  OK(mpt_events_time(w, NULL, &ok_error));
  OK(mpt_events_statistics(w, 0, NULL, MPT_INPUT, NULL, &ok_error));
  OK(mpt_events_probe(w, NULL, MPT_PRECISION_FP8, 0, 0, 0, 0, &ok_error));
  OK(mpt_events_nonfinite(w, 0, NULL, MPT_INPUT, &ok_error));
  OK(mpt_events_skipped(w, 0, &ok_error));
  OK(mpt_events_metric(w, NULL, 0, false, &ok_error));
  OK(mpt_events_done(w, 0, &ok_error));
  mpt_events_close(w);
  setenv("MPTUNE_EVENTS", path, 1);
  OK(mpt_events_open(NULL, &w, &ok_error));
  assert_non_null(w);
  OK(mpt_events_done(w, 7, &ok_error));
  mpt_events_close(w);
  OK(event_reader_open(path, &reader, &ok_error));
  event e = next(EVENT_DONE);
  assert_int_equal(e.done.steps, 7);
  nothing_follows();
}

static void bad_arguments_leave_the_file_alone(void **unused) {
  (void)unused;
  mpt_events *w = open_events();
  mpt_layer_info nameless = layers[0];
  nameless.name[0] = '\0';
  const mpt_layer_policy formats = mpt_layer_policy_of(MPT_PRECISION_BF16);
  const mpt_events_hello_info old = {.struct_size = 8}, silent = {.struct_size = sizeof silent};
  FAILS(mpt_events_hello(w, &old, &ok_error), MPT_ERROR_VERSION, "mpt_events_hello_info", "8");
  FAILS(mpt_events_hello(w, &silent, &ok_error), MPT_ERROR_ARGUMENT, "program", "name");
  FAILS(mpt_events_layers(w, &nameless, 1, NULL, &ok_error), MPT_ERROR_ARGUMENT, "name", "");
  FAILS(mpt_events_layers(w, NULL, 1, NULL, &ok_error), MPT_ERROR_ARGUMENT, "name", "");
  FAILS(mpt_events_applied(w, &nameless, &formats, 1, &ok_error), MPT_ERROR_ARGUMENT, "name", "");
  FAILS(mpt_events_metric(w, "", 0, false, &ok_error), MPT_ERROR_ARGUMENT, "name", "");
  FAILS(mpt_events_statistics(w, 0, "a", (mpt_operand)9, NULL, &ok_error), MPT_ERROR_ARGUMENT,
        "operand", "");
  mpt_events_close(w);
  struct stat status;
  assert_int_equal(stat(path, &status), 0);
  assert_int_equal(status.st_size, 0);
  FAILS(mpt_events_open("/nonexistent/events", &w, &ok_error), MPT_ERROR_IO, "appended",
        "No such file");
}

/* A disk that is full: the event is lost and said to be so, and the next one stands on a line of
 * its own. */
static void what_is_cut_short_is_an_error(void **unused) {
  (void)unused;
  mpt_events *w = open_events();
  OK(mpt_events_step(w, 0, 1.0, NAN, &ok_error));
  shorten = 10;
  FAILS(mpt_events_step(w, 1, 1.0, NAN, &ok_error), MPT_ERROR_IO, "in part", "");
  shorten = -1;
  OK(mpt_events_step(w, 2, 1.0, NAN, &ok_error));
  mpt_events_close(w);
  char text[512] = "";
  int file = open(path, O_RDONLY);
  ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  assert_true(length > 0);
  assert_non_null(strstr(text, "{\"event\":\"\n{\"event\":\"step\",\"step\":2,"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(every_event_is_read_as_it_was_written, begin, end),
      cmocka_unit_test_setup_teardown(statistics_go_there_and_back, begin, end),
      cmocka_unit_test_setup_teardown(without_a_file_nothing_is_written, begin, end),
      cmocka_unit_test_setup_teardown(bad_arguments_leave_the_file_alone, begin, end),
      cmocka_unit_test_setup_teardown(what_is_cut_short_is_an_error, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
