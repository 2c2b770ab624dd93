#include "export/export.h"
#include "base/error.h"
#include "export/targets.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const export_target *const export_targets[] = {
    &export_torchao, &export_megatron, &export_transformer_engine, &export_qwix, &export_keras,
};
const int export_target_count = (int)(sizeof export_targets / sizeof export_targets[0]);

const export_target *export_find(const char *name) {
  for (int i = 0; i < export_target_count; i++)
    if (strcmp(export_targets[i]->name, name) == 0)
      return export_targets[i];
  return NULL;
}

/* ---- for targets ---- */

void export_differs(export_plan *plan, const export_layer *layer, const char *format, ...) {
  char what[300];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  mpt_text_addf(plan->differences, "%s: %s\n", layer->info->name, what);
  plan->difference_count++;
}

bool export_is_fp8(const export_layer *layer, mpt_gemm_kind gemm) {
  return mpt_layer_has_gemm(layer->info->kind) &&
         layer->formats->gemm[gemm].precision == MPT_PRECISION_FP8;
}

int export_fp8_count(const export_layer *layer) {
  int count = 0;
  for (int g = 0; g < MPT_GEMM_COUNT; g++)
    count += export_is_fp8(layer, (mpt_gemm_kind)g);
  return count;
}

void export_needs_16_bits(export_plan *plan, const export_layer *layer) {
  const bool gemms = mpt_layer_has_gemm(layer->info->kind);
  for (int g = 0; g < (gemms ? MPT_GEMM_COUNT : 1); g++) {
    const mpt_precision p = layer->formats->gemm[g].precision;
    if (p == MPT_PRECISION_FP8 || p == MPT_PRECISION_BF16)
      continue;
    export_differs(plan, layer, "%s%sbf16 instead of %s",
                   gemms ? mpt_gemm_name((mpt_gemm_kind)g) : "", gemms ? ": " : "",
                   mpt_precision_name(p));
  }
}

void export_needs_linear(export_plan *plan, const export_layer *layer) {
  if (export_fp8_count(layer) > 0 && strcmp(layer->info->kind, "linear") != 0)
    export_differs(plan, layer, "bf16 instead of fp8, which is for linear layers only");
}

void export_needs_current(export_plan *plan, const export_layer *layer) {
  if (export_fp8_count(layer) > 0 && layer->formats->scaling.mode != MPT_SCALING_CURRENT)
    export_differs(plan, layer, "current scaling instead of delayed");
}

void export_add_quoted(mpt_text *out, const char *text) {
  mpt_text_add(out, "\"");
  for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
    if (*c == '"' || *c == '\\')
      mpt_text_addf(out, "\\%c", *c);
    else if (*c < 0x20 || *c == 0x7f)
      mpt_text_addf(out, "\\u%04x", *c);
    else
      mpt_text_add_bytes(out, (const char *)c, 1);
  }
  mpt_text_add(out, "\"");
}

void export_add_pattern(mpt_text *out, const char *name, const char *dot) {
  for (const char *c = name; *c != '\0'; c++) {
    if (*c == '.')
      mpt_text_add(out, dot);
    else {
      if (strchr("\\^$|()[]{}*+?", *c) != NULL)
        mpt_text_add(out, "\\");
      mpt_text_add_bytes(out, c, 1);
    }
  }
}

/* ---- a policy ---- */

static bool equal_for_target(const export_layer *a, const export_layer *b) {
  return mpt_layer_policy_equal(a->formats, b->formats);
}

/* Layers that the target knows by one name are one there. */
static mpt_status merge(export_layer *layers, int *count, mpt_error *error) {
  int kept = 0;
  for (int i = 0; i < *count; i++) {
    int same = 0;
    while (same < kept && strcmp(layers[same].name, layers[i].name) != 0)
      same++;
    if (same == kept)
      layers[kept++] = layers[i];
    else if (!equal_for_target(&layers[same], &layers[i]))
      return mpt_fail(error, MPT_ERROR_MISMATCH,
                      "layers '%s' and '%s' are both renamed to '%s' and have different formats; "
                      "give them one format in the policy, or names of their own",
                      layers[same].info->name, layers[i].info->name, layers[i].name);
  }
  *count = kept;
  return MPT_OK;
}

