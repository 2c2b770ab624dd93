/* mptune tune as it is, with an evaluator that answers from a world. The reference's instrumented
 * run is trained for its scores, by the built-in trainer; its metric is the world's all the same.
 */
#include "base/error.h"
#include "tests/bench/tables/methods.h"
#include "tuner/evaluators/builtin.h"
#include "tuner/tuner.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_SEED 1000000ULL

typedef struct world_evaluator {
  evaluator base;
  played *s;
  evaluator *builtin; /* for what is observed */
  int *probed, *blamed;
  const evaluation_request *request; /* in flight; NULL: none */
  volatile int over;                 /* as a signal would set it */
} world_evaluator;

static void describe(const evaluator *e, evaluator_description *description) {
  (void)e;
  *description = (evaluator_description){.name = "a world", .capacity = 1};
}

static mpt_status submit(evaluator *e, const evaluation_request *request, mpt_error *error) {
  world_evaluator *w = (world_evaluator *)e;
  if (request->kind == REQUEST_OBSERVE)
    MPT_RETURN_IF_FAILED(evaluator_submit(w->builtin, request, error));
  w->request = request;
  return MPT_OK;
}

static int unit_named(const world *w, const char *layer) {
  const space *sp = w->network->space;
  for (int u = 0; u < sp->unit_count; u++)
    if (strcmp(w->network->graph->layers[sp->units[u].layer].info.name, layer) == 0)
      return u;
  return -1;
}

/* What the probe is made to say in a drawn world. */
static void replace_scores(const world *w, const store_scores *scores) {
  for (int i = 0; i < scores->count; i++) {
    store_score *row = (store_score *)&scores->scores[i]; /* the evaluator's own, on the heap */
    const int u = unit_named(w, row->layer);
    if (u < 0)
      continue;
    row->forward = w->probe[u][MPT_FPROP][row->precision];
    row->dgrad = w->probe[u][MPT_DGRAD][row->precision];
    row->wgrad = w->probe[u][MPT_WGRAD][row->precision];
  }
}

static mpt_status fill(world_evaluator *w, evaluation_record *record, mpt_error *error) {
  const evaluation_request *r = w->request;
  const world *in = w->s->w;
  store_evaluation *e = &record->evaluation;
  int choice[TABLE_UNITS];
  const int index = (int)((r->seed - FIRST_SEED) % 1000);
  const bool reference = strcmp(r->purpose, "reference") == 0;
  if (!reference && !space_choices(in->network->space, r->assignment, choice))
    return mpt_fail(error, MPT_ERROR_INTERNAL, "a policy that the world does not have");
  double metric = in->reference; /* of a pair of verification: not looked at */
  if (reference)
    metric = played_reference(w->s, index);
  else if (strcmp(r->purpose, "verify") != 0)
    metric = played_train_at(w->s, table_policy(in->network->space, choice), index) +
             played_reference(w->s, index);
  if (r->kind == REQUEST_TRAIN) {
    *e = (store_evaluation){.seed = r->seed, .steps = r->steps, .steps_done = r->steps};
    memcpy(e->key, r->key, sizeof e->key);
    memcpy(e->policy, r->policy, sizeof e->policy);
    memcpy(e->condition, r->condition, sizeof e->condition);
    memcpy(e->purpose, r->purpose, sizeof e->purpose);
    e->unit = NAN;
  } else if (in->table == NULL) {
    replace_scores(in, &record->seen.scores);
  }
  record->time = (timing_run){.seconds = NAN, .deviation = NAN};
  e->diverged = !isfinite(metric);
  e->metric = e->metric_plain = e->held_out_loss = e->diverged ? NAN : metric;
  if (e->diverged)
    e->failure = strdup("diverged");
  return MPT_OK;
}

/* Whether the search is over: this is the first policy that it verifies. */
static bool verifies(world_evaluator *w) {
  int choice[TABLE_UNITS];
  if (strcmp(w->request->purpose, "verify") != 0 ||
      !space_choices(w->s->w->network->space, w->request->assignment, choice))
    return false;
  const int policy = table_policy(w->s->w->network->space, choice);
  if (policy != 0) /* the reference's half of a pair comes first */
    w->s->chosen = policy;
  return policy != 0;
}

