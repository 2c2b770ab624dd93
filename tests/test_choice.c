/* From the model to the next training: pooled noise, proposals, the choice among them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tuner/model/choice.h"
#include "tuner/model/pair_noise.h"
#include "tuner/model/proposals.h"
#include <gsl/gsl_randist.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- pair_noise ---- */

/* With many pairs each kind has its own; with none the prior's; a kind without pairs has that of
 * the others. */
static void noise_is_pooled_by_kind(void **state) {
  (void)state;
  const pair_noise_prior prior = pair_noise_prior_of(0.04);
  double deviation[2];
  pair_noise_pool(&prior, NULL, 0, 2, deviation);
  assert_true(deviation[0] == 0.01 && deviation[1] == 0.01);
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  pair_group groups[40];
  for (int i = 0; i < 40; i++) {
    double d[6], mean = 0;
    groups[i] = (pair_group){.kind = i % 2, .count = 6};
    for (int k = 0; k < 6; k++)
      d[k] = 5 + gsl_ran_gaussian(random, i % 2 == 0 ? 0.001 : 0.01), mean += d[k] / 6;
    for (int k = 0; k < 6; k++)
      groups[i].squares += pow(d[k] - mean, 2);
  }
  gsl_rng_free(random);
  pair_noise_pool(&prior, groups, 40, 2, deviation);
  assert_true(deviation[0] > 0.0008 && deviation[0] < 0.0016); /* drawn up by the others a little */
  assert_true(fabs(deviation[1] / 0.01 - 1) < 0.2);
  groups[0] = groups[1]; /* of kind 1 alone */
  pair_noise_pool(&prior, groups, 2, 2, deviation);
  assert_true(deviation[0] > 0.006 && deviation[0] < 0.014);
  /* One pair has no deviation: it changes nothing. */
  const pair_group single = {.kind = 0, .count = 1, .squares = 0};
  pair_noise_pool(&prior, &single, 1, 2, deviation);
  assert_true(deviation[0] == 0.01);
}

/* ---- proposals, with a solver that tries everything ---- */

enum { UNITS = 5, CHOICES = 3 };

typedef struct toy {
  double seconds[UNITS][CHOICES];
  int features[UNITS][CHOICES][PROPOSAL_FEATURES];
  bool vetoed[UNITS][CHOICES];
  proposal_unit units[UNITS];
  damage_feature feature[UNITS * CHOICES];
  double budget;
  int solved;
  bool refuses;
} toy;

static bool next_choice(int *choice) {
  int u = 0;
  while (u < UNITS && ++choice[u] == CHOICES)
    choice[u++] = 0;
  return u < UNITS;
}

static double toy_seconds(const toy *t, const int *choice) {
  double sum = 0;
  for (int u = 0; u < UNITS; u++)
    sum += t->seconds[u][choice[u]];
  return sum;
}

static mpt_status solve_toy(void *context, double *const *increase, double budget, int *choice,
                            mpt_error *error) {
  (void)error;
  toy *t = context;
  int c[UNITS] = {0};
  double best = INFINITY;
  t->solved++;
  if (t->refuses)
    return MPT_ERROR_MEMORY;
  do {
    double sum = 0;
    for (int u = 0; u < UNITS; u++)
      sum += increase[u][c[u]];
    if (sum <= budget && toy_seconds(t, c) < best)
      best = toy_seconds(t, c), memcpy(choice, c, sizeof c);
  } while (next_choice(c));
  return isinf(best) ? MPT_ERROR_NOT_FOUND : MPT_OK;
}

static mpt_status price_toy(void *context, const int *choice, double *seconds, mpt_error *error) {
  (void)error;
  *seconds = toy_seconds(context, choice);
  return MPT_OK;
}

/* Choice 0 is the reference; 1 and 2 are faster and hurt more. */
static void make_toy(gsl_rng *random, toy *t) {
  *t = (toy){.budget = 1};
  for (int u = 0; u < UNITS; u++) {
    for (int c = 0; c < CHOICES; c++) {
      const int g = u * CHOICES + c;
      t->seconds[u][c] = (0.5 + gsl_rng_uniform(random)) / (1 + c);
      t->feature[g] = (damage_feature){.mechanism = DAMAGE_FORWARD,
                                       .score = c * (0.05 + 0.4 * gsl_rng_uniform(random))};
      for (int k = 0; k < PROPOSAL_FEATURES; k++)
        t->features[u][c][k] = k == 0 && c > 0 ? g : -1;
    }
    t->units[u] = (proposal_unit){.choice_count = CHOICES,
                                  .features = (const int(*)[PROPOSAL_FEATURES])t->features[u],
                                  .vetoed = t->vetoed[u]};
  }
}

