/* The policy as a handle: its life, what it answers, provenance and result. */
#include "base/error.h"
#include "policy/policy_data.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

mpt_policy *mpt_policy_new(void) {
  mpt_policy *policy = calloc(1, sizeof *policy);
  if (policy == NULL)
    return NULL;
  policy->loss_scale = (mpt_loss_scale_policy){MPT_LOSS_SCALE_DYNAMIC, (float)POLICY_LOSS_SCALE};
  policy->result = (mpt_policy_result){.verdict = MPT_VERDICT_UNVERIFIED,
                                       .worse_by = NAN,
                                       .upper_bound = NAN,
                                       .confidence = NAN,
                                       .step_time_ratio = NAN};
  return policy;
}

void mpt_policy_free(mpt_policy *policy) {
  if (policy == NULL)
    return;
  mpt_arena_free(&policy->arena);
  mpt_yaml_free(policy->document);
  free(policy);
}

mpt_status mpt_policy_uniform(mpt_precision precision, mpt_policy **policy, mpt_error *error) {
  if ((unsigned)precision >= MPT_PRECISION_COUNT || policy == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "%d is no format of a policy", (int)precision);
  mpt_policy *made = mpt_policy_new();
  if (made == NULL)
    return mpt_fail_memory(error, "a policy", sizeof *made);
  made->base = precision;
  snprintf(made->name, sizeof made->name, "%s", mpt_precision_name(precision));
  *policy = made;
  return MPT_OK;
}

const char *mpt_policy_name(const mpt_policy *policy) {
  return policy->name;
}

mpt_precision mpt_policy_default(const mpt_policy *policy) {
  return policy->base;
}

int mpt_policy_rule_count(const mpt_policy *policy) {
  return policy->rule_count;
}

bool mpt_policy_has_loss_scale(const mpt_policy *policy) {
  return policy->has_loss_scale;
}

mpt_loss_scale_policy mpt_policy_loss_scale(const mpt_policy *policy) {
  return policy->loss_scale;
}

const mpt_layer_info *mpt_policy_layers(const mpt_policy *policy, int *count) {
  *count = policy->layer_count;
  return policy->layers;
}

mpt_policy_result mpt_policy_get_result(const mpt_policy *policy) {
  return policy->result;
}

mpt_layer_policy mpt_policy_rule_formats(const mpt_policy *policy, int rule) {
  if (rule < 0)
    return mpt_layer_policy_of(policy->base);
  const policy_rule *r = &policy->rules[rule];
  mpt_layer_policy formats = mpt_layer_policy_of(r->has_format ? r->format : policy->base);
  for (int g = 0; g < MPT_GEMM_COUNT; g++)
    if (r->form[g] != GEMM_FORM_ABSENT)
      formats.gemm[g] = r->gemm[g];
  if (r->has_scaling)
    formats.scaling = r->scaling;
  formats.rule = rule;
  return formats;
}

/* ---- provenance ---- */
static char *keep_text(mpt_policy *policy, const char *text) {
  return mpt_arena_text(&policy->arena, text, strlen(text));
}

mpt_status mpt_policy_add_provenance(mpt_policy *policy, const char *key, const char *text,
                                     const mpt_yaml_node *node, mpt_error *error) {
  provenance_entry *entry = mpt_arena_take(&policy->arena, sizeof *entry);
  if (entry == NULL)
    return mpt_fail_memory(error, "provenance", sizeof *entry);
  entry->key = keep_text(policy, key);
  entry->text = text == NULL ? NULL : keep_text(policy, text);
  entry->node = node;
  if (entry->key == NULL || (text != NULL && entry->text == NULL))
    return mpt_fail_memory(error, "provenance", strlen(key));
  if (policy->last_provenance == NULL)
    policy->provenance = entry;
  else
    policy->last_provenance->next = entry;
  policy->last_provenance = entry;
  return MPT_OK;
}

static provenance_entry *find_provenance(const mpt_policy *policy, const char *key) {
  for (provenance_entry *entry = policy->provenance; entry != NULL; entry = entry->next)
    if (strcmp(entry->key, key) == 0)
      return entry;
  return NULL;
}

mpt_status mpt_policy_set_provenance(mpt_policy *policy, const char *key, const char *value,
                                     mpt_error *error) {
  if (policy == NULL || key == NULL || value == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "provenance needs a policy, a key and a value");
  if (key[0] == '\0' || strlen(key) >= MPT_MAX_NAME || strcmp(key, "result") == 0)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "'%.40s' is no key of provenance: 1 to %d bytes, other than 'result'", key,
                    MPT_MAX_NAME - 1);
  if (!mpt_utf8_valid(key) || !mpt_utf8_valid(value))
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "provenance '%s' is not UTF-8", key);
  provenance_entry *entry = find_provenance(policy, key);
  if (entry == NULL)
    return mpt_policy_add_provenance(policy, key, value, NULL, error);
  const char *text = keep_text(policy, value);
  if (text == NULL)
    return mpt_fail_memory(error, "provenance", strlen(value));
  entry->text = text;
  return MPT_OK;
}

const char *mpt_policy_get_provenance(const mpt_policy *policy, const char *key) {
  const provenance_entry *entry = find_provenance(policy, key);
  if (entry == NULL)
    return NULL;
  if (entry->text != NULL)
    return entry->text;
  return entry->node->kind == MPT_YAML_SCALAR ? entry->node->scalar : NULL;
}

mpt_status mpt_policy_set_result(mpt_policy *policy, const mpt_policy_result *result,
                                 mpt_error *error) {
  if (policy == NULL || result == NULL || (unsigned)result->verdict >= MPT_VERDICT_COUNT ||
      result->steps < 0)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "a result needs a verdict and steps of 0 or more");
  policy->result = *result;
  policy->has_result = true;
  policy->result_node = NULL;
  return MPT_OK;
}
