#include "store/timing_runs.h"
#include "base/error.h"
#include "base/json.h"
#include "store/notes.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static mpt_status read_runs(store *s, const char *policy, const char *device, json_t **runs,
                            mpt_error *error) {
  store_time row = {0};
  bool found = false;
  *runs = NULL;
  MPT_RETURN_IF_FAILED(store_find_time(s, policy, device, &found, &row, error));
  json_t *parts = NULL;
  mpt_status status = found ? store_read_parts(s, &row, &parts, error) : MPT_OK;
  free(row.parts);
  if (status != MPT_OK)
    return status;
  json_t *there = json_object_get(parts, "runs");
  *runs = json_is_array(there) ? json_incref(there) : json_array();
  json_decref(parts);
  return *runs == NULL ? mpt_fail_memory(error, "step times", 0) : MPT_OK;
}

static double number(const json_t *object, const char *name) {
  const json_t *value = json_object_get(object, name);
  return json_is_number(value) ? json_number_value(value) : NAN;
}

mpt_status store_find_timing_run(store *s, const char *policy, const char *device, const char *name,
                                 bool *found, timing_run *run, mpt_error *error) {
  json_t *runs, *row;
  size_t i;
  *found = false;
  MPT_RETURN_IF_FAILED(read_runs(s, policy, device, &runs, error));
  json_array_foreach(runs, i, row) {
    const char *there = json_string_value(json_object_get(row, "run"));
    if (there == NULL || strcmp(there, name) != 0 || *found)
      continue;
    *run = (timing_run){.seconds = number(row, "seconds"),
                        .deviation = number(row, "deviation"),
                        .steps = json_integer_value(json_object_get(row, "steps")),
                        .in_turn = json_is_true(json_object_get(row, "in_turn"))};
    *found = true;
  }
  json_decref(runs);
  return MPT_OK;
}

mpt_status store_add_timing_run(store *s, const store_time *time, const char *name,
                                const timing_run *run, double noise, mpt_error *error) {
  json_t *runs;
  MPT_RETURN_IF_FAILED(read_runs(s, time->policy, time->device, &runs, error));
  mpt_json_append(&runs, mpt_json_pack("{s:s,s:f,s:f,s:I,s:b}", "run", name, "seconds",
                                       run->seconds, "deviation", run->deviation, "steps",
                                       (json_int_t)run->steps, "in_turn", run->in_turn));
  json_t *parts = mpt_json_pack("{s:o,s:f}", "runs", runs, "noise", noise);
  store_time row = *time;
  MPT_RETURN_IF_FAILED(mpt_json_dump(parts, JSON_COMPACT, "step times", &row.parts, error));
  mpt_status status = store_put_time(s, &row, error);
  free(row.parts);
  return status;
}
