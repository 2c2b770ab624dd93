/* Commits wait for the disk once a second, and before what must not be lost; a small search would
 * spend its time on that. fdatasync and the clock are those of this file. */
#include "store_fixture.h"
#include <sys/syscall.h>

double __wrap_mpt_clock_seconds(void);

static double now = 1000;
static int syncs;

double __wrap_mpt_clock_seconds(void) {
  return now;
}

/* SQLite's calls come here: the program's symbols go before the library's. */
__attribute__((visibility("default"))) int fdatasync(int file) { // NOLINT(*-parameter-name)
  syncs++;
  return (int)syscall(SYS_fdatasync, file);
}

static void put(store *s, int count) {
  mpt_error error = {0};
  for (int i = 0; i < count; i++)
    if (store_put_process(s, 1, i, &error) != MPT_OK)
      fail_msg("%s", error.message);
}

static store *open_in(void **state) {
  store *s = fixture_open(*state, STORE_WRITE);
  int64_t id;
  mpt_error error = {0};
  assert_int_equal(store_begin_process(s, &id, &error), MPT_OK);
  assert_int_equal(id, 1);
  put(s, 1);
  return s;
}

static void of_a_seconds_commits_one_is_synced(void **state) {
  store *s = open_in(state);
  assert_true(syncs > 0);
  for (int second = 0; second < 3; second++) {
    syncs = 0;
    now += 0.9;
    put(s, 50);
    assert_int_equal(syncs, 0);
    now += 0.2;
    put(s, 1);
    assert_int_equal(syncs, 1);
    put(s, 50);
    assert_int_equal(syncs, 1);
  }
  syncs = 0;
  store_close(s);
  assert_true(syncs > 0);
}

static void a_group_is_one_commit(void **state) {
  store *s = open_in(state);
  mpt_error error = {0};
  now += 2;
  syncs = 0;
  assert_int_equal(store_begin(s, &error), MPT_OK);
  put(s, 50);
  assert_int_equal(syncs, 0);
  assert_int_equal(store_end(s, &error), MPT_OK);
  assert_int_equal(syncs, 1);
  put(s, 50);
  assert_int_equal(syncs, 1);
  store_close(s);
}

/* The order of verification is on the disk before a fresh seed is trained. */
static void attempts_are_synced_at_once(void **state) {
  store *s = open_in(state);
  mpt_error error = {0};
  store_attempt a = {
      .condition = "c", .policy = "p", .position = 1, .weight = 0.5, .first_seed = 9};
  put(s, 2);
  syncs = 0;
  put(s, 2);
  assert_int_equal(syncs, 0);
  assert_int_equal(store_put_attempts(s, &a, 1, &error), MPT_OK);
  assert_int_equal(syncs, 1);
  store_close(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(of_a_seconds_commits_one_is_synced),
      TEST(a_group_is_one_commit),
      TEST(attempts_are_synced_at_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
