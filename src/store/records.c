/* Policies, evaluations and times in the store. */
#include "base/error.h"
#include "store/database.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define INSERT_POLICY                                                                              \
  "INSERT INTO policies (hash, label, assignment, predicted_seconds, predicted_increase) "         \
  "VALUES (?, ?, ?, ?, ?) ON CONFLICT (hash) DO "

static mpt_status put_policy(store *s, const char *command, const store_policy *policy,
                             mpt_error *error) {
  query q = query_begin(s, command);
  bind_text(&q, policy->hash);
  bind_text(&q, policy->label);
  bind_text(&q, policy->assignment);
  bind_real(&q, policy->predicted_seconds);
  bind_real(&q, policy->predicted_increase);
  return query_end(&q, error);
}

mpt_status store_put_policy(store *s, const store_policy *policy, mpt_error *error) {
  return put_policy(s,
                    INSERT_POLICY "UPDATE SET label = excluded.label, "
                                  "assignment = excluded.assignment, "
                                  "predicted_seconds = excluded.predicted_seconds, "
                                  "predicted_increase = excluded.predicted_increase",
                    policy, error);
}

mpt_status store_add_policy(store *s, const store_policy *policy, mpt_error *error) {
  return put_policy(s, INSERT_POLICY "NOTHING", policy, error);
}

mpt_status store_policy_label(store *s, const char *hash, char **label, mpt_error *error) {
  query q = query_begin(s, "SELECT label FROM policies WHERE hash = ?");
  bind_text(&q, hash);
  *label = NULL;
  if (query_row(&q))
    *label = column_text(&q);
  const mpt_status status = query_end(&q, error);
  if (status != MPT_OK) {
    free(*label);
    *label = NULL;
  }
  return status;
}

mpt_status store_label_taken(store *s, const char *label, const char *hash, bool *taken,
                             mpt_error *error) {
  query q = query_begin(s, "SELECT count(*) FROM policies WHERE label = ? AND hash <> ?");
  bind_text(&q, label);
  bind_text(&q, hash);
  int64_t count = 0;
  if (query_row(&q))
    count = column_integer(&q);
  MPT_RETURN_IF_FAILED(query_end(&q, error));
  *taken = count > 0;
  return MPT_OK;
}

/* "NAME FORMATS", or "loss_scale MODE INITIAL". */
static bool good_line(const char *line, size_t length) {
  char formats[160];
  mpt_layer_policy parsed;
  const char *space = memchr(line, ' ', length);
  if (space == NULL || space == line)
    return false;
  if (strncmp(line, "loss_scale ", 11) == 0)
    return true;
  const size_t rest = (size_t)(line + length - space) - 1;
  if (rest >= sizeof formats)
    return false;
  memcpy(formats, space + 1, rest);
  formats[rest] = '\0';
  return mpt_layer_policy_parse(formats, &parsed, NULL) == MPT_OK;
}

static void check_policy(query *q, const store_policy *p) {
  if (p->hash[0] == '\0' || p->predicted_seconds < 0)
    query_damaged(q, "policy '%.64s' has no hash, or a step time below 0", p->label);
  for (const char *line = p->assignment; line != NULL && *line != '\0';) {
    const size_t length = strcspn(line, "\n");
    if (!good_line(line, length))
      query_damaged(q, "policy '%.64s' gives formats that do not exist", p->label);
    line += length + (line[length] == '\n');
  }
}

mpt_status store_all_policies(store *s, store_policy **policies, int *count, mpt_error *error) {
  void *all = NULL;
  int n = 0;
  query q = query_begin(s, "SELECT hash, label, assignment, predicted_seconds, predicted_increase "
                           "FROM policies ORDER BY id");
  while (query_row(&q) && list_grow(&q, &all, n, sizeof(store_policy))) {
    store_policy *p = (store_policy *)all + n++;
    *p = (store_policy){0};
    column_string(&q, p->hash, sizeof p->hash);
    column_string(&q, p->label, sizeof p->label);
    p->assignment = column_text(&q);
    p->predicted_seconds = column_real(&q);
    p->predicted_increase = column_real(&q);
    check_policy(&q, p);
  }
  mpt_status status = query_end(&q, error);
  if (status != MPT_OK) {
    for (int i = 0; i < n; i++)
      free(((store_policy *)all)[i].assignment);
    free(all);
    return status;
  }
  *policies = all;
  *count = n;
  return MPT_OK;
}

#define EVALUATION_COLUMNS                                                                         \
  "key, policy, purpose, seed, steps, steps_done, diverged, stopped, metric, metric_plain, "       \
  "held_out_loss, output_difference, host_seconds, total_seconds, memory_bytes, failure, losses, " \
  "counters, time, condition, judged, correct, contributions, unit"

void store_evaluation_clear(store_evaluation *evaluation) {
  free(evaluation->failure);
  free(evaluation->losses);
  free(evaluation->counters);
  free(evaluation->right);
  free(evaluation->contributions);
  *evaluation = (store_evaluation){0};
}

mpt_status store_put_evaluation(store *s, const store_evaluation *e, mpt_error *error) {
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
  bind_text(&q, e->counters);
  bind_integer(&q, e->time);
  bind_text(&q, e->condition[0] == '\0' ? NULL : e->condition);
  bind_integer(&q, e->judged);
  bind_blob(&q, e->right, e->right == NULL ? 0 : (size_t)(e->judged + 7) / 8);
  bind_blob(&q, e->contributions, (size_t)e->judged * sizeof *e->contributions);
  bind_real(&q, e->unit);
  return query_end(&q, error);
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
  e->counters = column_text(q);
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

mpt_status store_put_time(store *s, const store_time *time, mpt_error *error) {
  query q = query_begin(s, "INSERT INTO times VALUES (?, ?, ?, ?, ?) ON CONFLICT (policy, device) "
                           "DO UPDATE SET measured = excluded.measured, "
                           "seconds = excluded.seconds, parts = excluded.parts");
  bind_text(&q, time->policy);
  bind_text(&q, time->device);
  bind_integer(&q, time->measured);
  bind_real(&q, time->seconds);
  bind_text(&q, time->parts);
  return query_end(&q, error);
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
    t.parts = column_text(&q);
    if (t.seconds < 0 || isinf(t.seconds))
      query_damaged(&q, "a step time is %g", t.seconds);
  }
  mpt_status status = query_end(&q, error);
  if (status != MPT_OK) {
    free(t.parts);
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
