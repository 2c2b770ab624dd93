/* A workload file, from its top-level keys down. */
#include "base/error.h"
#include "base/file.h"
#include "base/number.h"
#include "profile/shipped.h"
#include "workload/sections.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const loss_words[] = {"cross_entropy", "nll", "binary_cross_entropy", "mse", NULL};
const char *const metric_words[] = {"loss", "accuracy", "f1", NULL};
static const char *const metric_over_words[] = {"held_out", "population", NULL};
const char *const precision_words[] = {"fp32", "tf32", "bf16", "fp16", "fp8", NULL};

static const mpt_field workload_fields[] = {
    WORKLOAD_SECTION("schema", true),
    {"name", MPT_FIELD_TEXT, false, offsetof(workload, name), 64, 0, 0, NULL},
    WORKLOAD_SECTION("model", true),
    WORKLOAD_SECTION("data", true),
    WORKLOAD_WORD("loss", loss, loss_words, true),
    WORKLOAD_SECTION("optimizer", true),
    WORKLOAD_SECTION("schedule", false),
    {"batch", MPT_FIELD_INTEGER, true, offsetof(workload, batch), 0, 1, 1e9, NULL},
    {"steps", MPT_FIELD_INTEGER, true, offsetof(workload, steps), 0, 1, 1e12, NULL},
    {"threads", MPT_FIELD_INT, false, offsetof(workload, threads), 0, 1, 1024, NULL},
    {"checkpoint", MPT_FIELD_TEXT, false, offsetof(workload, checkpoint), 512, 0, 0, NULL},
    WORKLOAD_WORD("metric", metric, metric_words, false),
    WORKLOAD_WORD("metric_over", metric_over, metric_over_words, false),
    WORKLOAD_SECTION("budget", true),
    WORKLOAD_SECTION("pins", false),
    WORKLOAD_SECTION("exclude", false),
    WORKLOAD_WORD("reference", reference, precision_words, false),
    WORKLOAD_SECTION("loss_scale", false),
    {"per_gemm", MPT_FIELD_BOOLEAN, false, offsetof(workload, per_gemm), 0, 0, 0, NULL},
    {"reference_seeds", MPT_FIELD_INT, false, offsetof(workload, reference_seeds), 0, 2,
     WORKLOAD_MAX_SEEDS, NULL},
    {"target", MPT_FIELD_TEXT, false, offsetof(workload, target), 256, 0, 0, NULL},
    WORKLOAD_SECTION("priced_as", false),
};

static const mpt_field priced_fields[] = {
    {"width", MPT_FIELD_INTEGER, false, offsetof(priced_spec, width), 0, 1, 1e9, NULL},
    {"batch", MPT_FIELD_INTEGER, false, offsetof(priced_spec, batch), 0, 1, 1e9, NULL},
    {"sequence", MPT_FIELD_INTEGER, false, offsetof(priced_spec, sequence), 0, 1, 1e9, NULL},
    {"heads", MPT_FIELD_INTEGER, false, offsetof(priced_spec, heads), 0, 1, 1e6, NULL},
    {"vocabulary", MPT_FIELD_INTEGER, false, offsetof(priced_spec, vocabulary), 0, 1, 1e9, NULL},
};

static mpt_status read_priced(const mpt_yaml_node *map, workload *w, mpt_error *error) {
  priced_spec *priced = &w->priced;
  MPT_RETURN_IF_FAILED(mpt_fields_read(map, "priced_as", priced_fields,
                                       MPT_FIELD_COUNT(priced_fields), priced, error));
  priced->present = true;
  bool gpt = strcmp(w->model.preset, "gpt") == 0;
  const char *const gpt_only[] = {"heads", "vocabulary"};
  for (size_t i = 0; i < 2; i++)
    if (!gpt && mpt_yaml_get(map, gpt_only[i]) != NULL)
      return mpt_yaml_fail(mpt_yaml_get(map, gpt_only[i]), error,
                           "priced_as: %s is taken by the gpt preset only", gpt_only[i]);
  if (priced->width > 0 && (w->model.preset[0] == '\0' || w->model.width == 0))
    return mpt_yaml_fail(mpt_yaml_get(map, "width"), error,
                         "priced_as: width needs a preset with hidden layers; a list of layers is "
                         "priced at its own widths");
  if (priced->sequence > 0 && w->data.sequence == 0)
    return mpt_yaml_fail(mpt_yaml_get(map, "sequence"), error,
                         "priced_as: sequence is for text; this data has none");
  int64_t width = priced->width > 0 ? priced->width : w->model.width;
  int64_t heads = priced->heads > 0 ? priced->heads : w->model.heads;
  if (gpt && width % heads != 0)
    return mpt_yaml_fail(map, error, "priced_as: width %lld is not a multiple of heads %lld",
                         (long long)width, (long long)heads);
  return MPT_OK;
}

