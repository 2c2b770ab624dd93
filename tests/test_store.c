/* The run store gives back what was put, bit for bit, and survives whatever happens to its writer.
 */
#include "store/database.h"
#include "store_fixture.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

static uint64_t bits(double value) {
  uint64_t out;
  memcpy(&out, &value, sizeof out);
  return out;
}

static void assert_same(double a, double b) {
  if (isnan(a))
    assert_true(isnan(b));
  else
    assert_int_equal(bits(a), bits(b));
}

static void named_texts(void **state) {
  store *s = fixture_open(*state, STORE_WRITE);
  char *text = (char *)1;
  assert_int_equal(note_get(s, "definition", &text, NULL), MPT_OK);
  assert_null(text);
  assert_int_equal(note_set(s, "definition", "{\"a\": 1}", NULL), MPT_OK);
  assert_int_equal(note_set(s, "definition", "{\"a\": \"\xc3\xa9</script>\"}", NULL), MPT_OK);
  store_close(s);
  s = fixture_open(*state, STORE_READ);
  assert_int_equal(note_get(s, "definition", &text, NULL), MPT_OK);
  assert_string_equal(text, "{\"a\": \"\xc3\xa9</script>\"}");
  free(text);
  assert_int_not_equal(note_set(s, "definition", "{}", NULL), MPT_OK);
  store_close(s);
}

static const double odd_values[] = {
    0.0,     -0.0,     1.0,       3e300, 0.1, 5e-324, -2.2250738585072014e-308,
    1.0 / 3, INFINITY, -INFINITY, NAN};
enum { ODD = sizeof odd_values / sizeof odd_values[0] };

static const store_counter odd_counters[] = {
    {.layer = "\"a\\\303\251", .operand = MPT_GRAD_OUTPUT, .cast = INT64_C(1) << 53, .vanished = 3},
    {.layer = "b", .operand = MPT_WEIGHT, .blamed = true}};

static store_evaluation some_evaluation(int i) {
  store_evaluation e = {.seed = UINT64_MAX - (uint64_t)i, .steps = 100 + i};
  snprintf(e.key, sizeof e.key, "%064d", i);
  snprintf(e.policy, sizeof e.policy, "%064d", i % 3);
  snprintf(e.purpose, sizeof e.purpose, "candidate");
  e.diverged = i % 2 == 1;
  e.stopped = i % 3 == 1;
  e.metric = odd_values[i % ODD];
  e.metric_plain = odd_values[(i + 1) % ODD];
  e.held_out_loss = odd_values[(i + 2) % ODD];
  e.output_difference = odd_values[(i + 3) % ODD];
  e.host_seconds = fabs(odd_values[(i + 4) % ODD]);
  e.total_seconds = 0.1 * i;
  e.memory_bytes = (size_t)1 << 40;
  e.failure = i % 2 == 1 ? (char *)"fc1 is infinite at step 3" : NULL;
  e.losses = (double *)odd_values;
  e.loss_count = e.steps_done = i % 5 == 4 ? 0 : ODD;
  e.counters.rows = i % 2 == 0 ? odd_counters : NULL;
  e.counters.count = i % 4 == 0 ? 2 : 0;
  e.time = 1764000000 + i;
  return e;
}

static void assert_text(const char *a, const char *b) {
  if (a == NULL)
    assert_null(b);
  else
    assert_string_equal(a, b);
}

static void assert_evaluation(const store_evaluation *a, const store_evaluation *b) {
  assert_string_equal(a->key, b->key);
  assert_string_equal(a->policy, b->policy);
  assert_string_equal(a->purpose, b->purpose);
  assert_true(a->seed == b->seed && a->steps == b->steps && a->steps_done == b->steps_done);
  assert_true(a->diverged == b->diverged && a->stopped == b->stopped);
  assert_same(a->metric, b->metric);
  assert_same(a->metric_plain, b->metric_plain);
  assert_same(a->held_out_loss, b->held_out_loss);
  assert_same(a->output_difference, b->output_difference);
  assert_same(a->host_seconds, b->host_seconds);
  assert_same(a->total_seconds, b->total_seconds);
  assert_true(a->memory_bytes == b->memory_bytes && a->time == b->time);
  assert_text(a->failure, b->failure);
  assert_int_equal(a->counters.count, b->counters.count);
  assert_int_equal(a->counters.rows == NULL, b->counters.rows == NULL);
  for (int i = 0; b->counters.rows != NULL && i < a->counters.count; i++) {
    const store_counter *x = &a->counters.rows[i], *y = &b->counters.rows[i];
    assert_string_equal(x->layer, y->layer);
    assert_true(x->operand == y->operand && x->cast == y->cast && x->blamed == y->blamed);
    assert_true(x->saturated == y->saturated && x->vanished == y->vanished);
  }
  assert_int_equal(a->loss_count, b->loss_count);
  for (int64_t i = 0; i < a->loss_count; i++)
    assert_same(a->losses[i], b->losses[i]);
}

