/* The tables of docs/verification.md: levels of the looks, simulated errors at the limit and power,
 * metrics that move in steps, divergence, heavy tails.
 *
 *   bench_verdicts [RUNS]    simulated verdicts a figure (20000)
 *
 * Two minutes. A policy that passes at the limit is an error; alpha is 2.5% everywhere. */
#include "../verdict_simulation.h"
#include <gsl/gsl_errno.h>
#include <stdio.h>
#include <stdlib.h>

static int runs = 20000;
static const verify_rule absolute = {.budget = 0.01, .alpha = 0.025, .most_diverged = NAN};

static void print_levels(void) {
  static const double alphas[] = {0.05, 0.025, 0.0125, 0.00625};
  printf("| α | 4 | 6 | 9 | 13 | 18 | 24 |\n| --- | --- | --- | --- | --- | --- | --- |\n");
  for (int i = 0; i < 4; i++) {
    double levels[VERIFY_LOOKS];
    verify_levels(alphas[i], levels);
    printf("| %g |", alphas[i]);
    for (int look = 0; look < VERIFY_LOOKS; look++)
      printf(" %.5f |", levels[look]);
    printf("\n");
  }
}

static void print_row(const char *label, const simulated *found) {
  printf("| %s | %.2f | %.2f | %.1f |\n", label, 100 * found->pass, 100 * found->fail,
         found->pairs);
}

static void print_at_the_limit(void) {
  printf("\n| at the limit | pass, %% | fail, %% | pairs |\n| --- | --- | --- | --- |\n");
  for (int i = 0; i < 6; i++) {
    char label[80];
    const double varies = i % 3 == 1 ? 0.05 : 0.16;
    verify_rule rule = absolute;
    rule.relative = i % 3 > 0, rule.higher_is_better = i >= 3, rule.budget = 0.16;
    const normal_truth truth = {.mean = 1.0, .reference = varies, .worse = 0.16, .pair = 0.02};
    const simulated found = simulate(&rule, normal_pair, &truth, runs, VERIFY_MOST_PAIRS);
    if (rule.relative)
      snprintf(label, sizeof label, "relative, reference varies by %g%%, %s is better",
               100 * varies, i >= 3 ? "higher" : "lower");
    else
      snprintf(label, sizeof label, "absolute, %s is better", i >= 3 ? "higher" : "lower");
    print_row(label, &found);
  }
}

static void print_power(void) {
  static const double inside[] = {0, 0.5, 0.75, 1, 1.5, 2, 4};
  printf("\n| deviations inside | pass of 13, %% | pairs | pass of 24, %% | pairs |\n"
         "| --- | --- | --- | --- | --- |\n");
  for (int i = 0; i < 7; i++) {
    const normal_truth truth = {.mean = 1.0, .worse = 0.01 - 0.003 * inside[i], .pair = 0.003};
    const simulated few = simulate(&absolute, normal_pair, &truth, runs, VERIFY_DEFAULT_PAIRS);
    const simulated all = simulate(&absolute, normal_pair, &truth, runs, VERIFY_MOST_PAIRS);
    printf("| %g | %.1f | %.1f | %.1f | %.1f |\n", inside[i], 100 * few.pass, few.pairs,
           100 * all.pass, all.pairs);
  }
}

static void print_steps(void) {
  static const int sizes[] = {3, 4, 5, 8, 12};
  static const struct {
    const char *label;
    steps_truth truth;
  } cases[] = {{"60 samples, 5%, quiet seeds", {60, 0.01, 0.05, 0.0}},
               {"360 samples, 2%, noisy seeds", {360, 0.01, 0.02, 0.015}}};
  printf("\n| at the limit / equal, one look, %% | 3 | 4 | 5 | 8 | 12 |\n"
         "| --- | --- | --- | --- | --- | --- |\n");
  for (int k = 0; k < 2; k++) {
    verify_rule rule = absolute;
    steps_truth limit = cases[k].truth, equal = limit;
    rule.higher_is_better = true, rule.budget = limit.worse, equal.worse = 0.0;
    printf("| %s |", cases[k].label);
    for (int i = 0; i < 5; i++)
      printf(" %.1f / %.0f |",
             100 * simulate_once(&rule, steps_pair, &limit, sizes[i], 0.025, runs),
             100 * simulate_once(&rule, steps_pair, &equal, sizes[i], 0.025, runs));
    printf("\n");
  }
  printf("\n| whole verdicts | at the limit pass, %% | pairs | equal pass, %% | pairs |\n"
         "| --- | --- | --- | --- | --- |\n");
  for (int k = 0; k < 2; k++) {
    verify_rule rule = absolute;
    steps_truth truth = cases[k].truth;
    rule.higher_is_better = true, rule.budget = truth.worse;
    const simulated limit = simulate(&rule, steps_pair, &truth, runs, VERIFY_MOST_PAIRS);
    truth.worse = 0.0;
    const simulated equal = simulate(&rule, steps_pair, &truth, runs, VERIFY_MOST_PAIRS);
    printf("| %s | %.2f | %.1f | %.1f | %.1f |\n", cases[k].label, 100 * limit.pass, limit.pairs,
           100 * equal.pass, equal.pairs);
  }
}