static mpt_status check_together(const mpt_yaml_node *root, workload *w, mpt_error *error) {
  bool classes = w->data.classes > 0 || w->data.sequence > 0;
  bool wants_classes = w->loss == LOSS_CROSS_ENTROPY || w->loss == LOSS_NLL;
  if (classes != wants_classes)
    return mpt_yaml_fail(mpt_yaml_get(root, "loss"), error, "loss %s needs %s; this data has %s",
                         loss_words[w->loss],
                         wants_classes ? "classes (data: classes, or text)" : "float targets",
                         classes ? "classes" : "float targets");
  if (w->loss == LOSS_BINARY && w->data.kind == DATA_SYNTHETIC)
    return mpt_yaml_fail(
        mpt_yaml_get(root, "loss"), error,
        "loss binary_cross_entropy takes targets in [0, 1], and those of synthetic "
        "data have any size; use mse, or classes and cross_entropy");
  w->data.probabilities = w->loss == LOSS_BINARY;
  if (w->loss == LOSS_MSE && w->metric != METRIC_LOSS)
    return mpt_yaml_fail(mpt_yaml_get(root, "metric"), error,
                         "metric %s needs classes; with loss mse only 'loss' makes sense",
                         metric_words[w->metric]);
  if (w->metric_over == METRIC_OVER_POPULATION && w->metric == METRIC_LOSS)
    return mpt_yaml_fail(mpt_yaml_get(root, "metric_over"), error,
                         "metric_over: population goes with metric accuracy or f1, which keep what "
                         "each held-out sample says; the loss is judged over held_out");
  return MPT_OK;
}

static mpt_status read_optional(const mpt_yaml_node *root, workload *w, mpt_error *error) {
  const mpt_yaml_node *node;
  if ((node = mpt_yaml_get(root, "schedule")) != NULL)
    MPT_RETURN_IF_FAILED(schedule_read(node, &w->optimizer, error));
  if ((node = mpt_yaml_get(root, "pins")) != NULL)
    MPT_RETURN_IF_FAILED(pins_read(node, w, error));
  if ((node = mpt_yaml_get(root, "exclude")) != NULL)
    MPT_RETURN_IF_FAILED(exclusions_read(node, w, error));
  if ((node = mpt_yaml_get(root, "loss_scale")) != NULL)
    MPT_RETURN_IF_FAILED(loss_scale_read(node, &w->loss_scale, error));
  if ((node = mpt_yaml_get(root, "priced_as")) != NULL)
    MPT_RETURN_IF_FAILED(read_priced(node, w, error));
  return MPT_OK;
}

static mpt_status read_workload(const mpt_yaml_node *root, workload *w, mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(root, MPT_YAML_MAP, "a workload", error));
  if (mpt_yaml_get(root, "command") != NULL)
    return mpt_yaml_fail(mpt_yaml_get(root, "command"), error,
                         "this workload is trained by a program, which 'mptune tune' runs; "
                         "everything else needs a model and data");
  MPT_RETURN_IF_FAILED(workload_schema_read(root, error));
  MPT_RETURN_IF_FAILED(mpt_fields_read(root, "a workload", workload_fields,
                                       MPT_FIELD_COUNT(workload_fields), w, error));
  MPT_RETURN_IF_FAILED(workload_name_settle(root, w, error));
  MPT_RETURN_IF_FAILED(data_spec_read(mpt_yaml_get(root, "data"), &w->data, error));
  MPT_RETURN_IF_FAILED(model_spec_read(mpt_yaml_get(root, "model"), &w->data, &w->model, error));
  MPT_RETURN_IF_FAILED(optimizer_read(mpt_yaml_get(root, "optimizer"), &w->optimizer, error));
  MPT_RETURN_IF_FAILED(budget_read(mpt_yaml_get(root, "budget"), w->metric, &w->budget, error));
  snprintf(w->metric_name, sizeof w->metric_name, "%s", metric_words[w->metric]);
  MPT_RETURN_IF_FAILED(read_optional(root, w, error));
  return check_together(root, w, error);
}

workload workload_default(void) {
  return (workload){
      .optimizer = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .accumulate = 1},
      .threads = 1,
      .metric = METRIC_LOSS,
      .reference = MPT_PRECISION_FP32,
      .loss_scale = {MPT_LOSS_SCALE_DYNAMIC, 65536.0f},
      .reference_seeds = 3,
      .target = "nvidia-h200",
  };
}

bool workload_larger_is_better(const workload *w) {
  return w->metric == METRIC_NAMED ? w->metric_larger : w->metric != METRIC_LOSS;
}

bool metric_moves_in_steps(int metric) {
  return metric != METRIC_LOSS && metric != METRIC_NAMED;
}

mpt_status workload_load(const char *name, workload **out, mpt_error *error) {
  mpt_yaml *yaml = NULL;
  mpt_status status = MPT_OK;
  workload *w = malloc(sizeof *w);
  if (w == NULL)
    return mpt_fail_memory(error, "a workload", sizeof *w);
  *w = workload_default();
  MPT_TRY(shipped_find(SHIPPED_WORKLOAD, name, w->path, error));
  MPT_TRY(mpt_yaml_load(w->path, WORKLOAD_SIZE_LIMIT, WORKLOAD_DEPTH_LIMIT, &yaml, error));
  MPT_TRY(read_workload(mpt_yaml_root(yaml), w, error));
  mpt_yaml_free(yaml);
  *out = w;
  return MPT_OK;
fail:
  mpt_yaml_free(yaml);
  workload_free(w);
  return status;
}

void workload_free(workload *w) {
  if (w == NULL)
    return;
  model_free(&w->model);
  data_spec_free(&w->data);
  free(w->pins);
  free(w->text);
  free(w);
}
