/* The built-in evaluator: a training run under an assignment and seed, or its record in the store.
 * The key of a record is a hash over everything that decides its result, so nothing is trained
 * twice and a killed search replays its decisions from the store. */
#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/shown.h"
#include "tuner/evaluators/timed_steps.h"
#include "tuner/label.h"
#include "tuner/search.h"
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool search_interrupted(const search *s) {
  return s->options->interrupted != NULL && *s->options->interrupted != 0;
}

void candidate_clear(candidate *c) {
  free(c->assignment);
  free(c->choice);
  *c = (candidate){0};
}

/* Infinite where one diverged: the mean that GSL updates value by value is NaN behind infinity. */
double candidate_mean(const candidate *c) {
  if (c->seed_count == 0)
    return NAN;
  double sum = 0;
  for (int i = 0; i < c->seed_count; i++)
    sum += c->difference[i];
  return sum / c->seed_count;
}

/* ---- what identifies a policy ---- */

static bool has_fp16(const graph *g, const mpt_layer_policy *assignment) {
  for (int i = 0; i < g->layer_count; i++)
    for (int m = 0; m < MPT_GEMM_COUNT; m++)
      if (assignment[i].gemm[m].precision == MPT_PRECISION_FP16)
        return true;
  return false;
}

static bool same_scale(mpt_loss_scale_policy a, mpt_loss_scale_policy b) {
  return a.mode == b.mode && (a.mode == MPT_LOSS_SCALE_NONE || a.initial == b.initial);
}

/* Without fp16 no loss is scaled, so that all scales are one: the workload's. */
static mpt_loss_scale_policy effective_scale(const search *s, const mpt_layer_policy *assignment,
                                             mpt_loss_scale_policy scale) {
  const mpt_loss_scale_policy own = s->w->loss_scale;
  return !has_fp16(s->graph, assignment) || same_scale(scale, own) ? own : scale;
}

/* One line for each layer that has a format: "name formats"; and one for the loss scale where it is
 * not the workload's, which all policies of a search have. */
static char *candidate_text(const search *s, const mpt_layer_policy *assignment,
                            mpt_loss_scale_policy scale) {
  const graph *g = s->graph;
  mpt_text text = {0};
  for (int i = 0; i < g->layer_count; i++) {
    if (!g->layers[i].has_format)
      continue;
    char formats[160];
    mpt_layer_policy_text(&assignment[i], formats, sizeof formats);
    mpt_text_addf(&text, "%s %s\n", g->layers[i].info.name, formats);
  }
  if (!same_scale(scale, s->w->loss_scale))
    mpt_text_addf(&text, "loss_scale %s %.9g\n", mpt_loss_scale_mode_name(scale.mode),
                  scale.mode == MPT_LOSS_SCALE_NONE ? 1.0 : (double)scale.initial);
  if (!text.failed)
    return text.data;
  mpt_text_free(&text);
  return NULL;
}

/* A label from a file's name that another policy in the store has got a number: that policy may be
 * what the file held before. */
static mpt_status own_label(search *s, candidate *c, mpt_error *error) {
  char label[LABEL_SIZE];
  bool taken = true;
  for (int number = 1; taken; number++) {
    label_path(c->label, number, label);
    MPT_RETURN_IF_FAILED(store_label_taken(s->store, label, c->hash, &taken, error));
  }
  memcpy(c->label, label, sizeof c->label);
  return MPT_OK;
}

