#include "base/error.h"
#include "base/json.h"
#include "cli/commands.h"
#include "store/run_definition.h"
#include "tuner/change.h"
#include "tuner/evidence.h"
#include "tuner/formats_json.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A policy's accuracy, by the pairs that everything else goes by, and its step time. */
typedef struct point {
  const store_policy *policy;
  evidence seen;
  double change, seconds; /* as the budget is given; of a step */
  bool dominated, measured;
} point;

static bool placed(const point *p) {
  return p->seen.pairs > 0 && p->seen.diverged + p->seen.given_up == 0 && isfinite(p->change) &&
         isfinite(p->seconds);
}

static int by_time(const void *a, const void *b) {
  const point *x = a, *y = b;
  if (x->seconds != y->seconds)
    return isnan(x->seconds) ? 1 : isnan(y->seconds) || x->seconds < y->seconds ? -1 : 1;
  return strcmp(x->policy->hash, y->policy->hash);
}

/* No other is both faster and more accurate. */
static void mark_dominated(point *points, int count) {
  for (int i = 0; i < count; i++) {
    for (int j = 0; j < count; j++) {
      const point *a = &points[i], *b = &points[j];
      if (i == j || !placed(a) || !placed(b))
        continue;
      const bool no_worse = b->seconds <= a->seconds && b->change <= a->change;
      const bool better = b->seconds < a->seconds || b->change < a->change;
      points[i].dominated = points[i].dominated || (no_worse && better);
    }
  }
}

static json_t *point_json(const point *p, const store_layers *layers) {
  json_t *json =
      mpt_json_pack("{s:s,s:s,s:f,s:b,s:o}", "label", p->policy->label, "policy", p->policy->hash,
                    "step_seconds", p->seconds, "measured", (int)p->measured, "assignment",
                    assignment_json(p->policy->assignment, layers));
  mpt_json_set(&json, "accuracy", evidence_json(&p->seen));
  return json;
}

static void add_row(const evidence_records *r, const point *p, cli_table *table) {
  char seconds[32], worse[CHANGE_SIZE], lower[CHANGE_SIZE], upper[CHANGE_SIZE],
      between[2 * CHANGE_SIZE + 4] = "-", pairs[16];
  cli_duration(p->seconds, seconds, sizeof seconds);
  change_text(r->rule.relative, p->change, worse);
  if (strcmp(p->policy->hash, r->reference) != 0 && isfinite(p->seen.interval.lower) &&
      isfinite(p->seen.interval.upper)) {
    change_lower_text(r->rule.relative, p->seen.interval.lower, lower);
    change_upper_text(r->rule.relative, p->seen.interval.upper, upper);
    snprintf(between, sizeof between, "%s to %s", lower, upper);
  }
  snprintf(pairs, sizeof pairs, "%d", p->seen.pairs);
  cli_table_row(table, (const char *[]){p->policy->label, seconds, worse, between, pairs});
}

static void print(const cli_values *values, const evidence_records *r, const point *points,
                  int count, bool measured, const store_layers *layers) {
  json_t *rows = json_array();
  cli_table table = {.columns = 5};
  cli_table_row(&table,
                (const char *[]){"policy", measured ? "step (measured)" : "step (predicted)",
                                 "worse by", "between", "pairs"});
  for (int i = 0; i < count; i++) {
    if (points[i].dominated || !placed(&points[i]))
      continue;
    add_row(r, &points[i], &table);
    mpt_json_append(&rows, point_json(&points[i], layers));
  }
  if (values->json) {
    cli_table_clear(&table);
    cli_print_json("mptune/frontier@1", mpt_json_pack("{s:o}", "frontier", rows));
  } else {
    json_decref(rows);
    cli_table_print(&table);
  }
}

/* The device that the search measured on; "" where times are predicted. */
static mpt_status find_device(store *s, char device[256], mpt_error *error) {
  store_definition definition;
  bool found = false;
  MPT_RETURN_IF_FAILED(store_get_definition(s, &definition, &found, error));
  const char *times = definition.target.times;
  snprintf(device, 256, "%s", times == NULL ? "" : times);
  store_definition_clear(&definition);
  if (!found)
    return mpt_fail(error, MPT_ERROR_NOT_FOUND,
                    "the run has no definition yet; let mptune tune continue");
  return MPT_OK;
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
  store_time_clear(&time);
  return MPT_OK;
}

static mpt_status show(const cli_values *values, store *s, mpt_error *error) {
  evidence_records r = {0};
  store_policy *policies = NULL;
  point *points = NULL;
  store_layers layers = {0};
  bool found = false;
  char device[256];
  int count = 0;
  mpt_status status = MPT_OK;
  MPT_TRY(find_device(s, device, error));
  MPT_TRY(evidence_load(s, &r, error));
  MPT_TRY(store_get_layers(s, &layers, &found, error));
  MPT_TRY(store_all_policies(s, &policies, &count, error));
  if ((points = calloc((size_t)count + 1, sizeof *points)) == NULL) {
    status = mpt_fail_memory(error, "the frontier", 0);
    goto fail;
  }
  for (int i = 0; i < count; i++) {
    points[i].policy = &policies[i];
    MPT_TRY(find_seconds(s, device, &points[i], error));
    MPT_TRY(evidence_of(&r, policies[i].hash, &points[i].seen, error));
    points[i].change = r.rule.relative ? points[i].seen.worse_share : points[i].seen.worse;
  }
  mark_dominated(points, count);
  qsort(points, (size_t)count, sizeof *points, by_time);
  print(values, &r, points, count, device[0] != '\0', &layers);
fail:
  for (int i = 0; i < count; i++)
    free(policies[i].assignment);
  free(points);
  free(policies);
  store_layers_clear(&layers);
  evidence_clear(&r);
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
