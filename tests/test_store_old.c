/* A store of schema 1, made by the mptune that had it, opened by this one. */
#include "base/file.h"
#include "base/sha256.h"
#include "store_fixture.h"
#include <jansson.h>

#define OLD MPTUNE_SOURCE_DIR "/tests/data/run-schema-1.sqlite"

/* 13 trainings of 20 steps, and 13 of 40, one of which was made under a condition that the store
 * does not say. */
enum { SHORT = 13, LONG = 13, UNKNOWN = 1 };

static void put_old(const char *directory) {
  char path[300], *bytes;
  size_t length;
  mpt_error error = {0};
  snprintf(path, sizeof path, "%s/run.sqlite", directory);
  if (mpt_file_read(OLD, 1 << 20, &bytes, &length, &error) != MPT_OK)
    fail_msg("%s", error.message);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, length, file), length);
  fclose(file);
  free(bytes);
}

static void digest(const char *directory, char hex[65]) {
  char path[300], *bytes;
  size_t length;
  snprintf(path, sizeof path, "%s/run.sqlite", directory);
  assert_int_equal(mpt_file_read(path, 1 << 20, &bytes, &length, NULL), MPT_OK);
  mpt_sha256_hex(bytes, length, hex);
  free(bytes);
}

static json_t *note(store *s, const char *name) {
  char *text = NULL;
  assert_int_equal(store_get(s, name, &text, NULL), MPT_OK);
  json_t *json = text == NULL ? NULL : json_loads(text, 0, NULL);
  free(text);
  return json;
}

/* What is known is known, and what is not is not. */
static void check_conditions(store *s) {
  store_condition *conditions = NULL;
  store_evaluation *all = NULL;
  int count = 0, condition_count = 0, short_ones = 0, long_ones = 0, unknown = 0;
  assert_int_equal(store_all_conditions(s, &conditions, &condition_count, NULL), MPT_OK);
  assert_int_equal(store_all_evaluations(s, &all, &count, NULL), MPT_OK);
  assert_int_equal(condition_count, 2);
  assert_int_equal(count, SHORT + LONG);
  for (int i = 0; i < 2; i++) {
    char hash[65];
    memcpy(hash, conditions[i].hash, sizeof hash);
    store_condition_hash(&conditions[i]);
    assert_string_equal(conditions[i].hash, hash);
    assert_string_equal(conditions[i].numerics, "backend cpu 1\nthreads 1");
  }
  const int of_20 = conditions[0].steps == 20 ? 0 : 1;
  assert_int_equal(conditions[of_20].steps, 20);
  assert_int_equal(conditions[1 - of_20].steps, 40);
  for (int i = 0; i < count; i++) {
    unknown += all[i].condition[0] == '\0';
    short_ones += strcmp(all[i].condition, conditions[of_20].hash) == 0 && all[i].steps == 20;
    long_ones += strcmp(all[i].condition, conditions[1 - of_20].hash) == 0 && all[i].steps == 40;
    assert_int_equal(all[i].judged, 0);
    store_evaluation_clear(&all[i]);
  }
  assert_int_equal(short_ones, SHORT);
  assert_int_equal(long_ones, LONG - UNKNOWN);
  assert_int_equal(unknown, UNKNOWN);
  json_t *definition = note(s, "definition");
  assert_string_equal(json_string_value(json_object_get(definition, "condition")),
                      conditions[1 - of_20].hash);
  assert_int_equal(json_integer_value(json_object_get(definition, "from_schema")), 1);
  json_decref(definition);
  free(all);
  free(conditions);
}

/* Its verdicts were given by other rules. */
static void check_verdicts(store *s) {
  store_attempt *attempts = NULL;
  int count = -1;
  json_t *winner = note(s, "winner"), *verification = note(s, "verification");
  assert_string_equal(json_string_value(json_object_get(winner, "verdict")), "unverified");
  assert_null(verification);
  assert_int_equal(store_all_attempts(s, &attempts, &count, NULL), MPT_OK);
  assert_int_equal(count, 0);
  free(attempts);
  json_decref(winner);
}

static void a_reader_brings_it_up_in_memory(void **state) {
  char before[65], after[65];
  put_old(*state);
  digest(*state, before);
  for (int twice = 0; twice < 2; twice++) {
    store *s = fixture_open(*state, STORE_READ);
    check_conditions(s);
    check_verdicts(s);
    store_close(s);
  }
  digest(*state, after);
  assert_string_equal(before, after);
}