/* Its formats and its price, in the store. */
static mpt_status note_price(search *s, candidate *c, char *text, mpt_error *error) {
  if (!s->owner)
    MPT_RETURN_IF_FAILED(own_label(s, c, error));
  else if (strncmp(c->label, LABEL_CANDIDATE, strlen(LABEL_CANDIDATE)) == 0)
    MPT_RETURN_IF_FAILED(label_candidate(s->store, c->hash, s->trainings + 1, c->label, error));
  const double seconds = cost_uncorrected(&c->cost);
  store_policy policy = {
      .assignment = text, .predicted_increase = c->predicted, .predicted_seconds = seconds};
  memcpy(policy.hash, c->hash, sizeof policy.hash);
  snprintf(policy.label, sizeof policy.label, "%s", c->label);
  MPT_RETURN_IF_FAILED(s->owner ? store_put_policy(s->store, &policy, error)
                                : store_add_policy(s->store, &policy, error));
  json_t *json =
      mpt_json_pack("{s:f,s:f,s:f,s:f}", "gemms", c->cost.gemms, "copies", c->cost.copies, "passes",
                    c->cost.passes, "extrapolated", c->cost.extrapolated);
  char *parts = NULL;
  MPT_RETURN_IF_FAILED(mpt_json_dump(json, 0, "a price", &parts, error));
  store_time time = {.measured = false, .seconds = seconds, .parts = parts};
  memcpy(time.policy, c->hash, sizeof time.policy);
  snprintf(time.device, sizeof time.device, "%s", s->profile_identity);
  mpt_status status = store_put_time(s->store, &time, error);
  free(parts);
  return status;
}

mpt_status search_price(search *s, candidate *c, mpt_error *error) {
  char *text = candidate_text(s, c->assignment, c->loss_scale);
  if (text == NULL)
    return mpt_fail_memory(error, "an assignment", 0);
  store_hash(text, strlen(text), c->hash);
  mpt_status status =
      cost_predict(s->priced, s->profile, &s->w->optimizer, c->assignment, &c->cost, error);
  c->seconds = c->timed.count > 0 ? timing_seconds(&c->timed) : c->cost.total;
  if (status == MPT_OK && s->store != NULL)
    status = note_price(s, c, text, error);
  free(text);
  return status;
}

static void evaluation_key(const search *s, const candidate *c, uint64_t seed, char key[65]) {
  char memory[512];
  mpt_text text = mpt_text_over(memory, sizeof memory);
  const mpt_loss_scale_policy *scale = &c->loss_scale;
  mpt_text_addf(&text, "policy %s\ncondition %s\nseed %llu\nloss scale %d %.9g\n", c->hash,
                s->condition.hash, (unsigned long long)seed, (int)scale->mode,
                (double)scale->initial);
  assert(!text.failed);
  store_hash(text.data, text.length, key);
}

/* Watches a run: passes interruptions on, and stops a candidate whose training loss is hopeless. */
typedef struct run_watch {
  const search *s;
  const char *label, *purpose;
  bool may_stop;
  double excess;   /* running mean of loss - reference loss */
  double hopeless; /* excess above which the run is given up */
  uint64_t seed;
  const run_hooks *hooks;
  double *seconds; /* [steps]: of the steps without instruments; NULL: not wanted */
  int64_t timed;
} run_watch;

static void watch_statistics(void *context, int64_t step, int layer, mpt_operand operand,
                             const mpt_statistics *statistics) {
  const run_hooks *hooks = ((run_watch *)context)->hooks;
  hooks->on_statistics(hooks->context, step, layer, operand, statistics);
}

static void watch_layer(void *context, mpt_queue *queue, int64_t step, int layer,
                        const mpt_tensor *input, const mpt_tensor *weight,
                        const mpt_tensor *grad_output) {
  const run_hooks *hooks = ((run_watch *)context)->hooks;
  hooks->on_layer(hooks->context, queue, step, layer, input, weight, grad_output);
}

static const char *stage_name(const char *purpose) {
  static const char *const names[][2] = {{"reference", "reference"},
                                         {"uniform", "uniform policies"},
                                         {"candidate", "candidates"},
                                         {"verify", "verification"}};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strcmp(names[i][0], purpose) == 0)
      return names[i][1];
  return purpose;
}

