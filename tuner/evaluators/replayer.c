#include "tuner/evaluators/replayer.h"
#include "base/error.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct in_flight {
  evaluation_request request;
  evaluation_record record; /* as it will be given out */
  double ends;              /* on the simulated clock */
  bool cancelled;
} in_flight;

typedef struct replayer {
  evaluator base;
  store *store;
  char directory[512];
  in_flight *flights; /* [capacity] */
  int count, capacity;
  double clock;
} replayer;

static mpt_status no_record(const replayer *p, const evaluation_request *r, mpt_error *error) {
  return mpt_fail(error, MPT_ERROR_NOT_FOUND, "'%s' has no record of policy %.12s, seed %llu (%s)",
                  p->directory, r->policy, (unsigned long long)r->seed,
                  r->purpose[0] == '\0' ? r->key : r->purpose);
}

/* ---- records ---- */

static mpt_status find_evaluation(replayer *p, const evaluation_request *r, evaluation_record *out,
                                  mpt_error *error) {
  bool found = false;
  MPT_RETURN_IF_FAILED(store_find_evaluation(p->store, r->key, &found, &out->evaluation, error));
  if (!found)
    return no_record(p, r, error);
  out->evaluation.id = 0;
  return MPT_OK;
}

static mpt_status find_observation(replayer *p, const evaluation_request *r, observation *seen,
                                   mpt_error *error) {
  bool found = false;
  MPT_RETURN_IF_FAILED(store_get_scores(p->store, r->key, &seen->scores, &found, error));
  if (!found)
    return no_record(p, r, error);
  return store_all_statistics(p->store, r->key, &seen->statistics, &seen->count, error);
}

/* On whatever device it was measured: of several the first by name. */
static mpt_status find_time(replayer *p, const evaluation_request *r, bool *found, timing_run *run,
                            mpt_error *error) {
  char *device = NULL;
  *found = false;
  MPT_RETURN_IF_FAILED(store_measured_device(p->store, r->policy, &device, error));
  if (device == NULL)
    return MPT_OK;
  mpt_status status = store_find_timing_run(p->store, r->policy, device, r->key, found, run, error);
  free(device);
  return status;
}

static mpt_status find_record(replayer *p, const evaluation_request *r, evaluation_record *out,
                              mpt_error *error) {
  bool timed = false;
  out->time = (timing_run){.seconds = NAN, .deviation = NAN};
  if (r->kind != REQUEST_TIME)
    MPT_RETURN_IF_FAILED(find_evaluation(p, r, out, error));
  if (r->kind == REQUEST_OBSERVE)
    MPT_RETURN_IF_FAILED(find_observation(p, r, &out->seen, error));
  MPT_RETURN_IF_FAILED(find_time(p, r, &timed, &out->time, error));
  return r->kind == REQUEST_TIME && !timed ? no_record(p, r, error) : MPT_OK;
}

static double duration_of(const evaluation_record *record) {
  const double seconds = isfinite(record->time.seconds) && record->evaluation.total_seconds == 0
                             ? record->time.seconds * (double)record->time.steps
                             : record->evaluation.total_seconds;
  return isfinite(seconds) && seconds > 0 ? seconds : 0;
}

/* ---- the table ---- */

static void replayer_describe(const evaluator *e, evaluator_description *description) {
  *description = (evaluator_description){.name = "records of an earlier run",
                                         .capacity = ((const replayer *)e)->capacity};
}

static mpt_status replayer_submit(evaluator *e, const evaluation_request *request,
                                  mpt_error *error) {
  replayer *p = (replayer *)e;
  if (p->count == p->capacity)
    return mpt_fail(error, MPT_ERROR_BUSY, "%d requests are in flight, as many as there may be",
                    p->count);
  in_flight *f = &p->flights[p->count];
  *f = (in_flight){.request = *request};
  mpt_error why = {0};
  const mpt_status status = find_record(p, request, &f->record, &why);
  if (status != MPT_OK)
    evaluation_record_clear(&f->record);
  f->record.id = request->id;
  f->record.status = status;
  f->record.error = why;
  f->ends = p->clock + duration_of(&f->record);
  p->count++;
  return MPT_OK;
}

/* The one that ends first; of equals the one that was submitted first. */
static mpt_status replayer_poll(evaluator *e, evaluator_progress *progress, void *context,
                                bool *found, evaluation_record *record, mpt_error *error) {
  replayer *p = (replayer *)e;
  int first = 0;
  (void)error;
  *found = p->count > 0;
  if (p->count == 0)
    return MPT_OK;
  for (int i = 1; i < p->count; i++)
    if (p->flights[i].ends < p->flights[first].ends)
      first = i;
  in_flight *f = &p->flights[first];
  if (progress != NULL && !f->cancelled)
    progress(context, f->request.id, f->request.steps - 1, f->request.steps);
  if (f->cancelled) {
    evaluation_record_clear(&f->record);
    f->record.id = f->request.id;
    f->record.status = mpt_fail(&f->record.error, MPT_ERROR_INTERRUPTED, "interrupted");
  }
  p->clock = fmax(p->clock, f->ends);
  *record = f->record;
  p->count--;
  memmove(f, f + 1, (size_t)(p->count - first) * sizeof *f);
  return MPT_OK;
}

static void replayer_cancel(evaluator *e, int64_t id) {
  replayer *p = (replayer *)e;
  for (int i = 0; i < p->count; i++) {
    in_flight *f = &p->flights[i];
    if (f->request.id != id || f->cancelled)
      continue;
    f->cancelled = true;
    f->ends = p->clock;
  }
}

static void replayer_close(evaluator *e) {
  replayer *p = (replayer *)e;
  for (int i = 0; i < p->count; i++)
    evaluation_record_clear(&p->flights[i].record);
  free(p->flights);
  store_close(p->store);
  free(p);
}

static const evaluator_table replayer_table = {.describe = replayer_describe,
                                               .submit = replayer_submit,
                                               .poll = replayer_poll,
                                               .cancel = replayer_cancel,
                                               .close = replayer_close};

mpt_status replayer_open(const char *directory, int workers, evaluator **out, mpt_error *error) {
  if (workers < 1)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "%d workers carry out nothing", workers);
  replayer *p = calloc(1, sizeof *p);
  in_flight *flights = calloc((size_t)workers, sizeof *flights);
  if (p == NULL || flights == NULL) {
    free(p);
    free(flights);
    return mpt_fail_memory(error, "records to replay", (size_t)workers * sizeof *flights);
  }
  *p = (replayer){.base.table = &replayer_table, .flights = flights, .capacity = workers};
  snprintf(p->directory, sizeof p->directory, "%s", directory);
  const mpt_status status = store_open(directory, STORE_READ, &p->store, error);
  if (status != MPT_OK)
    replayer_close(&p->base);
  else
    *out = &p->base;
  return status;
}

double replayer_seconds(const evaluator *e) {
  return ((const replayer *)e)->clock;
}
