/* Workloads that somebody's program trains: docs/contract.md. */
#include "base/error.h"
#include "base/json.h"
#include "profile/shipped.h"
#include "workload/sections.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is required may be on the command line: check_whole. */
static const mpt_field program_fields[] = {
    WORKLOAD_SECTION("schema", true),
    {"name", MPT_FIELD_TEXT, false, offsetof(workload, name), 64, 0, 0, NULL},
    {"command", MPT_FIELD_TEXT, false, offsetof(workload, command), 4096, 0, 0, NULL},
    {"steps", MPT_FIELD_INTEGER, false, offsetof(workload, steps), 0, 1, 1e9, NULL},
    WORKLOAD_SECTION("metric", false),
    WORKLOAD_SECTION("budget", false),
    WORKLOAD_SECTION("pins", false),
    WORKLOAD_SECTION("exclude", false),
    WORKLOAD_WORD("reference", reference, precision_words, false),
    {"reference_seeds", MPT_FIELD_INT, false, offsetof(workload, reference_seeds), 0, 2,
     WORKLOAD_MAX_SEEDS, NULL},
    WORKLOAD_SECTION("loss_scale", false),
    {"per_gemm", MPT_FIELD_BOOLEAN, false, offsetof(workload, per_gemm), 0, 0, 0, NULL},
    {"target", MPT_FIELD_TEXT, false, offsetof(workload, target), 256, 0, 0, NULL},
};

/* "val_loss", "accuracy:max" */
static mpt_status read_metric(const mpt_yaml_node *node, workload *w, mpt_error *error) {
  const char *text;
  MPT_RETURN_IF_FAILED(mpt_yaml_string(node, "metric", &text, error));
  const char *colon = strrchr(text, ':');
  const size_t length = colon != NULL ? (size_t)(colon - text) : strlen(text);
  if (length == 0 || length >= sizeof w->metric_name)
    return mpt_yaml_fail(node, error, "a metric's name has 1 to %zu bytes",
                         sizeof w->metric_name - 1);
  if (colon != NULL && strcmp(colon, ":min") != 0 && strcmp(colon, ":max") != 0)
    return mpt_yaml_fail(node, error,
                         "metric '%s': behind the ':' stands which is better, min or max", text);
  memcpy(w->metric_name, text, length);
  w->metric_name[length] = '\0';
  w->metric_larger = colon != NULL && strcmp(colon, ":max") == 0;
  return MPT_OK;
}

static mpt_status read_sections(const mpt_yaml_node *root, workload *w, mpt_error *error) {
  const mpt_yaml_node *node;
  if ((node = mpt_yaml_get(root, "metric")) != NULL)
    MPT_RETURN_IF_FAILED(read_metric(node, w, error));
  if ((node = mpt_yaml_get(root, "budget")) != NULL)
    MPT_RETURN_IF_FAILED(budget_read(node, METRIC_NAMED, &w->budget, error));
  if ((node = mpt_yaml_get(root, "pins")) != NULL)
    MPT_RETURN_IF_FAILED(pins_read(node, w, error));
  if ((node = mpt_yaml_get(root, "exclude")) != NULL)
    MPT_RETURN_IF_FAILED(exclusions_read(node, w, error));
  if ((node = mpt_yaml_get(root, "loss_scale")) != NULL)
    MPT_RETURN_IF_FAILED(loss_scale_read(node, &w->loss_scale, error));
  return MPT_OK;
}

static mpt_status read_program(const mpt_yaml_node *root, workload *w, mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(root, MPT_YAML_MAP, "a workload", error));
  MPT_RETURN_IF_FAILED(workload_schema_read(root, error));
  MPT_RETURN_IF_FAILED(mpt_fields_read(root, "a workload that a program trains", program_fields,
                                       MPT_FIELD_COUNT(program_fields), w, error));
  return read_sections(root, w, error);
}

/* ---- the command line ---- */

