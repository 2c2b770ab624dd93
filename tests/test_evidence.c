/* What a run's records say of a policy: pairs of like with like, and nothing else. */
#include "near.h"
#include "store/database.h"
#include "store_fixture.h"
#include "tuner/evidence.h"
#include <jansson.h>

#define RELATIVE  "{\"worse_by\": 0.05, \"relative\": true}"
#define ABSOLUTE  "{\"worse_by\": 0.05, \"relative\": false}"
#define FRESH     1001
#define REFERENCE "reference-policy"
#define CANDIDATE "candidate-policy"

/* One store for each test; rows have the condition that `steps` and `data` give. */
static store *run;
static int keys;

static store_condition condition_of(int64_t steps, const char *data, const char *numerics) {
  store_condition c = {.steps = steps};
  snprintf(c.training, sizeof c.training, "training");
  snprintf(c.data, sizeof c.data, "%s", data);
  snprintf(c.numerics, sizeof c.numerics, "%s", numerics);
  store_condition_hash(&c);
  return c;
}

static store_condition usual(void) {
  return condition_of(100, "data", "cpu 2, 1 thread");
}

static void put(const char *policy, uint64_t seed, store_evaluation e, const char *condition) {
  mpt_error error = {0};
  snprintf(e.key, sizeof e.key, "key %d", keys++);
  snprintf(e.policy, sizeof e.policy, "%s", policy);
  snprintf(e.condition, sizeof e.condition, "%s", condition);
  snprintf(e.purpose, sizeof e.purpose, "eval");
  e.seed = seed;
  e.steps = e.steps_done = 100;
  e.metric_plain = e.held_out_loss = e.output_difference = NAN;
  if (e.judged == 0)
    e.unit = NAN;
  if (store_put_evaluation(run, &e, &error) != MPT_OK)
    fail_msg("%s", error.message);
}

static void put_pair(uint64_t seed, double reference, double candidate) {
  const store_condition c = usual();
  put(REFERENCE, seed, (store_evaluation){.metric = reference}, c.hash);
  put(CANDIDATE, seed, (store_evaluation){.metric = candidate}, c.hash);
}

/* Accuracy over 8 samples, the right ones as bits. */
static void put_bits(uint64_t seed, uint8_t reference, uint8_t candidate) {
  const store_condition c = usual();
  uint8_t *const right[2] = {&reference, &candidate};
  for (int i = 0; i < 2; i++)
    put(i == 0 ? REFERENCE : CANDIDATE, seed,
        (store_evaluation){.metric = __builtin_popcount(*right[i]) / 8.0,
                           .judged = 8,
                           .right = right[i],
                           .unit = 1},
        c.hash);
}

static void put_attempt(void) {
  store_attempt a = {.position = 1, .weight = 0.5, .first_seed = FRESH};
  snprintf(a.policy, sizeof a.policy, CANDIDATE);
  memcpy(a.condition, usual().hash, sizeof a.condition);
  assert_int_equal(store_put_attempts(run, &a, 1, NULL), MPT_OK);
}

static void define(const char *metric, const char *budget, const char *over) {
  char text[1000];
  const store_condition conditions[] = {usual(), condition_of(30, "data", "cpu 2, 1 thread"),
                                        condition_of(100, "other data", "cpu 2, 1 thread"),
                                        condition_of(100, "data", "cpu 3, 1 thread")};
  snprintf(text, sizeof text,
           "{\"metric\": \"%s\", \"metric_higher_is_better\": %s, \"metric_over\": \"%s\", "
           "\"budget\": %s, \"alpha\": 0.05, \"pairs\": 13, \"condition\": \"%s\"}",
           metric, strcmp(metric, "loss") == 0 ? "false" : "true", over, budget,
           conditions[0].hash);
  assert_int_equal(note_set(run, "definition", text, NULL), MPT_OK);
  assert_int_equal(note_set(run, "reference", "{\"policy\": \"" REFERENCE "\"}", NULL), MPT_OK);
  for (size_t i = 0; i < sizeof conditions / sizeof conditions[0]; i++)
    assert_int_equal(store_put_condition(run, &conditions[i], NULL), MPT_OK);
}