static damage_model *prior_model(const toy *t) {
  damage_prior prior = damage_prior_of(t->budget, UNITS);
  damage_model *m = NULL;
  mpt_error error = {0};
  prior.kappa[DAMAGE_FORWARD] = 1;
  const damage_data data = {.features = t->feature, .feature_count = UNITS * CHOICES};
  assert_int_equal(damage_fit(&prior, &data, &m, &error), MPT_OK);
  return m;
}

/* The fastest of all policies whose chance is at least that: what bisecting lambda is to come near.
 */
static double fastest_at(const toy *t, const damage_model *m, const proposal_calls *calls,
                         double chance) {
  int choice[UNITS] = {0};
  double best = INFINITY;
  do {
    proposal p = {.choice = choice};
    mpt_error error = {0};
    assert_int_equal(proposal_judge(m, t->units, UNITS, t->budget, calls, &p, &error), MPT_OK);
    if (p.chance >= chance && p.seconds < best)
      best = p.seconds;
  } while (next_choice(choice));
  return best;
}

static void proposals_come_near_the_fastest_of_each_chance(void **state) {
  (void)state;
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  double behind = 0;
  int cases = 0;
  for (int turn = 0; turn < 10; turn++) {
    toy t;
    proposal *list = NULL;
    int count = 0;
    mpt_error error = {0};
    make_toy(random, &t);
    const proposal_calls calls = {.solve = solve_toy, .seconds = price_toy, .context = &t};
    damage_model *m = prior_model(&t);
    assert_int_equal(proposals_make(m, t.units, UNITS, t.budget, &calls, &list, &count, &error),
                     MPT_OK);
    assert_true(t.solved <= 26 && count >= 3);
    for (int i = 0; i < count; i++) {
      proposal again = {.choice = list[i].choice};
      proposal_judge(m, t.units, UNITS, t.budget, &calls, &again, &error);
      assert_true(again.chance == list[i].chance);
      assert_true(i == 0 || list[i].seconds >= list[i - 1].seconds);
      for (int k = 0; k < i; k++)
        assert_int_not_equal(memcmp(list[k].choice, list[i].choice, sizeof(int) * UNITS), 0);
    }
    static const double chances[] = {0.5, 0.8, 0.95};
    for (int k = 0; k < 3; k++) {
      const double best = fastest_at(&t, m, &calls, chances[k]);
      double proposed = INFINITY;
      for (int i = 0; i < count; i++)
        if (list[i].chance >= chances[k])
          proposed = fmin(proposed, list[i].seconds);
      assert_true(proposed < INFINITY);
      behind += proposed / best - 1, cases++;
    }
    proposals_free(list, count);
    damage_free(m);
  }
  gsl_rng_free(random);
  print_message("the proposals are %.1f%% behind the fastest, on average\n", 100 * behind / cases);
  assert_true(behind / cases < 0.05);
}

static void proposals_keep_vetoes_and_pass_failures_on(void **state) {
  (void)state;
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  toy t;
  proposal *list = NULL;
  int count = 0;
  mpt_error error = {0};
  make_toy(random, &t);
  gsl_rng_free(random);
  t.vetoed[2][2] = t.vetoed[0][1] = true;
  const proposal_calls calls = {.solve = solve_toy, .seconds = price_toy, .context = &t};
  damage_model *m = prior_model(&t);
  assert_int_equal(proposals_make(m, t.units, UNITS, t.budget, &calls, &list, &count, &error),
                   MPT_OK);
  for (int i = 0; i < count; i++)
    assert_true(list[i].choice[2] != 2 && list[i].choice[0] != 1);
  proposals_free(list, count);
  list = NULL;
  for (int u = 0; u < UNITS; u++)
    for (int c = 0; c < CHOICES; c++)
      t.vetoed[u][c] = true;
  assert_int_equal(proposals_make(m, t.units, UNITS, t.budget, &calls, &list, &count, &error),
                   MPT_OK);
  assert_int_equal(count, 0);
  proposals_free(list, count);
  t.refuses = true;
  assert_int_equal(proposals_make(m, t.units, UNITS, t.budget, &calls, &list, &count, &error),
                   MPT_ERROR_MEMORY);
  damage_free(m);
}

/* ---- choice ---- */

