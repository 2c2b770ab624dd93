#include "contract/answer.h"
#include "base/error.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void answer_begin(answer *a, const answer_terms *terms) {
  *a = (answer){.terms = *terms,
                .last_step = -1,
                .nonfinite_step = -1,
                .nonfinite = {.step = -1, .operand = -1},
                .metric = NAN,
                .time = {.median = NAN, .spread = NAN, .compile = NAN, .peak_bytes = -1}};
}

void answer_end(answer *a) {
  json_decref(a->hello.versions);
  free(a->layers.layers);
  free(a->layers.uncovered.names);
  free(a->by_name);
  free(a->losses);
  free(a->seconds);
  *a = (answer){0};
}

/* ---- order ---- */

#define FAIL(...) mpt_fail(error, MPT_ERROR_SYNTAX, __VA_ARGS__)

static mpt_status check_order(const answer *a, const event *e, mpt_error *error) {
  const bool *heard = a->heard;
  const event_kind kind = e->kind;
  if (!heard[EVENT_HELLO] && kind != EVENT_HELLO)
    return FAIL("event '%s' came before 'hello'; 'hello' is the first", event_name(kind));
  if (heard[EVENT_DONE])
    return FAIL("event '%s' came after 'done'; 'done' is the last", event_name(kind));
  if (heard[kind] && (kind == EVENT_HELLO || kind == EVENT_LAYERS || kind == EVENT_APPLIED))
    return FAIL("event '%s' came twice; of several processes rank 0 alone writes events",
                event_name(kind));
  if (kind == EVENT_APPLIED && !heard[EVENT_LAYERS])
    return FAIL("event 'applied' came before 'layers'; name the layers first");
  if (kind > EVENT_APPLIED && !heard[EVENT_APPLIED] && kind != EVENT_DONE)
    return FAIL("event '%s' came before 'applied'; say first which formats each layer has",
                event_name(kind));
  return MPT_OK;
}

/* ---- events ---- */

static mpt_status take_hello(answer *a, event *e, mpt_error *error) {
  if (e->hello.protocol != CONTRACT_PROTOCOL)
    return mpt_fail(error, MPT_ERROR_VERSION,
                    "the program speaks version %" PRId64 " of the contract, and this mptune %d; "
                    "use a version of the program's library that MPTUNE_PROTOCOL names",
                    e->hello.protocol, CONTRACT_PROTOCOL);
  a->hello = e->hello;
  e->hello.versions = NULL;
  return MPT_OK;
}

static int by_name(const void *a, const void *b, void *layers) {
  const mpt_layer_info *all = layers;
  return strcmp(all[*(const int *)a].name, all[*(const int *)b].name);
}

static mpt_status index_layers(answer *a, mpt_error *error) {
  const int count = a->layers.count;
  a->by_name = malloc((size_t)count * sizeof *a->by_name);
  if (a->by_name == NULL)
    return mpt_fail_memory(error, "layers", (size_t)count * sizeof *a->by_name);
  for (int i = 0; i < count; i++)
    a->by_name[i] = i;
  qsort_r(a->by_name, (size_t)count, sizeof *a->by_name, by_name, a->layers.layers);
  return MPT_OK;
}

int answer_layer(const answer *a, const char *name) {
  for (int low = 0, high = a->layers.count; low < high;) {
    const int middle = low + (high - low) / 2, index = a->by_name[middle];
    const int order = strcmp(name, a->layers.layers[index].name);
    if (order == 0)
      return index;
    if (order < 0)
      high = middle;
    else
      low = middle + 1;
  }
  return -1;
}

static mpt_status find_layer(const answer *a, const event *e, const char *name, int *index,
                             mpt_error *error) {
  *index = answer_layer(a, name);
  return *index >= 0 ? MPT_OK
                     : FAIL("event '%s' names the layer '%s', which the event 'layers' does not",
                            event_name(e->kind), name);
}

static mpt_status take_layers(answer *a, event *e, mpt_error *error) {
  if (a->terms.layers != NULL)
    MPT_RETURN_IF_FAILED(layers_check(a->terms.layers, a->terms.layer_count, &e->layers, error));
  a->layers = e->layers;
  e->layers = (event_layers){0};
  return index_layers(a, error);
}

static mpt_status take_applied(const answer *a, const event_applied *applied, mpt_error *error) {
  const event_layers *l = &a->layers;
  if (a->terms.formats != NULL)
    return applied_check(l->layers, a->terms.formats, l->count, applied, error);
  if (a->terms.policy == NULL)
    return MPT_OK;
  mpt_layer_policy *asked = calloc((size_t)l->count + 1, sizeof *asked);
  if (asked == NULL)
    return mpt_fail_memory(error, "formats", (size_t)l->count * sizeof *asked);
  mpt_status status = mpt_policy_resolve(a->terms.policy, l->layers, l->count, NULL, asked, error);
  if (status == MPT_OK)
    status = applied_check(l->layers, asked, l->count, applied, error);
  free(asked);
  return status;
}

