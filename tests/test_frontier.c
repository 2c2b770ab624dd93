/* The solver against brute force, and its certificate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "frontier_problems.h"
#include <string.h>
#include <time.h>

#define CLOSE 1e-9

/* Least seconds within the budget, then least increase; false when there is none. */
static bool brute_force(const chain *p, double budget, double *seconds, double *increase) {
  int choice[16] = {0};
  bool found = false;
  for (;;) {
    double s, a;
    chain_count(p, choice, &s, &a);
    if (a <= budget * (1.0 + 1e-13) && a < INFINITY &&
        (!found || s < *seconds - CLOSE || (s < *seconds + CLOSE && a < *increase)))
      found = true, *seconds = s, *increase = a;
    int i = 0;
    while (i < p->layer_count && ++choice[i] == p->choice_count[i])
      choice[i++] = 0;
    if (i == p->layer_count)
      return found;
  }
}

/* Solves, and checks that the answer is what it says it is. */
static bool solve(const chain *p, double budget, int64_t limit, frontier_solution *solution) {
  mpt_error error;
  frontier_problem problem = problem_of(p);
  const mpt_status status = frontier_solve(&problem, budget, limit, solution, &error);
  problem_free(&problem);
  if (status != MPT_OK) {
    assert_int_equal(status, MPT_ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "nothing meets the budget"));
    return false;
  }
  double seconds, increase;
  chain_count(p, solution->choice, &seconds, &increase);
  assert_true(fabs(seconds - solution->seconds) < CLOSE);
  assert_true(fabs(increase - solution->increase) < CLOSE);
  assert_true(increase <= budget * (1.0 + 1e-12));
  assert_true(solution->gap >= 0.0 && fabs(seconds - solution->bound - solution->gap) < CLOSE);
  return true;
}

static void compare(const chain *p, double budget) {
  double seconds = 0.0, increase = 0.0;
  frontier_solution solution;
  const bool possible = brute_force(p, budget, &seconds, &increase);
  const bool solved = solve(p, budget, FRONTIER_LABELS, &solution);
  assert_int_equal(solved, possible);
  if (!solved)
    return;
  assert_true(solution.gap == 0.0);
  assert_true(fabs(solution.seconds - seconds) < CLOSE);
  assert_true(fabs(solution.increase - increase) < CLOSE);
  frontier_clear(&solution);
}

/* Budgets over the whole range, those that some assignment meets to the last bit included. */
static void compare_budgets(gsl_rng *random, const chain *p) {
  int choice[16];
  double seconds, increase;
  compare(p, 0.0);
  compare(p, INFINITY);
  compare(p, -1.0);
  for (int turn = 0; turn < 4; turn++) {
    compare(p, gsl_rng_uniform(random) * p->layer_count * 2.0);
    for (int i = 0; i < p->layer_count; i++)
      choice[i] = (int)gsl_rng_uniform_int(random, (unsigned long)p->choice_count[i]);
    chain_count(p, choice, &seconds, &increase);
    compare(p, increase);
  }
}

static void against_brute_force(problem_kind kind, int problems) {
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  gsl_rng_set(random, (unsigned long)kind.layers * 1000 + (unsigned long)kind.levels);
  for (int turn = 0; turn < problems; turn++) {
    chain p = chain_make(random, &kind);
    compare_budgets(random, &p);
    chain_free(&p);
  }
  gsl_rng_free(random);
}

static void test_chains(void **state) {
  (void)state;
  against_brute_force((problem_kind){.layers = 1, .choices = 5, .conversion = 1.0}, 20);
  against_brute_force((problem_kind){.layers = 5, .choices = 5, .conversion = 2.0}, 100);
  against_brute_force((problem_kind){.layers = 8, .choices = 3, .conversion = 0.0}, 40);
}

static void test_shared_copies(void **state) {
  (void)state;
  against_brute_force(
      (problem_kind){.layers = 6, .choices = 4, .conversion = 1.0, .group_share = 1.0}, 60);
  against_brute_force(
      (problem_kind){.layers = 3, .choices = 9, .conversion = 0.5, .group_share = 1.0}, 60);
}

static void test_vetoes(void **state) {
  (void)state;
  against_brute_force(
      (problem_kind){
          .layers = 6, .choices = 4, .conversion = 1.0, .group_share = 0.5, .veto_share = 0.5},
      60);
}

static void test_ties(void **state) {
  (void)state;
  against_brute_force(
      (problem_kind){.layers = 6, .choices = 4, .conversion = 1.0, .group_share = 0.5, .levels = 2},
      60);
  against_brute_force(
      (problem_kind){.layers = 7, .choices = 3, .conversion = 1.0, .equal_layers = true}, 40);
}

static void test_eight_layers_of_five_formats(void **state) {
  (void)state;
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  const problem_kind kind = {
      .layers = 8, .choices = 5, .conversion = 1.0, .group_share = 0.7, .veto_share = 0.1};
  for (int turn = 0; turn < 6; turn++) {
    chain p = chain_make(random, &kind);
    compare(&p, 2.0 + 3.0 * turn);
    chain_free(&p);
  }
  gsl_rng_free(random);
}

