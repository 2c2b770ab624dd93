/* Conditions, attempts at verification and processes in the store. */
#include "base/error.h"
#include "base/text.h"
#include "store/database.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

void store_condition_hash(store_condition *c) {
  char memory[1024];
  mpt_text text = mpt_text_over(memory, sizeof memory);
  mpt_text_addf(&text, "training %s\ndata %s\nsteps %lld\n%s\n", c->training, c->data,
                (long long)c->steps, c->numerics);
  assert(!text.failed);
  store_hash(text.data, text.length, c->hash);
}

mpt_status store_put_condition(store *s, const store_condition *c, mpt_error *error) {
  query q = query_begin(s, "INSERT INTO conditions (hash, training, data, steps, numerics) "
                           "VALUES (?, ?, ?, ?, ?) ON CONFLICT (hash) DO NOTHING");
  bind_text(&q, c->hash);
  bind_text(&q, c->training);
  bind_text(&q, c->data);
  bind_integer(&q, c->steps);
  bind_text(&q, c->numerics);
  return query_end(&q, error);
}

mpt_status store_all_conditions(store *s, store_condition **conditions, int *count,
                                mpt_error *error) {
  void *all = NULL;
  int n = 0;
  query q = query_begin(s, "SELECT hash, training, data, steps, numerics FROM conditions "
                           "ORDER BY rowid");
  while (query_row(&q) && list_grow(&q, &all, n, sizeof(store_condition))) {
    store_condition *c = (store_condition *)all + n++;
    column_string(&q, c->hash, sizeof c->hash);
    column_string(&q, c->training, sizeof c->training);
    column_string(&q, c->data, sizeof c->data);
    c->steps = column_count(&q, INT64_MAX);
    column_string(&q, c->numerics, sizeof c->numerics);
  }
  mpt_status status = query_end(&q, error);
  if (status != MPT_OK) {
    free(all);
    return status;
  }
  *conditions = all;
  *count = n;
  return MPT_OK;
}

static mpt_status put_attempt(store *s, const store_attempt *a, mpt_error *error) {
  query q = query_begin(s, "INSERT INTO attempts (condition, position, policy, weight, first_seed) "
                           "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING");
  bind_text(&q, a->condition);
  bind_integer(&q, a->position);
  bind_text(&q, a->policy);
  bind_real(&q, a->weight);
  bind_integer(&q, (int64_t)a->first_seed);
  MPT_RETURN_IF_FAILED(query_end(&q, error));
  if (sqlite3_changes(s->database) == 1)
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_ARGUMENT,
                  "attempt %d at verification, or one at the same policy, is written down already",
                  a->position);
}

mpt_status store_put_attempts(store *s, const store_attempt *attempts, int count,
                              mpt_error *error) {
  database_sync_next(s); /* before their first fresh seed is trained */
  MPT_RETURN_IF_FAILED(store_begin(s, error));
  for (int i = 0; i < count; i++) {
    const mpt_status status = put_attempt(s, &attempts[i], error);
    if (status != MPT_OK) {
      store_cancel(s);
      return status;
    }
  }
  return store_end(s, error);
}

mpt_status store_all_attempts(store *s, store_attempt **attempts, int *count, mpt_error *error) {
  void *all = NULL;
  int n = 0;
  query q = query_begin(s, "SELECT condition, position, policy, weight, first_seed FROM attempts "
                           "ORDER BY condition, position");
  while (query_row(&q) && list_grow(&q, &all, n, sizeof(store_attempt))) {
    store_attempt *a = (store_attempt *)all + n++;
    column_string(&q, a->condition, sizeof a->condition);
    a->position = (int)column_count(&q, 1000000);
    column_string(&q, a->policy, sizeof a->policy);
    a->weight = column_real(&q);
    a->first_seed = (uint64_t)column_integer(&q);
    if (!(a->weight > 0 && a->weight <= 1))
      query_damaged(&q, "the weight of an attempt at verification is %g", a->weight);
  }
  mpt_status status = query_end(&q, error);
  if (status != MPT_OK) {
    free(all);
    return status;
  }
  *attempts = all;
  *count = n;
  return MPT_OK;
}

mpt_status store_begin_process(store *s, int64_t *id, mpt_error *error) {
  MPT_RETURN_IF_FAILED(database_execute(s, "INSERT INTO processes (seconds) VALUES (0.0)", error));
  *id = sqlite3_last_insert_rowid(s->database);
  return MPT_OK;
}

mpt_status store_put_process(store *s, int64_t id, double seconds, mpt_error *error) {
  query q = query_begin(s, "UPDATE processes SET seconds = ?2 WHERE id = ?1");
  bind_integer(&q, id);
  bind_real(&q, seconds);
  return query_end(&q, error);
}

mpt_status store_process_seconds(store *s, int64_t except, double *seconds, mpt_error *error) {
  *seconds = 0;
  query q = query_begin(s, "SELECT total(seconds) FROM processes WHERE id != ? AND seconds > 0");
  bind_integer(&q, except);
  if (query_row(&q))
    *seconds = column_real(&q);
  return query_end(&q, error);
}
