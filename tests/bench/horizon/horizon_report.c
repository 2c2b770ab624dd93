/* The tables of bench_horizon, from its records alone. */
#include "tests/bench/horizon/horizon.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SEEDS = 64, LAST_OF_FORK = 20 };

typedef struct moments {
  int n;
  double sum, square;
} moments;

static void take(moments *m, double value) {
  if (!isfinite(value))
    return;
  m->n++;
  m->sum += value;
  m->square += value * value;
}

static double mean_of(const moments *m) {
  return m->n > 0 ? m->sum / m->n : NAN;
}

static double deviation_of(const moments *m) {
  const double mean = mean_of(m);
  return m->n > 1 ? sqrt(fmax(0.0, (m->square - m->n * mean * mean) / (m->n - 1))) : NAN;
}

/* In percent; "" where it is not known. */
static void print_percent(double value, int digits) {
  if (isfinite(value))
    printf(" %+.*f |", digits, 1e2 * value);
  else
    printf(" |");
}

static void print_moments(const moments *m) {
  if (m->n == 0)
    printf(" |");
  else if (m->n == 1)
    printf(" %+.2f (1) |", 1e2 * mean_of(m));
  else
    printf(" %+.2f, %.2f (%d) |", 1e2 * mean_of(m), 1e2 * deviation_of(m), m->n);
}

static double relative(double candidate, double reference) {
  return candidate / reference - 1.0;
}

static const json_t *run_of(const horizon_store *s, int policy, int64_t seed) {
  return horizon_find(s, "run", horizon_policy_names[policy], seed, -1);
}

/* Mean training loss of the `length` steps before `end`. */
static double window(const json_t *run, int64_t end, int64_t length) {
  double sum = 0;
  for (int64_t i = end - length; i < end; i++)
    sum += horizon_number(run, "losses", i);
  return sum / (double)length;
}

/* Held-out loss after so many steps: on the way or, at the end, the last. NaN where none was taken.
 */
static double held_out(const json_t *run, int64_t steps, int64_t at) {
  const json_t *list = json_object_get(run, "held_out");
  if (at == steps)
    return horizon_real(run, "held_out_loss");
  for (size_t i = 0; i < json_array_size(list); i++) {
    const json_t *pair = json_array_get(list, i);
    if (json_integer_value(json_array_get(pair, 0)) == at)
      return json_number_value(json_array_get(pair, 1));
  }
  return NAN;
}

/* Steps by which the candidate is behind: the end, less the step at which the reference's training
 * loss, averaged over a twentieth of the run, was what the candidate's is at the end. Negative
 * where the candidate was first. */
static double delay(const json_t *candidate, const json_t *reference, int64_t steps) {
  const int64_t length = steps / 20 > 0 ? steps / 20 : 1;
  const double c = window(candidate, steps, length), r = window(reference, steps, length);
  const json_t *other = c > r ? reference : candidate;
  const double sought = c > r ? c : r;
  int64_t at = steps;
  while (at > length && window(other, at - 1, length) < sought)
    at--;
  return (c > r ? 1.0 : -1.0) * (double)(steps - at);
}

/* ---- runs ---- */

static void print_pairs(const horizon_store *s, int64_t steps) {
  printf("\n## Each pair at the end\n\nWorse by, in percent of bf16's with the same seed: held-out "
         "metric; the same weights forward in fp32; training loss of the last tenth. Delay: steps "
         "by which it is behind.\n\n"
         "| policy | seed | held-out | worse by | in fp32 | last tenth | delay | seconds |\n"
         "| --- | --- | --- | --- | --- | --- | --- | --- |\n");
  for (int p = 0; p < HORIZON_RUNS; p++)
    for (int64_t seed = 1; seed <= MOST_SEEDS; seed++) {
      const json_t *c = run_of(s, p, seed), *r = run_of(s, HORIZON_REFERENCE, seed);
      if (c == NULL)
        continue;
      printf("| %s | %lld | %.5f |", horizon_policy_names[p], (long long)seed,
             horizon_real(c, "metric"));
      if (json_is_true(json_object_get(c, "diverged"))) {
        printf(" diverged: %s | | | | %.1f |\n", json_string_value(json_object_get(c, "failure")),
               horizon_real(c, "seconds"));
        continue;
      }
      if (p == HORIZON_REFERENCE || r == NULL) {
        printf(" | | | | %.1f |\n", horizon_real(c, "seconds"));
        continue;
      }
      const int64_t tenth = steps / 10 > 0 ? steps / 10 : 1;
      print_percent(relative(horizon_real(c, "metric"), horizon_real(r, "metric")), 2);
      print_percent(relative(horizon_real(c, "metric_plain"), horizon_real(r, "metric_plain")), 2);
      print_percent(relative(window(c, steps, tenth), window(r, steps, tenth)), 2);
      printf(" %+.0f | %.1f |\n", delay(c, r, steps), horizon_real(c, "seconds"));
    }
}

