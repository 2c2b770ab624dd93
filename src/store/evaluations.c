/* Evaluations in the store. */
#include "base/error.h"
#include "store/database.h"
#include "store/record.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const record_member counter_members[] = {
    TEXT_MEMBER(store_counter, layer, record_layer, RECORD_REQUIRED),
    WORD_MEMBER(store_counter, operand, mpt_operand, record_operand, RECORD_REQUIRED),
    WHOLE_MEMBER(store_counter, cast, record_count, RECORD_REQUIRED),
    WHOLE_MEMBER(store_counter, saturated, record_count, RECORD_REQUIRED),
    WHOLE_MEMBER(store_counter, vanished, record_count, RECORD_REQUIRED),
    {"blamed", &record_flag, RECORD_AT(store_counter, blamed, bool), 0, RECORD_LEFT_OUT}};
static const record_type counter_type = RECORD_OBJECT_OF(counter_members);
static const record_type counters_type = RECORD_LIST_OF(store_counter, counter_type);
static const record counters_record = {
    .name = "counters",
    .size = sizeof(store_counters),
    .whole = RECORD_LIST_IN(store_counters, rows, count, counters_type)};

#define EVALUATION_COLUMNS                                                                         \
  "key, policy, purpose, seed, steps, steps_done, diverged, stopped, metric, metric_plain, "       \
  "held_out_loss, output_difference, host_seconds, total_seconds, memory_bytes, failure, losses, " \
  "counters, time, condition, judged, correct, contributions, unit"

void store_evaluation_clear(store_evaluation *evaluation) {
  free(evaluation->failure);
  free(evaluation->losses);
  mpt_arena_free(&evaluation->counters.memory);
  free(evaluation->right);
  free(evaluation->contributions);
  *evaluation = (store_evaluation){0};
}

static mpt_status put_evaluation(store *s, const store_evaluation *e, const char *counters,
                                 mpt_error *error) {
  query q = query_begin(s, "INSERT INTO evaluations (" EVALUATION_COLUMNS
                           ") VALUES (?, ?, ?, ?, ?, ?, ?, "
                           "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) "
                           "DO NOTHING");
  bind_text(&q, e->key);
  bind_text(&q, e->policy);
  bind_text(&q, e->purpose);
  bind_integer(&q, (int64_t)e->seed);
  bind_integer(&q, e->steps);
  bind_integer(&q, e->steps_done);
  bind_integer(&q, e->diverged);
  bind_integer(&q, e->stopped);
  bind_real(&q, e->metric);
  bind_real(&q, e->metric_plain);
  bind_real(&q, e->held_out_loss);
  bind_real(&q, e->output_difference);
  bind_real(&q, e->host_seconds);
  bind_real(&q, e->total_seconds);
  bind_integer(&q, (int64_t)e->memory_bytes);
  bind_text(&q, e->failure);
  bind_blob(&q, e->losses, (size_t)e->loss_count * sizeof *e->losses);
  bind_text(&q, counters);
  bind_integer(&q, e->time);
  bind_text(&q, e->condition[0] == '\0' ? NULL : e->condition);
  bind_integer(&q, e->judged);
  bind_blob(&q, e->right, e->right == NULL ? 0 : (size_t)(e->judged + 7) / 8);
  bind_blob(&q, e->contributions, (size_t)e->judged * sizeof *e->contributions);
  bind_real(&q, e->unit);
  return query_end(&q, error);
}

mpt_status store_put_evaluation(store *s, const store_evaluation *e, mpt_error *error) {
  char *counters = NULL;
  if (e->counters.rows != NULL)
    MPT_RETURN_IF_FAILED(record_print(&counters_record, &e->counters, &counters, error));
  const mpt_status status = put_evaluation(s, e, counters, error);
  free(counters);
  return status;
}

