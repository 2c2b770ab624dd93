/* What a run is about: the notes "definition" and "layers". A run directory belongs to one training
 * definition; budget, pins, exclusions and target may change. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/shown.h"
#include "store/notes.h"
#include "tuner/ledger.h"
#include <gsl/gsl_version.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

static json_t *versions_json(const problem *p) {
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
  const bool gpu = strcmp(p->place.backend, "cuda") == 0;
  json_t *json = mpt_json_pack("{s:s,s:s,s:i,s:s,s:s,s:s,s:s}", "mptune", MPTUNE_VERSION, "backend",
                               p->place.backend, gpu ? "cuda_numerics" : "cpu_numerics",
                               gpu ? MPTUNE_CUDA_NUMERICS : MPTUNE_CPU_NUMERICS, "compiler",
                               __VERSION__, "gsl", GSL_VERSION, "os",
                               known ? machine.release : "unknown", "cpu", processor);
  if (gpu)
    mpt_json_set(&json, "gpu", mpt_json_text(p->place.text));
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

static json_t *budget_json(const problem *p) {
  const budget_spec *b = &p->workload->budget;
  char text[64];
  workload_budget_text(p->workload, text, sizeof text);
  json_t *json =
      mpt_json_pack("{s:b,s:f,s:s,s:f}", "relative", (int)b->relative, "worse_by", b->worse_by,
                    "text", text, "max_diverged", b->max_diverged > 0 ? b->max_diverged : NAN);
  if (b->of_error)
    mpt_json_set(&json, "of", mpt_json_text("error"));
  return json;
}

static json_t *target_json(const problem *p) {
  return mpt_json_pack("{s:s,s:s,s:b,s:b,s:s}", "name", p->profile->name, "device",
                       p->profile->device, "synthetic", (int)p->profile->synthetic, "predicted",
                       (int)!p->place.measures, "times", p->place.device);
}

static json_t *proxy_json(const problem *p) {
  char text[160] = "";
  if (p->workload->priced.present)
    snprintf(text, sizeof text, "width %lld, batch %lld, sequence %lld",
             (long long)p->workload->priced.width, (long long)p->priced->batch,
             (long long)p->priced->sequence);
  return mpt_json_pack("{s:b,s:s}", "priced", (int)p->workload->priced.present, "text", text);
}

static json_t *definition_json(const problem *p, const char *workload_text) {
  static const char *const metrics[] = {"loss", "accuracy", "f1"};
  const workload *w = p->workload;
  json_t *json = mpt_json_pack(
      "{s:s,s:s,s:s,s:s,s:s,s:o,s:s,s:s,s:s,s:o}", "name", w->name, "training_hash",
      p->training_hash, "data_hash", p->condition.data, "condition", p->condition.hash,
      "workload_path", w->path, "workload_quoted", quoted_json(w->path), "workload_text",
      workload_text, "command", p->options->command == NULL ? "" : p->options->command, "backend",
      p->place.backend_key, "versions", versions_json(p));
  mpt_json_set(&json, "seed", json_integer((json_int_t)p->options->seed));
  mpt_json_set(&json, "threads", json_integer(w->threads));
  mpt_json_set(&json, "steps", json_integer((json_int_t)w->steps));
  mpt_json_set(&json, "evaluation_steps", json_integer((json_int_t)p->steps));
  mpt_json_set(&json, "metric", mpt_json_text(metrics[w->metric]));
  mpt_json_set(&json, "metric_higher_is_better", json_boolean(p->sign < 0));
  mpt_json_set(&json, "metric_over",
               mpt_json_text(w->metric_over == METRIC_OVER_POPULATION ? "population" : "held_out"));
  mpt_json_set(&json, "budget", budget_json(p));
  mpt_json_set(&json, "alpha", mpt_json_real(p->options->alpha));
  mpt_json_set(&json, "pairs", json_integer(p->options->pairs));
  mpt_json_set(&json, "reference", mpt_json_text(mpt_precision_name(w->reference)));
  mpt_json_set(&json, "target", target_json(p));
  mpt_json_set(&json, "proxy", proxy_json(p));
  mpt_json_set(&json, "started", json_integer((json_int_t)time(NULL)));
  return json;
}

static mpt_status store_json(ledger *l, const char *name, json_t *json, mpt_error *error) {
  char *text = NULL;
  MPT_RETURN_IF_FAILED(mpt_json_dump(json, 0, name, &text, error));
  mpt_status status = ledger_note(l, name, text, error);
  free(text);
  return status;
}

static mpt_status note_layers(ledger *l, const problem *p, mpt_error *error) {
  json_t *all = json_array();
  for (int i = 0; i < p->graph->layer_count; i++) {
    const graph_layer *layer = &p->graph->layers[i];
    if (!layer->has_format)
      continue;
    json_t *shape = json_array();
    for (int d = 0; d < layer->info.rank; d++)
      mpt_json_append(&shape, json_integer((json_int_t)layer->info.shape[d]));
    bool unit = false;
    for (int u = 0; u < p->space->unit_count; u++)
      unit = unit || p->space->units[u].layer == i;
    mpt_json_append(&all, mpt_json_pack("{s:s,s:s,s:o,s:I,s:b,s:b}", "name", layer->info.name,
                                        "kind", layer->info.kind, "shape", shape, "rows",
                                        (json_int_t)layer->info.rows, "unit", unit, "gemm",
                                        layer->has_gemm));
  }
  return store_json(l, "layers", all, error);
}

/* A run of another training definition, or of other data, is not continued: its metrics mean
 * something else. */
