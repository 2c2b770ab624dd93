#include "store/run_definition.h"
#include "store/record.h"
#include "workload/workload.h"
#include <string.h>

static const char *metric_word(int metric) {
  static const char *const words[] = {[METRIC_LOSS] = "loss",
                                      [METRIC_ACCURACY] = "accuracy",
                                      [METRIC_F1] = "f1",
                                      [METRIC_NAMED] = "a program's"};
  return words[metric];
}

static const record_type metric_type = {
    .kind = RECORD_WORD, .word = metric_word, .word_count = 4, .what = "a metric"};
static const record_type over_type = {.kind = RECORD_FLAG,
                                      .flag_words = {"held_out", "population"},
                                      .what = "held_out or population"};
static const record_type of_error_type = {
    .kind = RECORD_FLAG, .flag_words = {NULL, "error"}, .what = "error"};
static const record_type predicted_type = {
    .kind = RECORD_FLAG, .otherwise = true, .what = "true or false"};

static const record_member budget_members[] = {
    FLAG_MEMBER(store_budget, relative, record_flag),
    NUMBER_MEMBER(store_budget, worse_by, record_positive, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_budget, text, record_text, RECORD_LEFT_OUT),
    NUMBER_MEMBER(store_budget, max_diverged, record_share, RECORD_NULL),
    {"of", &of_error_type, offsetof(store_budget, of_error), 0, RECORD_LEFT_OUT}};
static const record_type budget_type = RECORD_OBJECT_OF(budget_members);

static const record_member target_members[] = {
    TEXT_MEMBER(store_target, name, record_text, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_target, device, record_text, RECORD_LEFT_OUT),
    FLAG_MEMBER(store_target, synthetic, record_flag),
    FLAG_MEMBER(store_target, predicted, predicted_type),
    TEXT_MEMBER(store_target, times, record_text, RECORD_LEFT_OUT)};
static const record_type target_type = RECORD_OBJECT_OF(target_members);

static const record_member proxy_members[] = {
    FLAG_MEMBER(store_proxy, priced, record_flag),
    TEXT_MEMBER(store_proxy, text, record_text, RECORD_LEFT_OUT)};
static const record_type proxy_type = RECORD_OBJECT_OF(proxy_members);

static const record_member versions_members[] = {
    TEXT_MEMBER(store_versions, mptune, record_text, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_versions, backend, record_text, RECORD_LEFT_OUT),
    WHOLE_MEMBER(store_versions, cpu_numerics, record_count, RECORD_LEFT_OUT),
    WHOLE_MEMBER(store_versions, cuda_numerics, record_count, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_versions, compiler, record_text, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_versions, gsl, record_text, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_versions, os, record_text, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_versions, cpu, record_text, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_versions, gpu, record_text, RECORD_LEFT_OUT)};
static const record_type versions_type = RECORD_OBJECT_OF(versions_members);

static const record_member members[] = {
    TEXT_MEMBER(store_definition, name, record_text, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_definition, training_hash, record_text, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_definition, data_hash, record_text, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_definition, condition, record_text, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_definition, workload_path, record_text, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_definition, workload_quoted, record_text, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_definition, workload_text, record_text, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_definition, command, record_text, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_definition, backend, record_text, RECORD_LEFT_OUT),
    OBJECT_MEMBER(store_definition, versions, store_versions, versions_type, RECORD_LEFT_OUT),
    WHOLE_MEMBER(store_definition, seed, record_count, RECORD_LEFT_OUT),
    WHOLE_MEMBER(store_definition, threads, record_count, RECORD_LEFT_OUT),
    WHOLE_MEMBER(store_definition, steps, record_count, RECORD_LEFT_OUT),
    WHOLE_MEMBER(store_definition, evaluation_steps, record_count, RECORD_LEFT_OUT),
    WORD_MEMBER(store_definition, metric, int, metric_type, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_definition, metric_name, record_text, RECORD_LEFT_OUT),
    FLAG_MEMBER(store_definition, metric_higher_is_better, record_flag),
    {"metric_over", &over_type, offsetof(store_definition, over_population), 0, RECORD_NULL},
    OBJECT_MEMBER(store_definition, budget, store_budget, budget_type, RECORD_LEFT_OUT),
    NUMBER_MEMBER(store_definition, alpha, record_share, RECORD_LEFT_OUT),
    WHOLE_MEMBER(store_definition, pairs, record_count, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_definition, reference, record_text, RECORD_LEFT_OUT),
    OBJECT_MEMBER(store_definition, target, store_target, target_type, RECORD_LEFT_OUT),
    OBJECT_MEMBER(store_definition, proxy, store_proxy, proxy_type, RECORD_LEFT_OUT),
    WHOLE_MEMBER(store_definition, started, record_moment, RECORD_LEFT_OUT),
    WHOLE_MEMBER(store_definition, from_schema, record_count, RECORD_LEFT_OUT)};
static const record_type type = RECORD_OBJECT_OF(members);
static const record definition_record = {.name = "definition",
                                         .size = sizeof(store_definition),
                                         .whole = {.type = &type},
                                         .spaced = true};

mpt_status store_put_definition(store *s, const store_definition *definition, bool keep,
                                mpt_error *error) {
  return record_put(s, &definition_record, "definition", definition, keep, error);
}

mpt_status store_get_definition(store *s, store_definition *definition, bool *found,
                                mpt_error *error) {
  return record_get(s, &definition_record, "definition", definition, found, error);
}

void store_definition_clear(store_definition *definition) {
  record_clear(definition, sizeof *definition);
}

json_t *store_definition_json(const store_definition *definition) {
  return record_json(&definition_record, definition);
}

const char *store_definition_metric(const store_definition *definition) {
  if (definition->metric_name != NULL)
    return definition->metric_name;
  return definition->metric < 0 ? NULL : metric_word(definition->metric);
}

/* ---- layers ---- */

static const record_member layer_members[] = {
    TEXT_MEMBER(store_layer, name, record_layer, RECORD_REQUIRED),
    TEXT_MEMBER(store_layer, kind, record_text, RECORD_LEFT_OUT),
    LIST_MEMBER(store_layer, shape, int64_t, rank, record_counts, RECORD_LEFT_OUT),
    WHOLE_MEMBER(store_layer, rows, record_count, RECORD_LEFT_OUT),
    FLAG_MEMBER(store_layer, unit, record_flag),
    FLAG_MEMBER(store_layer, gemm, record_flag)};
static const record_type layer_type = RECORD_OBJECT_OF(layer_members);
static const record_type layers_type = RECORD_LIST_OF(store_layer, layer_type);
static const record layers_record = {.name = "layers",
                                     .size = sizeof(store_layers),
                                     .whole =
                                         RECORD_LIST_IN(store_layers, layers, count, layers_type),
                                     .spaced = true};

mpt_status store_put_layers(store *s, const store_layers *layers, bool keep, mpt_error *error) {
  return record_put(s, &layers_record, "layers", layers, keep, error);
}

mpt_status store_get_layers(store *s, store_layers *layers, bool *found, mpt_error *error) {
  return record_get(s, &layers_record, "layers", layers, found, error);
}

void store_layers_clear(store_layers *layers) {
  record_clear(layers, sizeof *layers);
}

bool store_layers_has_gemm(const store_layers *layers, const char *name) {
  for (int i = 0; i < layers->count; i++)
    if (strcmp(layers->layers[i].name, name) == 0)
      return layers->layers[i].gemm;
  return true;
}