static void a_writer_brings_it_up_once(void **state) {
  put_old(*state);
  for (int twice = 0; twice < 2; twice++) {
    store *s = fixture_open(*state, STORE_WRITE);
    check_conditions(s);
    check_verdicts(s);
    store_close(s);
  }
  store *s = fixture_open(*state, STORE_READ);
  check_conditions(s);
  store_close(s);
}

static void attempts_are_written_down_once(void **state) {
  store *s = fixture_open(*state, STORE_WRITE);
  mpt_error error = {0};
  store_attempt two[2] = {{.condition = "c", .policy = "p", .position = 1, .weight = 0.5},
                          {.condition = "c", .policy = "q", .position = 2, .weight = 0.25}};
  two[1].first_seed = UINT64_C(1) << 63; /* larger than a signed number */
  assert_int_equal(store_put_attempts(s, two, 2, &error), MPT_OK);
  store_attempt again[2] = {{.condition = "c", .policy = "r", .position = 3, .weight = 0.1},
                            {.condition = "c", .policy = "p", .position = 4, .weight = 0.1}};
  assert_int_equal(store_put_attempts(s, again, 2, &error), MPT_ERROR_ARGUMENT);
  fixture_contains(&error, "attempt 4");
  store_attempt *all = NULL;
  int count = 0;
  assert_int_equal(store_all_attempts(s, &all, &count, &error), MPT_OK);
  assert_int_equal(count, 2); /* all of them or none */
  assert_string_equal(all[0].policy, "p");
  assert_true(all[0].weight == 0.5 && all[1].first_seed == two[1].first_seed);
  free(all);
  store_close(s);
}

static void seconds_of_processes_add_up(void **state) {
  int64_t first, second;
  double seconds;
  store *s = fixture_open(*state, STORE_WRITE);
  assert_int_equal(store_begin_process(s, &first, NULL), MPT_OK);
  assert_int_equal(store_put_process(s, first, 1.5, NULL), MPT_OK);
  assert_int_equal(store_put_process(s, first, 2.5, NULL), MPT_OK);
  assert_int_equal(store_begin_process(s, &second, NULL), MPT_OK);
  assert_int_equal(store_put_process(s, second, 4, NULL), MPT_OK);
  assert_int_equal(store_process_seconds(s, second, &seconds, NULL), MPT_OK);
  assert_true(seconds == 2.5);
  assert_int_equal(store_process_seconds(s, -1, &seconds, NULL), MPT_OK);
  assert_true(seconds == 6.5);
  store_close(s);
}

static void contributions_come_back(void **state) {
  uint8_t bits[2] = {0x5a, 0x01};
  float numbers[3] = {0.25f, 0.5f, 1.0f};
  store *s = fixture_open(*state, STORE_WRITE);
  store_evaluation e[2] = {{.judged = 9, .right = bits, .unit = 1},
                           {.judged = 3, .contributions = numbers, .unit = 2}};
  for (int i = 0; i < 2; i++) {
    snprintf(e[i].key, sizeof e[i].key, "key %d", i);
    snprintf(e[i].condition, sizeof e[i].condition, "condition %d", i);
    assert_int_equal(store_put_evaluation(s, &e[i], NULL), MPT_OK);
    bool found = false;
    store_evaluation back = {0};
    assert_int_equal(store_find_evaluation(s, e[i].key, &found, &back, NULL), MPT_OK);
    assert_true(found);
    assert_string_equal(back.condition, e[i].condition);
    assert_int_equal(back.judged, e[i].judged);
    assert_true(back.unit == e[i].unit);
    if (i == 0)
      assert_memory_equal(back.right, bits, sizeof bits);
    else
      assert_memory_equal(back.contributions, numbers, sizeof numbers);
    assert_true((back.right == NULL) == (i == 1) && (back.contributions == NULL) == (i == 0));
    store_evaluation_clear(&back);
  }
  store_close(s);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
  const struct CMUnitTest tests[] = {
      TEST(a_reader_brings_it_up_in_memory), TEST(a_writer_brings_it_up_once),
      TEST(attempts_are_written_down_once),  TEST(seconds_of_processes_add_up),
      TEST(contributions_come_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
