#include "store/timing_runs.h"
#include "base/error.h"
#include "store/database.h"
#include "store/record.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const record_member run_members[] = {
    TEXT_MEMBER(store_run, run, record_text, RECORD_REQUIRED),
    NUMBER_MEMBER(store_run, seconds, record_seconds, RECORD_REQUIRED),
    NUMBER_MEMBER(store_run, deviation, record_positive, RECORD_REQUIRED),
    WHOLE_MEMBER(store_run, steps, record_some, RECORD_REQUIRED),
    FLAG_MEMBER(store_run, in_turn, record_flag)};
static const record_type run_type = RECORD_OBJECT_OF(run_members);
static const record_type runs_type = RECORD_LIST_OF(store_run, run_type);
static const record_member parts_members[] = {
    LIST_MEMBER(store_parts, runs, store_run, run_count, runs_type, RECORD_LEFT_OUT),
    NUMBER_MEMBER(store_parts, noise, record_positive, RECORD_LEFT_OUT),
    NUMBER_MEMBER(store_parts, gemms, record_positive, RECORD_LEFT_OUT),
    NUMBER_MEMBER(store_parts, copies, record_positive, RECORD_LEFT_OUT),
    NUMBER_MEMBER(store_parts, passes, record_positive, RECORD_LEFT_OUT),
    NUMBER_MEMBER(store_parts, extrapolated, record_share, RECORD_LEFT_OUT)};
static const record_type parts_type = RECORD_OBJECT_OF(parts_members);
static const record parts_record = {.name = "a step time",
                                    .size = sizeof(store_parts),
                                    .whole = {.type = &parts_type},
                                    .spaced = true};

void store_time_clear(store_time *time) {
  mpt_arena_free(&time->parts.memory);
  *time = (store_time){.seconds = NAN};
}

static mpt_status put_time(store *s, const store_time *time, const char *parts, mpt_error *error) {
  query q = query_begin(s, "INSERT INTO times VALUES (?, ?, ?, ?, ?) ON CONFLICT (policy, device) "
                           "DO UPDATE SET measured = excluded.measured, "
                           "seconds = excluded.seconds, parts = excluded.parts");
  bind_text(&q, time->policy);
  bind_text(&q, time->device);
  bind_integer(&q, time->measured);
  bind_real(&q, time->seconds);
  bind_text(&q, parts);
  return query_end(&q, error);
}

mpt_status store_put_time(store *s, const store_time *time, mpt_error *error) {
  char *parts = NULL;
  MPT_RETURN_IF_FAILED(record_print(&parts_record, &time->parts, &parts, error));
  const mpt_status status = put_time(s, time, parts, error);
  free(parts);
  return status;
}

mpt_status store_find_time(store *s, const char *policy, const char *device, bool *found,
                           store_time *time, mpt_error *error) {
  store_time t = {0};
  query q = query_begin(s, "SELECT policy, device, measured, seconds, parts FROM times "
                           "WHERE policy = ? AND device = ?");
  bind_text(&q, policy);
  bind_text(&q, device);
  const bool there = query_row(&q);
  if (there) {
    column_string(&q, t.policy, sizeof t.policy);
    column_string(&q, t.device, sizeof t.device);
    t.measured = column_integer(&q) != 0;
    t.seconds = column_real(&q);
    column_record(&q, &parts_record, "the parts of a step time", &t.parts);
    if (t.seconds < 0 || isinf(t.seconds))
      query_damaged(&q, "a step time is %g", t.seconds);
  }
  mpt_status status = query_end(&q, error);
  if (status != MPT_OK) {
    store_time_clear(&t);
    return status;
  }
  *found = there;
  if (there)
    *time = t;
  return MPT_OK;
}

mpt_status store_measured_device(store *s, const char *policy, char **device, mpt_error *error) {
  query q = query_begin(s, "SELECT device FROM times WHERE policy = ? AND measured = 1 "
                           "ORDER BY device LIMIT 1");
  bind_text(&q, policy);
  *device = query_row(&q) ? column_text(&q) : NULL;
  mpt_status status = query_end(&q, error);
  if (status != MPT_OK) {
    free(*device);
    *device = NULL;
  }
  return status;
}

mpt_status store_find_timing_run(store *s, const char *policy, const char *device, const char *name,
                                 bool *found, timing_run *run, mpt_error *error) {
  store_time time = {.measured = false};
  bool there = false;
  *found = false;
  MPT_RETURN_IF_FAILED(store_find_time(s, policy, device, &there, &time, error));
  for (int i = 0; there && i < time.parts.run_count && !*found; i++) {
    const store_run *r = &time.parts.runs[i];
    *found = strcmp(r->run, name) == 0;
    if (*found)
      *run = (timing_run){.seconds = r->seconds,
                          .deviation = r->deviation,
                          .steps = r->steps,
                          .in_turn = r->in_turn};
  }
  store_time_clear(&time);
  return MPT_OK;
}

/* Those of `before`, and one more. */
static mpt_status add_run(store *s, const store_time *before, const store_time *time,
                          const store_run *run, double noise, mpt_error *error) {
  const int count = before->parts.run_count;
  store_run *runs = malloc(((size_t)count + 1) * sizeof *runs);
  if (runs == NULL)
    return mpt_fail_memory(error, "step times", 0);
  if (count > 0)
    memcpy(runs, before->parts.runs, (size_t)count * sizeof *runs);
  runs[count] = *run;
  store_time row = *time;
  row.parts = (store_parts){.runs = runs,
                            .run_count = count + 1,
                            .noise = noise,
                            .gemms = NAN,
                            .copies = NAN,
                            .passes = NAN,
                            .extrapolated = NAN};
  const mpt_status status = store_put_time(s, &row, error);
  free(runs);
  return status;
}

mpt_status store_add_timing_run(store *s, const store_time *time, const char *name,
                                const timing_run *run, double noise, mpt_error *error) {
  store_time before = {.measured = false};
  bool found = false;
  MPT_RETURN_IF_FAILED(store_find_time(s, time->policy, time->device, &found, &before, error));
  const store_run added = {.run = name,
                           .seconds = run->seconds,
                           .deviation = run->deviation,
                           .steps = run->steps,
                           .in_turn = run->in_turn};
  const mpt_status status = add_run(s, &before, time, &added, noise, error);
  store_time_clear(&before);
  return status;
}
