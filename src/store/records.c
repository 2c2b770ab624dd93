/* Policies in the store. */
#include "base/error.h"
#include "store/database.h"
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