static evidence seen_of(const char *policy) {
  evidence_records r;
  evidence e;
  mpt_error error = {0};
  if (evidence_load(run, &r, &error) != MPT_OK || evidence_of(&r, policy, &e, &error) != MPT_OK)
    fail_msg("%s", error.message);
  evidence_clear(&r);
  return e;
}

static evidence seen(void) {
  return seen_of(CANDIDATE);
}

static int setup(void **state) {
  fixture_setup(state);
  run = fixture_open(*state, STORE_WRITE);
  keys = 0;
  return 0;
}

static int teardown(void **state) {
  store_close(run);
  return fixture_teardown(state);
}

/* ---- like with like ---- */

static void another_condition_makes_no_pair(void **state) {
  (void)state;
  define("loss", RELATIVE, "held_out");
  put_pair(1, 2.0, 2.1);
  put_pair(2, 3.0, 3.1);
  const store_condition others[] = {condition_of(30, "data", "cpu 2, 1 thread"),
                                    condition_of(100, "other data", "cpu 2, 1 thread"),
                                    condition_of(100, "data", "cpu 3, 1 thread")};
  for (int i = 0; i < 3; i++) { /* both sides elsewhere; one side here, one elsewhere */
    put(REFERENCE, 3, (store_evaluation){.metric = 1}, others[i].hash);
    put(CANDIDATE, 3, (store_evaluation){.metric = 9}, others[i].hash);
    put(CANDIDATE, 10 + (uint64_t)i, (store_evaluation){.metric = 9}, others[i].hash);
    put(REFERENCE, 10 + (uint64_t)i, (store_evaluation){.metric = 1}, usual().hash);
  }
  put(REFERENCE, 4, (store_evaluation){.metric = 1}, ""); /* of an older run: not known */
  put(CANDIDATE, 4, (store_evaluation){.metric = 9}, "");
  put(CANDIDATE, 5, (store_evaluation){.metric = 9}, usual().hash); /* a seed of its own */
  const evidence e = seen();
  assert_int_equal(e.pairs, 2);
  assert_near(e.metric, 2.6, 1e-12);
  assert_near(e.reference_metric, 2.5, 1e-12);
  assert_near(e.worse, 0.1, 1e-12);
  assert_near(e.worse_share, 0.04, 1e-12);
  assert_true(e.relative && !e.fresh && !e.attempted);
  assert_true(e.interval.lower < 0.04 && e.interval.upper > 0.04);
}

/* Where the condition itself is not known nothing is like anything. */
static void an_unknown_condition_makes_no_pair(void **state) {
  (void)state;
  define("loss", RELATIVE, "held_out");
  assert_int_equal(note_set(run, "definition",
                            "{\"metric\": \"loss\", \"budget\": " RELATIVE ", \"condition\": \"\"}",
                            NULL),
                   MPT_OK);
  for (uint64_t seed = 1; seed <= 3; seed++) {
    put(REFERENCE, seed, (store_evaluation){.metric = 1}, "");
    put(CANDIDATE, seed, (store_evaluation){.metric = 9}, "");
  }
  const evidence e = seen();
  assert_int_equal(e.pairs, 0);
  assert_true(isnan(e.metric) && isnan(e.worse) && isinf(e.interval.upper));
}

/* ---- verification ---- */

static void put_fresh(int count, double worse) {
  for (int i = 0; i < count; i++)
    put_pair(FRESH + (uint64_t)i, 2.0 + 0.01 * (i % 3), 2.0 + 0.01 * (i % 3) + worse);
}

static void fresh_pairs_alone_count_for_a_verified_policy(void **state) {
  (void)state;
  define("loss", RELATIVE, "held_out");
  put_attempt();
  put_pair(1, 2.0, 5.0); /* the search's own, far off */
  put_pair(2, 2.0, 5.5);
  evidence e = seen();
  assert_true(!e.fresh && !e.attempted && e.pairs == 2);
  put_fresh(4, 0.002);
  e = seen();
  assert_true(e.fresh && e.attempted && e.pairs == 4);
  assert_near(e.worse, 0.002, 1e-12);
  assert_near(e.metric - e.reference_metric, 0.002, 1e-12);
  assert_int_equal(e.verified.verdict, MPT_VERDICT_PASS);
  assert_near(e.confidence, 0.95, 1e-12);
  assert_true(e.interval.upper == e.verified.bound.upper && e.interval.upper < 0.05);
  put_pair(50, 2.0, 9.0); /* a later evaluation */
  assert_near(seen().worse, 0.002, 1e-12);
  /* Trained after the look that decided, and so no part of it. */
  put_pair(FRESH + 4, 2.0, 5.0);
  put_pair(FRESH + 5, 2.0, 5.0);
  assert_int_equal(seen().pairs, 4);
}