/* What matters most comes first: a narrow terminal cuts the line's end off. */
static void show_progress(const run_watch *watch, const train_step *step) {
  const search *s = watch->s;
  const double share = (double)(step->step + 1) / (double)step->steps;
  const int left = s->planned > s->finished ? s->planned - s->finished : 1;
  char time_left[48] = "", best[120] = "";
  if (s->finished > 0) {
    const double each = s->finished_seconds / s->finished;
    const double seconds = fmax(0, left - share) * each;
    snprintf(time_left, sizeof time_left, seconds < 120 ? " (%.0f s)" : " (%.0f minutes)",
             seconds < 120 ? seconds : seconds / 60);
  }
  const candidate *fastest = search_best(s);
  if (fastest != NULL)
    snprintf(best, sizeof best, "; best so far %s at %.1f%%", fastest->label,
             100 * fastest->seconds / s->reference.seconds);
  mpt_progress_update(stage_name(watch->purpose),
                      "%d done, at most %d left%s%s; now %s, seed %llu, %.0f%%", s->finished, left,
                      time_left, best, watch->label, (unsigned long long)watch->seed, 100 * share);
}

static bool watch_step(void *context, const train_step *step) {
  run_watch *watch = context;
  const search *s = watch->s;
  if (search_interrupted(s))
    return false;
  show_progress(watch, step);
  const run_hooks *hooks = watch->hooks;
  const bool instruments = hooks != NULL && (step->step % hooks->statistics_every == 0 ||
                                             step->step % hooks->probe_every == 0);
  if (watch->seconds != NULL && !instruments && isfinite(step->seconds))
    watch->seconds[watch->timed++] = step->seconds;
  if (!watch->may_stop || s->reference_losses == NULL)
    return true;
  const double rate = 2.0 / (1.0 + fmax(8.0, 0.1 * (double)step->steps));
  watch->excess += rate * (step->loss - s->reference_losses[step->step] - watch->excess);
  /* Only late: a bad start is often made up for. */
  return step->step * 2 < step->steps || !(watch->excess > watch->hopeless);
}

static mpt_status counters_json(const search *s, const train_result *result, char **text,
                                mpt_error *error) {
  json_t *all = json_array();
  for (int i = 0; i < result->layer_count; i++) {
    for (int o = 0; o < MPT_OPERAND_COUNT; o++) {
      const mpt_layer_counters *c = &result->counters[i];
      if (c->cast[o] == 0)
        continue;
      mpt_json_append(
          &all, mpt_json_pack("{s:s,s:s,s:I,s:I,s:I}", "layer", s->graph->layers[i].info.name,
                              "operand", mpt_operand_name((mpt_operand)o), "cast",
                              (json_int_t)c->cast[o], "saturated", (json_int_t)c->saturated[o],
                              "vanished", (json_int_t)c->vanished[o]));
    }
  }
  /* Where a value was not finite first: the unit that the layer is or follows, whose format it has.
   */
  const mpt_session_report *r = &result->report;
  const bool known = result->diverged && r->nonfinite_step >= 0 && r->nonfinite_layer >= 0;
  const int blamed = known ? s->space->leader_of_layer[r->nonfinite_layer] : -1;
  if (blamed >= 0)
    mpt_json_append(&all, mpt_json_pack("{s:s,s:s,s:i,s:i,s:i,s:b}", "layer",
                                        s->graph->layers[s->space->units[blamed].layer].info.name,
                                        "operand", mpt_operand_name(r->nonfinite_operand), "cast",
                                        0, "saturated", 0, "vanished", 0, "blamed", 1));
  return mpt_json_dump(all, JSON_COMPACT, "counters", text, error);
}

