/* Keras 3.15: a DTypePolicyMap. Two patterns that match one layer are an error there, so every
 * layer has its exact path. Its fp8 is quantise-dequantise with delayed scaling, for the whole
 * layer. */
#include "export/targets.h"
#include <string.h>

static const char *plain_policy(export_plan *plan, const export_layer *layer) {
  switch (layer->formats->gemm[MPT_FPROP].precision) {
  case MPT_PRECISION_FP32:
    return "float32";
  case MPT_PRECISION_TF32:
    export_differs(plan, layer, "fp32 instead of tf32");
    return "float32";
  case MPT_PRECISION_FP16:
    return "mixed_float16";
  default:
    return "mixed_bfloat16";
  }
}

static void note_mixed_gemms(export_plan *plan, const export_layer *layer) {
  for (int g = MPT_DGRAD; g < MPT_GEMM_COUNT && mpt_layer_has_gemm(layer->info->kind); g++)
    if (layer->formats->gemm[g].precision != layer->formats->gemm[MPT_FPROP].precision)
      export_differs(plan, layer, "%s: fprop's format instead of %s, as a layer has one",
                     mpt_gemm_name((mpt_gemm_kind)g),
                     mpt_precision_name(layer->formats->gemm[g].precision));
}

/* The amaxes that are kept. */
static int history_of(export_plan *plan, const export_layer *layer) {
  const mpt_scaling *scaling = &layer->formats->scaling;
  if (scaling->mode == MPT_SCALING_CURRENT) {
    export_differs(plan, layer, "delayed scaling over 1024 steps instead of current scaling");
    return 1024;
  }
  if (scaling->margin != 0)
    export_differs(plan, layer, "a margin of 0 instead of %d", scaling->margin);
  return scaling->history;
}

static void add_layer(export_plan *plan, const export_layer *layer, mpt_text *out) {
  mpt_text path = {0};
  for (const char *c = layer->name; *c != '\0'; c++)
    mpt_text_add_bytes(&path, *c == '.' ? "/" : c, 1);
  mpt_text_add(out, "    ");
  export_add_quoted(out, path.data == NULL ? "" : path.data);
  note_mixed_gemms(plan, layer);
  if (export_is_fp8(layer, MPT_FPROP) && strcmp(layer->info->kind, "linear") == 0)
    mpt_text_addf(out, ": _float8(%d),\n", history_of(plan, layer));
  else
    mpt_text_addf(out, ": _plain(\"%s\"),\n", plain_policy(plan, layer));
  out->failed = out->failed || path.failed;
  mpt_text_free(&path);
}

static void write(export_plan *plan, mpt_text *out) {
  mpt_text_add(out, "import keras\n\n\n"
                    "def _float8(history):\n"
                    "    return {\"module\": \"keras.dtype_policies\",\n"
                    "            \"class_name\": \"QuantizedFloat8DTypePolicy\",\n"
                    "            \"config\": {\"mode\": \"float8\", \"source_name\": "
                    "\"mixed_bfloat16\",\n"
                    "                       \"amax_history_length\": history},\n"
                    "            \"registered_name\": None}\n\n\n"
                    "def _plain(name):\n"
                    "    return {\"module\": \"keras.dtype_policies\", \"class_name\": "
                    "\"DTypePolicy\",\n"
                    "            \"config\": {\"name\": name}, \"registered_name\": None}\n\n\n"
                    "LAYERS = {\n");
  for (int i = 0; i < plan->count; i++) {
    export_needs_linear(plan, &plan->layers[i]);
    add_layer(plan, &plan->layers[i], out);
  }
  mpt_text_add(out, "}\n\n\n"
                    "def dtype_policy_map():\n"
                    "    \"\"\"For keras.config.set_dtype_policy, or a model's dtype=.\"\"\"\n"
                    "    return keras.saving.deserialize_keras_object({\n"
                    "        \"module\": \"keras.dtype_policies\", \"class_name\": "
                    "\"DTypePolicyMap\",\n"
                    "        \"config\": {\"default_policy\": \"mixed_bfloat16\", \"policy_map\": "
                    "LAYERS},\n"
                    "        \"registered_name\": None})\n");
}

const export_target export_keras = {
    .name = "keras",
    .what = "Keras 3.15 (a Python snippet: dtype_policy_map())",
    .note =
        "fp8 is quantise-dequantise there, with delayed scaling by max/amax, no powers of two.\n"
        "Paths are joined by '/': see --rename for others.\n",
    .write = write,
};
