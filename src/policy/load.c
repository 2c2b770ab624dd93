/* Reading mptune/policy@1: every key is known, every value checked at its place. */
#include "base/error.h"
#include "policy/policy_data.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define SIZE_LIMIT  ((size_t)4 << 20)
#define DEPTH_LIMIT 16

static mpt_status read_loss_scale(const mpt_yaml_node *node, mpt_policy *policy, mpt_error *error) {
  static const char *const keys[] = {"mode", "initial"};
  static const char *const modes[] = {"dynamic", "static", "none"};
  int mode = 0;
  double initial = POLICY_LOSS_SCALE;
  MPT_RETURN_IF_FAILED(mpt_yaml_check_keys(node, "loss_scale", keys, 2, error));
  const mpt_yaml_node *child = mpt_yaml_get(node, "mode");
  if (child != NULL)
    MPT_RETURN_IF_FAILED(mpt_policy_read_word(child, "mode", modes, 3, &mode, error));
  if ((child = mpt_yaml_get(node, "initial")) != NULL) {
    MPT_RETURN_IF_FAILED(mpt_yaml_number(child, "initial", 0x1p-24, 0x1p100, &initial, error));
    int exponent;
    if (frexp(initial, &exponent) != 0.5)
      return mpt_yaml_fail(child, error, "initial is %s; a loss scale is a power of two, 65536",
                           child->scalar);
  }
  policy->has_loss_scale = true;
  policy->loss_scale = (mpt_loss_scale_policy){(mpt_loss_scale_mode)mode, (float)initial};
  return MPT_OK;
}

static mpt_status read_text(const mpt_yaml_node *node, const char *what, char *out, size_t size,
                            mpt_error *error) {
  const char *word;
  MPT_RETURN_IF_FAILED(mpt_yaml_string(node, what, &word, error));
  if (word[0] == '\0')
    return mpt_yaml_fail(node, error, "%s is empty", what);
  if (strlen(word) >= size)
    return mpt_yaml_fail(node, error, "%s has at most %zu bytes", what, size - 1);
  snprintf(out, size, "%s", word);
  return MPT_OK;
}

static mpt_status read_layer(const mpt_yaml_node *node, mpt_layer_info *layer, mpt_error *error) {
  static const char *const keys[] = {"name", "kind", "shape", "rows"};
  MPT_RETURN_IF_FAILED(mpt_yaml_check_keys(node, "a layer", keys, 4, error));
  const mpt_yaml_node *child = mpt_yaml_get(node, "name");
  if (child == NULL)
    return mpt_yaml_fail(node, error, "a layer needs a name");
  MPT_RETURN_IF_FAILED(read_text(child, "name", layer->name, sizeof layer->name, error));
  if ((child = mpt_yaml_get(node, "kind")) != NULL)
    MPT_RETURN_IF_FAILED(read_text(child, "kind", layer->kind, sizeof layer->kind, error));
  if ((child = mpt_yaml_get(node, "shape")) != NULL) {
    MPT_RETURN_IF_FAILED(mpt_yaml_expect(child, MPT_YAML_LIST, "shape", error));
    if (child->count > 4)
      return mpt_yaml_fail(child, error, "a shape has at most 4 dimensions");
    for (size_t i = 0; i < child->count; i++)
      MPT_RETURN_IF_FAILED(
          mpt_yaml_integer(child->items[i], "a dimension", 1, INT64_MAX, &layer->shape[i], error));
    layer->rank = (int)child->count;
  }
  if ((child = mpt_yaml_get(node, "rows")) != NULL)
    MPT_RETURN_IF_FAILED(mpt_yaml_integer(child, "rows", 0, INT64_MAX, &layer->rows, error));
  return MPT_OK;
}