/* 0.1 + 0.2 is more than 0.3 by rounding alone. */
static void test_a_budget_met_to_the_last_bit(void **state) {
  (void)state;
  int counts[2] = {2, 2}, group[2] = {-1, -1};
  double seconds[2][2] = {{2, 1}, {2, 1}}, increase[2][2] = {{0, 0.1}, {0, 0.2}}, zero[2] = {0};
  double *s[2] = {seconds[0], seconds[1]}, *a[2] = {increase[0], increase[1]};
  double *from[2] = {zero, zero}, **conversion[2] = {NULL, from};
  const chain p = {.layer_count = 2,
                   .choice_count = counts,
                   .seconds = s,
                   .increase = a,
                   .conversion = conversion,
                   .group = group};
  frontier_solution solution;
  assert_true(solve(&p, 0.3, FRONTIER_LABELS, &solution));
  assert_true(solution.seconds == 2.0);
  frontier_clear(&solution);
  assert_true(solve(&p, 0.2999999, FRONTIER_LABELS, &solution));
  assert_true(solution.seconds == 3.0 && solution.increase == 0.1);
  frontier_clear(&solution);
}

static void count_labels(const char *name, problem_kind kind, double share, int64_t limit) {
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  int64_t labels = 0;
  for (int turn = 0; turn < 3; turn++) {
    chain p = chain_make(random, &kind);
    frontier_solution solution;
    assert_true(solve(&p, share * kind.layers * kind.choices, FRONTIER_LABELS, &solution));
    labels = solution.labels > labels ? solution.labels : labels;
    assert_true(solution.gap == 0.0);
    frontier_clear(&solution);
    chain_free(&p);
  }
  print_message("%s: %lld labels at most\n", name, (long long)labels);
  assert_true(labels < limit);
  gsl_rng_free(random);
}

/* The work is counted, not timed: the limits are a few times what it takes today. */
static void test_deep_networks(void **state) {
  (void)state;
  problem_kind kind = {.layers = 300, .choices = 5, .conversion = 1.0, .group_share = 0.3};
  count_labels("300 layers, 5 choices, tight", kind, 0.02, 200000);
  count_labels("300 layers, 5 choices, middle", kind, 0.1, 200000);
  count_labels("300 layers, 5 choices, loose", kind, 0.3, 200000);
  kind.equal_layers = true;
  kind.group_share = 0.0;
  count_labels("300 like layers, 5 choices", kind, 0.1, 200000);
  kind.layers = 60, kind.choices = 125, kind.equal_layers = false, kind.group_share = 0.3;
  count_labels("60 layers, 125 choices", kind, 0.05, 5000);
}

static void test_a_label_limit_gives_a_bound(void **state) {
  (void)state;
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  const problem_kind kind = {.layers = 40, .choices = 5, .conversion = 1.0, .group_share = 0.5};
  int open = 0;
  for (int turn = 0; turn < 20; turn++) {
    chain p = chain_make(random, &kind);
    frontier_solution exact, limited;
    assert_true(solve(&p, 15.0, FRONTIER_LABELS, &exact));
    assert_true(solve(&p, 15.0, 1 + turn, &limited));
    assert_true(limited.bound <= exact.seconds + CLOSE);
    assert_true(limited.seconds >= exact.seconds - CLOSE);
    assert_true(limited.labels <= 1 + turn);
    open += limited.gap > 0.0;
    frontier_clear(&exact);
    frontier_clear(&limited);
    chain_free(&p);
  }
  assert_true(open > 0);
  gsl_rng_free(random);
}

static void test_numbers_that_are_none_are_refused(void **state) {
  (void)state;
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  const problem_kind kind = {.layers = 3, .choices = 2, .conversion = 1.0};
  chain p = chain_make(random, &kind);
  frontier_problem problem = problem_of(&p);
  frontier_layer *l = problem.layers;
  frontier_solution solution;
  assert_int_equal(frontier_solve(&problem, NAN, 100, &solution, NULL), MPT_ERROR_ARGUMENT);
  l[1].seconds[0] = NAN;
  assert_int_equal(frontier_solve(&problem, 1.0, 100, &solution, NULL), MPT_ERROR_ARGUMENT);
  l[1].seconds[0] = 1.0, l[2].increase[1] = -0.5;
  assert_int_equal(frontier_solve(&problem, 1.0, 100, &solution, NULL), MPT_ERROR_ARGUMENT);
  l[2].increase[1] = 0.5, l[2].conversion[3] = INFINITY;
  assert_int_equal(frontier_solve(&problem, 1.0, 100, &solution, NULL), MPT_ERROR_ARGUMENT);
  l[2].conversion[3] = 0.0, l[1].memory_seconds[1] = -1.0;
  assert_int_equal(frontier_solve(&problem, 1.0, 100, &solution, NULL), MPT_ERROR_ARGUMENT);
  problem_free(&problem);
  chain_free(&p);
  gsl_rng_free(random);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_chains),
      cmocka_unit_test(test_shared_copies),
      cmocka_unit_test(test_vetoes),
      cmocka_unit_test(test_ties),
      cmocka_unit_test(test_eight_layers_of_five_formats),
      cmocka_unit_test(test_a_budget_met_to_the_last_bit),
      cmocka_unit_test(test_deep_networks),
      cmocka_unit_test(test_a_label_limit_gives_a_bound),
      cmocka_unit_test(test_numbers_that_are_none_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
