/* Writing mptune/policy@1: one text for one policy, so that saving what was loaded from a saved
 * file gives the same bytes. */
#include "base/error.h"
#include "base/file.h"
#include "policy/policy_data.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define COLUMNS 100

/* ---- scalars ---- */

/* What YAML 1.1 or 1.2 readers take for something other than text. */
static bool is_reserved(const char *text) {
  static const char *const words[] = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"};
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    if (strcasecmp(text, words[i]) == 0)
      return true;
  return false;
}

static bool is_plain_word(const char *text) {
  if (!isalpha((unsigned char)text[0]) && text[0] != '_')
    return false;
  for (const char *c = text; *c != '\0'; c++)
    if ((unsigned char)*c >= 0x80 || (!isalnum((unsigned char)*c) && strchr("_.-/", *c) == NULL))
      return false;
  return !is_reserved(text);
}

static bool is_plain_number(const char *text) {
  const char *digits = text[0] == '-' ? text + 1 : text;
  if (!isdigit((unsigned char)digits[0]) && digits[0] != '.')
    return false;
  return strpbrk(digits, "0123456789nif") != NULL &&
         digits[strspn(digits, "0123456789abcdefABCDEFinxo._+-")] == '\0';
}

/* Whether a YAML reader refuses the character, or takes it for a line break. */
static bool is_escaped(uint32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029 || c == 0xFEFF ||
         c == 0xFFFE || c == 0xFFFF;
}

static void add_quoted(mpt_text *text, const char *value) {
  mpt_text_add(text, "\"");
  while (*value != '\0') {
    uint32_t c = 0;
    const size_t length = mpt_utf8_decode(value, &c);
    if (c == '"' || c == '\\')
      mpt_text_addf(text, "\\%c", (int)c);
    else if (c == '\n')
      mpt_text_add(text, "\\n");
    else if (is_escaped(c))
      mpt_text_addf(text, c < 0x100 ? "\\x%02X" : "\\u%04X", (unsigned)c);
    else
      mpt_text_add_bytes(text, value, length);
    value += length == 0 ? 1 : length;
  }
  mpt_text_add(text, "\"");
}

static void add_word(mpt_text *text, const char *value) {
  if (is_plain_word(value))
    mpt_text_add(text, value);
  else
    add_quoted(text, value);
}

/* ---- what is kept as it was loaded ---- */

/* On one line, so that it can stand anywhere. */
static void add_node(mpt_text *text, const mpt_yaml_node *node) {
  if (node->kind == MPT_YAML_SCALAR) {
    const char *value = node->scalar;
    if (node->quoted)
      add_quoted(text, value);
    else if (value[0] == '\0')
      mpt_text_add(text, "null");
    else if (is_reserved(value) || is_plain_number(value))
      mpt_text_add(text, value);
    else
      add_word(text, value);
    return;
  }
  const bool map = node->kind == MPT_YAML_MAP;
  mpt_text_add(text, map ? "{" : "[");
  for (size_t i = 0; i < node->count; i++) {
    mpt_text_add(text, i > 0 ? ", " : "");
    if (map) {
      add_word(text, node->keys[i]->scalar);
      mpt_text_add(text, ": ");
    }
    add_node(text, node->items[i]);
  }
  mpt_text_add(text, map ? "}" : "]");
}

static bool is_extension(const char *key) {
  return strncmp(key, "x-", 2) == 0;
}

/* The x- keys of a map on lines of their own; `map` may be NULL. */
static void add_extension_lines(mpt_text *text, const char *indent, const mpt_yaml_node *map) {
  for (size_t i = 0; map != NULL && i < map->count; i++) {
    if (!is_extension(map->keys[i]->scalar))
      continue;
    mpt_text_add(text, indent);
    add_word(text, map->keys[i]->scalar);
    mpt_text_add(text, ": ");
    add_node(text, map->items[i]);
    mpt_text_add(text, "\n");
  }
}

/* The same inside braces; `map` may be NULL or a scalar. */
static void add_extensions(mpt_text *text, const mpt_yaml_node *map) {
  for (size_t i = 0; map != NULL && map->kind == MPT_YAML_MAP && i < map->count; i++) {
    if (!is_extension(map->keys[i]->scalar))
      continue;
    mpt_text_add(text, ", ");
    add_word(text, map->keys[i]->scalar);
    mpt_text_add(text, ": ");
    add_node(text, map->items[i]);
  }
}

