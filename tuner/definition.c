/* What a run is about: the notes "definition" and "layers". A run directory belongs to one training
 * definition; budget, pins, exclusions and target may change. */
#include "base/error.h"
#include "base/file.h"
#include "base/shown.h"
#include "store/run_definition.h"
#include "tuner/ledger.h"
#include <gsl/gsl_version.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

/* What a definition's texts stand in. */
typedef struct definition_texts {
  struct utsname machine;
  char processor[128], budget[64], proxy[160];
  mpt_text quoted; /* the path as a shell takes it: JSON could not hold every path as it is */
} definition_texts;

static void find_processor(char *processor, size_t size) {
  snprintf(processor, size, "unknown");
  FILE *file = fopen("/proc/cpuinfo", "r");
  char line[256];
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    char *colon = strchr(line, ':');
    if (strncmp(line, "model name", 10) != 0 || colon == NULL)
      continue;
    snprintf(processor, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
    break;
  }
  if (file != NULL)
    fclose(file);
}

static store_versions versions_of(const problem *p, definition_texts *texts) {
  const bool gpu = strcmp(p->place.backend, "cuda") == 0;
  const bool cpu = strcmp(p->place.backend, "cpu") == 0;
  const bool known = uname(&texts->machine) == 0;
  find_processor(texts->processor, sizeof texts->processor);
  return (store_versions){.mptune = MPTUNE_VERSION,
                          .backend = p->place.backend,
                          .cpu_numerics = cpu ? MPTUNE_CPU_NUMERICS : -1,
                          .cuda_numerics = gpu ? MPTUNE_CUDA_NUMERICS : -1,
                          .compiler = __VERSION__,
                          .gsl = GSL_VERSION,
                          .os = known ? texts->machine.release : "unknown",
                          .cpu = texts->processor,
                          .gpu = gpu ? p->place.text : NULL};
}

static store_budget budget_of(const problem *p, definition_texts *texts) {
  const budget_spec *b = &p->workload->budget;
  workload_budget_text(p->workload, texts->budget, sizeof texts->budget);
  return (store_budget){.relative = b->relative,
                        .worse_by = b->worse_by,
                        .text = texts->budget,
                        .of_error = b->of_error,
                        .max_diverged = b->max_diverged > 0 ? b->max_diverged : NAN};
}

static store_target target_of(const problem *p) {
  return (store_target){.name = p->profile->name,
                        .device = p->profile->device,
                        .synthetic = p->profile->synthetic,
                        .predicted = !p->place.measures,
                        .times = p->place.device};
}

static store_proxy proxy_of(const problem *p, definition_texts *texts) {
  texts->proxy[0] = '\0';
  if (p->workload->priced.present)
    snprintf(texts->proxy, sizeof texts->proxy, "width %lld, batch %lld, sequence %lld",
             (long long)p->workload->priced.width, (long long)p->priced->batch,
             (long long)p->priced->sequence);
  return (store_proxy){.priced = p->workload->priced.present, .text = texts->proxy};
}

static store_definition definition_of(const problem *p, const char *workload_text,
                                      definition_texts *texts) {
  const workload *w = p->workload;
  mpt_text_add_shell(&texts->quoted, w->path);
  return (store_definition){
      .name = w->name,
      .training_hash = p->training_hash,
      .data_hash = p->condition.data,
      .condition = p->condition.hash,
      .workload_path = w->path,
      .workload_quoted = texts->quoted.data,
      .workload_text = workload_text,
      .command = p->options->command == NULL ? "" : p->options->command,
      .backend = p->place.backend_key,
      .versions = versions_of(p, texts),
      .seed = (int64_t)p->options->seed,
      .threads = w->threads,
      .steps = w->steps,
      .evaluation_steps = p->steps,
      .metric = (int)w->metric,
      .metric_name = w->metric == METRIC_NAMED ? w->metric_name : NULL,
      .metric_higher_is_better = p->sign < 0,
      .over_population = w->metric_over == METRIC_OVER_POPULATION,
      .budget = budget_of(p, texts),
      .alpha = p->options->alpha,
      .pairs = p->options->pairs,
      .reference = mpt_precision_name(w->reference),
      .target = target_of(p),
      .proxy = proxy_of(p, texts),
      .started = (int64_t)time(NULL),
      .from_schema = -1,
  };
}

static bool is_unit(const problem *p, int layer) {
  for (int u = 0; u < p->space->unit_count; u++)
    if (p->space->units[u].layer == layer)
      return true;
  return false;
}

static mpt_status note_layers(ledger *l, const problem *p, mpt_error *error) {
  store_layer *layers = calloc((size_t)p->graph->layer_count + 1, sizeof *layers);
  int count = 0;
  if (layers == NULL)
    return mpt_fail_memory(error, "the layers", 0);
  for (int i = 0; i < p->graph->layer_count; i++) {
    const graph_layer *layer = &p->graph->layers[i];
    if (layer->has_format)
      layers[count++] = (store_layer){.name = layer->info.name,
                                      .kind = layer->info.kind,
                                      .shape = layer->info.shape,
                                      .rank = layer->info.rank,
                                      .rows = layer->info.rows,
                                      .unit = is_unit(p, i),
                                      .gemm = layer->has_gemm};
  }
  const store_layers note = {.layers = layers, .count = count};
  const mpt_status status = store_put_layers(l->store, &note, !l->owner, error);
  free(layers);
  return status;
}

/* A run of another training definition, or of other data, is not continued: its metrics mean
 * something else. */
static mpt_status check_definition(const ledger *l, const problem *p, mpt_error *error) {
  store_definition there;
  bool found = false;
  MPT_RETURN_IF_FAILED(store_get_definition(l->store, &there, &found, error));
  const bool same_training =
      there.training_hash != NULL && strcmp(there.training_hash, p->training_hash) == 0;
  const bool same_data = there.data_hash != NULL && strcmp(there.data_hash, p->condition.data) == 0;
  const bool earlier = there.from_schema >= 0;
  char before[sizeof p->place.backend_key];
  snprintf(before, sizeof before, "%s", there.backend != NULL ? there.backend : "cpu");
  store_definition_clear(&there);
  if (!found)
    return MPT_OK;
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
  definition_texts texts = {.quoted = {0}};
  MPT_RETURN_IF_FAILED(check_definition(l, p, error));
  if (p->workload->text == NULL)
    MPT_RETURN_IF_FAILED(mpt_file_read(p->workload->path, 4 << 20, &text, &length, error));
  const store_definition note = definition_of(p, text != NULL ? text : p->workload->text, &texts);
  const mpt_status status = texts.quoted.failed
                                ? mpt_fail_memory(error, "the workload's path", 0)
                                : store_put_definition(l->store, &note, !l->owner, error);
  mpt_text_free(&texts.quoted);
  free(text);
  MPT_RETURN_IF_FAILED(status);
  return note_layers(l, p, error);
}
