/* Opening a search: workload, data, graphs, device profile, space, run store. A run directory
 * belongs to one training definition; budget, pins, exclusions and target may change. */
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/shown.h"
#include "tuner/budget.h"
#include "tuner/evaluators/builtin.h"
#include "tuner/search.h"
#include "tuner/verify_plan.h"
#include <gsl/gsl_version.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

static mpt_status build_graphs(search *s, mpt_error *error) {
  const workload *w = s->w;
  dataset_info info = *dataset_get_info(s->data);
  MPT_RETURN_IF_FAILED(
      graph_build(w, &w->model, w->batch, w->data.sequence, &info, &s->graph, error));
  model_spec model = {0};
  int64_t batch = 0, sequence = 0;
  MPT_RETURN_IF_FAILED(workload_priced_model(w, &model, &batch, &sequence, error));
  info.sequence = sequence;
  if (w->priced.present && w->priced.vocabulary > 0)
    info.classes = w->priced.vocabulary;
  mpt_status status = graph_build(w, &model, batch, sequence, &info, &s->priced, error);
  model_free(&model);
  return status;
}

static json_t *versions_json(const search *s) {
  struct utsname machine;
  const bool known = uname(&machine) == 0;
  char processor[128] = "unknown";
  FILE *file = fopen("/proc/cpuinfo", "r");
  char line[256];
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    char *colon = strchr(line, ':');
    if (strncmp(line, "model name", 10) != 0 || colon == NULL)
      continue;
    snprintf(processor, sizeof processor, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
    break;
  }
  if (file != NULL)
    fclose(file);
  const bool gpu = strcmp(s->place.backend, "cuda") == 0;
  json_t *json = mpt_json_pack("{s:s,s:s,s:i,s:s,s:s,s:s,s:s}", "mptune", MPTUNE_VERSION, "backend",
                               s->place.backend, gpu ? "cuda_numerics" : "cpu_numerics",
                               gpu ? MPTUNE_CUDA_NUMERICS : MPTUNE_CPU_NUMERICS, "compiler",
                               __VERSION__, "gsl", GSL_VERSION, "os",
                               known ? machine.release : "unknown", "cpu", processor);
  if (gpu)
    mpt_json_set(&json, "gpu", mpt_json_text(s->place.text));
  return json;
}

/* The path as a shell takes it: JSON could not hold every path as it is. */
static json_t *quoted_json(const char *path) {
  mpt_text quoted = {0};
  mpt_text_add_shell(&quoted, path);
  json_t *json = quoted.failed ? NULL : mpt_json_text(quoted.data);
  mpt_text_free(&quoted);
  return json;
}

static json_t *budget_json(const search *s) {
  const budget_spec *b = &s->w->budget;
  char text[64];
  workload_budget_text(s->w, text, sizeof text);
  json_t *json =
      mpt_json_pack("{s:b,s:f,s:s,s:f}", "relative", (int)b->relative, "worse_by", b->worse_by,
                    "text", text, "max_diverged", b->max_diverged > 0 ? b->max_diverged : NAN);
  if (b->of_error)
    mpt_json_set(&json, "of", mpt_json_text("error"));
  return json;
}

static json_t *target_json(const search *s) {
  return mpt_json_pack("{s:s,s:s,s:b,s:b,s:s}", "name", s->profile->name, "device",
                       s->profile->device, "synthetic", (int)s->profile->synthetic, "predicted",
                       (int)!s->place.measures, "times", s->place.device);
}

static json_t *proxy_json(const search *s) {
  char text[160] = "";
  if (s->w->priced.present)
    snprintf(text, sizeof text, "width %lld, batch %lld, sequence %lld",
             (long long)s->w->priced.width, (long long)s->priced->batch,
             (long long)s->priced->sequence);
  return mpt_json_pack("{s:b,s:s}", "priced", (int)s->w->priced.present, "text", text);
}

