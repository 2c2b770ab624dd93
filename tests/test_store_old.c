/* Stores of schemas 1 and 2, made by the mptune that had them, opened by this one. */
#include "base/file.h"
#include "base/sha256.h"
#include "store/database.h"
#include "store/run_trajectory.h"
#include "store_fixture.h"
#include <jansson.h>
#include <sqlite3.h>
#include <sys/stat.h>

#define OLD MPTUNE_SOURCE_DIR "/tests/data/run-schema-"

/* 13 trainings of 20 steps, and 13 of 40, one of which was made under a condition that the store
 * does not say. */
enum { SHORT = 13, LONG = 13, UNKNOWN = 1 };

static void put_old(const char *directory, const char *schema) {
  char path[300], from[300], *bytes;
  size_t length;
  mpt_error error = {0};
  snprintf(path, sizeof path, "%s/run.sqlite", directory);
  snprintf(from, sizeof from, OLD "%s.sqlite", schema);
  if (mpt_file_read(from, 1 << 20, &bytes, &length, &error) != MPT_OK)
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
  assert_int_equal(note_get(s, name, &text, NULL), MPT_OK);
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

/* The trajectory was a note. That of schema 1 did not say the change. */
static void check_trajectory(store *s, const char *schema) {
  const bool first = strcmp(schema, "1") == 0;
  store_trajectory all;
  char *note = NULL;
  assert_int_equal(store_get_trajectory(s, &all, NULL), MPT_OK);
  assert_int_equal(all.count, 4);
  for (int i = 0; i < 4; i++)
    assert_int_equal(all.steps[i].evaluation, i + 1);
  const store_step *last = &all.steps[3];
  assert_string_equal(all.steps[0].label, first ? "all-tf32" : "all-bf16");
  assert_string_equal(last->policy,
                      "be0e41bb63adbdd6df6c62132f6ec0ab1d935a154a4506c0658eab44c0efc958");
  assert_string_equal(last->label, "all-fp16");
  assert_true(last->seconds == 1.8013999999999998e-8 && last->predicted_seconds == last->seconds);
  assert_true(isnan(last->predicted_increase));
  assert_true(last->measured_increase == (first ? 0.064495026370224862 : 0.060666512146394534));
  assert_true(first ? isnan(last->measured_change) : last->measured_change == 0.1374777387206324);
  assert_string_equal(last->verdict_text, first ? "too close to tell" : "meets the budget");
  store_trajectory_clear(&all);
  assert_int_equal(note_get(s, "trajectory", &note, NULL), MPT_OK);
  assert_null(note);
}

static void the_trajectory_is_rows(void **state) {
  static const char *const schemas[] = {"1", "2"};
  static const store_access each[] = {STORE_READ, STORE_WRITE, STORE_READ};
  for (int i = 0; i < 2; i++) {
    fixture_clear(*state);
    assert_int_equal(mkdir(*state, 0755), 0);
    put_old(*state, schemas[i]);
    for (int k = 0; k < 3; k++) {
      store *s = fixture_open(*state, each[k]);
      check_trajectory(s, schemas[i]);
      store_close(s);
    }
  }
}

static void a_damaged_trajectory_is_said(void **state) {
  char path[300];
  sqlite3 *database = NULL;
  mpt_error error = {0};
  store *s = NULL;
  put_old(*state, "2");
  snprintf(path, sizeof path, "%s/run.sqlite", (char *)*state);
  assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
  assert_int_equal(sqlite3_exec(database,
                                "UPDATE notes SET json = '[{}, {\"seconds\": -1}]' "
                                "WHERE name = 'trajectory'",
                                NULL, NULL, NULL),
                   SQLITE_OK);
  sqlite3_close(database);
  for (int access = STORE_WRITE; access <= STORE_READ; access++) {
    assert_int_equal(store_open(*state, (store_access)access, &s, &error), MPT_ERROR_DAMAGED);
    fixture_contains(&error, "in the note 'trajectory' [1].seconds is not a number that is not "
                             "negative; start anew beside it (--fresh)");
  }
}

static void a_step_takes_those_after_it_away(void **state) {
  store *s = fixture_open(*state, STORE_WRITE);
  store_step step = {.policy = "p", .label = "l", .verdict_text = "v", .measured_change = NAN};
  for (step.evaluation = 1; step.evaluation <= 5; step.evaluation++)
    assert_int_equal(store_put_step(s, &step, NULL), MPT_OK);
  step.evaluation = 3;
  step.label = "another";
  assert_int_equal(store_put_step(s, &step, NULL), MPT_OK);
  store_trajectory all;
  assert_int_equal(store_get_trajectory(s, &all, NULL), MPT_OK);
  assert_int_equal(all.count, 3);
  assert_string_equal(all.steps[1].label, "l");
  assert_string_equal(all.steps[2].label, "another");
  assert_true(isnan(all.steps[2].measured_change));
  store_trajectory_clear(&all);
  store_close(s);
}

static void a_reader_brings_it_up_in_memory(void **state) {
  char before[65], after[65];
  put_old(*state, "1");
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
  put_old(*state, "1");
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
      TEST(contributions_come_back),         TEST(the_trajectory_is_rows),
      TEST(a_damaged_trajectory_is_said),    TEST(a_step_takes_those_after_it_away),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