static mpt_status poll_world(evaluator *e, evaluator_progress *progress, void *context, bool *found,
                             evaluation_record *record, mpt_error *error) {
  world_evaluator *w = (world_evaluator *)e;
  *record = (evaluation_record){0};
  *found = w->request != NULL;
  if (!*found)
    return MPT_OK;
  if (w->request->kind == REQUEST_OBSERVE)
    MPT_RETURN_IF_FAILED(evaluator_poll(w->builtin, progress, context, found, record, error));
  record->id = w->request->id;
  if (record->status == MPT_OK && verifies(w)) {
    w->over = 1;
    record->status = mpt_fail(&record->error, MPT_ERROR_INTERRUPTED, "it would verify now");
  } else if (record->status == MPT_OK) {
    record->status = fill(w, record, &record->error);
  }
  w->request = NULL;
  return MPT_OK;
}

static void cancel(evaluator *e, int64_t id) {
  (void)e, (void)id;
}

static void close_world(evaluator *e) {
  world_evaluator *w = (world_evaluator *)e;
  evaluator_close(w->builtin);
  free(w->probed);
  free(w->blamed);
}

static const evaluator_table world_table = {.describe = describe,
                                            .submit = submit,
                                            .poll = poll_world,
                                            .cancel = cancel,
                                            .close = close_world};

static mpt_status open_world_evaluator(played *s, world_evaluator *w, mpt_error *error) {
  const table_network *n = s->w->network;
  const int layers = n->graph->layer_count, units = n->space->unit_count;
  *w = (world_evaluator){.base.table = &world_table,
                         .s = s,
                         .probed = calloc((size_t)units, sizeof(int)),
                         .blamed = calloc((size_t)layers, sizeof(int))};
  for (int u = 0; u < units; u++)
    w->probed[u] = n->space->units[u].layer;
  for (int i = 0; i < layers; i++)
    w->blamed[i] = -1;
  const builtin_options options = {.workload = n->w,
                                   .graph = n->graph,
                                   .data = n->data,
                                   .backend = "cpu",
                                   .probed_layers = w->probed,
                                   .probed_count = units,
                                   .blamed = w->blamed};
  return builtin_open(&options, &w->builtin, error);
}

/* The scores and vetoes that the search began with. */
static mpt_status read_scores(played *s, const char *run, mpt_error *error) {
  store *st = NULL;
  store_sensitivity seen = {0};
  bool found = false;
  MPT_RETURN_IF_FAILED(store_open(run, STORE_READ, &st, error));
  mpt_status status = store_get_sensitivity(st, &seen, &found, error);
  for (int i = 0; i < seen.count; i++) {
    const store_sensitivity_row *row = &seen.rows[i];
    const int u = unit_named(s->w, row->layer);
    if (u >= 0)
      s->score[u][row->gemm][row->precision] =
          (world_score){.forward = row->forward,
                        .backward = row->backward,
                        .vetoed = row->veto != NULL && strncmp(row->veto, "a run", 5) != 0};
  }
  store_sensitivity_clear(&seen);
  store_close(st);
  return status;
}

mpt_status play_todays_search(played *s, const char *directory, mpt_error *error) {
  char run[600];
  world_evaluator w;
  workload *budgeted = NULL;
  tuner_summary summary = {0};
  mpt_status status = MPT_OK;
  snprintf(run, sizeof run, "%.400s/run-%d", directory, (int)getpid());
  MPT_RETURN_IF_FAILED(open_world_evaluator(s, &w, error));
  MPT_TRY(workload_load(s->w->network->w->path, &budgeted, error));
  budgeted->budget.worse_by = s->budget;
  budgeted->budget.relative = false;
  tuner_options options = tuner_options_default();
  options.run = run;
  options.seed = FIRST_SEED;
  options.max_evaluations = s->most;
  options.evaluator = &w.base;
  options.interrupted = &w.over;
  options.backend = "cpu";
  status = tuner_run(budgeted, &options, &summary, error);
  if (status == MPT_OK) /* nothing to verify: the reference */
    tuner_summary_clear(&summary);
  if (status == MPT_ERROR_INTERRUPTED)
    status = MPT_OK;
  MPT_TRY(status);
  MPT_TRY(read_scores(s, run, error));
fail:
  close_world(&w.base);
  workload_free(budgeted);
  char command[700];
  snprintf(command, sizeof command, "rm -rf '%s'", run);
  if (system(command) != 0)
    fprintf(stderr, "warning: '%s' stays\n", run);
  return status;
}
