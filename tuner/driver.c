#include "tuner/driver.h"
#include "base/error.h"
#include "base/progress.h"
#include "tuner/evaluators/builtin.h"
#include <math.h>
#include <stdlib.h>

/* A request in flight. */
typedef struct flight {
  int64_t id;
  bool cancelled;
} flight;

typedef struct driver {
  search *s;
  evaluator *evaluator;
  flight *flying; /* [is.capacity] */
  int count;
  evaluator_description is;
} driver;

static bool is_flying(const driver *d, int64_t id) {
  for (int i = 0; i < d->count; i++)
    if (d->flying[i].id == id)
      return true;
  return false;
}

/* Whether it had been cancelled. */
static bool landed(driver *d, int64_t id) {
  for (int i = 0; i < d->count; i++)
    if (d->flying[i].id == id) {
      const bool cancelled = d->flying[i].cancelled;
      d->flying[i] = d->flying[--d->count];
      return cancelled;
    }
  return false;
}

static void cancel(driver *d, int i) {
  d->flying[i].cancelled = true;
  evaluator_cancel(d->evaluator, d->flying[i].id);
}

static void cancel_all(driver *d) {
  for (int i = 0; i < d->count; i++)
    cancel(d, i);
}

/* Those that are not asked for any more. */
static void cancel_unwanted(driver *d, const requests *wanted) {
  for (int i = 0; i < d->count; i++) {
    bool needed = false;
    for (int j = 0; j < wanted->count; j++)
      needed = needed || wanted->list[j].request.id == d->flying[i].id;
    if (!needed)
      cancel(d, i);
  }
}

static void on_progress(void *context, int64_t id, int64_t step, int64_t steps) {
  driver *d = context;
  if (search_interrupted(&d->s->clock))
    cancel_all(d);
  else
    search_progress(d->s, id, step, steps);
}

/* In their order, as many as the evaluator takes; *told: the store had the record of one, so that
 * others may be asked for now. */
static mpt_status submit(driver *d, const requests *wanted, bool *told, mpt_error *error) {
  *told = false;
  for (int i = 0; i < wanted->count && d->count < d->is.capacity; i++) {
    const asked *a = &wanted->list[i];
    evaluation_record record;
    if (is_flying(d, a->request.id))
      continue;
    MPT_RETURN_IF_FAILED(search_recall(d->s, a, told, &record, error));
    if (!*told && a->request.kind == REQUEST_TIME && (d->is.lacks & EVALUATOR_NO_TIMES) != 0) {
      record = (evaluation_record){.id = a->request.id, .time = {.seconds = NAN}};
      *told = true;
    }
    if (*told)
      return search_tell(d->s, &record, error);
    if (search_interrupted(&d->s->clock))
      return mpt_fail(error, MPT_ERROR_INTERRUPTED, "interrupted");
    MPT_RETURN_IF_FAILED(evaluator_submit(d->evaluator, &a->request, error));
    d->flying[d->count++] = (flight){.id = a->request.id};
  }
  return MPT_OK;
}

/* Waits for one record. One that was cancelled because it is not needed says nothing; one that was
 * not would be asked for again, for ever. */
static mpt_status take_one(driver *d, mpt_error *error) {
  bool found = false;
  evaluation_record record = {0};
  MPT_RETURN_IF_FAILED(evaluator_poll(d->evaluator, on_progress, d, &found, &record, error));
  if (!found)
    return mpt_fail(error, MPT_ERROR_INTERNAL, "the evaluator has no answer");
  const bool cancelled = landed(d, record.id);
  if (record.status == MPT_ERROR_INTERRUPTED && !search_interrupted(&d->s->clock)) {
    const long long id = (long long)record.id;
    evaluation_record_clear(&record);
    return cancelled ? MPT_OK
                     : mpt_fail(error, MPT_ERROR_INTERNAL,
                                "the evaluator gave request %lld up without being told to", id);
  }
  MPT_RETURN_IF_FAILED(search_tell(d->s, &record, error));
  /* Also after its last step: what follows would not end soon. */
  return search_interrupted(&d->s->clock) ? mpt_fail(error, MPT_ERROR_INTERRUPTED, "interrupted")
                                          : MPT_OK;
}

static mpt_status drive(driver *d, mpt_error *error) {
  for (;;) {
    const requests *wanted = NULL;
    bool told = false;
    MPT_RETURN_IF_FAILED(search_ask(d->s, &wanted, error));
    if (wanted->count == 0)
      return MPT_OK;
    cancel_unwanted(d, wanted);
    MPT_RETURN_IF_FAILED(submit(d, wanted, &told, error));
    if (!told)
      MPT_RETURN_IF_FAILED(take_one(d, error));
  }
}

/* Nothing is left in flight: it points to what the search has. What has ended all the same is
 * kept. */
static void settle(driver *d) {
  bool found = true;
  if (d->flying == NULL)
    return;
  cancel_all(d);
  while (d->count > 0 && found) {
    evaluation_record record = {0};
    if (evaluator_poll(d->evaluator, NULL, NULL, &found, &record, NULL) != MPT_OK || !found)
      return;
    landed(d, record.id);
    if (record.status == MPT_OK)
      search_tell(d->s, &record, NULL);
    else
      evaluation_record_clear(&record);
  }
}

/* The layers that an instrumented training probes, and for each layer the one to blame for a value
 * that is first not finite there: the unit that it is or follows, whose format it has. */
static mpt_status open_builtin(const problem *p, evaluator **out, mpt_error *error) {
  const int layers = p->graph->layer_count, units = p->space->unit_count;
  int *probed = calloc((size_t)units + 1, sizeof *probed);
  int *blamed = calloc((size_t)layers + 1, sizeof *blamed);
  mpt_status status = MPT_OK;
  if (probed == NULL || blamed == NULL) {
    status = mpt_fail_memory(error, "the built-in trainer", 0);
    goto fail;
  }
  for (int u = 0; u < units; u++)
    probed[u] = p->space->units[u].layer;
  for (int i = 0; i < layers; i++) {
    const int leader = p->space->leader_of_layer[i];
    blamed[i] = leader >= 0 ? p->space->units[leader].layer : -1;
  }
  const builtin_options options = {.workload = p->workload,
                                   .graph = p->graph,
                                   .data = p->data,
                                   .backend = p->place.backend,
                                   .device_index = p->place.device_index,
                                   .probed_layers = probed,
                                   .probed_count = units,
                                   .blamed = blamed};
  MPT_TRY(builtin_open(&options, out, error));
fail:
  free(probed);
  free(blamed);
  return status;
}

mpt_status search_run(search *s, mpt_error *error) {
  driver d = {.s = s, .evaluator = s->problem.options->evaluator};
  evaluator *own = NULL;
  mpt_status status = MPT_OK;
  if (d.evaluator == NULL) {
    MPT_TRY(open_builtin(&s->problem, &own, error));
    d.evaluator = own;
  }
  evaluator_describe(d.evaluator, &d.is);
  if (s->purpose == SEARCH_TUNE && (d.is.lacks & EVALUATOR_NO_SCORES) != 0)
    mpt_log_warning("%s has no scores of layers: formats are judged by trainings alone", d.is.name);
  d.flying = calloc((size_t)d.is.capacity + 1, sizeof *d.flying);
  if (d.flying == NULL)
    MPT_TRY(mpt_fail_memory(error, "requests", 0));
  MPT_TRY(drive(&d, error));
fail:
  settle(&d);
  free(d.flying);
  evaluator_close(own);
  return status;
}
