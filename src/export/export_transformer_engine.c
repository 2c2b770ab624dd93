/* TransformerEngine's debug file (nvdlfw-inspect 0.2): it can only take fp8 away, GEMM by GEMM. A
 * layer may be in one section only, and patterns are searched for, so they are anchored. */
#include "export/targets.h"
#include <string.h>

enum { ALL = (1 << MPT_GEMM_COUNT) - 1 };

static int without_fp8(const export_layer *layer) {
  int set = 0;
  for (int g = 0; g < MPT_GEMM_COUNT; g++)
    set |= export_is_fp8(layer, (mpt_gemm_kind)g) ? 0 : 1 << g;
  return strcmp(layer->info->kind, "linear") == 0 ? set : 0;
}

static void add_section(const export_plan *plan, int set, mpt_text *out) {
  mpt_text pattern = {0};
  bool any = false;
  mpt_text_add(&pattern, "^(");
  for (int i = 0; i < plan->count; i++) {
    if (without_fp8(&plan->layers[i]) != set)
      continue;
    mpt_text_add(&pattern, any ? "|" : "");
    export_add_pattern(&pattern, plan->layers[i].name, "[.]");
    any = true;
  }
  mpt_text_add(&pattern, ")$");
  if (any) {
    mpt_text_addf(
        out, "without_fp8_%d:\n  enabled: true\n  layers:\n    layer_name_regex_pattern: ", set);
    export_add_quoted(out, pattern.data == NULL ? "" : pattern.data);
    mpt_text_add(out, "\n  transformer_engine:\n    DisableQuantizationGEMM:\n      enabled: true\n"
                      "      gemms: [");
    for (int g = 0, n = 0; g < MPT_GEMM_COUNT; g++)
      if ((set >> g & 1) != 0)
        mpt_text_addf(out, "%s%s", n++ > 0 ? ", " : "", mpt_gemm_name((mpt_gemm_kind)g));
    mpt_text_add(out, "]\n");
  }
  out->failed = out->failed || pattern.failed;
  mpt_text_free(&pattern);
}

static void write(export_plan *plan, mpt_text *out) {
  for (int i = 0; i < plan->count; i++) {
    const export_layer *layer = &plan->layers[i];
    export_needs_16_bits(plan, layer);
    export_needs_linear(plan, layer);
    export_needs_current(plan, layer);
    for (int g = MPT_DGRAD; g < MPT_GEMM_COUNT; g++)
      if (export_is_fp8(layer, (mpt_gemm_kind)g) &&
          layer->formats->gemm[g].operand[0] != MPT_FP8_E5M2)
        export_differs(plan, layer, "grad_output of %s: the recipe's e5m2 instead of e4m3",
                       mpt_gemm_name((mpt_gemm_kind)g));
  }
  for (int set = 1; set <= ALL; set++)
    add_section(plan, set, out);
}

const export_target export_transformer_engine = {
    .name = "transformer-engine",
    .what = "TransformerEngine's debug file (nvdlfw-inspect 0.2)",
    .note =
        "it takes fp8 away from what a recipe gave it: run under te.autocast with\n"
        "Float8CurrentScaling(), and under bf16. Debug features keep torch.compile from working.\n"
        "Scales are max/amax there, no powers of two.\n",
    .write = write,
};
