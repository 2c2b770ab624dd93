/* Reading the rules of mptune/policy@1. */
#include "base/error.h"
#include "policy/legal.h"
#include "policy/policy_data.h"
#include <string.h>

mpt_status mpt_policy_read_precision(const mpt_yaml_node *node, const char *what,
                                     mpt_precision *out, mpt_error *error) {
  const char *word;
  MPT_RETURN_IF_FAILED(mpt_yaml_string(node, what, &word, error));
  mpt_error reason = {0};
  if (mpt_precision_parse(word, out, &reason) == MPT_OK)
    return MPT_OK;
  if (mpt_format_parse(word, &(mpt_format){0}, NULL) == MPT_OK)
    return mpt_yaml_fail(node, error,
                         "'%s' is one format of a pair; write fp8, or name both operands", word);
  return mpt_yaml_fail(node, error, "%s", reason.message);
}

mpt_status mpt_policy_read_word(const mpt_yaml_node *node, const char *what,
                                const char *const *words, int count, int *out, mpt_error *error) {
  const char *word;
  mpt_text known = {0};
  MPT_RETURN_IF_FAILED(mpt_yaml_string(node, what, &word, error));
  for (int i = 0; i < count; i++) {
    if (strcmp(word, words[i]) == 0) {
      *out = i;
      return MPT_OK;
    }
  }
  for (int i = 0; i < count; i++)
    mpt_text_addf(&known, "%s%s", i > 0 ? ", " : "", words[i]);
  mpt_status status = mpt_yaml_fail(node, error, "unknown %s '%s' (known: %s)", what, word,
                                    known.data == NULL ? "" : known.data);
  mpt_text_free(&known);
  return status;
}

static mpt_status read_globs(const mpt_yaml_node *node, mpt_policy *policy, policy_rule *rule,
                             mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(node, MPT_YAML_LIST, "layers", error));
  if (node->count == 0)
    return mpt_yaml_fail(node, error, "layers is empty: the rule matches nothing");
  rule->globs = mpt_arena_take(&policy->arena, node->count * sizeof *rule->globs);
  if (rule->globs == NULL)
    return mpt_fail_memory(error, "a rule", node->count * sizeof *rule->globs);
  for (size_t i = 0; i < node->count; i++) {
    MPT_RETURN_IF_FAILED(mpt_yaml_string(node->items[i], "a layer", &rule->globs[i], error));
    const char *problem = mpt_policy_glob_problem(rule->globs[i]);
    if (problem != NULL)
      return mpt_yaml_fail(node->items[i], error, "'%s': %s", rule->globs[i], problem);
  }
  rule->glob_count = node->count;
  return MPT_OK;
}

/* ---- one GEMM ---- */
static mpt_status read_operand(const mpt_yaml_node *map, const char *name, mpt_format *out,
                               mpt_error *error) {
  const mpt_yaml_node *node = mpt_yaml_get(map, name);
  const char *word;
  if (node == NULL)
    return mpt_yaml_fail(map, error, "the format of %s is missing; give both operands", name);
  MPT_RETURN_IF_FAILED(mpt_yaml_string(node, name, &word, error));
  mpt_error reason = {0};
  if (mpt_format_parse(word, out, &reason) == MPT_OK)
    return MPT_OK;
  return mpt_yaml_fail(node, error, "%s", reason.message);
}

static mpt_status read_gemm(const mpt_yaml_node *node, mpt_gemm_kind kind, policy_rule *rule,
                            mpt_error *error) {
  static const char *const accumulates[] = {"split", "fast"};
  mpt_gemm_policy *gemm = &rule->gemm[kind];
  mpt_precision precision;
  if (node->kind == MPT_YAML_SCALAR) {
    MPT_RETURN_IF_FAILED(mpt_policy_read_precision(node, mpt_gemm_name(kind), &precision, error));
    *gemm = mpt_gemm_policy_of(kind, precision);
    rule->form[kind] = GEMM_FORM_SHORT;
    return MPT_OK;
  }
  const char *first = mpt_operand_name(mpt_gemm_operand(kind, 0));
  const char *second = mpt_operand_name(mpt_gemm_operand(kind, 1));
  const char *const keys[] = {first, second, "accumulate"};
  mpt_format operand[2];
  int accumulate = MPT_ACCUMULATE_SPLIT;
  MPT_RETURN_IF_FAILED(mpt_yaml_check_keys(node, mpt_gemm_name(kind), keys, 3, error));
  MPT_RETURN_IF_FAILED(read_operand(node, first, &operand[0], error));
  MPT_RETURN_IF_FAILED(read_operand(node, second, &operand[1], error));
  mpt_error reason = {0};
  if (mpt_policy_operands_precision(operand, &precision, &reason) != MPT_OK)
    return mpt_yaml_fail(node, error, "%s", reason.message);
  const mpt_yaml_node *word = mpt_yaml_get(node, "accumulate");
  if (word != NULL && precision != MPT_PRECISION_FP8)
    return mpt_yaml_fail(word, error, "accumulate is a choice of fp8 alone");
  if (word != NULL)
    MPT_RETURN_IF_FAILED(
        mpt_policy_read_word(word, "accumulate", accumulates, 2, &accumulate, error));
  *gemm = (mpt_gemm_policy){precision, {operand[0], operand[1]}, (mpt_accumulate)accumulate};
  rule->form[kind] = GEMM_FORM_LONG;
  return MPT_OK;
}