static mpt_status read_layers(const mpt_yaml_node *node, mpt_policy *policy, mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(node, MPT_YAML_LIST, "layers", error));
  policy->layers = mpt_arena_take(&policy->arena, node->count * sizeof *policy->layers);
  if (policy->layers == NULL)
    return mpt_fail_memory(error, "the layers", node->count * sizeof *policy->layers);
  for (size_t i = 0; i < node->count; i++)
    MPT_RETURN_IF_FAILED(read_layer(node->items[i], &policy->layers[i], error));
  policy->layer_count = (int)node->count;
  int twice;
  MPT_RETURN_IF_FAILED(
      mpt_policy_find_duplicate(policy->layers, policy->layer_count, &twice, error));
  if (twice >= 0)
    return mpt_yaml_fail(node->items[twice], error, "layer '%s' is listed twice",
                         policy->layers[twice].name);
  return MPT_OK;
}

/* ---- provenance ---- */
static mpt_status read_figure(const mpt_yaml_node *map, const char *key, double *out,
                              mpt_error *error) {
  const mpt_yaml_node *node = mpt_yaml_get(map, key);
  *out = NAN;
  if (node == NULL)
    return MPT_OK;
  return mpt_yaml_number(node, key, -1e300, 1e300, out, error);
}

static mpt_status read_result(const mpt_yaml_node *node, mpt_policy *policy, mpt_error *error) {
  const char *verdicts[MPT_VERDICT_COUNT];
  static const char *const times[] = {"predicted", "measured"};
  mpt_policy_result *r = &policy->result;
  int verdict = 0, time = 0;
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(node, MPT_YAML_MAP, "result", error));
  const mpt_yaml_node *child = mpt_yaml_get(node, "verdict");
  for (int v = 0; v < MPT_VERDICT_COUNT; v++)
    verdicts[v] = mpt_verdict_name((mpt_verdict)v);
  if (child != NULL)
    MPT_RETURN_IF_FAILED(
        mpt_policy_read_word(child, "verdict", verdicts, MPT_VERDICT_COUNT, &verdict, error));
  r->verdict = (mpt_verdict)verdict;
  MPT_RETURN_IF_FAILED(read_figure(node, "worse_by", &r->worse_by, error));
  MPT_RETURN_IF_FAILED(read_figure(node, "upper_bound", &r->upper_bound, error));
  MPT_RETURN_IF_FAILED(read_figure(node, "confidence", &r->confidence, error));
  MPT_RETURN_IF_FAILED(read_figure(node, "step_time_ratio", &r->step_time_ratio, error));
  if ((child = mpt_yaml_get(node, "time")) != NULL)
    MPT_RETURN_IF_FAILED(mpt_policy_read_word(child, "time", times, 2, &time, error));
  r->time_measured = time == 1;
  if ((child = mpt_yaml_get(node, "steps")) != NULL)
    MPT_RETURN_IF_FAILED(mpt_yaml_integer(child, "steps", 0, INT64_MAX, &r->steps, error));
  policy->has_result = true;
  policy->result_node = node;
  return MPT_OK;
}

static mpt_status read_provenance(const mpt_yaml_node *node, mpt_policy *policy, mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(node, MPT_YAML_MAP, "provenance", error));
  for (size_t i = 0; i < node->count; i++) {
    const char *key = node->keys[i]->scalar;
    if (strcmp(key, "result") == 0)
      MPT_RETURN_IF_FAILED(read_result(node->items[i], policy, error));
    else
      MPT_RETURN_IF_FAILED(mpt_policy_add_provenance(policy, key, NULL, node->items[i], error));
  }
  return MPT_OK;
}

/* Keys are written again where they are kept, and a YAML reader takes no longer ones there. */
static mpt_status check_key_lengths(const mpt_yaml_node *node, mpt_error *error) {
  for (size_t i = 0; i < node->count; i++) {
    if (node->kind == MPT_YAML_MAP && strlen(node->keys[i]->scalar) >= MPT_MAX_NAME)
      return mpt_yaml_fail(node->keys[i], error, "a key has at most %d bytes", MPT_MAX_NAME - 1);
    MPT_RETURN_IF_FAILED(check_key_lengths(node->items[i], error));
  }
  return MPT_OK;
}