static mpt_status check_definition(const ledger *l, const problem *p, mpt_error *error) {
  json_t *json = NULL;
  MPT_RETURN_IF_FAILED(store_read_note(l->store, "definition", &json, error));
  if (json == NULL)
    return MPT_OK;
  const char *training = json_string_value(json_object_get(json, "training_hash"));
  const char *data = json_string_value(json_object_get(json, "data_hash"));
  const bool earlier = json_object_get(json, "from_schema") != NULL;
  const char *backend = json_string_value(json_object_get(json, "backend"));
  const bool same_training = training != NULL && strcmp(training, p->training_hash) == 0;
  const bool same_data = data != NULL && strcmp(data, dataset_get_info(p->data)->hash) == 0;
  char before[sizeof p->place.backend_key] = "cpu";
  if (backend != NULL)
    snprintf(before, sizeof before, "%s", backend);
  json_decref(json);
  if (!same_training)
    return mpt_fail(error, MPT_ERROR_MISMATCH,
                    "'%s' holds a search with another model, kind of data, optimizer, batch or "
                    "steps; choose another directory (-o) or start anew beside it (--fresh)",
                    p->options->run);
  if (!same_data)
    return mpt_fail(error, MPT_ERROR_MISMATCH,
                    "the data has changed since the search in '%s' began%s: its results are not "
                    "compared with new ones; put the data back, choose another directory (-o), or "
                    "start anew beside it (--fresh)",
                    p->options->run, earlier ? ", or that earlier mptune read it otherwise" : "");
  if (strcmp(before, p->place.backend_key) != 0)
    return mpt_fail(error, MPT_ERROR_MISMATCH,
                    "'%s' holds a search on %s, and this one is on %s: their results are not "
                    "compared; choose another directory (-o), start anew beside it (--fresh), or "
                    "name the backend (--backend)",
                    p->options->run, before, p->place.backend_key);
  return MPT_OK;
}

mpt_status definition_note(ledger *l, const problem *p, mpt_error *error) {
  char *text = NULL;
  size_t length = 0;
  MPT_RETURN_IF_FAILED(check_definition(l, p, error));
  MPT_RETURN_IF_FAILED(mpt_file_read(p->workload->path, 4 << 20, &text, &length, error));
  json_t *json = definition_json(p, text);
  free(text);
  MPT_RETURN_IF_FAILED(store_json(l, "definition", json, error));
  return note_layers(l, p, error);
}