static void evaluations(void **state) {
  store *s = fixture_open(*state, STORE_WRITE);
  for (int i = 0; i < 2 * ODD; i++) {
    const store_evaluation e = some_evaluation(i);
    assert_int_equal(store_put_evaluation(s, &e, NULL), MPT_OK);
  }
  store_evaluation again = some_evaluation(0);
  again.metric = 42;
  assert_int_equal(store_put_evaluation(s, &again, NULL), MPT_OK); /* the first stays */
  store_close(s);

  s = fixture_open(*state, STORE_READ);
  store_evaluation *all = NULL;
  int count = 0;
  assert_int_equal(store_all_evaluations(s, &all, &count, NULL), MPT_OK);
  assert_int_equal(count, 2 * ODD);
  for (int i = 0; i < count; i++) {
    const store_evaluation e = some_evaluation(i);
    assert_int_equal(all[i].id, i + 1);
    assert_evaluation(&e, &all[i]);
    store_evaluation_clear(&all[i]);
  }
  free(all);
  bool found = false;
  store_evaluation e = {0};
  const store_evaluation seventh = some_evaluation(7);
  assert_int_equal(store_find_evaluation(s, seventh.key, &found, &e, NULL), MPT_OK);
  assert_true(found);
  assert_evaluation(&seventh, &e);
  store_evaluation_clear(&e);
  assert_int_equal(store_find_evaluation(s, "nothing", &found, &e, NULL), MPT_OK);
  assert_false(found);
  store_close(s);
}

static void policies_and_times(void **state) {
  store *s = fixture_open(*state, STORE_WRITE);
  store_policy p = {.hash = "b", .label = "all-fp8", .assignment = (char *)"fc1 fp8\n"};
  p.predicted_seconds = 1.0 / 3;
  p.predicted_increase = NAN;
  assert_int_equal(store_put_policy(s, &p, NULL), MPT_OK);
  store_policy other = {.hash = "a", .label = "candidate 1", .assignment = (char *)"fc1 bf16\n"};
  assert_int_equal(store_put_policy(s, &other, NULL), MPT_OK);
  p.predicted_increase = 1e-5;
  assert_int_equal(store_put_policy(s, &p, NULL), MPT_OK);
  store_policy again = {.hash = "b", .label = "mine.yaml", .assignment = (char *)"fc1 fp8\n"};
  assert_int_equal(store_add_policy(s, &again, NULL), MPT_OK); /* leaves what is there */
  store_time t = {.policy = "b", .device = "h200", .seconds = 0.1};
  t.parts.gemms = 1.0 / 3;
  t.parts.noise = NAN;
  assert_int_equal(store_put_time(s, &t, NULL), MPT_OK);
  t.measured = true;
  t.seconds = 0.125;
  assert_int_equal(store_put_time(s, &t, NULL), MPT_OK);
  store_close(s);

  s = fixture_open(*state, STORE_READ);
  store_policy *all = NULL;
  int count = 0;
  assert_int_equal(store_all_policies(s, &all, &count, NULL), MPT_OK);
  assert_int_equal(count, 2);
  assert_string_equal(all[0].label, "all-fp8"); /* in the order of first sight */
  assert_string_equal(all[0].assignment, "fc1 fp8\n");
  assert_same(all[0].predicted_seconds, 1.0 / 3);
  assert_same(all[0].predicted_increase, 1e-5);
  assert_string_equal(all[1].hash, "a");
  for (int i = 0; i < count; i++)
    free(all[i].assignment);
  free(all);
  bool found = false;
  store_time back = {0};
  assert_int_equal(store_find_time(s, "b", "h200", &found, &back, NULL), MPT_OK);
  assert_true(found && back.measured && back.seconds == 0.125);
  assert_true(back.parts.gemms == 1.0 / 3 && isnan(back.parts.noise));
  assert_true(back.parts.copies == 0 && back.parts.run_count == 0);
  store_time_clear(&back);
  assert_int_equal(store_find_time(s, "b", "cpu", &found, &back, NULL), MPT_OK);
  assert_false(found);
  store_close(s);
}