static mpt_status read_policy(const mpt_yaml_node *root, mpt_policy *policy, mpt_error *error) {
  static const char *const keys[] = {"schema",     "name",   "default",   "rules",
                                     "loss_scale", "layers", "provenance"};
  const char *schema = "";
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(root, MPT_YAML_MAP, "a policy", error));
  const mpt_yaml_node *node = mpt_yaml_get(root, "schema");
  if (node == NULL)
    return mpt_yaml_fail(root, error, "schema is missing; begin with schema: " POLICY_SCHEMA);
  MPT_RETURN_IF_FAILED(mpt_yaml_string(node, "schema", &schema, error));
  if (strcmp(schema, POLICY_SCHEMA) != 0)
    return mpt_fail_at(
        error, strncmp(schema, "mptune/policy@", 14) == 0 ? MPT_ERROR_VERSION : MPT_ERROR_SYNTAX,
        node->file, node->line, node->column,
        "schema '%s' is not known here (known: " POLICY_SCHEMA ")", schema);
  MPT_RETURN_IF_FAILED(mpt_yaml_check_keys(root, "a policy", keys, 7, error));
  MPT_RETURN_IF_FAILED(check_key_lengths(root, error));
  if ((node = mpt_yaml_get(root, "default")) == NULL)
    return mpt_yaml_fail(root, error,
                         "default is missing; it is the format of every layer that no "
                         "rule matches");
  MPT_RETURN_IF_FAILED(mpt_policy_read_precision(node, "default", &policy->base, error));
  if ((node = mpt_yaml_get(root, "name")) != NULL)
    MPT_RETURN_IF_FAILED(read_text(node, "name", policy->name, sizeof policy->name, error));
  if ((node = mpt_yaml_get(root, "rules")) != NULL)
    MPT_RETURN_IF_FAILED(mpt_policy_read_rules(node, policy, error));
  if ((node = mpt_yaml_get(root, "loss_scale")) != NULL)
    MPT_RETURN_IF_FAILED(read_loss_scale(node, policy, error));
  if ((node = mpt_yaml_get(root, "layers")) != NULL)
    MPT_RETURN_IF_FAILED(read_layers(node, policy, error));
  if ((node = mpt_yaml_get(root, "provenance")) != NULL)
    MPT_RETURN_IF_FAILED(read_provenance(node, policy, error));
  return MPT_OK;
}

static mpt_status finish(mpt_yaml *document, const char *name, mpt_policy **out, mpt_error *error) {
  mpt_policy *policy = mpt_policy_new();
  if (policy == NULL) {
    mpt_yaml_free(document);
    return mpt_fail_memory(error, name, sizeof *policy);
  }
  policy->document = document;
  mpt_status status = read_policy(mpt_yaml_root(document), policy, error);
  if (status == MPT_OK)
    *out = policy;
  else
    mpt_policy_free(policy);
  return status;
}

mpt_status mpt_policy_parse(const char *text, size_t length, const char *name, mpt_policy **policy,
                            mpt_error *error) {
  mpt_yaml *document = NULL;
  if (text == NULL || name == NULL || policy == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "a policy's text, name or result is NULL");
  if (length > SIZE_LIMIT)
    return mpt_fail_at(error, MPT_ERROR_IO, name, 0, 0, "larger than %zu bytes", SIZE_LIMIT);
  MPT_RETURN_IF_FAILED(mpt_yaml_parse(text, length, name, DEPTH_LIMIT, &document, error));
  return finish(document, name, policy, error);
}

mpt_status mpt_policy_load(const char *path, mpt_policy **policy, mpt_error *error) {
  mpt_yaml *document = NULL;
  if (path == NULL || policy == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "a policy's path or result is NULL");
  MPT_RETURN_IF_FAILED(mpt_yaml_load(path, SIZE_LIMIT, DEPTH_LIMIT, &document, error));
  return finish(document, path, policy, error);
}