static json_t *definition_json(const search *s, const char *workload_text) {
  static const char *const metrics[] = {"loss", "accuracy", "f1"};
  const workload *w = s->w;
  json_t *json = mpt_json_pack(
      "{s:s,s:s,s:s,s:s,s:s,s:o,s:s,s:s,s:s,s:o}", "name", w->name, "training_hash",
      s->training_hash, "data_hash", s->condition.data, "condition", s->condition.hash,
      "workload_path", w->path, "workload_quoted", quoted_json(w->path), "workload_text",
      workload_text, "command", s->options->command == NULL ? "" : s->options->command, "backend",
      s->place.backend_key, "versions", versions_json(s));
  mpt_json_set(&json, "seed", json_integer((json_int_t)s->options->seed));
  mpt_json_set(&json, "threads", json_integer(w->threads));
  mpt_json_set(&json, "steps", json_integer((json_int_t)w->steps));
  mpt_json_set(&json, "evaluation_steps", json_integer((json_int_t)s->steps));
  mpt_json_set(&json, "metric", mpt_json_text(metrics[w->metric]));
  mpt_json_set(&json, "metric_higher_is_better", json_boolean(s->sign < 0));
  mpt_json_set(&json, "metric_over",
               mpt_json_text(w->metric_over == METRIC_OVER_POPULATION ? "population" : "held_out"));
  mpt_json_set(&json, "budget", budget_json(s));
  mpt_json_set(&json, "alpha", mpt_json_real(s->options->alpha));
  mpt_json_set(&json, "pairs", json_integer(s->options->pairs));
  mpt_json_set(&json, "reference", mpt_json_text(mpt_precision_name(w->reference)));
  mpt_json_set(&json, "target", target_json(s));
  mpt_json_set(&json, "proxy", proxy_json(s));
  mpt_json_set(&json, "started", json_integer((json_int_t)time(NULL)));
  return json;
}

mpt_status search_note(search *s, const char *name, const char *json, mpt_error *error) {
  if (!s->owner) {
    char *there = NULL;
    MPT_RETURN_IF_FAILED(store_get(s->store, name, &there, error));
    free(there);
    if (there != NULL)
      return MPT_OK;
  }
  return store_set(s->store, name, json, error);
}

static mpt_status store_json(search *s, const char *name, json_t *json, mpt_error *error) {
  char *text = NULL;
  MPT_RETURN_IF_FAILED(mpt_json_dump(json, 0, name, &text, error));
  mpt_status status = search_note(s, name, text, error);
  free(text);
  return status;
}

static mpt_status note_layers(search *s, mpt_error *error) {
  json_t *all = json_array();
  for (int i = 0; i < s->graph->layer_count; i++) {
    const graph_layer *layer = &s->graph->layers[i];
    if (!layer->has_format)
      continue;
    json_t *shape = json_array();
    for (int d = 0; d < layer->info.rank; d++)
      mpt_json_append(&shape, json_integer((json_int_t)layer->info.shape[d]));
    bool unit = false;
    for (int u = 0; u < s->space->unit_count; u++)
      unit = unit || s->space->units[u].layer == i;
    mpt_json_append(&all, mpt_json_pack("{s:s,s:s,s:o,s:I,s:b,s:b}", "name", layer->info.name,
                                        "kind", layer->info.kind, "shape", shape, "rows",
                                        (json_int_t)layer->info.rows, "unit", unit, "gemm",
                                        layer->has_gemm));
  }
  return store_json(s, "layers", all, error);
}

/* A run of another training definition, or of other data, is not continued: its metrics mean
 * something else. */