/* Contributions of another count than is said are none: the pair then has no verdict. */
static void read_judgement(query *q, store_evaluation *e) {
  size_t bits = 0, numbers = 0;
  e->judged = column_integer(q);
  e->right = column_blob(q, &bits);
  e->contributions = column_blob(q, &numbers);
  e->unit = column_real(q);
  const bool sound =
      e->judged > 0 && e->judged <= INT32_MAX &&
      (e->right == NULL || bits == (size_t)(e->judged + 7) / 8) &&
      (e->contributions == NULL || numbers == (size_t)e->judged * sizeof *e->contributions) &&
      (e->right == NULL) != (e->contributions == NULL) && e->unit > 0;
  if (sound)
    return;
  free(e->right);
  free(e->contributions);
  e->right = NULL;
  e->contributions = NULL;
  e->judged = 0;
}

static void check_evaluation(query *q, const store_evaluation *e, size_t loss_bytes) {
  if (e->key[0] == '\0')
    query_damaged(q, "evaluation %lld has no key", (long long)e->id);
  if (e->losses != NULL && (loss_bytes % sizeof *e->losses != 0 || e->loss_count != e->steps_done))
    query_damaged(q, "evaluation %lld has %zu bytes of losses for %lld steps", (long long)e->id,
                  loss_bytes, (long long)e->steps_done);
  if (e->host_seconds < 0 || e->total_seconds < 0 || isinf(e->total_seconds))
    query_damaged(q, "evaluation %lld took a time below 0, or without end", (long long)e->id);
}

static void read_evaluation(query *q, store_evaluation *e) {
  size_t bytes = 0;
  char what[64];
  *e = (store_evaluation){.id = column_integer(q)};
  column_string(q, e->key, sizeof e->key);
  column_string(q, e->policy, sizeof e->policy);
  column_string(q, e->purpose, sizeof e->purpose);
  e->seed = (uint64_t)column_integer(q);
  e->steps = column_count(q, INT64_MAX);
  e->steps_done = column_count(q, e->steps);
  e->diverged = column_integer(q) != 0;
  e->stopped = column_integer(q) != 0;
  e->metric = column_real(q);
  e->metric_plain = column_real(q);
  e->held_out_loss = column_real(q);
  e->output_difference = column_real(q);
  e->host_seconds = column_real(q);
  e->total_seconds = column_real(q);
  e->memory_bytes = (size_t)column_count(q, INT64_MAX);
  e->failure = column_text(q);
  e->losses = column_blob(q, &bytes);
  e->loss_count = (int64_t)(bytes / sizeof *e->losses);
  snprintf(what, sizeof what, "the counters of evaluation %lld", (long long)e->id);
  column_record(q, &counters_record, what, &e->counters);
  e->time = column_integer(q);
  column_string(q, e->condition, sizeof e->condition);
  read_judgement(q, e);
  check_evaluation(q, e, bytes);
}

mpt_status store_find_evaluation(store *s, const char *key, bool *found,
                                 store_evaluation *evaluation, mpt_error *error) {
  store_evaluation e = {0};
  query q =
      query_begin(s, "SELECT id, " EVALUATION_COLUMNS " FROM evaluations WHERE key = ? LIMIT 1");
  bind_text(&q, key);
  const bool there = query_row(&q);
  if (there)
    read_evaluation(&q, &e);
  mpt_status status = query_end(&q, error);
  if (status != MPT_OK) {
    store_evaluation_clear(&e);
    return status;
  }
  *found = there;
  if (there)
    *evaluation = e;
  return MPT_OK;
}

mpt_status store_all_evaluations(store *s, store_evaluation **evaluations, int *count,
                                 mpt_error *error) {
  void *all = NULL;
  int n = 0;
  query q = query_begin(s, "SELECT id, " EVALUATION_COLUMNS " FROM evaluations ORDER BY id");
  while (query_row(&q) && list_grow(&q, &all, n, sizeof(store_evaluation)))
    read_evaluation(&q, (store_evaluation *)all + n++);
  mpt_status status = query_end(&q, error);
  if (status != MPT_OK) {
    for (int i = 0; i < n; i++)
      store_evaluation_clear((store_evaluation *)all + i);
    free(all);
    return status;
  }
  *evaluations = all;
  *count = n;
  return MPT_OK;
}