static mpt_status read_scaling(const mpt_yaml_node *node, policy_rule *rule, mpt_error *error) {
  static const char *const keys[] = {"mode", "history", "margin", "granularity"};
  static const char *const modes[] = {"current", "delayed"};
  static const char *const granularities[] = {"tensor"};
  int mode = 0, granularity = 0;
  int64_t number;
  MPT_RETURN_IF_FAILED(mpt_yaml_check_keys(node, "scaling", keys, 4, error));
  const mpt_yaml_node *child = mpt_yaml_get(node, "mode");
  if (child == NULL)
    return mpt_yaml_fail(node, error, "scaling needs a mode: current or delayed");
  MPT_RETURN_IF_FAILED(mpt_policy_read_word(child, "mode", modes, 2, &mode, error));
  rule->scaling = mpt_layer_policy_of(MPT_PRECISION_FP8).scaling;
  rule->scaling.mode = (mpt_scaling_mode)mode;
  for (int i = 1; i < 3; i++) {
    if ((child = mpt_yaml_get(node, keys[i])) == NULL)
      continue;
    if (mode != MPT_SCALING_DELAYED)
      return mpt_yaml_fail(child, error, "%s goes with mode: delayed alone", keys[i]);
    MPT_RETURN_IF_FAILED(mpt_yaml_integer(child, keys[i], i == 1 ? 1 : 0,
                                          i == 1 ? POLICY_MAX_HISTORY : POLICY_MAX_MARGIN, &number,
                                          error));
    *(i == 1 ? &rule->scaling.history : &rule->scaling.margin) = (int)number;
  }
  child = mpt_yaml_get(node, "granularity");
  if (child != NULL)
    MPT_RETURN_IF_FAILED(
        mpt_policy_read_word(child, "granularity", granularities, 1, &granularity, error));
  rule->has_scaling = true;
  return MPT_OK;
}

static mpt_status read_rule(const mpt_yaml_node *node, mpt_policy *policy, policy_rule *rule,
                            mpt_error *error) {
  static const char *const keys[] = {"layers", "format",  "fprop",   "dgrad",
                                     "wgrad",  "scaling", "fallback"};
  MPT_RETURN_IF_FAILED(mpt_yaml_check_keys(node, "a rule", keys, 7, error));
  rule->node = node;
  const mpt_yaml_node *child = mpt_yaml_get(node, "layers");
  if (child == NULL)
    return mpt_yaml_fail(node, error, "a rule needs layers: a list of names or globs");
  MPT_RETURN_IF_FAILED(read_globs(child, policy, rule, error));
  if ((child = mpt_yaml_get(node, "format")) != NULL) {
    MPT_RETURN_IF_FAILED(mpt_policy_read_precision(child, "format", &rule->format, error));
    rule->has_format = true;
  }
  for (int g = 0; g < MPT_GEMM_COUNT; g++) {
    if ((child = mpt_yaml_get(node, mpt_gemm_name((mpt_gemm_kind)g))) == NULL)
      continue;
    MPT_RETURN_IF_FAILED(read_gemm(child, (mpt_gemm_kind)g, rule, error));
  }
  if ((child = mpt_yaml_get(node, "scaling")) != NULL)
    MPT_RETURN_IF_FAILED(read_scaling(child, rule, error));
  if ((child = mpt_yaml_get(node, "fallback")) != NULL) {
    MPT_RETURN_IF_FAILED(mpt_policy_read_precision(child, "fallback", &rule->fallback, error));
    rule->has_fallback = true;
  }
  return MPT_OK;
}

mpt_status mpt_policy_read_rules(const mpt_yaml_node *node, mpt_policy *policy, mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(node, MPT_YAML_LIST, "rules", error));
  policy->rules = mpt_arena_take(&policy->arena, node->count * sizeof *policy->rules);
  if (policy->rules == NULL)
    return mpt_fail_memory(error, "the rules", node->count * sizeof *policy->rules);
  for (size_t i = 0; i < node->count; i++)
    MPT_RETURN_IF_FAILED(read_rule(node->items[i], policy, &policy->rules[i], error));
  policy->rule_count = (int)node->count;
  return MPT_OK;
}