static void statistics(void **state) {
  store *s = fixture_open(*state, STORE_WRITE);
  mpt_statistics x = {.zeros = 3, .nans = 1, .infinities = 2};
  x.amax_bits = 0x7fc00000;
  x.amin_bits = 1;
  x.full = true;
  x.sum = -1.0 / 3;
  x.sum_of_squares = 1e300;
  for (int b = 0; b < MPT_EXPONENT_BINS; b++)
    x.count += x.histogram[b] = (uint64_t)b << 40;
  const mpt_statistics lite = {.count = 7, .amax_bits = 0x3f800000, .amin_bits = 0x3f800000};
  assert_int_equal(store_put_statistics(s, "k", 9, "fc1", MPT_INPUT, &lite, NULL), MPT_OK);
  assert_int_equal(store_begin(s, NULL), MPT_OK);
  assert_int_equal(store_put_statistics(s, "k", 0, "fc2", MPT_WEIGHT, &lite, NULL), MPT_OK);
  assert_int_equal(store_put_statistics(s, "k", 0, "fc1", MPT_GRAD_OUTPUT, &x, NULL), MPT_OK);
  assert_int_equal(store_put_statistics(s, "k", 9, "fc1", MPT_INPUT, &x, NULL), MPT_OK);
  assert_int_equal(store_put_statistics(s, "other", 9, "fc1", MPT_INPUT, &x, NULL), MPT_OK);
  assert_int_equal(store_end(s, NULL), MPT_OK);
  store_statistics *rows = NULL;
  int count = 0;
  assert_int_equal(store_all_statistics(s, NULL, &rows, &count, NULL), MPT_OK);
  assert_int_equal(count, 4);
  free(rows);
  assert_int_equal(store_all_statistics(s, "k", &rows, &count, NULL), MPT_OK);
  assert_int_equal(count, 3);
  assert_string_equal(rows[0].layer, "fc2");
  assert_memory_equal(&rows[0].statistics.histogram, lite.histogram, sizeof lite.histogram);
  assert_false(rows[0].statistics.full);
  assert_int_equal(rows[1].operand, MPT_GRAD_OUTPUT);
  assert_int_equal(rows[2].step, 9); /* what was put again replaces */
  const mpt_statistics *back = &rows[2].statistics;
  assert_true(back->full && back->count == x.count && back->zeros == 3 && back->nans == 1);
  assert_true(back->infinities == 2 && back->amax_bits == x.amax_bits && back->amin_bits == 1);
  assert_same(back->sum, x.sum);
  assert_same(back->sum_of_squares, x.sum_of_squares);
  assert_memory_equal(back->histogram, x.histogram, sizeof x.histogram);
  free(rows);
  store_close(s);
}

static void groups_are_whole(void **state) {
  store *s = fixture_open(*state, STORE_WRITE);
  assert_int_equal(store_begin(s, NULL), MPT_OK);
  assert_int_equal(store_begin(s, NULL), MPT_ERROR_ARGUMENT);
  assert_int_equal(note_set(s, "a", "1", NULL), MPT_OK);
  store *reader = fixture_open(*state, STORE_READ);
  char *text = NULL;
  assert_int_equal(note_get(reader, "a", &text, NULL), MPT_OK);
  assert_null(text);
  assert_int_not_equal(note_set(s, "b", NULL, NULL), MPT_OK); /* takes all of it back */
  assert_int_equal(store_end(s, NULL), MPT_ERROR_ARGUMENT);
  assert_int_equal(note_get(s, "a", &text, NULL), MPT_OK);
  assert_null(text);
  assert_int_equal(store_begin(s, NULL), MPT_OK);
  assert_int_equal(note_set(s, "a", "2", NULL), MPT_OK);
  assert_int_equal(store_end(s, NULL), MPT_OK);
  assert_int_equal(note_get(reader, "a", &text, NULL), MPT_OK);
  assert_string_equal(text, "2");
  free(text);
  assert_int_equal(store_begin(s, NULL), MPT_OK);
  assert_int_equal(note_set(s, "a", "3", NULL), MPT_OK);
  store_close(s); /* without an end: not there */
  assert_int_equal(note_get(reader, "a", &text, NULL), MPT_OK);
  assert_string_equal(text, "2");
  free(text);
  store_close(reader);
}

