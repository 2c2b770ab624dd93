#include "base/error.h"
#include "cli/commands.h"
#include "store/store.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A policy's mean over its evaluations, and its step time. */
typedef struct point {
  const store_policy *policy;
  double difference_sum, seconds; /* to the reference, worse is positive */
  int pairs;
  bool dominated, failed, measured;
} point;

static const store_evaluation *reference_of(const store_evaluation *all, int count,
                                            const char *reference, uint64_t seed) {
  for (int i = 0; i < count; i++)
    if (all[i].seed == seed && strcmp(all[i].policy, reference) == 0)
      return &all[i];
  return NULL;
}

static void collect(point *p, const store_evaluation *all, int count, const char *reference,
                    double sign) {
  for (int i = 0; i < count; i++) {
    if (strcmp(all[i].policy, p->policy->hash) != 0)
      continue;
    const store_evaluation *pair = reference_of(all, count, reference, all[i].seed);
    if (pair == NULL)
      continue;
    if (all[i].diverged || !isfinite(all[i].metric)) {
      p->failed = true;
      continue;
    }
    p->difference_sum += sign * (all[i].metric - pair->metric);
    p->pairs++;
  }
}

static double mean(const point *p) {
  return p->difference_sum / p->pairs;
}

static int by_time(const void *a, const void *b) {
  const point *x = a, *y = b;
  return x->seconds < y->seconds ? -1 : x->seconds > y->seconds;
}

/* No other is both faster and more accurate. */
static void mark_dominated(point *points, int count) {
  for (int i = 0; i < count; i++) {
    for (int j = 0; j < count; j++) {
      if (i == j || points[j].failed || points[j].pairs == 0)
        continue;
      const bool no_worse =
          points[j].seconds <= points[i].seconds && mean(&points[j]) <= mean(&points[i]);
      const bool better =
          points[j].seconds < points[i].seconds || mean(&points[j]) < mean(&points[i]);
      if (no_worse && better)
        points[i].dominated = true;
    }
  }
}

static void print(const cli_values *values, const point *points, int count, bool measured,
                  double metric) {
  const char *step = measured ? "step (measured)" : "step (predicted)";
  json_t *rows = json_array();
  cli_table table = {.columns = 4};
  cli_table_row(&table, (const char *[]){"policy", step, "worse by", "pairs"});
  for (int i = 0; i < count; i++) {
    const point *p = &points[i];
    if (p->dominated || p->failed || p->pairs == 0)
      continue;
    char seconds[32], worse[32], pairs[16];
    cli_duration(p->seconds, seconds, sizeof seconds);
    snprintf(worse, sizeof worse, "%+.3f%%", 100 * mean(p) / fabs(metric));
    snprintf(pairs, sizeof pairs, "%d", p->pairs);
    cli_table_row(&table, (const char *[]){p->policy->label, seconds, worse, pairs});
    json_array_append_new(rows,
                          json_pack("{s:s,s:s,s:f,s:b,s:f,s:i,s:s}", "label", p->policy->label,
                                    "policy", p->policy->hash, "step_seconds", p->seconds,
                                    "measured", p->measured, "worse_by", mean(p), "pairs", p->pairs,
                                    "assignment", p->policy->assignment));
  }
  if (values->json) {
    cli_table_clear(&table);
    cli_print_json(json_pack("{s:o}", "frontier", rows));
  } else {
    json_decref(rows);
    cli_table_print(&table);
  }
}

static mpt_status stored_json(store *s, const char *name, json_t **json, mpt_error *error) {
  char *text = NULL;
  MPT_RETURN_IF_FAILED(store_get(s, name, &text, error));
  *json = text == NULL ? NULL : json_loads(text, 0, NULL);
  free(text);
  if (*json != NULL)
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_NOT_FOUND, "the run has no %s yet; let mptune tune continue",
                  name);
}

/* Measured on the device where the search measured; predicted elsewhere. */
static mpt_status find_seconds(store *s, const char *device, point *p, mpt_error *error) {
  store_time time = {0};
  p->seconds = p->policy->predicted_seconds;
  if (device[0] == '\0')
    return MPT_OK;
  MPT_RETURN_IF_FAILED(store_find_time(s, p->policy->hash, device, &p->measured, &time, error));
  if (p->measured)
    p->seconds = time.seconds;
  free(time.parts);
  return MPT_OK;
}

static mpt_status show(const cli_values *values, store *s, mpt_error *error) {
  json_t *reference = NULL, *definition = NULL;
  store_policy *policies = NULL;
  store_evaluation *all = NULL;
  point *points = NULL;
  int policy_count = 0, count = 0;
  mpt_status status = MPT_OK;
  MPT_TRY(stored_json(s, "definition", &definition, error));
  MPT_TRY(stored_json(s, "reference", &reference, error));
  MPT_TRY(store_all_policies(s, &policies, &policy_count, error));
  MPT_TRY(store_all_evaluations(s, &all, &count, error));
  points = calloc((size_t)policy_count + 1, sizeof *points);
  if (points == NULL) {
    status = mpt_fail_memory(error, "the frontier", 0);
    goto fail;
  }
  const bool higher = json_is_true(json_object_get(definition, "metric_higher_is_better"));
  const json_t *times = json_object_get(json_object_get(definition, "target"), "times");
  const char *device = json_is_string(times) ? json_string_value(times) : "";
  const char *hash = json_string_value(json_object_get(reference, "policy"));
  for (int i = 0; i < policy_count; i++) {
    points[i].policy = &policies[i];
    MPT_TRY(find_seconds(s, device, &points[i], error));
    collect(&points[i], all, count, hash == NULL ? "" : hash, higher ? -1 : 1);
  }
  mark_dominated(points, policy_count);
  qsort(points, (size_t)policy_count, sizeof *points, by_time);
  print(values, points, policy_count, device[0] != '\0',
        json_number_value(json_object_get(reference, "metric_mean")));
fail:
  for (int i = 0; i < policy_count; i++)
    free(policies[i].assignment);
  for (int i = 0; i < count; i++)
    store_evaluation_clear(&all[i]);
  free(points);
  free(policies);
  free(all);
  json_decref(reference);
  json_decref(definition);
  return status;
}

static int run(const cli_values *values) {
  mpt_error error = {0};
  store *s = NULL;
  mpt_status status = store_open(values->arguments[0], STORE_READ, &s, &error);
  if (status == MPT_OK)
    status = show(values, s, &error);
  store_close(s);
  return status == MPT_OK ? EXIT_DONE : cli_failed(&error);
}

const cli_command command_frontier = {
    .name = "frontier",
    .arguments = "RUN",
    .argument_low = 1,
    .argument_high = 1,
    .summary = "the measured frontier: policies no other beats in both time and accuracy",
    .examples = "  mptune frontier runs/text-gpt\n",
    .run = run,
};
