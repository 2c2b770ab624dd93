#include "contract/job.h"
#include "base/json.h"
#include "base/text.h"
#include "contract/event.h"
#include <stdlib.h>
#include <string.h>

const char *job_mode_name(job_mode mode) {
  static const char *const names[JOB_MODE_COUNT] = {"train", "time", "observe", "serve"};
  return names[mode];
}

static const char *or_empty(const char *text) {
  return text != NULL ? text : "";
}

/* Each ends with a NUL. */
static void add_variables(const job *j, mpt_text *all) {
  mpt_text_addf(all, "MPTUNE_PROTOCOL=%d%c", CONTRACT_PROTOCOL, 0);
  mpt_text_addf(all, "MPTUNE_MODE=%s%c", job_mode_name(j->mode), 0);
  mpt_text_addf(all, "MPTUNE_POLICY=%s%c", or_empty(j->policy), 0);
  mpt_text_addf(all, "MPTUNE_SEED=%llu%c", (unsigned long long)j->seed, 0);
  mpt_text_addf(all, "MPTUNE_STEPS=%lld%c", (long long)j->steps, 0);
  mpt_text_addf(all, "MPTUNE_START=%lld%c", (long long)j->start, 0);
  mpt_text_addf(all, "MPTUNE_UNTIL=%lld%c", (long long)j->until, 0);
  mpt_text_addf(all, "MPTUNE_FROM=%s%c", or_empty(j->from), 0);
  mpt_text_addf(all, "MPTUNE_SAVE=%s%c", or_empty(j->save), 0);
  mpt_text_addf(all, "MPTUNE_EVENTS=%s%c", or_empty(j->events), 0);
  mpt_text_addf(all, "MPTUNE_STATS_EVERY=%lld%c", (long long)j->statistics_every, 0);
  if (j->mode == JOB_SERVE)
    mpt_text_addf(all, "MPTUNE_FDS=%d,%d%c", j->read_from, j->write_to, 0);
}

/* How many texts there are in `length` bytes; where they begin, if `list` is not NULL. */
static size_t split(char *texts, size_t length, char **list) {
  size_t count = 0;
  for (size_t at = 0; at < length; at += strlen(texts + at) + 1, count++)
    if (list != NULL)
      list[count] = texts + at;
  return count;
}

char **job_environment(const job *j, const char *const *more) {
  mpt_text all = {0};
  char **list = NULL;
  add_variables(j, &all);
  for (size_t i = 0; more != NULL && more[i] != NULL; i++)
    mpt_text_addf(&all, "%s%c", more[i], 0);
  const size_t count = all.failed ? 0 : split(all.data, all.length, NULL);
  if (count > 0)
    list = malloc((count + 1) * sizeof *list + all.length);
  if (list != NULL) {
    char *texts = (char *)(list + count + 1);
    memcpy(texts, all.data, all.length);
    split(texts, all.length, list);
    list[count] = NULL;
  }
  mpt_text_free(&all);
  return list;
}

static json_t *path_or_null(const char *path) {
  return mpt_json_text(path != NULL && *path != '\0' ? path : NULL);
}

mpt_status job_json(const job *j, int64_t id, char **text, mpt_error *error) {
  json_t *json = mpt_json_pack(
      "{s:I,s:s,s:o,s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:I}", "job", (json_int_t)id, "mode",
      job_mode_name(j->mode), "policy", path_or_null(j->policy), "seed", (json_int_t)j->seed,
      "steps", (json_int_t)j->steps, "start", (json_int_t)j->start, "until", (json_int_t)j->until,
      "from", path_or_null(j->from), "save", path_or_null(j->save), "events",
      path_or_null(j->events), "stats_every", (json_int_t)j->statistics_every);
  return mpt_json_dump(json, JSON_COMPACT, "a job", text, error);
}
