#include "contract/policy_json.h"
#include "base/json.h"
#include "base/number.h"
#include "base/yaml.h"
#include <stdlib.h>
#include <string.h>

enum { DEPTH = 64 };

/* A plain scalar as YAML's core schema means it, of those that a policy has. */
static json_t *scalar_json(const mpt_yaml_node *node) {
  const size_t length = strlen(node->scalar);
  int64_t whole;
  double number;
  if (node->quoted)
    return mpt_json_text(node->scalar);
  if (length == 0 || strcmp(node->scalar, "null") == 0)
    return json_null();
  if (strcmp(node->scalar, "true") == 0 || strcmp(node->scalar, "false") == 0)
    return json_boolean(node->scalar[0] == 't');
  if (mpt_integer_read(node->scalar, length, &whole))
    return json_integer(whole);
  if (mpt_number_read(node->scalar, length, &number))
    return mpt_json_real(number);
  return mpt_json_text(node->scalar);
}

static json_t *node_json(const mpt_yaml_node *node) {
  if (node->kind == MPT_YAML_SCALAR)
    return scalar_json(node);
  json_t *json = node->kind == MPT_YAML_LIST ? json_array() : json_object();
  for (size_t i = 0; i < node->count; i++) {
    json_t *item = node_json(node->items[i]);
    if (node->kind == MPT_YAML_LIST)
      mpt_json_append(&json, item);
    else
      mpt_json_set(&json, node->keys[i]->scalar, item);
  }
  return json;
}

mpt_status policy_json(const mpt_policy *policy, char **text, mpt_error *error) {
  char *yaml_text = NULL;
  mpt_yaml *yaml = NULL;
  mpt_status status = mpt_policy_text(policy, &yaml_text, error);
  if (status == MPT_OK)
    status = mpt_yaml_parse(yaml_text, strlen(yaml_text), "the policy", DEPTH, &yaml, error);
  if (status == MPT_OK)
    status = mpt_json_dump(node_json(mpt_yaml_root(yaml)), JSON_INDENT(1), "a policy", text, error);
  mpt_yaml_free(yaml);
  free(yaml_text);
  return status;
}