/* The deviation of the search's pairs bounds that of fresh ones from below, but only of those that
 * were there when verification began. */
static void a_later_evaluation_changes_no_verdict(void **state) {
  (void)state;
  define("loss", RELATIVE, "held_out");
  put_attempt();
  put_fresh(4, 0.002);
  const evidence before = seen();
  assert_int_equal(before.verified.verdict, MPT_VERDICT_PASS);
  for (uint64_t seed = 1; seed <= 3; seed++)
    put_pair(seed, 2.0, seed == 2 ? 4.0 : 1.0);
  const evidence after = seen();
  assert_int_equal(after.verified.verdict, MPT_VERDICT_PASS);
  assert_true(after.interval.upper == before.interval.upper &&
              after.interval.lower == before.interval.lower);
}

static void an_earlier_deviation_is_believed(void **state) {
  (void)state;
  define("loss", RELATIVE, "held_out");
  put_attempt();
  for (uint64_t seed = 1; seed <= 3; seed++)
    put_pair(seed, 2.0, seed == 2 ? 4.0 : 1.0);
  put_fresh(4, 0.002); /* so close together by chance */
  const evidence e = seen();
  assert_int_not_equal(e.verified.verdict, MPT_VERDICT_PASS);
  assert_true(e.interval.upper > 0.5);
}

/* ---- trainings that did not finish ---- */

static void failures_are_counted_and_not_averaged(void **state) {
  (void)state;
  const store_condition c = usual();
  define("loss", RELATIVE, "held_out");
  put_pair(1, 2.0, 2.1);
  put_pair(2, 3.0, 3.1);
  put(REFERENCE, 3, (store_evaluation){.metric = 1}, c.hash);
  put(CANDIDATE, 3, (store_evaluation){.metric = NAN, .diverged = true}, c.hash);
  put(REFERENCE, 4, (store_evaluation){.metric = 1}, c.hash); /* given up with a metric */
  put(CANDIDATE, 4, (store_evaluation){.metric = 7, .stopped = true}, c.hash);
  put(REFERENCE, 5, (store_evaluation){.metric = NAN, .diverged = true}, c.hash);
  put(CANDIDATE, 5, (store_evaluation){.metric = 1}, c.hash);
  put(REFERENCE, 6, (store_evaluation){.metric = INFINITY}, c.hash);
  put(CANDIDATE, 6, (store_evaluation){.metric = INFINITY}, c.hash);
  const evidence e = seen();
  assert_int_equal(e.pairs, 2);
  assert_int_equal(e.diverged, 2);
  assert_int_equal(e.given_up, 1);
  assert_int_equal(e.reference_diverged, 2);
  assert_near(e.metric, 2.6, 1e-12);
  assert_near(e.reference_metric, 2.5, 1e-12);
}

static void fresh_failures_are_in_the_verdict(void **state) {
  (void)state;
  const store_condition c = usual();
  define("loss", RELATIVE, "held_out");
  put_attempt();
  put_fresh(4, 0.002);
  put(REFERENCE, FRESH + 4, (store_evaluation){.metric = 2}, c.hash);
  put(CANDIDATE, FRESH + 4, (store_evaluation){.metric = NAN, .diverged = true}, c.hash);
  assert_int_equal(seen().verified.candidate_diverged, 0); /* four pairs had decided */
  store_close(run);
  run = NULL;
  char *directory = *state;
  fixture_clear(directory);
  run = fixture_open(directory, STORE_WRITE);
  define("loss", RELATIVE, "held_out");
  put_attempt();
  put(REFERENCE, FRESH, (store_evaluation){.metric = 2}, c.hash);
  put(CANDIDATE, FRESH, (store_evaluation){.metric = NAN, .diverged = true}, c.hash);
  for (uint64_t i = 1; i <= 4; i++)
    put_pair(FRESH + i, 2.0, 2.002);
  const evidence e = seen();
  assert_int_equal(e.verified.verdict, MPT_VERDICT_FAIL);
  assert_true(e.diverged == 1 && e.reference_diverged == 0);
}