/* Room for one more. */
static mpt_status grow(double **values, int64_t count, int64_t *capacity, mpt_error *error) {
  if (count < *capacity)
    return MPT_OK;
  const int64_t more = 2 * *capacity + 256;
  double *grown = realloc(*values, (size_t)more * sizeof *grown);
  if (grown == NULL)
    return mpt_fail_memory(error, "losses", (size_t)more * sizeof *grown);
  *values = grown;
  *capacity = more;
  return MPT_OK;
}

static mpt_status take_step(answer *a, const event_step *s, mpt_error *error) {
  const answer_terms *t = &a->terms;
  if (s->step <= a->last_step)
    return FAIL("step %" PRId64 " came after step %" PRId64
                "; steps go up, and of several processes rank 0 alone writes events",
                s->step, a->last_step);
  if (s->step < t->start || s->step >= t->until)
    return FAIL("step %" PRId64 " is none of those to run; they begin with MPTUNE_START, %" PRId64
                ", and end before MPTUNE_UNTIL, %" PRId64,
                s->step, t->start, t->until);
  while (a->loss_count < s->step - t->start) { /* not said */
    MPT_RETURN_IF_FAILED(grow(&a->losses, a->loss_count, &a->capacity, error));
    a->losses[a->loss_count++] = NAN;
  }
  MPT_RETURN_IF_FAILED(grow(&a->losses, a->loss_count, &a->capacity, error));
  a->losses[a->loss_count++] = s->loss;
  a->last_step = s->step;
  if (!isfinite(s->loss) && a->nonfinite_step < 0)
    a->nonfinite_step = s->step;
  if (isnan(s->seconds))
    return MPT_OK;
  MPT_RETURN_IF_FAILED(grow(&a->seconds, a->second_count, &a->second_capacity, error));
  a->seconds[a->second_count++] = s->seconds;
  return MPT_OK;
}

static void take_metric(answer *a, const event_metric *m) {
  if (strcmp(m->name, a->terms.metric) != 0) {
    memcpy(a->other_metric, m->name, sizeof a->other_metric);
    return;
  }
  a->metric_heard = true;
  a->metric = m->value;
  a->larger_is_better = m->larger_is_better != 0;
}

static mpt_status take(answer *a, event *e, mpt_error *error) {
  switch (e->kind) {
  case EVENT_HELLO:
    return take_hello(a, e, error);
  case EVENT_LAYERS:
    return take_layers(a, e, error);
  case EVENT_APPLIED:
    return take_applied(a, &e->applied, error);
  case EVENT_STEP:
    return take_step(a, &e->step, error);
  case EVENT_TIME:
    a->time = e->time;
    return MPT_OK;
  case EVENT_STATS:
    return find_layer(a, e, e->stats.layer, &e->stats.index, error);
  case EVENT_PROBE:
    return find_layer(a, e, e->probe.layer, &e->probe.index, error);
  case EVENT_NONFINITE:
    if (a->nonfinite.step < 0)
      a->nonfinite = e->nonfinite;
    return MPT_OK;
  case EVENT_SKIPPED:
    a->skipped++;
    return MPT_OK;
  case EVENT_METRIC:
    take_metric(a, &e->metric);
    return MPT_OK;
  default:
    return MPT_OK;
  }
}

mpt_status answer_take(answer *a, event *e, mpt_error *error) {
  MPT_RETURN_IF_FAILED(check_order(a, e, error));
  MPT_RETURN_IF_FAILED(take(a, e, error));
  a->heard[e->kind] = true;
  return MPT_OK;
}

mpt_status answer_adopt(answer *a, const answer *from, mpt_error *error) {
  const size_t bytes = (size_t)from->layers.count * sizeof *from->layers.layers;
  a->hello = from->hello;
  json_incref(a->hello.versions);
  a->layers.layers = malloc(bytes);
  if (a->layers.layers == NULL)
    return mpt_fail_memory(error, "layers", bytes);
  memcpy(a->layers.layers, from->layers.layers, bytes);
  a->layers.count = from->layers.count;
  a->heard[EVENT_HELLO] = a->heard[EVENT_LAYERS] = true;
  return index_layers(a, error);
}

/* ---- the end ---- */

mpt_status answer_check_end(const answer *a, mpt_error *error) {
  static const char where[] = "append it to the file that MPTUNE_EVENTS names";
  static const event_kind needed[] = {EVENT_HELLO, EVENT_LAYERS, EVENT_APPLIED};
  for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
    if (!a->heard[needed[i]])
      return FAIL("the program ended without the event '%s'; %s", event_name(needed[i]), where);
  return MPT_OK;
}
