/* torchao 0.18: no file, but a snippet that converts a model. Each of the six operands has its own
 * CastConfig; a shared one, or one whose dtype differs between the two GEMMs that an operand is in,
 * fails torchao's assertions. */
#include "export/targets.h"
#include <string.h>

static const char *dtype(mpt_format format) {
  return format == MPT_FP8_E5M2 ? "E5M2" : "E4M3";
}

/* The format of an operand in whichever of its GEMMs is in fp8; `plain` where none is. */
static mpt_format operand_format(const export_layer *layer, mpt_operand operand, mpt_format plain) {
  for (int g = 0; g < MPT_GEMM_COUNT; g++)
    for (int i = 0; i < 2; i++)
      if (export_is_fp8(layer, (mpt_gemm_kind)g) &&
          mpt_gemm_operand((mpt_gemm_kind)g, i) == operand)
        return layer->formats->gemm[g].operand[i];
  return plain;
}

/* torchao wants one dtype for an operand in both of its GEMMs. */
static void note_mixed_operands(export_plan *plan, const export_layer *layer) {
  for (int g = 0; g < MPT_GEMM_COUNT; g++)
    for (int i = 0; i < 2; i++) {
      const mpt_operand operand = mpt_gemm_operand((mpt_gemm_kind)g, i);
      const mpt_format format = layer->formats->gemm[g].operand[i];
      const mpt_format first = operand_format(layer, operand, format);
      if (export_is_fp8(layer, (mpt_gemm_kind)g) && format != first)
        export_differs(plan, layer, "%s of %s: %s instead of %s", mpt_operand_name(operand),
                       mpt_gemm_name((mpt_gemm_kind)g), mpt_format_get(first)->name,
                       mpt_format_get(format)->name);
    }
}

static void add_layer(const export_layer *layer, mpt_text *out) {
  mpt_text_add(out, "    ");
  export_add_quoted(out, layer->name);
  mpt_text_add(out, ": (");
  for (int g = 0; g < MPT_GEMM_COUNT; g++)
    mpt_text_add(out, export_is_fp8(layer, (mpt_gemm_kind)g) ? "1, " : "0, ");
  mpt_text_addf(out, "%s, %s, %s, ", dtype(operand_format(layer, MPT_INPUT, MPT_FP8_E4M3)),
                dtype(operand_format(layer, MPT_WEIGHT, MPT_FP8_E4M3)),
                dtype(operand_format(layer, MPT_GRAD_OUTPUT, MPT_FP8_E5M2)));
  for (int g = 0; g < MPT_GEMM_COUNT; g++)
    mpt_text_addf(out, "%d%s", layer->formats->gemm[g].accumulate == MPT_ACCUMULATE_FAST,
                  g + 1 < MPT_GEMM_COUNT ? ", " : "),\n");
}

static void write(export_plan *plan, mpt_text *out) {
  mpt_text_add(out, "import torch\n"
                    "from torchao.float8 import convert_to_float8_training\n"
                    "from torchao.float8.config import (\n"
                    "    CastConfig, Float8GemmConfig, Float8LinearConfig, ScalingType)\n\n"
                    "E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2\n\n"
                    "# name: fp8 in fprop, dgrad, wgrad; dtypes of input, weight, grad_output;\n"
                    "# fast sums in fprop, dgrad, wgrad\n"
                    "LAYERS = {\n");
  for (int i = 0; i < plan->count; i++) {
    const export_layer *layer = &plan->layers[i];
    export_needs_16_bits(plan, layer);
    export_needs_linear(plan, layer);
    export_needs_current(plan, layer);
    note_mixed_operands(plan, layer);
    if (export_fp8_count(layer) > 0 && strcmp(layer->info->kind, "linear") == 0)
      add_layer(layer, out);
  }
  mpt_text_add(
      out, "}\n\n\n"
           "def _config(fprop, dgrad, wgrad, input, weight, grad, fast_f, fast_d, fast_w):\n"
           "    def cast(fp8, dtype):  # each operand has its own\n"
           "        kind = ScalingType.DYNAMIC if fp8 else ScalingType.DISABLED\n"
           "        return CastConfig(scaling_type=kind, target_dtype=dtype)\n"
           "    return Float8LinearConfig(\n"
           "        cast_config_input=cast(fprop, input),\n"
           "        cast_config_weight=cast(fprop, weight),\n"
           "        cast_config_grad_output=cast(dgrad, grad),\n"
           "        cast_config_weight_for_grad_input=cast(dgrad, weight),\n"
           "        cast_config_grad_output_for_grad_weight=cast(wgrad, grad),\n"
           "        cast_config_input_for_grad_weight=cast(wgrad, input),\n"
           "        gemm_config_output=Float8GemmConfig(use_fast_accum=bool(fast_f)),\n"
           "        gemm_config_grad_input=Float8GemmConfig(use_fast_accum=bool(fast_d)),\n"
           "        gemm_config_grad_weight=Float8GemmConfig(use_fast_accum=bool(fast_w)),\n"
           "        round_scales_to_power_of_2=True)\n\n\n"
           "def apply(model):\n"
           "    \"\"\"Converts the linear layers of a model in bf16; returns it.\"\"\"\n"
           "    names = {name for name, _ in model.named_modules()}\n"
           "    missing = [name for name in LAYERS if name not in names]\n"
           "    if missing:\n"
           "        raise KeyError(f\"the model has no layers {missing}\")\n"
           "    for how in dict.fromkeys(LAYERS.values()):\n"
           "        convert_to_float8_training(\n"
           "            model, config=_config(*how),\n"
           "            module_filter_fn=lambda module, name, how=how: LAYERS.get(name) == how)\n"
           "    return model\n");
}

const export_target export_torchao = {
    .name = "torchao",
    .what = "torchao 0.18 (a Python snippet: apply(model))",
    .note =
        "torchao scales by max/amax; power-of-two scales are asked for, and are those of mptune.\n"
        "The model itself must be in bf16, or under autocast: what is not named here is as it "
        "is.\n",
    .write = write,
};