static mpt_status record_of(const search *s, train_result *result, store_evaluation *e,
                            mpt_error *error) {
  e->steps = s->steps;
  e->steps_done = result->steps_done;
  e->diverged = result->diverged;
  e->stopped = result->stopped;
  e->metric = result->stopped ? NAN : result->metric;
  e->metric_plain = result->stopped ? NAN : result->metric_plain;
  e->held_out_loss = result->held_out_loss;
  e->output_difference = result->output_difference;
  e->host_seconds = result->step_seconds;
  e->total_seconds = result->total_seconds;
  e->memory_bytes = result->memory_bytes;
  e->time = (int64_t)time(NULL);
  const char *failure =
      result->stopped ? "given up early: far behind the reference" : result->failure;
  if (failure[0] != '\0' && (e->failure = strdup(failure)) == NULL)
    return mpt_fail_memory(error, "an evaluation's record", strlen(failure));
  e->losses = result->losses; /* handed over, like what was judged */
  e->loss_count = result->steps_done;
  e->judged = result->judged;
  e->right = result->right;
  e->contributions = result->contributions;
  e->unit = result->unit;
  result->losses = NULL;
  result->right = NULL;
  result->contributions = NULL;
  return counters_json(s, result, &e->counters, error);
}

train_options search_train_options(const search *s, const candidate *c, uint64_t seed) {
  train_options options = train_options_default();
  options.workload = s->w;
  options.graph = s->graph;
  options.data = s->data;
  options.assignment = c->assignment;
  options.loss_scale = c->loss_scale;
  options.seed = seed;
  options.steps = s->steps;
  options.threads = s->w->threads;
  options.backend = s->place.backend;
  options.device_index = s->place.device_index;
  return options;
}

mpt_status search_failed_device(mpt_status status, mpt_error *error) {
  if (status != MPT_ERROR_DEVICE || error == NULL)
    return status;
  const size_t length = strlen(error->message);
  snprintf(error->message + length, sizeof error->message - length,
           "; what was learned is saved, the same command continues");
  return status;
}

/* A candidate that does not fit into the device's memory failed; without the reference there is
 * nothing to compare with. The host's memory says nothing of a candidate. */
static mpt_status out_of_memory(search *s, const candidate *c, store_evaluation *evaluation,
                                mpt_error *error) {
  if (c == &s->reference)
    return MPT_ERROR_DEVICE_MEMORY;
  mpt_log_warning("%s: %s", c->label, error == NULL ? "out of memory" : error->message);
  *evaluation = (store_evaluation){.diverged = true, .metric = NAN};
  return MPT_OK;
}

/* An evaluation in which the device failed twice is taken for failed: a search that continues does
 * not meet the same error for ever. It is tried once more, since the device may be to blame. */
static mpt_status note_fault(search *s, const candidate *c, const char *key, uint64_t seed,
                             const char *purpose, const mpt_error *why, mpt_error *error) {
  char name[80];
  json_t *before = NULL;
  snprintf(name, sizeof name, "fault %s", key);
  MPT_RETURN_IF_FAILED(store_read_note(s->store, name, &before, error));
  const bool again = before != NULL;
  json_decref(before);
  if (!again)
    return store_set(s->store, name, "1", error);
  char failure[820];
  snprintf(failure, sizeof failure, "the device failed twice: %s", why->message);
  store_evaluation e = {.seed = seed,
                        .steps = s->steps,
                        .diverged = true,
                        .metric = NAN,
                        .metric_plain = NAN,
                        .held_out_loss = NAN,
                        .output_difference = NAN,
                        .host_seconds = NAN,
                        .failure = failure,
                        .time = (int64_t)time(NULL)};
  memcpy(e.key, key, sizeof e.key);
  memcpy(e.policy, c->hash, sizeof e.policy);
  memcpy(e.condition, s->condition.hash, sizeof e.condition);
  snprintf(e.purpose, sizeof e.purpose, "%s", purpose);
  return store_put_evaluation(s->store, &e, error);
}