static void print_divergence(void) {
  static const double chances[] = {0, 0.02, 0.05, 0.1, 0.2};
  printf("\n| equal policies of which … diverge | pass, %% | fail, %% | pairs |\n"
         "| --- | --- | --- | --- |\n");
  for (int i = 0; i < 5; i++) {
    char label[32];
    const normal_truth truth = {.mean = 1.0, .pair = 0.003, .diverges = chances[i]};
    const simulated found = simulate(&absolute, normal_pair, &truth, runs, VERIFY_DEFAULT_PAIRS);
    snprintf(label, sizeof label, "%g%%", 100 * chances[i]);
    print_row(label, &found);
  }
}

/* Standardised: mean 0, deviation 1; large values are worse. */
typedef double tail(gsl_rng *random);

static double normal(gsl_rng *random) {
  return gsl_ran_gaussian(random, 1.0);
}

static double student3(gsl_rng *random) {
  return gsl_ran_tdist(random, 3.0) / sqrt(3.0);
}

static double two_modes(gsl_rng *random) {
  const double x = (gsl_rng_uniform(random) < 0.2) + gsl_ran_gaussian(random, 0.1);
  return (x - 0.2) / sqrt(0.2 * 0.8 + 0.01);
}

static double lognormal(gsl_rng *random) {
  return (gsl_ran_lognormal(random, 0.0, 1.0) - exp(0.5)) / sqrt((M_E - 1.0) * M_E);
}

static double late_fall(gsl_rng *random) {
  const double late = gsl_rng_uniform(random) < 0.3 ? gsl_ran_exponential(random, 1.0) : 0.0;
  return (late + gsl_ran_gaussian(random, 0.1) - 0.3) / sqrt(0.6 - 0.09 + 0.01);
}

static void tailed_pair(gsl_rng *random, const verify_rule *rule, const void *context,
                        verify_pair *pair) {
  tail *const *draw = context;
  *pair = (verify_pair){.reference = 1.0};
  pair->candidate = 1.0 + rule->budget + 0.003 * (*draw)(random);
}

static void print_tails(void) {
  static const struct {
    const char *label;
    tail *draw;
  } tails[] = {{"normal", normal},
               {"t with 3 degrees", student3},
               {"two modes, 20% of them worse", two_modes},
               {"lognormal", lognormal},
               {"a fall that comes late in 30%", late_fall}};
  static const double floors[] = {0.0, 0.5, 0.8};
  printf("\n| pass at the limit, %%: least deviation | none | 0.5 | 0.8 |\n"
         "| --- | --- | --- | --- |\n");
  for (int k = 0; k < 5; k++) {
    printf("| %s |", tails[k].label);
    for (int i = 0; i < 3; i++) {
      verify_rule rule = absolute;
      rule.least_deviation = 0.003 * floors[i];
      tail *draw = tails[k].draw;
      printf(" %.1f |", 100 * simulate(&rule, tailed_pair, &draw, runs, VERIFY_MOST_PAIRS).pass);
    }
    printf("\n");
  }
}

int main(int argc, char **argv) {
  gsl_set_error_handler_off();
  runs = argc > 1 ? atoi(argv[1]) : runs;
  if (argc > 2 || runs < 1) {
    fprintf(stderr, "usage: bench_verdicts [RUNS]\n");
    return 2;
  }
  print_levels();
  print_at_the_limit();
  print_power();
  print_steps();
  print_divergence();
  print_tails();
  return 0;
}
