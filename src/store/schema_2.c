/* What a store of schema 2 holds, put into the tables of today: the trajectory was a note, a list
 * that was read back, trimmed and written whole at each step. */
#include "base/error.h"
#include "store/database.h"
#include "store/record.h"
#include "store/run_trajectory.h"
#include <stdlib.h>

static const record_member members[] = {
    TEXT_MEMBER(store_step, policy, record_text, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_step, label, record_text, RECORD_LEFT_OUT),
    NUMBER_MEMBER(store_step, predicted_seconds, record_positive, RECORD_NULL),
    NUMBER_MEMBER(store_step, seconds, record_positive, RECORD_NULL),
    NUMBER_MEMBER(store_step, predicted_increase, record_number, RECORD_NULL),
    NUMBER_MEMBER(store_step, measured_increase, record_number, RECORD_NULL),
    NUMBER_MEMBER(store_step, measured_change, record_number, RECORD_NULL),
    TEXT_MEMBER(store_step, verdict_text, record_text, RECORD_LEFT_OUT)};
static const record_type step_type = RECORD_OBJECT_OF(members);
static const record_type steps_type = RECORD_LIST_OF(store_step, step_type);
static const record trajectory_record = {
    .name = "trajectory",
    .size = sizeof(store_trajectory),
    .whole = RECORD_LIST_IN(store_trajectory, steps, count, steps_type)};

/* The list was in order, its evaluations counted from 1. */
mpt_status schema_2_migrate(store *s, mpt_error *error) {
  store_trajectory old;
  bool found = false;
  MPT_RETURN_IF_FAILED(record_get(s, &trajectory_record, "trajectory", &old, &found, error));
  mpt_status status = MPT_OK;
  for (int i = 0; i < old.count && status == MPT_OK; i++) {
    store_step step = old.steps[i];
    step.evaluation = i + 1;
    status = trajectory_add(s, &step, error);
  }
  store_trajectory_clear(&old);
  MPT_RETURN_IF_FAILED(status);
  return database_execute(s, "DELETE FROM notes WHERE name = 'trajectory'", error);
}