/* Every line of `lines` behind "# ". Names may hold what would end a comment. */
static void add_comment(mpt_text *out, const char *lines) {
  while (*lines != '\0') {
    const size_t length = strcspn(lines, "\n");
    mpt_text_add(out, length > 0 ? "# " : "#");
    for (size_t i = 0; i < length; i++)
      mpt_text_add_bytes(out, (unsigned char)lines[i] < 0x20 ? " " : lines + i, 1);
    mpt_text_add(out, "\n");
    lines += length + (lines[length] == '\n');
  }
}

static void add_head(const export_target *target, const export_plan *plan, const mpt_policy *policy,
                     mpt_text *out) {
  const mpt_policy_result result = mpt_policy_get_result(policy);
  mpt_text head = {0};
  mpt_text_addf(&head, "Made by mptune " MPTUNE_VERSION " from the policy '%s', for %s.\n",
                plan->policy, target->what);
  mpt_text_addf(
      &head, "The policy's verdict (%s) holds for mptune's arithmetic. It is not carried over:\n",
      mpt_verdict_name(result.verdict));
  mpt_text_add(&head, target->note);
  if (plan->difference_count > 0)
    mpt_text_addf(&head, "What the policy says and this cannot (%d):\n%s", plan->difference_count,
                  plan->differences->data);
  if (head.data != NULL)
    add_comment(out, head.data);
  out->failed = out->failed || head.failed;
  mpt_text_free(&head);
}

/* The first differences, in a message. */
static mpt_status refuse(const export_target *target, const export_plan *plan, mpt_error *error) {
  char some[400] = "";
  size_t used = 0;
  int named = 0;
  for (const char *line = plan->differences->data; *line != '\0' && named < 3; named++) {
    const size_t length = strcspn(line, "\n");
    const int n = snprintf(some + used, sizeof some - used, "%s%.*s", named > 0 ? "; " : "",
                           (int)length, line);
    if (n < 0 || (size_t)n >= sizeof some - used)
      break;
    used += (size_t)n;
    line += length + 1;
  }
  some[used] = '\0';
  return mpt_fail(
      error, MPT_ERROR_UNSUPPORTED,
      "%s cannot say all of this policy (%d thing%s); what comes nearest: %s%s (--approximate "
      "writes that)",
      target->name, plan->difference_count, plan->difference_count == 1 ? "" : "s", some,
      named < plan->difference_count ? "; ..." : "");
}

mpt_status export_policy(const export_target *target, const mpt_policy *policy,
                         const mpt_layer_info *layers, const mpt_layer_policy *assignment,
                         char *const *names, int count, bool approximate, mpt_text *out,
                         mpt_text *differences, mpt_error *error) {
  mpt_status status = MPT_OK;
  mpt_text body = {0};
  export_plan plan = {.policy = mpt_policy_name(policy), .differences = differences};
  export_layer *list = calloc((size_t)count + 1, sizeof *list);
  if (list == NULL)
    return mpt_fail_memory(error, "the exported layers", 0);
  for (int i = 0; i < count; i++)
    list[i] = (export_layer){.name = names[i], .info = &layers[i], .formats = &assignment[i]};
  MPT_TRY(merge(list, &count, error));
  plan.layers = list, plan.count = count;
  target->write(&plan, &body);
  if (plan.difference_count > 0 && !approximate && !differences->failed) {
    status = refuse(target, &plan, error);
    goto fail;
  }
  add_head(target, &plan, policy, out);
  mpt_text_add(out, body.data == NULL ? "" : body.data);
  if (out->failed || body.failed || differences->failed)
    status = mpt_fail_memory(error, "the exported policy", 0);
fail:
  mpt_text_free(&body);
  free(list);
  return status;
}