/* ---- rules ---- */
static void add_globs(mpt_text *text, const policy_rule *rule) {
  const char *indent = "            ";
  mpt_text_add(text, "  - layers: [");
  size_t line = text->length - strlen("  - layers: [");
  for (size_t i = 0; i < rule->glob_count; i++) {
    if (i > 0)
      mpt_text_add(text, ",");
    if (i > 0 && text->length - line + strlen(rule->globs[i]) + 5 > COLUMNS) {
      mpt_text_add(text, "\n");
      line = text->length;
      mpt_text_add(text, indent);
    }
    if (i > 0)
      mpt_text_add(text, " ");
    add_quoted(text, rule->globs[i]);
  }
  mpt_text_add(text, "]\n");
}

static void add_gemm(mpt_text *text, const policy_rule *rule, mpt_gemm_kind kind) {
  const mpt_gemm_policy *gemm = &rule->gemm[kind];
  if (rule->form[kind] == GEMM_FORM_SHORT)
    mpt_text_addf(text, "    %s: %s\n", mpt_gemm_name(kind), mpt_precision_name(gemm->precision));
  if (rule->form[kind] != GEMM_FORM_LONG)
    return;
  mpt_text_addf(text, "    %s: {", mpt_gemm_name(kind));
  for (int i = 0; i < 2; i++)
    mpt_text_addf(text, "%s%s: %s", i > 0 ? ", " : "", mpt_operand_name(mpt_gemm_operand(kind, i)),
                  mpt_format_get(gemm->operand[i])->name);
  if (gemm->precision == MPT_PRECISION_FP8)
    mpt_text_addf(text, ", accumulate: %s",
                  gemm->accumulate == MPT_ACCUMULATE_FAST ? "fast" : "split");
  add_extensions(text, mpt_yaml_get(rule->node, mpt_gemm_name(kind)));
  mpt_text_add(text, "}\n");
}

static void add_scaling(mpt_text *text, const policy_rule *rule) {
  if (rule->scaling.mode == MPT_SCALING_DELAYED)
    mpt_text_addf(text, "    scaling: {mode: delayed, history: %d, margin: %d",
                  rule->scaling.history, rule->scaling.margin);
  else
    mpt_text_add(text, "    scaling: {mode: current");
  add_extensions(text, mpt_yaml_get(rule->node, "scaling"));
  mpt_text_add(text, "}\n");
}

static void add_rule(mpt_text *text, const policy_rule *rule) {
  add_globs(text, rule);
  if (rule->has_format)
    mpt_text_addf(text, "    format: %s\n", mpt_precision_name(rule->format));
  for (int g = 0; g < MPT_GEMM_COUNT; g++)
    add_gemm(text, rule, (mpt_gemm_kind)g);
  if (rule->has_scaling)
    add_scaling(text, rule);
  if (rule->has_fallback)
    mpt_text_addf(text, "    fallback: %s\n", mpt_precision_name(rule->fallback));
  add_extension_lines(text, "    ", rule->node);
}

/* ---- the other parts ---- */
static void add_loss_scale(mpt_text *text, const mpt_policy *policy, const mpt_yaml_node *root) {
  if (!policy->has_loss_scale)
    return;
  mpt_text_addf(text, "loss_scale: {mode: %s", mpt_loss_scale_mode_name(policy->loss_scale.mode));
  if (policy->loss_scale.mode != MPT_LOSS_SCALE_NONE) {
    mpt_text_add(text, ", initial: ");
    mpt_text_add_number(text, (double)policy->loss_scale.initial);
  }
  add_extensions(text, mpt_yaml_get(root, "loss_scale"));
  mpt_text_add(text, "}\n");
}

static void add_layer(mpt_text *text, const mpt_layer_info *layer, const mpt_yaml_node *node) {
  mpt_text_add(text, "  - {name: ");
  add_word(text, layer->name);
  if (layer->kind[0] != '\0') {
    mpt_text_add(text, ", kind: ");
    add_word(text, layer->kind);
  }
  for (int i = 0; i < layer->rank; i++)
    mpt_text_addf(text, "%s%lld", i == 0 ? ", shape: [" : ", ", (long long)layer->shape[i]);
  mpt_text_add(text, layer->rank > 0 ? "]" : "");
  if (layer->rows > 0)
    mpt_text_addf(text, ", rows: %lld", (long long)layer->rows);
  add_extensions(text, node);
  mpt_text_add(text, "}\n");
}