/* Trains, watched; *run is what its steps took, where times are measured. */
static mpt_status train_watched(search *s, const candidate *c, uint64_t seed, const char *purpose,
                                const run_hooks *hooks, train_result *result, timing_run *run,
                                mpt_error *error) {
  run_watch watch = {.s = s, .label = c->label, .purpose = purpose, .seed = seed, .hooks = hooks};
  watch.may_stop =
      s->may_give_up && strcmp(purpose, "candidate") == 0 && seed == s->reference_seed[0];
  /* Ten budgets of training loss behind, and half a percent of it at least: no verdict hangs on a
   * run that is this far off. */
  watch.hopeless = fmax(10 * s->margin, 0.5);
  train_options options = search_train_options(s, c, seed);
  options.on_step = watch_step;
  options.context = &watch;
  if (hooks != NULL) {
    options.statistics = MPT_STATISTICS_FULL;
    options.statistics_every = hooks->statistics_every;
    options.on_statistics = watch_statistics;
    options.on_layer = watch_layer;
    options.probe_every = hooks->probe_every;
  }
  if (s->place.measures) {
    watch.seconds = calloc((size_t)s->steps, sizeof *watch.seconds);
    if (watch.seconds == NULL)
      return mpt_fail_memory(error, "step times", (size_t)s->steps * sizeof *watch.seconds);
  }
  const mpt_status status = train_run(&options, result, error);
  *run = timing_of_steps(watch.seconds, watch.timed, s->steps < 100 ? s->steps / 10 : 10);
  free(watch.seconds);
  return status;
}

/* The record last, so that a record means that all of it is there. `again`: it is there. */
static mpt_status keep(search *s, candidate *c, const run_hooks *hooks, bool again,
                       train_result *result, const timing_run *run, store_evaluation *evaluation,
                       mpt_error *error) {
  mpt_status status = MPT_OK;
  MPT_TRY(record_of(s, result, evaluation, error));
  MPT_TRY(timing_of_training(s, c, evaluation->key, run, error));
  if (hooks != NULL)
    MPT_TRY(hooks->on_done(hooks->context, evaluation->key, error));
  if (!again)
    MPT_TRY(store_put_evaluation(s->store, evaluation, error));
  s->trained_now++;
  s->finished++;
  s->finished_seconds += result->total_seconds;
  double seconds;
  MPT_TRY(search_spent(s, &seconds, error));
  return MPT_OK;
fail:
  store_evaluation_clear(evaluation);
  return status;
}

/* What is kept under the key must be of what the key is made from. */
static mpt_status find_record(search *s, const candidate *c, uint64_t seed, const char *key,
                              bool *found, store_evaluation *e, mpt_error *error) {
  MPT_RETURN_IF_FAILED(store_find_evaluation(s->store, key, found, e, error));
  if (!*found || (strcmp(e->policy, c->hash) == 0 && e->seed == seed && e->steps == s->steps))
    return MPT_OK;
  const long long id = e->id;
  store_evaluation_clear(e);
  return store_damaged(s->store, error, "evaluation %lld has the key of another", id);
}

mpt_status search_train(search *s, candidate *c, uint64_t seed, const char *purpose,
                        const run_hooks *hooks, store_evaluation *evaluation, mpt_error *error) {
  char key[65];
  evaluation_key(s, c, seed, key);
  bool found = false;
  MPT_RETURN_IF_FAILED(find_record(s, c, seed, key, &found, evaluation, error));
  /* A search goes on as it began, so that its record of a run given up stays, too. */
  bool enough = found && (s->may_give_up || !evaluation->stopped);
  mpt_status status = MPT_OK;
  if (enough && hooks != NULL)
    status = hooks->is_done(hooks->context, key, &enough, error);
  if (found && (!enough || status != MPT_OK))
    store_evaluation_clear(evaluation);
  MPT_RETURN_IF_FAILED(status);
  if (enough) {
    s->finished++;
    s->finished_seconds += evaluation->total_seconds;
    if (evaluation->steps_done > 0)
      status = timing_of_training(s, c, key, NULL, error);
    if (status != MPT_OK)
      store_evaluation_clear(evaluation);
    return status;
  }
  if (search_interrupted(s))
    return mpt_fail(error, MPT_ERROR_INTERRUPTED, "interrupted");
  train_result result = {0};
  timing_run run = {0};
  mpt_error why = {0};
  status = train_watched(s, c, seed, purpose, hooks, &result, &run, &why);
  if (status != MPT_OK && error != NULL)
    *error = why;
  if (status == MPT_ERROR_DEVICE_MEMORY)
    return out_of_memory(s, c, evaluation, error);
  if (status == MPT_ERROR_DEVICE)
    MPT_RETURN_IF_FAILED(note_fault(s, c, key, seed, purpose, &why, error));
  if (status != MPT_OK)
    return search_failed_device(status, error);
  *evaluation = (store_evaluation){.seed = seed};
  memcpy(evaluation->key, key, sizeof key);
  memcpy(evaluation->policy, c->hash, sizeof evaluation->policy);
  memcpy(evaluation->condition, s->condition.hash, sizeof evaluation->condition);
  snprintf(evaluation->purpose, sizeof evaluation->purpose, "%s", purpose);
  status = search_interrupted(s) ? mpt_fail(error, MPT_ERROR_INTERRUPTED, "interrupted")
                                 : keep(s, c, hooks, found, &result, &run, evaluation, error);
  train_result_clear(&result);
  return status;
}