/* Puts until it is killed; says on the pipe what is committed. Statistics come in groups of 4. */
static void put_for_ever(const char *directory, int pipe_end) {
  store *s = NULL;
  if (store_open(directory, STORE_WRITE, &s, NULL) != MPT_OK)
    _exit(1);
  store_evaluation *all = NULL;
  int next = 0;
  if (store_all_evaluations(s, &all, &next, NULL) != MPT_OK)
    _exit(2);
  for (int32_t i = next;; i++) {
    const store_evaluation e = some_evaluation(i);
    mpt_statistics x = {.count = (uint64_t)i, .full = true};
    x.histogram[127] = x.count;
    mpt_status status = store_begin(s, NULL);
    for (int j = 0; j < 4 && status == MPT_OK; j++)
      status = store_put_statistics(s, e.key, j, "fc1", MPT_INPUT, &x, NULL);
    if (status == MPT_OK)
      status = store_end(s, NULL);
    if (status == MPT_OK)
      status = store_put_evaluation(s, &e, NULL);
    if (status != MPT_OK || write(pipe_end, &i, sizeof i) != sizeof i)
      _exit(3);
  }
}

static void a_killed_writer_loses_nothing(void **state) {
  srand(20);
  int32_t last = -1;
  for (int round = 0; round < 12; round++) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
      close(ends[0]);
      put_for_ever(*state, ends[1]);
    }
    close(ends[1]);
    int32_t said;
    assert_int_equal(read(ends[0], &said, sizeof said), sizeof said); /* it works */
    usleep((useconds_t)(rand() % 20000));
    kill(child, SIGKILL);
    last = said;
    while (read(ends[0], &said, sizeof said) == sizeof said)
      last = said;
    close(ends[0]);
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);

    /* Read as the dead left it, and again by a writer, whom its lock does not stop. */
    store *s = fixture_open(*state, round % 2 == 0 ? STORE_READ : STORE_WRITE);
    store_evaluation *all = NULL;
    int count = 0, rows = 0;
    assert_int_equal(store_all_evaluations(s, &all, &count, NULL), MPT_OK);
    assert_in_range(count, last + 1, last + 2); /* killed after a commit, before it said so */
    for (int i = 0; i < count; i++) {
      const store_evaluation e = some_evaluation(i);
      assert_evaluation(&e, &all[i]);
      store_evaluation_clear(&all[i]);
    }
    free(all);
    store_statistics *statistics = NULL;
    assert_int_equal(store_all_statistics(s, NULL, &statistics, &rows, NULL), MPT_OK);
    assert_int_equal(rows % 4, 0);
    assert_in_range(rows / 4, count, count + 1);
    free(statistics);
    store_close(s);
  }
  assert_true(last > 12);
}

static void one_writer(void **state) {
  mpt_error error;
  char words[64];
  store *s = fixture_open(*state, STORE_WRITE);
  assert_int_equal(fixture_refused(*state, STORE_WRITE, &error), MPT_ERROR_BUSY);
  snprintf(words, sizeof words, "in use by process %ld;", (long)getpid());
  fixture_contains(&error, words);
  store *reader = fixture_open(*state, STORE_READ); /* readers are not in its way */
  assert_int_equal(note_set(s, "a", "1", NULL), MPT_OK);
  store_close(reader);
  store_close(s);
  store_close(fixture_open(*state, STORE_WRITE));
}

static void hash_is_sha256(void **state) {
  (void)state;
  char hex[65];
  store_hash("abc", 3, hex);
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(named_texts), TEST(evaluations),      TEST(policies_and_times),
      TEST(statistics),  TEST(groups_are_whole), TEST(a_killed_writer_loses_nothing),
      TEST(one_writer),  TEST(hash_is_sha256),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