static void add_figure(mpt_text *text, const char *key, double value) {
  if (!isfinite(value))
    return;
  mpt_text_addf(text, ", %s: ", key);
  mpt_text_add_number(text, value);
}

static void add_unknown(mpt_text *text, const mpt_yaml_node *result) {
  static const char *const known[] = {"verdict",         "worse_by", "upper_bound", "confidence",
                                      "step_time_ratio", "time",     "steps"};
  for (size_t i = 0; result != NULL && i < result->count; i++) {
    bool found = false;
    for (size_t j = 0; j < sizeof known / sizeof known[0]; j++)
      found = found || strcmp(result->keys[i]->scalar, known[j]) == 0;
    if (found)
      continue;
    mpt_text_add(text, ", ");
    add_word(text, result->keys[i]->scalar);
    mpt_text_add(text, ": ");
    add_node(text, result->items[i]);
  }
}

static void add_result(mpt_text *text, const mpt_policy *policy) {
  const mpt_policy_result *r = &policy->result;
  mpt_text_addf(text, "  result: {verdict: %s", mpt_verdict_name(r->verdict));
  add_figure(text, "worse_by", r->worse_by);
  add_figure(text, "upper_bound", r->upper_bound);
  add_figure(text, "confidence", r->confidence);
  add_figure(text, "step_time_ratio", r->step_time_ratio);
  mpt_text_addf(text, ", time: %s", r->time_measured ? "measured" : "predicted");
  if (r->steps > 0)
    mpt_text_addf(text, ", steps: %lld", (long long)r->steps);
  add_unknown(text, policy->result_node);
  mpt_text_add(text, "}\n");
}

static void add_provenance(mpt_text *text, const mpt_policy *policy) {
  if (policy->provenance == NULL && !policy->has_result)
    return;
  mpt_text_add(text, "provenance:\n");
  for (const provenance_entry *entry = policy->provenance; entry != NULL; entry = entry->next) {
    mpt_text_add(text, "  ");
    add_word(text, entry->key);
    mpt_text_add(text, ": ");
    if (entry->text != NULL)
      add_quoted(text, entry->text);
    else
      add_node(text, entry->node);
    mpt_text_add(text, "\n");
  }
  if (policy->has_result)
    add_result(text, policy);
}

mpt_status mpt_policy_text(const mpt_policy *policy, char **out, mpt_error *error) {
  mpt_text text = {0};
  if (policy == NULL || out == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "a policy or the place of its text is NULL");
  const mpt_yaml_node *root = policy->document == NULL ? NULL : mpt_yaml_root(policy->document);
  const mpt_yaml_node *layers = mpt_yaml_get(root, "layers");
  mpt_text_add(&text, "schema: " POLICY_SCHEMA "\n");
  if (policy->name[0] != '\0') {
    mpt_text_add(&text, "name: ");
    add_word(&text, policy->name);
    mpt_text_add(&text, "\n");
  }
  mpt_text_addf(&text, "default: %s\n", mpt_precision_name(policy->base));
  mpt_text_add(&text, policy->rule_count > 0 ? "rules:\n" : "");
  for (int i = 0; i < policy->rule_count; i++)
    add_rule(&text, &policy->rules[i]);
  add_loss_scale(&text, policy, root);
  mpt_text_add(&text, policy->layer_count > 0 ? "layers:\n" : "");
  for (int i = 0; i < policy->layer_count; i++)
    add_layer(&text, &policy->layers[i], layers == NULL ? NULL : layers->items[i]);
  add_provenance(&text, policy);
  add_extension_lines(&text, "", root);
  if (text.failed) {
    mpt_text_free(&text);
    return mpt_fail_memory(error, "a policy's text", text.length);
  }
  *out = text.data;
  return MPT_OK;
}

mpt_status mpt_policy_save(const mpt_policy *policy, const char *path, mpt_error *error) {
  char *text = NULL;
  if (path == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "the path to save a policy at is NULL");
  MPT_RETURN_IF_FAILED(mpt_policy_text(policy, &text, error));
  mpt_status status = mpt_file_write(path, text, strlen(text), error);
  free(text);
  return status;
}