/* As a workload file has it; the caller frees it. */
static mpt_status given_text(const workload_given *given, char **text, mpt_error *error) {
  json_t *json = mpt_json_pack("{s:s,s:s*,s:s*}", "schema", "mptune/workload@1", "command",
                               given->command, "metric", given->metric);
  if (given->steps > 0)
    mpt_json_set(&json, "steps", json_integer(given->steps));
  if (given->budget != NULL)
    mpt_json_set(&json, "budget", mpt_json_pack("{s:s}", "worse_by", given->budget));
  return mpt_json_dump(json, JSON_INDENT(1), "the command line", text, error);
}

static mpt_status read_given(const workload_given *given, workload *w, mpt_error *error) {
  mpt_yaml *yaml = NULL;
  char *text = NULL;
  MPT_RETURN_IF_FAILED(given_text(given, &text, error));
  mpt_status status =
      mpt_yaml_parse(text, strlen(text), "the command line", WORKLOAD_DEPTH_LIMIT, &yaml, error);
  if (status == MPT_OK)
    status = read_program(mpt_yaml_root(yaml), w, error);
  if (error != NULL && status != MPT_OK) /* lines and columns are of a text that nobody wrote */
    error->file[0] = '\0', error->line = error->column = 0;
  mpt_yaml_free(yaml);
  if (status == MPT_OK && w->path[0] == '\0')
    w->text = text;
  else
    free(text);
  return status;
}

/* ---- the whole ---- */

static mpt_status check_whole(const workload *w, mpt_error *error) {
  const struct {
    bool given;
    const char *what, *key, *option;
  } needed[] = {{w->command[0] != '\0', "program", "command", "--command 'python train.py'"},
                {w->metric_name[0] != '\0', "metric", "metric", "--metric val_loss"},
                {w->budget.worse_by > 0, "budget", "budget", "--budget 0.5%"},
                {w->steps > 0, "length", "steps", "--steps 2000"}};
  for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
    if (!needed[i].given)
      return mpt_fail(error, MPT_ERROR_ARGUMENT,
                      "a search with a program needs a %s: %s, or '%s' in the workload",
                      needed[i].what, needed[i].option, needed[i].key);
  return MPT_OK;
}

static mpt_status read_file(const char *name, workload *w, mpt_error *error) {
  mpt_yaml *yaml = NULL;
  MPT_RETURN_IF_FAILED(shipped_find(SHIPPED_WORKLOAD, name, w->path, error));
  mpt_status status =
      mpt_yaml_load(w->path, WORKLOAD_SIZE_LIMIT, WORKLOAD_DEPTH_LIMIT, &yaml, error);
  if (status == MPT_OK)
    status = read_program(mpt_yaml_root(yaml), w, error);
  if (status == MPT_OK)
    status = workload_name_settle(mpt_yaml_root(yaml), w, error);
  mpt_yaml_free(yaml);
  return status;
}

mpt_status workload_load_program(const char *name, const workload_given *given, workload **out,
                                 mpt_error *error) {
  mpt_status status = MPT_OK;
  workload *w = malloc(sizeof *w);
  if (w == NULL)
    return mpt_fail_memory(error, "a workload", sizeof *w);
  *w = workload_default();
  w->metric = METRIC_NAMED;
  w->target[0] = '\0'; /* its own device, where it times its steps */
  snprintf(w->name, sizeof w->name, "program");
  if (name != NULL)
    MPT_TRY(read_file(name, w, error));
  MPT_TRY(read_given(given, w, error));
  MPT_TRY(check_whole(w, error));
  *out = w;
  return MPT_OK;
fail:
  workload_free(w);
  return status;
}

bool workload_is_program(const char *name) {
  char path[512];
  mpt_yaml *yaml = NULL;
  if (shipped_find(SHIPPED_WORKLOAD, name, path, NULL) != MPT_OK ||
      mpt_yaml_load(path, WORKLOAD_SIZE_LIMIT, WORKLOAD_DEPTH_LIMIT, &yaml, NULL) != MPT_OK)
    return false;
  const bool program = mpt_yaml_get(mpt_yaml_root(yaml), "command") != NULL;
  mpt_yaml_free(yaml);
  return program;
}
