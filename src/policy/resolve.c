/* A policy against a model: are these its layers, which rule takes which, can the device do it. */
#include "base/shape_text.h"
#include "base/struct_size.h"
#include "policy/policy_data.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMED 5 /* layers that a message names before it counts */

mpt_resolve_options mpt_resolve_options_default(void) {
  return (mpt_resolve_options){.struct_size = sizeof(mpt_resolve_options),
                               .strict = true,
                               .device_formats = MPT_ALL_FORMATS};
}

/* ---- lists of names in messages ---- */
typedef struct name_list {
  mpt_text text;
  int count;
} name_list;

static void list_add(name_list *list, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void list_add(name_list *list, const char *format, ...) {
  char item[2 * MPT_MAX_NAME];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(item, sizeof item, format, arguments);
  va_end(arguments);
  if (list->count++ < NAMED)
    mpt_text_addf(&list->text, "%s%s", list->count > 1 ? ", " : "", item);
}

static const char *list_text(name_list *list) {
  if (list->count > NAMED)
    mpt_text_addf(&list->text, " and %d more", list->count - NAMED);
  return list->text.data == NULL ? "" : list->text.data;
}

static void warn(const mpt_resolve_options *options, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void warn(const mpt_resolve_options *options, const char *format, ...) {
  char message[sizeof((mpt_error *)0)->message];
  va_list arguments;
  if (options->on_warning == NULL)
    return;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  options->on_warning(options->context, message);
}

/* ---- the layers it was made for ---- */
/* What is unknown on either side differs from nothing. */
static void compare_layer(const mpt_layer_info *own, const mpt_layer_info *given,
                          name_list *differences, name_list *rows) {
  const mpt_shape_text own_shape = mpt_shape_print(NULL, own->rank, own->shape);
  const mpt_shape_text given_shape = mpt_shape_print(NULL, given->rank, given->shape);
  if (own->kind[0] != '\0' && given->kind[0] != '\0' && strcmp(own->kind, given->kind) != 0)
    list_add(differences, "'%s' is %s, not %s", own->name, given->kind, own->kind);
  if (own->rank > 0 && given->rank > 0 && strcmp(own_shape.text, given_shape.text) != 0)
    list_add(differences, "'%s' is %s, not %s", own->name, given_shape.text, own_shape.text);
  if (own->rows > 0 && given->rows > 0 && own->rows != given->rows)
    list_add(rows, "'%s' has %lld, not %lld", own->name, (long long)given->rows,
             (long long)own->rows);
}

static void compare_sorted(const mpt_layer_info **own, int own_count, const mpt_layer_info **given,
                           int given_count, name_list *differences, name_list *rows) {
  for (int i = 0, j = 0; i < own_count || j < given_count;) {
    const int order = i == own_count     ? 1
                      : j == given_count ? -1
                                         : strcmp(own[i]->name, given[j]->name);
    if (order < 0)
      list_add(differences, "'%s' is missing", own[i]->name);
    else if (order > 0)
      list_add(differences, "'%s' is new", given[j]->name);
    else
      compare_layer(own[i], given[j], differences, rows);
    i += order <= 0;
    j += order >= 0;
  }
}

static mpt_status check_layers(const mpt_policy *policy, const mpt_layer_info *layers, int count,
                               const mpt_resolve_options *options, mpt_error *error) {
  const mpt_layer_info **own = NULL, **given = NULL;
  name_list differences = {0}, rows = {0};
  mpt_status status = MPT_OK;
  if (policy->layer_count == 0)
    return MPT_OK;
  MPT_TRY(mpt_policy_sort_layers(policy->layers, policy->layer_count, &own, error));
  MPT_TRY(mpt_policy_sort_layers(layers, count, &given, error));
  compare_sorted(own, policy->layer_count, given, count, &differences, &rows);
  if (differences.count > 0 && !options->force)
    status = mpt_fail(error, MPT_ERROR_MISMATCH,
                      "the policy was made for other layers: %s; force takes it nevertheless",
                      list_text(&differences));
  else if (differences.count > 0)
    warn(options, "the policy was made for other layers: %s", list_text(&differences));
  if (status == MPT_OK && rows.count > 0)
    warn(options, "the policy was made for another number of rows: %s", list_text(&rows));
fail:
  mpt_text_free(&differences.text);
  mpt_text_free(&rows.text);
  free(own);
  free(given);
  return status;
}

/* ---- rules ---- */
static bool rule_matches(const policy_rule *rule, const char *name) {
  for (size_t i = 0; i < rule->glob_count; i++)
    if (mpt_glob_match(rule->globs[i], name))
      return true;
  return false;
}

typedef struct rule_use {
  int matched; /* layers that match */
  int taken;   /* of them, those that no earlier rule took */
} rule_use;

static void match_layers(const mpt_policy *policy, const mpt_layer_info *layers, int count,
                         mpt_layer_policy *assignment, rule_use *use) {
  for (int i = 0; i < count; i++) {
    int first = -1;
    for (int r = 0; r < policy->rule_count; r++) {
      if (!rule_matches(&policy->rules[r], layers[i].name))
        continue;
      use[r].matched++;
      if (first < 0)
        first = r;
    }
    if (first >= 0)
      use[first].taken++;
    const mpt_layer_policy formats = mpt_policy_rule_formats(policy, first);
    assignment[i] = mpt_layer_policy_for(layers[i].kind, &formats);
  }
}

static mpt_status check_rules(const mpt_policy *policy, const rule_use *use,
                              const mpt_resolve_options *options, mpt_error *error) {
  for (int r = 0; r < policy->rule_count; r++) {
    const policy_rule *rule = &policy->rules[r];
    const mpt_yaml_node *place = rule->node;
    char message[256];
    if (use[r].taken > 0)
      continue;
    snprintf(message, sizeof message, "rule %d (\"%s\"%s) %s", r + 1, rule->globs[0],
             rule->glob_count > 1 ? ", ..." : "",
             use[r].matched == 0 ? "matches no layer"
                                 : "is never used: earlier rules take every layer that it matches");
    if (use[r].matched == 0 && options->strict)
      return mpt_fail_at(error, MPT_ERROR_MISMATCH, place == NULL ? NULL : place->file,
                         place == NULL ? 0 : place->line, place == NULL ? 0 : place->column, "%s",
                         message);
    if (place != NULL)
      warn(options, "%s:%d:%d: %s", place->file, place->line, place->column, message);
    else
      warn(options, "%s", message);
  }
  return MPT_OK;
}

/* ---- the device ---- */
static uint32_t precision_formats(mpt_precision precision) {
  return 1u << mpt_precision_storage(precision);
}

/* What a GEMM reads and writes. The operands of a layer without GEMMs are what it stores, or what
 * attention multiplies (mpt_layer_policy_for). */
static uint32_t gemm_formats(const mpt_gemm_policy *gemm) {
  return precision_formats(gemm->precision) | 1u << gemm->operand[0] | 1u << gemm->operand[1];
}

static const char *first_format(uint32_t formats) {
  for (int f = 0; f < MPT_FORMAT_COUNT; f++)
    if (formats >> f & 1)
      return mpt_format_get((mpt_format)f)->name;
  return "";
}

/* The first of bf16, fp16, fp32 that the device has. */
static bool promoted(uint32_t device, mpt_precision *precision) {
  static const mpt_precision order[] = {MPT_PRECISION_BF16, MPT_PRECISION_FP16, MPT_PRECISION_FP32};
  for (int i = 0; i < 3; i++) {
    if (device & precision_formats(order[i])) {
      *precision = order[i];
      return true;
    }
  }
  return false;
}

static mpt_status check_device(const mpt_layer_info *layers, int count,
                               const mpt_resolve_options *options, mpt_layer_policy *assignment,
                               mpt_error *error) {
  name_list lacking = {0};
  mpt_precision instead = MPT_PRECISION_FP32;
  const bool promote = options->promote && promoted(options->device_formats, &instead);
  for (int i = 0; i < count; i++) {
    uint32_t lacks = 0;
    for (int g = 0; g < MPT_GEMM_COUNT; g++) {
      mpt_gemm_policy *gemm = &assignment[i].gemm[g];
      const uint32_t missing = gemm_formats(gemm) & ~options->device_formats;
      lacks |= missing;
      if (missing != 0 && promote)
        *gemm = mpt_gemm_policy_of((mpt_gemm_kind)g, instead);
    }
    if (lacks != 0)
      list_add(&lacking, "'%s' (%s)", layers[i].name, first_format(lacks));
  }
  mpt_status status = MPT_OK;
  if (lacking.count > 0 && promote)
    warn(options, "the device lacks formats; %s instead for %s", mpt_precision_name(instead),
         list_text(&lacking));
  else if (lacking.count > 0)
    status = mpt_fail(error, MPT_ERROR_UNSUPPORTED,
                      options->promote ? "the device has neither the formats nor bf16, fp16 or "
                                         "fp32 for %s"
                                       : "the device lacks formats for %s; allow promotion, or "
                                         "choose others",
                      list_text(&lacking));
  mpt_text_free(&lacking.text);
  return status;
}

mpt_status mpt_policy_resolve(const mpt_policy *policy, const mpt_layer_info *layers, int count,
                              const mpt_resolve_options *options, mpt_layer_policy *assignment,
                              mpt_error *error) {
  mpt_resolve_options known = mpt_resolve_options_default();
  int twice;
  if (policy == NULL || count < 0 || (count > 0 && (layers == NULL || assignment == NULL)))
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "a policy, its layers or their formats are NULL");
  if (options != NULL)
    MPT_RETURN_IF_FAILED(mpt_options_take(options, "mpt_resolve_options",
                                          MPT_END_OF(mpt_resolve_options, context), &known,
                                          sizeof known, error));
  options = &known;
  MPT_RETURN_IF_FAILED(mpt_policy_find_duplicate(layers, count, &twice, error));
  if (twice >= 0)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "two layers are named '%s'", layers[twice].name);

  mpt_layer_policy *found = calloc((size_t)count + 1, sizeof *found);
  rule_use *use = calloc((size_t)policy->rule_count + 1, sizeof *use);
  mpt_status status = MPT_OK;
  if (found == NULL || use == NULL) {
    status = mpt_fail_memory(error, "the layers' formats", (size_t)count * sizeof *found);
    goto fail;
  }
  MPT_TRY(check_layers(policy, layers, count, options, error));
  match_layers(policy, layers, count, found, use);
  MPT_TRY(check_rules(policy, use, options, error));
  MPT_TRY(check_device(layers, count, options, found, error));
  if (count > 0)
    memcpy(assignment, found, (size_t)count * sizeof *found);
fail:
  free(found);
  free(use);
  return status;
}