typedef double measure(const json_t *run, int64_t steps, int64_t at);

static double training_window(const json_t *run, int64_t steps, int64_t at) {
  return window(run, at, steps / 20 > 0 ? steps / 20 : 1);
}

static double held_out_at(const json_t *run, int64_t steps, int64_t at) {
  return held_out(run, steps, at);
}

/* Along the runs: mean over pairs, their deviation, how many. The reference's row has how its seeds
 * deviate. */
static void print_along(const horizon_store *s, int64_t steps, const char *title, measure *of) {
  printf("\n## %s\n\nMean over pairs, deviation of pairs (pairs), in percent of bf16's with the "
         "same seed; in bf16's row the mean itself and the deviation between its seeds.\n\n| after "
         "|",
         title);
  for (int i = 1; i <= 10; i++)
    printf(" %lld |", (long long)(steps * i / 10));
  printf("\n| --- |");
  for (int i = 1; i <= 10; i++)
    printf(" --- |");
  for (int p = 0; p < HORIZON_RUNS; p++) {
    printf("\n| %s |", horizon_policy_names[p]);
    for (int i = 1; i <= 10; i++) {
      const int64_t at = steps * i / 10;
      moments m = {0};
      for (int64_t seed = 1; seed <= MOST_SEEDS; seed++) {
        const json_t *c = run_of(s, p, seed), *r = run_of(s, HORIZON_REFERENCE, seed);
        if (c == NULL || r == NULL || horizon_integer(c, "until") < at)
          continue;
        const double here = of(c, steps, at);
        take(&m, p == HORIZON_REFERENCE ? here : relative(here, of(r, steps, at)));
      }
      if (p > HORIZON_REFERENCE)
        print_moments(&m);
      else if (m.n > 0)
        printf(" %.4f, %.2f%% (%d) |", mean_of(&m), 1e2 * deviation_of(&m) / mean_of(&m), m.n);
      else
        printf(" |");
    }
  }
  printf("\n");
}

/* ---- forks ---- */

static double last_of_fork(const json_t *fork, const char *list) {
  const int64_t n = horizon_length(fork, list), length = n < LAST_OF_FORK ? n : LAST_OF_FORK;
  double sum = 0;
  for (int64_t i = n - length; i < n; i++)
    sum += horizon_number(fork, list, i);
  return sum / (double)length;
}

static void print_fork_row(const horizon_store *s, int64_t seed, int64_t step) {
  const json_t *own = horizon_find(s, "fork", horizon_policy_names[HORIZON_REFERENCE], seed, step);
  for (int p = 0; p < HORIZON_POLICIES; p++) {
    const json_t *f = horizon_find(s, "fork", horizon_policy_names[p], seed, step);
    if (f == NULL)
      continue;
    printf("| %lld | %lld | %s |", (long long)seed, (long long)step, horizon_policy_names[p]);
    if (p == HORIZON_REFERENCE) {
      printf(" %s | | |\n", json_is_true(json_object_get(f, "same_bits"))
                                ? "the trajectory's bits"
                                : "**not the trajectory's bits**");
      continue;
    }
    print_percent(relative(horizon_number(f, "losses", 0), horizon_number(f, "trajectory", 0)), 3);
    print_percent(relative(last_of_fork(f, "losses"), last_of_fork(f, "trajectory")), 3);
    print_percent(own != NULL
                      ? relative(horizon_real(f, "metric_plain"), horizon_real(own, "metric_plain"))
                      : NAN,
                  3);
    printf("\n");
  }
}