/* ---- metrics that move in steps ---- */

static void accuracy_without_known_samples_bounds_nothing(void **state) {
  (void)state;
  define("accuracy", ABSOLUTE, "held_out");
  put_attempt();
  for (uint64_t i = 0; i < 4; i++) {
    put_pair(1 + i, 0.9, 0.9);
    put_pair(FRESH + i, 0.9, 0.9);
  }
  const evidence e = seen();
  assert_int_equal(e.verified.verdict, MPT_VERDICT_INCONCLUSIVE);
  assert_true(e.worse == 0 && e.interval.lower == -INFINITY && e.interval.upper == INFINITY);
}

/* It has no samples, which is not that they are unknown. */
static void a_diverged_training_fails_an_accuracy_too(void **state) {
  (void)state;
  define("accuracy", ABSOLUTE, "held_out");
  put_attempt();
  const store_condition c = usual();
  uint8_t bits = 0x7F;
  for (uint64_t i = 0; i < 3; i++)
    put_bits(FRESH + i, 0x7F, 0x7F);
  put(REFERENCE, FRESH + 3,
      (store_evaluation){.metric = 7 / 8.0, .judged = 8, .right = &bits, .unit = 1}, c.hash);
  put(CANDIDATE, FRESH + 3, (store_evaluation){.metric = NAN, .diverged = true}, c.hash);
  const evidence e = seen();
  assert_int_equal(e.verified.tried, 4);
  assert_int_equal(e.verified.candidate_diverged, 1);
  assert_int_equal(e.verified.verdict, MPT_VERDICT_FAIL);
}

static void equal_accuracy_has_an_interval_of_some_width(void **state) {
  (void)state;
  define("accuracy", ABSOLUTE, "held_out");
  for (uint64_t i = 0; i < 4; i++)
    put_bits(1 + i, 0x7F, 0x7F);
  const evidence e = seen();
  assert_true(e.worse == 0 && e.deviation == 0);
  assert_true(isfinite(e.interval.upper) && e.interval.upper > 0.01 && e.interval.lower < -0.01);
  put_attempt();
  for (uint64_t i = 0; i < 4; i++)
    put_bits(FRESH + i, 0x7F, 0x7F);
  const evidence verified = seen();
  assert_true(verified.fresh && verified.interval.upper > 0.01);
}

/* The pairs themselves, as the rule gets them. */
static void pairs_hold_sums_over_the_samples(void **state) {
  (void)state;
  evidence_records r;
  verify_pair pairs[VERIFY_MOST_TRIED];
  define("accuracy", ABSOLUTE, "held_out");
  put_attempt();
  put_bits(FRESH, 0x7F, 0xF1); /* 7 and 5 right, 4 both */
  assert_int_equal(evidence_load(run, &r, NULL), MPT_OK);
  assert_int_equal(evidence_fresh_pairs(&r, &r.attempts[0], pairs), 1);
  const verify_pair *p = &pairs[0];
  assert_true(p->samples == 8 && p->unit == 1 && p->xx == 7 && p->xy == 4 && p->yy == 5);
  assert_true(p->x == NULL && p->y == NULL && r.rule.higher_is_better);
  evidence_clear(&r);
}

static void of_the_error_the_error_is_compared(void **state) {
  (void)state;
  evidence_records r;
  verify_pair pairs[VERIFY_MOST_TRIED];
  define("accuracy", "{\"worse_by\": 0.5, \"relative\": true, \"of\": \"error\"}", "held_out");
  put_attempt();
  put_bits(FRESH, 0x7F, 0xFC); /* errors 1/8 and 2/8, none in common */
  put_bits(FRESH + 1, 0x7F, 0x7E);
  assert_int_equal(evidence_load(run, &r, NULL), MPT_OK);
  assert_int_equal(evidence_fresh_pairs(&r, &r.attempts[0], pairs), 2);
  assert_false(r.rule.higher_is_better);
  assert_true(pairs[0].reference == 0.125 && pairs[0].candidate == 0.25);
  assert_true(pairs[0].xx == 1 && pairs[0].xy == 0 && pairs[0].yy == 2);
  evidence_clear(&r);
  const evidence e = seen();
  assert_near(e.metric, 0.75, 1e-12); /* what is shown is the accuracy */
  assert_near(e.reference_metric, 0.875, 1e-12);
  assert_near(e.worse, 0.125, 1e-12);
  assert_near(e.worse_share, 1, 1e-12); /* the error is twice as large */
}