static void what_promises_most_for_its_cost_is_next(void **state) {
  (void)state;
  const choice_rule rule = choice_rule_default(1);
  choice_candidate c[4] = {{.seconds = 0.8, .chance = 0.9},
                           {.seconds = 0.5, .chance = 0.5},
                           {.seconds = 0.3, .chance = 0.001},
                           {.seconds = 1.2, .chance = 1}};
  choice_decision d = choice_next(&rule, c, 4);
  assert_int_equal(d.action, CHOICE_TRAIN);
  assert_int_equal(d.candidate, 1);
  /* By hand: 0.5 * 0.5 * 100 over 0.5 + 0.5 * 8 * 1.5. */
  assert_true(fabs(d.gain - 25) < 1e-12 && fabs(d.cost - 6.5) < 1e-12);
  c[1].new_seed = true; /* the reference too: 1 more */
  assert_true(fabs(choice_next(&rule, c, 4).cost - 7.5) < 1e-12);
  c[1].chance = 0.999;
  c[1].pairs = 2;
  d = choice_next(&rule, c, 4);
  assert_int_equal(d.action, CHOICE_VERIFY);
  assert_int_equal(d.candidate, 1);
  c[1].settled = c[1].passed = true; /* what is slower than what passed gains nothing */
  assert_int_equal(choice_next(&rule, c, 4).action, CHOICE_STOP);
  c[2].chance = 0.9; /* but what is faster does */
  assert_int_equal(choice_next(&rule, c, 4).candidate, 2);
}

/* Nothing is verified on one pair, however sure the model is. */
static void one_pair_is_not_enough(void **state) {
  (void)state;
  const choice_rule rule = choice_rule_default(1);
  for (int pairs = 0; pairs < 3; pairs++) {
    const choice_candidate c[1] = {{.seconds = 0.5, .chance = 0.999, .pairs = pairs}};
    assert_int_equal(choice_next(&rule, c, 1).action, pairs < 2 ? CHOICE_TRAIN : CHOICE_VERIFY);
  }
}

/* Beside an incumbent a faster policy is tried while it pays for its own training: by hand,
 * 0.02 * (0.50 - 0.45) * 100 = 0.1 does not pay for 0.45, 0.2 does. */
static void what_may_be_faster_than_the_incumbent_pays_for_its_training_alone(void **state) {
  (void)state;
  const choice_rule rule = choice_rule_default(1);
  choice_candidate c[2] = {{.seconds = 0.5, .chance = 0.99, .pairs = 2},
                           {.seconds = 0.45, .chance = 0.02}};
  choice_decision d = choice_next(&rule, c, 2);
  assert_true(d.action == CHOICE_VERIFY && d.candidate == 0);
  c[1].chance = 0.2;
  d = choice_next(&rule, c, 2);
  assert_true(d.action == CHOICE_TRAIN && d.candidate == 1);
  assert_true(fabs(d.gain - 1) < 1e-12 && fabs(d.cost - 0.45) < 1e-12);
}

static void what_is_in_flight_is_waited_for(void **state) {
  (void)state;
  const choice_rule rule = choice_rule_default(1);
  choice_candidate c[2] = {{.seconds = 0.5, .chance = 0.5, .in_flight = true},
                           {.seconds = 0.8, .chance = 0.6}};
  choice_decision d = choice_next(&rule, c, 2);
  assert_int_equal(d.action, CHOICE_TRAIN);
  assert_int_equal(d.candidate, 1);
  c[1].chance = 0.999; /* as good as sure: but the other may be better */
  c[1].pairs = 2;
  d = choice_next(&rule, c, 2);
  assert_int_equal(d.action, CHOICE_WAIT);
  c[0].in_flight = false;
  c[0].chance = 0;
  d = choice_next(&rule, c, 2);
  assert_int_equal(d.action, CHOICE_VERIFY);
  assert_int_equal(d.candidate, 1);
}

static void a_policy_that_had_its_trainings_is_verified_or_left(void **state) {
  (void)state;
  choice_rule rule = choice_rule_default(1);
  choice_candidate c[1] = {{.seconds = 0.5, .chance = 0.5, .pairs = 6}};
  assert_int_equal(choice_next(&rule, c, 1).action, CHOICE_VERIFY);
  rule.trainings_ahead = 1; /* it saves half a training at best, and costs 12 */
  assert_int_equal(choice_next(&rule, c, 1).action, CHOICE_STOP);
  c[0].seconds = 0.999; /* equal is equal */
  c[0].chance = 1;
  rule.trainings_ahead = 1e9;
  assert_int_equal(choice_next(&rule, c, 1).action, CHOICE_STOP);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(noise_is_pooled_by_kind),
      cmocka_unit_test(proposals_come_near_the_fastest_of_each_chance),
      cmocka_unit_test(proposals_keep_vetoes_and_pass_failures_on),
      cmocka_unit_test(what_promises_most_for_its_cost_is_next),
      cmocka_unit_test(one_pair_is_not_enough),
      cmocka_unit_test(what_may_be_faster_than_the_incumbent_pays_for_its_training_alone),
      cmocka_unit_test(what_is_in_flight_is_waited_for),
      cmocka_unit_test(a_policy_that_had_its_trainings_is_verified_or_left),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