static mpt_status check_definition(search *s, mpt_error *error) {
  json_t *json = NULL;
  MPT_RETURN_IF_FAILED(store_read_note(s->store, "definition", &json, error));
  if (json == NULL)
    return MPT_OK;
  const char *training = json_string_value(json_object_get(json, "training_hash"));
  const char *data = json_string_value(json_object_get(json, "data_hash"));
  const bool earlier = json_object_get(json, "from_schema") != NULL;
  const char *backend = json_string_value(json_object_get(json, "backend"));
  const bool same_training = training != NULL && strcmp(training, s->training_hash) == 0;
  const bool same_data = data != NULL && strcmp(data, dataset_get_info(s->data)->hash) == 0;
  char before[sizeof s->place.backend_key] = "cpu";
  if (backend != NULL)
    snprintf(before, sizeof before, "%s", backend);
  json_decref(json);
  if (!same_training)
    return mpt_fail(error, MPT_ERROR_MISMATCH,
                    "'%s' holds a search with another model, kind of data, optimizer, batch or "
                    "steps; choose another directory (-o) or start anew beside it (--fresh)",
                    s->options->run);
  if (!same_data)
    return mpt_fail(error, MPT_ERROR_MISMATCH,
                    "the data has changed since the search in '%s' began%s: its results are not "
                    "compared with new ones; put the data back, choose another directory (-o), or "
                    "start anew beside it (--fresh)",
                    s->options->run, earlier ? ", or that earlier mptune read it otherwise" : "");
  if (strcmp(before, s->place.backend_key) != 0)
    return mpt_fail(error, MPT_ERROR_MISMATCH,
                    "'%s' holds a search on %s, and this one is on %s: their results are not "
                    "compared; choose another directory (-o), start anew beside it (--fresh), or "
                    "name the backend (--backend)",
                    s->options->run, before, s->place.backend_key);
  return MPT_OK;
}

static mpt_status note_definition(search *s, mpt_error *error) {
  char *text = NULL;
  size_t length = 0;
  MPT_RETURN_IF_FAILED(check_definition(s, error));
  MPT_RETURN_IF_FAILED(mpt_file_read(s->w->path, 4 << 20, &text, &length, error));
  json_t *json = definition_json(s, text);
  free(text);
  MPT_RETURN_IF_FAILED(store_json(s, "definition", json, error));
  return note_layers(s, error);
}

static mpt_status open_reference(search *s, mpt_error *error) {
  candidate *r = &s->reference;
  r->assignment = calloc((size_t)s->graph->layer_count, sizeof *r->assignment);
  r->choice = calloc((size_t)s->space->unit_count + 1, sizeof *r->choice);
  s->increase = calloc((size_t)s->space->unit_count + 1, sizeof *s->increase);
  if (r->assignment == NULL || r->choice == NULL || s->increase == NULL)
    return mpt_fail_memory(error, "the reference", 0);
  for (int u = 0; u < s->space->unit_count; u++) {
    s->increase[u] = calloc((size_t)s->space->units[u].choice_count + 1, sizeof(double));
    if (s->increase[u] == NULL)
      return mpt_fail_memory(error, "the search space", 0);
  }
  space_uniform(s->space, s->w->reference, r->assignment, &r->permitted);
  r->permitted = space_choices(s->space, r->assignment, r->choice);
  r->uniform = true;
  r->precision = s->w->reference;
  r->loss_scale = s->w->loss_scale;
  r->predicted = 0;
  snprintf(r->label, sizeof r->label, "all-%s", mpt_precision_name(s->w->reference));
  return search_price(s, r, error);
}

/* The built-in trainer, unless another was given. */
static mpt_status open_evaluator(search *s, mpt_error *error) {
  s->evaluator = s->options->evaluator;
  if (s->evaluator != NULL)
    return MPT_OK;
  const int layers = s->graph->layer_count, units = s->space->unit_count;
  int *probed = calloc((size_t)units + 1, sizeof *probed);
  int *blamed = calloc((size_t)layers + 1, sizeof *blamed);
  mpt_status status = MPT_OK;
  if (probed == NULL || blamed == NULL) {
    status = mpt_fail_memory(error, "the built-in trainer", 0);
    goto fail;
  }
  for (int u = 0; u < units; u++)
    probed[u] = s->space->units[u].layer;
  /* The unit that the layer is or follows, whose format it has. */
  for (int i = 0; i < layers; i++) {
    const int leader = s->space->leader_of_layer[i];
    blamed[i] = leader >= 0 ? s->space->units[leader].layer : -1;
  }
  const builtin_options options = {.workload = s->w,
                                   .graph = s->graph,
                                   .data = s->data,
                                   .backend = s->place.backend,
                                   .device_index = s->place.device_index,
                                   .probed_layers = probed,
                                   .probed_count = units,
                                   .blamed = blamed};
  status = builtin_open(&options, &s->evaluator, error);
  s->owns_evaluator = status == MPT_OK;
fail:
  free(probed);
  free(blamed);
  return status;
}