/* Samples that stand for others like them are compared one by one, and bound the mean less. */
static void a_population_lays_out_the_samples(void **state) {
  evidence_records r;
  verify_pair pairs[VERIFY_MOST_TRIED];
  double upper[2];
  for (int population = 0; population < 2; population++) {
    store_close(run);
    fixture_clear(*state);
    run = fixture_open(*state, STORE_WRITE);
    define("accuracy", "{\"worse_by\": 0.5, \"relative\": false, \"of\": \"error\"}",
           population ? "population" : "held_out");
    put_attempt();
    for (uint64_t i = 0; i < 4; i++)
      put_bits(FRESH + i, 0x7F, i % 2 == 0 ? 0x3F : 0xFF);
    assert_int_equal(evidence_load(run, &r, NULL), MPT_OK);
    assert_int_equal(evidence_fresh_pairs(&r, &r.attempts[0], pairs), 4);
    assert_true(r.laid_out == population && r.rule.population == population);
    if (population) {
      assert_true(pairs[0].x[7] == 1 && pairs[0].x[0] == 0 && pairs[0].y[6] == 1);
      assert_true(pairs[0].xx == 1 && pairs[0].xy == 1 && pairs[0].yy == 2);
    } else {
      assert_null(pairs[0].x);
    }
    evidence_clear(&r);
    upper[population] = seen().interval.upper;
  }
  assert_true(isfinite(upper[1]) && upper[1] > upper[0]);
}

/* ---- the reference ---- */

static void the_reference_is_not_worse_than_itself(void **state) {
  (void)state;
  define("loss", RELATIVE, "held_out");
  put_pair(1, 2.0, 2.1);
  put_pair(2, 4.0, 4.1);
  put(REFERENCE, 1, (store_evaluation){.metric = 9},
      condition_of(30, "data", "cpu 2, 1 thread").hash);
  const evidence e = seen_of(REFERENCE);
  assert_true(e.pairs == 2 && e.worse == 0 && e.worse_share == 0);
  assert_true(e.interval.lower == 0 && e.interval.upper == 0);
  assert_near(e.metric, 3, 1e-12);
  assert_true(e.metric == e.reference_metric && !e.attempted);
}

static void the_difference_of_one_training(void **state) {
  (void)state;
  evidence_records r;
  define("accuracy", RELATIVE, "held_out");
  put_pair(1, 0.8, 0.6);
  put(CANDIDATE, 2, (store_evaluation){.metric = 0.5}, usual().hash);
  assert_int_equal(evidence_load(run, &r, NULL), MPT_OK);
  assert_int_equal(r.evaluation_count, 3);
  assert_near(evidence_difference(&r, &r.evaluations[1]), 0.2, 1e-12);
  assert_near(evidence_difference_share(&r, &r.evaluations[1]), 0.25, 1e-12);
  assert_true(isnan(evidence_difference(&r, &r.evaluations[2])));
  assert_true(isnan(evidence_difference_share(&r, &r.evaluations[2])));
  evidence_clear(&r);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(another_condition_makes_no_pair),
      TEST(an_unknown_condition_makes_no_pair),
      TEST(fresh_pairs_alone_count_for_a_verified_policy),
      TEST(a_later_evaluation_changes_no_verdict),
      TEST(an_earlier_deviation_is_believed),
      TEST(failures_are_counted_and_not_averaged),
      TEST(fresh_failures_are_in_the_verdict),
      TEST(accuracy_without_known_samples_bounds_nothing),
      TEST(a_diverged_training_fails_an_accuracy_too),
      TEST(equal_accuracy_has_an_interval_of_some_width),
      TEST(pairs_hold_sums_over_the_samples),
      TEST(of_the_error_the_error_is_compared),
      TEST(a_population_lays_out_the_samples),
      TEST(the_reference_is_not_worse_than_itself),
      TEST(the_difference_of_one_training),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