static void print_forks(const horizon_store *s, int64_t steps) {
  printf("\n## Forks\n\nIn percent of the trajectory's: training loss at the first step, which is "
         "what the forward pass costs at once; mean of the last %d steps; held-out loss of the "
         "weights at the end, forward in fp32.\n\n| seed | from step | policy | at once | last "
         "%d | in fp32 |\n| --- | --- | --- | --- | --- | --- |\n",
         LAST_OF_FORK, LAST_OF_FORK);
  for (int64_t seed = 1; seed <= MOST_SEEDS; seed++)
    for (int64_t step = 0; step < steps; step++)
      print_fork_row(s, seed, step);
}

/* ---- the head ---- */

static void print_bias(const horizon_store *s) {
  printf("\n## The sum of the head's gradient over the classes\n\nFor a token in units of p - y, "
         "whose sum is 0: mean, mean magnitude; what rounding adds to the label's class and to the "
         "others; the share of the gradient's magnitude that becomes zero; relative error of the "
         "gradient.\n\n| seed | step | rounding | mean | magnitude | label | others | lost | error "
         "|\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
  for (int i = 0; i < s->count; i++) {
    const json_t *r = s->records[i], *head = json_object_get(r, "head");
    const json_t *ways = json_object_get(head, "ways");
    for (size_t k = 0; k < json_array_size(ways); k++) {
      const json_t *way = json_array_get(ways, k);
      printf("| %lld | %lld | %s | %+.2e | %.2e | %+.2e | %+.2e | %.1e | %.1e |\n",
             (long long)horizon_integer(r, "seed"), (long long)horizon_integer(r, "step"),
             json_string_value(json_object_get(way, "rounding")), horizon_real(way, "mean"),
             horizon_real(way, "mean_magnitude"), horizon_real(way, "label"),
             horizon_real(way, "others"), horizon_real(way, "lost"),
             horizon_real(way, "relative_error"));
    }
    if (head != NULL)
      printf("| %lld | %lld | stored against computed, at most | %.1e | | | | | |\n",
             (long long)horizon_integer(r, "seed"), (long long)horizon_integer(r, "step"),
             horizon_real(head, "stored_off"));
  }
}

/* Shares of what the head's casts saturated and flushed to zero. */
static void print_counters(const horizon_store *s) {
  printf("\n## Casts of whole runs\n\n| policy | seed | operand | head cast | saturated | vanished "
         "| all cast | saturated | vanished |\n| --- | --- | --- | --- | --- | --- | --- | --- | "
         "--- |\n");
  for (int i = 0; i < s->count; i++) {
    const json_t *r = s->records[i], *all = json_object_get(r, "counters");
    if (strcmp(json_string_value(json_object_get(r, "kind")), "run") != 0)
      continue;
    for (int o = 0; o < MPT_OPERAND_COUNT; o++) {
      const char *name = mpt_operand_name((mpt_operand)o);
      const double head = horizon_number(all, name, 0), whole = horizon_number(all, name, 3);
      if (whole > 0)
        printf("| %s | %lld | %s | %.3g | %.1e | %.1e | %.3g | %.1e | %.1e |\n",
               json_string_value(json_object_get(r, "policy")),
               (long long)horizon_integer(r, "seed"), name, head,
               head > 0 ? horizon_number(all, name, 1) / head : 0.0,
               head > 0 ? horizon_number(all, name, 2) / head : 0.0, whole,
               horizon_number(all, name, 4) / whole, horizon_number(all, name, 5) / whole);
    }
  }
}

void horizon_report(const horizon_store *s) {
  const json_t *bench = horizon_find(s, "bench", NULL, -1, -1);
  if (bench == NULL) {
    printf("there are no records in '%s'\n", s->path);
    return;
  }
  const int64_t steps = horizon_integer(bench, "steps");
  printf("# %s, %lld steps, %s\n", json_string_value(json_object_get(bench, "workload")),
         (long long)steps, json_string_value(json_object_get(bench, "backend")));
  print_pairs(s, steps);
  print_along(s, steps, "Held-out loss along the runs", held_out_at);
  print_along(s, steps, "Training loss along the runs, a twentieth of the run before each place",
              training_window);
  print_forks(s, steps);
  print_bias(s);
  print_counters(s);
}
