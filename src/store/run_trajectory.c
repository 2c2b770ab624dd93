#include "store/run_trajectory.h"
#include "base/error.h"
#include "store/database.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

mpt_status trajectory_add(store *s, const store_step *step, mpt_error *error) {
  query q = query_begin(s, "INSERT INTO trajectory (evaluation, policy, label, predicted_seconds, "
                           "seconds, predicted_increase, measured_increase, measured_change, "
                           "verdict_text) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
  bind_integer(&q, step->evaluation);
  bind_text(&q, step->policy);
  bind_text(&q, step->label);
  bind_real(&q, step->predicted_seconds);
  bind_real(&q, step->seconds);
  bind_real(&q, step->predicted_increase);
  bind_real(&q, step->measured_increase);
  bind_real(&q, step->measured_change);
  bind_text(&q, step->verdict_text);
  return query_end(&q, error);
}

mpt_status store_put_step(store *s, const store_step *step, mpt_error *error) {
  MPT_RETURN_IF_FAILED(store_begin(s, error));
  query q = query_begin(s, "DELETE FROM trajectory WHERE evaluation >= ?");
  bind_integer(&q, step->evaluation);
  MPT_RETURN_IF_FAILED(query_end(&q, error)); /* a failure takes the group back */
  MPT_RETURN_IF_FAILED(trajectory_add(s, step, error));
  return store_end(s, error);
}

/* Into the arena; NULL for NULL. */
static const char *column_kept(query *q, mpt_arena *memory) {
  char *text = column_text(q);
  if (text == NULL)
    return NULL;
  const char *kept = mpt_arena_text(memory, text, strlen(text));
  q->out_of_memory = q->out_of_memory || kept == NULL;
  free(text);
  return kept;
}

static void read_step(query *q, mpt_arena *memory, store_step *step) {
  *step = (store_step){.evaluation = (int)column_count(q, INT32_MAX)};
  step->policy = column_kept(q, memory);
  step->label = column_kept(q, memory);
  step->predicted_seconds = column_real(q);
  step->seconds = column_real(q);
  step->predicted_increase = column_real(q);
  step->measured_increase = column_real(q);
  step->measured_change = column_real(q);
  step->verdict_text = column_kept(q, memory);
  if (step->evaluation < 1 || step->seconds < 0 || step->predicted_seconds < 0)
    query_damaged(q, "evaluation %d of the trajectory has no number, or a step time below 0",
                  step->evaluation);
}

mpt_status store_get_trajectory(store *s, store_trajectory *trajectory, mpt_error *error) {
  void *all = NULL;
  int count = 0;
  *trajectory = (store_trajectory){.count = 0};
  mpt_arena *memory = &trajectory->memory;
  query q = query_begin(s, "SELECT evaluation, policy, label, predicted_seconds, seconds, "
                           "predicted_increase, measured_increase, measured_change, verdict_text "
                           "FROM trajectory ORDER BY evaluation");
  while (query_row(&q) && list_grow(&q, &all, count, sizeof(store_step)))
    read_step(&q, memory, (store_step *)all + count++);
  const size_t bytes = (size_t)count * sizeof(store_step);
  void *steps = mpt_arena_take(memory, bytes + 1);
  q.out_of_memory = q.out_of_memory || steps == NULL;
  const mpt_status status = query_end(&q, error);
  if (status != MPT_OK) {
    store_trajectory_clear(trajectory);
  } else if (steps != NULL && count > 0) {
    memcpy(steps, all, bytes);
    trajectory->steps = steps;
    trajectory->count = count;
  }
  free(all);
  return status;
}

void store_trajectory_clear(store_trajectory *trajectory) {
  mpt_arena_free(&trajectory->memory);
  *trajectory = (store_trajectory){.count = 0};
}
