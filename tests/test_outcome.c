/* What is said of a policy that verification could not settle, and how to go on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tuner/outcome.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static workload w;
static tuner_options options;
static candidate undecided;
static candidate *candidates[] = {&undecided};
static problem asked;
static ledger known;
static const model believed;

/* Worse by 0.8%, a budget of 1%, after nine pairs. */
static search_view nothing_passed(double deviation) {
  w = (workload){.budget = {.worse_by = 0.01, .relative = true}};
  options = tuner_options_default();
  undecided = (candidate){.label = "candidate 7", .verdict = MPT_VERDICT_INCONCLUSIVE};
  undecided.seen = (evidence){.fresh = true,
                              .attempted = true,
                              .weight = 0.5,
                              .pairs = 9,
                              .worse = 0.016,
                              .worse_share = 0.008,
                              .deviation = deviation,
                              .interval = {.lower = 0.004, .upper = 0.0120001},
                              .verified = {.tried = 9, .finished = 9}};
  asked = (problem){.workload = &w, .options = &options};
  known = (ledger){.candidates = candidates, .candidate_count = 1};
  known.reference.permitted = true;
  return (search_view){.problem = &asked, .ledger = &known, .model = &believed};
}

static void says(const search_view *s, const char *expected) {
  char *message = outcome_message(s, NULL, NULL, NULL);
  assert_non_null(message);
  const char *rest = strstr(message, "stay; ");
  assert_non_null(rest);
  assert_string_equal(rest + strlen("stay; "), expected);
  free(message);
}

/* The deviation that n pairs tell from a distance of 0.2% of a metric of 2. */
static double told_by(double pairs) {
  return 0.004 * sqrt(pairs) / (1.96 + 1.28);
}

static void pairs_are_counted_up_to_a_look(void **state) {
  (void)state;
  search_view s = nothing_passed(told_by(13.5)); /* 14 are no look */
  says(&s, "candidate 7 is undecided after 9 pairs: worse by 0.800%, between +0.400% and +1.201%; "
           "about 18 pairs should tell (the same command with --pairs 24 goes on)");
  s = nothing_passed(told_by(3)); /* fewer than there were: the next look */
  says(&s, "candidate 7 is undecided after 9 pairs: worse by 0.800%, between +0.400% and +1.201%; "
           "about 13 pairs should tell (the same command with --pairs 24 goes on)");
}

static void where_no_look_has_as_many_the_budget_is_said_that_would_pass(void **state) {
  (void)state;
  const search_view s = nothing_passed(told_by(30));
  says(&s, "candidate 7 is undecided after 9 pairs: worse by 0.800%, between +0.400% and +1.201%; "
           "with such pairs more than 24 would be needed to tell, and a budget of 1.201% would "
           "pass it");
}

static void better_is_not_worse_by_less_than_nothing(void **state) {
  (void)state;
  const search_view s = nothing_passed(told_by(30));
  undecided.seen.worse = -0.002;
  undecided.seen.worse_share = -0.001;
  says(&s, "candidate 7 is undecided after 9 pairs: better by 0.100%, between +0.400% and +1.201%; "
           "about 13 pairs should tell (the same command with --pairs 24 goes on)");
}

/* No number of pairs helps where the reference's own mean may be 0. */
static void a_share_of_what_may_be_zero_asks_for_an_absolute_budget(void **state) {
  (void)state;
  const search_view s = nothing_passed(told_by(10));
  undecided.seen.interval = (verify_interval){-INFINITY, INFINITY};
  undecided.seen.verified.no_share = true;
  says(&s, "candidate 7 is undecided after 9 pairs: worse by 0.800%, and no share of the "
           "reference's own metric bounds it, as that may be 0 (give an absolute budget: worse_by: "
           "0.01)");
}

static void divergence_is_named_where_it_is_to_blame(void **state) {
  (void)state;
  const search_view s = nothing_passed(told_by(10));
  undecided.seen.interval.upper = 0.009; /* within the budget */
  undecided.seen.verified = (verify_result){.tried = 12,
                                            .finished = 9,
                                            .candidate_diverged = 2,
                                            .reference_diverged = 1,
                                            .diverged_bound = 0.4381};
  says(&s, "candidate 7 is undecided because 2 of 12 of its trainings diverged, at most 44% do "
           "(95%), and 1 of the reference's (the same command with --pairs 24 goes on)");
  options.pairs = 24; /* as many as there are */
  says(&s, "candidate 7 is undecided because 2 of 12 of its trainings diverged, at most 44% do "
           "(95%), and 1 of the reference's");
}

/* The reference diverged under seed 3, and another was taken. */
static void seeds_that_were_left_out_are_not_claimed(void **state) {
  (void)state;
  char text[OUTCOME_SEEDS_SIZE];
  const search_view s = nothing_passed(told_by(10));
  undecided.seen.first_seed = 1001;
  known.reference_seeds = 3;
  for (uint64_t i = 0; i < 3; i++)
    known.reference_seed[i] = i + 1;
  outcome_seeds(&s, &undecided, text);
  assert_string_equal(text, "1 to 3 in the search, 9 fresh pairs from 1001");
  known.reference_seed[2] = 4;
  undecided.seen.fresh = false;
  outcome_seeds(&s, &undecided, text);
  assert_string_equal(text, "3 of 1 to 4 in the search");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(pairs_are_counted_up_to_a_look),
      cmocka_unit_test(where_no_look_has_as_many_the_budget_is_said_that_would_pass),
      cmocka_unit_test(better_is_not_worse_by_less_than_nothing),
      cmocka_unit_test(a_share_of_what_may_be_zero_asks_for_an_absolute_budget),
      cmocka_unit_test(divergence_is_named_where_it_is_to_blame),
      cmocka_unit_test(seeds_that_were_left_out_are_not_claimed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
