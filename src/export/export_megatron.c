/* Megatron-LM (megatron-core 0.16): --te-precision-config-file. A whole layer is fp8 or bf16; of
 * the recipes only current scaling is allowed. Two keys default to false and then turn a rule off
 * in silence: `enabled`, and `override_nonquantized_autocast`. */
#include "export/targets.h"
#include <string.h>

typedef enum layer_config { CONFIG_BF16, CONFIG_HYBRID, CONFIG_E4M3, CONFIG_COUNT } layer_config;

static layer_config config_of(export_plan *plan, const export_layer *layer) {
  const int fp8 = export_fp8_count(layer);
  if (fp8 == 0 || strcmp(layer->info->kind, "linear") != 0)
    return CONFIG_BF16;
  if (fp8 < MPT_GEMM_COUNT) {
    for (int g = 0; g < MPT_GEMM_COUNT; g++)
      if (export_is_fp8(layer, (mpt_gemm_kind)g))
        export_differs(plan, layer,
                       "%s: bf16 instead of fp8, which is for a whole layer or none of it",
                       mpt_gemm_name((mpt_gemm_kind)g));
    return CONFIG_BF16;
  }
  const mpt_format dgrad = layer->formats->gemm[MPT_DGRAD].operand[0],
                   wgrad = layer->formats->gemm[MPT_WGRAD].operand[0];
  if (dgrad != wgrad)
    export_differs(plan, layer, "grad_output: for %s and %s both %s", mpt_format_get(dgrad)->name,
                   mpt_format_get(wgrad)->name, mpt_format_get(MPT_FP8_E5M2)->name);
  return dgrad == MPT_FP8_E4M3 && wgrad == MPT_FP8_E4M3 ? CONFIG_E4M3 : CONFIG_HYBRID;
}

/* A name as fnmatch reads it literally. */
static void add_glob(mpt_text *out, const char *name) {
  mpt_text glob = {0};
  for (const char *c = name; *c != '\0'; c++) {
    if (strchr("*?[", *c) != NULL)
      mpt_text_addf(&glob, "[%c]", *c);
    else
      mpt_text_add_bytes(&glob, c, 1);
  }
  export_add_quoted(out, glob.data == NULL ? "" : glob.data);
  out->failed = out->failed || glob.failed;
  mpt_text_free(&glob);
}

static void write(export_plan *plan, mpt_text *out) {
  static const char *const names[CONFIG_COUNT] = {"bf16", "fp8", "fp8_e4m3"};
  static const char *const formats[CONFIG_COUNT] = {NULL, "hybrid", "e4m3"};
  bool used[CONFIG_COUNT] = {[CONFIG_BF16] = true};
  mpt_text matchers = {0};
  int count = 0;
  for (int i = 0; i < plan->count; i++) {
    const export_layer *layer = &plan->layers[i];
    export_needs_16_bits(plan, layer);
    export_needs_linear(plan, layer);
    export_needs_current(plan, layer);
    const layer_config config = config_of(plan, layer);
    if (config == CONFIG_BF16)
      continue;
    used[config] = true;
    mpt_text_addf(&matchers, "  m%d: {config: \"%s\", type: \"glob\", pattern: ", count++,
                  names[config]);
    add_glob(&matchers, layer->name);
    mpt_text_add(&matchers, ", enabled: true}\n");
  }
  mpt_text_add(out, "configs:\n");
  for (int c = 0; c < CONFIG_COUNT; c++) {
    if (!used[c])
      continue;
    mpt_text_addf(out,
                  "  %s: {transformer_engine_config_type: \"TEQuantizationParams\", "
                  "training_recipe: {",
                  names[c]);
    if (c != CONFIG_BF16)
      mpt_text_addf(out,
                    "fp8_quantization_recipe: \"tensorwise\", fp8_format: \"%s\", "
                    "override_nonquantized_autocast: true",
                    formats[c]);
    mpt_text_add(out, "}, evaluation_recipe: {}}\n");
  }
  mpt_text_add(out, "matchers:\n");
  mpt_text_add(out, matchers.data == NULL ? "" : matchers.data);
  mpt_text_addf(out, "  m%d: {config: \"bf16\", type: \"glob\", pattern: \"*\", enabled: true}\n",
                count);
  out->failed = out->failed || matchers.failed;
  mpt_text_free(&matchers);
}

const export_target export_megatron = {
    .name = "megatron",
    .what = "Megatron-LM's --te-precision-config-file (megatron-core 0.16)",
    .note = "scales are max/amax there, no powers of two, and evaluation is in bf16.\n"
            "Names must be Megatron's (decoder.layers.0.mlp.linear_fc1): see --rename.\n",
    .write = write,
};