static mpt_status open_store(search *s, mpt_error *error) {
  store_condition *c = &s->condition;
  memcpy(c->training, s->training_hash, sizeof c->training);
  snprintf(c->data, sizeof c->data, "%s", dataset_get_info(s->data)->hash);
  c->steps = s->steps;
  snprintf(c->numerics, sizeof c->numerics, "%s", s->place.numerics);
  store_condition_hash(c);
  if (s->options->dry_run)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(store_open(s->options->run, STORE_WRITE, &s->store, error));
  MPT_RETURN_IF_FAILED(note_definition(s, error));
  MPT_RETURN_IF_FAILED(store_put_condition(s->store, c, error));
  if (!s->owner)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(store_begin_process(s->store, &s->process, error));
  return store_process_seconds(s->store, s->process, &s->earlier_seconds, error);
}

mpt_status search_open(search *s, const workload *w, const tuner_options *options, bool owner,
                       mpt_error *error) {
  *s = (search){.owner = owner, .w = w, .options = options, .started = mpt_clock_seconds()};
  s->steps = options->evaluation_steps > 0 ? options->evaluation_steps : w->steps;
  s->sign = w->metric == METRIC_LOSS ? 1 : -1;
  s->equal_time = SEARCH_EQUAL_TIME;
  s->may_give_up = true;
  MPT_RETURN_IF_FAILED(dataset_open(&w->data, &s->data, error));
  /* Before a directory is made for what cannot be trained. */
  if (w->batch > dataset_get_info(s->data)->training)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "a batch of %lld samples is more than the %lld there are to train on; make the "
                    "batch smaller",
                    (long long)w->batch, (long long)dataset_get_info(s->data)->training);
  if (owner)
    MPT_RETURN_IF_FAILED(budget_check_resolution(w, budget_judged(w, dataset_get_info(s->data)),
                                                 options->alpha * VERIFY_MOST_WEIGHT,
                                                 options->pairs, error));
  MPT_RETURN_IF_FAILED(build_graphs(s, error));
  MPT_RETURN_IF_FAILED(place_open(w, options, &s->place, &s->profile, error));
  const profile *p = s->profile;
  if (p->synthetic)
    snprintf(s->profile_identity, sizeof s->profile_identity, "%.60s, %.60s", p->name, p->device);
  else
    snprintf(s->profile_identity, sizeof s->profile_identity,
             "%.60s, %.60s, driver %.40s, CUDA %.20s, %.30s", p->name, p->device, p->driver,
             p->cuda, p->measured);
  MPT_RETURN_IF_FAILED(space_build(w, s->graph, p, s->place.fast, &s->space, error));
  MPT_RETURN_IF_FAILED(open_evaluator(s, error));
  MPT_RETURN_IF_FAILED(workload_training_hash(w, s->training_hash, error));
  MPT_RETURN_IF_FAILED(open_store(s, error));
  return open_reference(s, error);
}

void search_close(search *s) {
  for (int i = 0; i < s->candidate_count; i++) {
    candidate_clear(s->candidates[i]);
    free(s->candidates[i]);
  }
  free(s->candidates);
  for (int u = 0; s->increase != NULL && u < s->space->unit_count; u++)
    free(s->increase[u]);
  free(s->increase);
  free(s->reference_losses);
  candidate_clear(&s->reference);
  predictor_close(s->predictor);
  sensitivity_free(s->sensitivity);
  if (s->owns_evaluator)
    evaluator_close(s->evaluator);
  store_close(s->store);
  space_free(s->space);
  profile_free(s->profile);
  graph_free(s->priced);
  graph_free(s->graph);
  dataset_close(s->data);
  *s = (search){0};
}