mpt_status search_candidate(search *s, const mpt_layer_policy *assignment,
                            mpt_loss_scale_policy loss_scale, const char *label, candidate **out,
                            mpt_error *error) {
  const size_t bytes = (size_t)s->graph->layer_count * sizeof *assignment;
  const mpt_loss_scale_policy scale = effective_scale(s, assignment, loss_scale);
  char *text = candidate_text(s, assignment, scale);
  if (text == NULL)
    return mpt_fail_memory(error, "an assignment", bytes);
  char hash[65];
  store_hash(text, strlen(text), hash);
  free(text);
  for (int i = 0; i < s->candidate_count; i++) {
    if (strcmp(s->candidates[i]->hash, hash) != 0)
      continue;
    *out = s->candidates[i];
    return MPT_OK;
  }
  if (s->candidate_count == s->candidate_capacity) {
    int capacity = 2 * s->candidate_capacity + 16;
    candidate **grown = realloc(s->candidates, (size_t)capacity * sizeof *grown);
    if (grown == NULL)
      return mpt_fail_memory(error, "candidates", (size_t)capacity * sizeof *grown);
    s->candidates = grown;
    s->candidate_capacity = capacity;
  }
  candidate *c = calloc(1, sizeof *c);
  if (c != NULL)
    c->assignment = malloc(bytes);
  if (c != NULL)
    c->choice = malloc((size_t)s->space->unit_count * sizeof(int));
  if (c == NULL || c->assignment == NULL || c->choice == NULL) {
    if (c != NULL)
      candidate_clear(c);
    free(c);
    return mpt_fail_memory(error, "a candidate", bytes);
  }
  memcpy(c->assignment, assignment, bytes);
  if (!space_choices(s->space, assignment, c->choice)) {
    free(c->choice);
    c->choice = NULL;
  }
  c->permitted = c->choice != NULL;
  c->loss_scale = scale;
  c->predicted = NAN;
  mpt_copy_text(c->label, sizeof c->label, label);
  mpt_status status = search_price(s, c, error);
  if (status != MPT_OK) {
    candidate_clear(c);
    free(c);
    return status;
  }
  s->candidates[s->candidate_count++] = c;
  *out = c;
  return MPT_OK;
}

mpt_status search_try(search *s, candidate *c, mpt_error *error) {
  const int i = c->seed_count;
  if (i >= s->reference_seeds)
    return mpt_fail(error, MPT_ERROR_INTERNAL, "no search seed is left");
  store_evaluation e = {0};
  MPT_RETURN_IF_FAILED(search_train(s, c, s->reference_seed[i],
                                    c->uniform ? "uniform" : "candidate", NULL, &e, error));
  c->difference[i] = e.diverged || e.stopped || !isfinite(e.metric)
                         ? INFINITY
                         : s->sign * (e.metric - s->reference_metric[i]);
  if (isfinite(c->difference[i]))
    c->metric_sum += e.metric;
  c->memory_bytes = e.memory_bytes;
  c->seed_count++;
  s->trainings++;
  store_evaluation_clear(&e);
  return MPT_OK;
}
