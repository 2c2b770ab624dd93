/* qwix 0.1 (JAX): rules over module paths, the first that matches wins. Without a weight's type
 * nothing is quantised, and one type covers dgrad and wgrad together. */
#include "export/targets.h"
#include <string.h>

typedef struct quantised {
  bool forward, backward;
  mpt_format gradient;
} quantised;

static quantised quantised_of(export_plan *plan, const export_layer *layer) {
  quantised q = {.forward = export_is_fp8(layer, MPT_FPROP), .gradient = MPT_FP8_E5M2};
  const bool dgrad = export_is_fp8(layer, MPT_DGRAD), wgrad = export_is_fp8(layer, MPT_WGRAD);
  q.backward = q.forward && dgrad && wgrad;
  if (!q.forward && (dgrad || wgrad))
    export_differs(plan, layer, "backward: bf16 instead of fp8, as fprop is in 16 bits");
  else if (dgrad != wgrad)
    export_differs(plan, layer, "%s: bf16 instead of fp8, as dgrad and wgrad have one format",
                   mpt_gemm_name(dgrad ? MPT_DGRAD : MPT_WGRAD));
  if (q.backward) {
    const mpt_format d = layer->formats->gemm[MPT_DGRAD].operand[0],
                     w = layer->formats->gemm[MPT_WGRAD].operand[0];
    q.gradient = d == w ? d : MPT_FP8_E5M2;
    if (d != w)
      export_differs(plan, layer, "grad_output: for %s and %s both %s", mpt_format_get(d)->name,
                     mpt_format_get(w)->name, mpt_format_get(q.gradient)->name);
  }
  return q;
}

static void write(export_plan *plan, mpt_text *out) {
  mpt_text_add(out, "import qwix\n\nRULES = [\n");
  for (int i = 0; i < plan->count; i++) {
    const export_layer *layer = &plan->layers[i];
    mpt_text pattern = {0};
    export_needs_16_bits(plan, layer);
    export_needs_linear(plan, layer);
    export_needs_current(plan, layer);
    if (strcmp(layer->info->kind, "linear") != 0)
      continue;
    const quantised q = quantised_of(plan, layer);
    if (!q.forward)
      continue;
    export_add_pattern(&pattern, layer->name, "/");
    mpt_text_add(out, "    qwix.QtRule(module_path=");
    export_add_quoted(out, pattern.data == NULL ? "" : pattern.data);
    mpt_text_add(out,
                 ",\n                weight_qtype=\"float8_e4m3fn\", act_qtype=\"float8_e4m3fn\",\n"
                 "                bwd_qtype=");
    mpt_text_addf(out, "%s, disable_channelwise_axes=True),\n",
                  !q.backward                  ? "None"
                  : q.gradient == MPT_FP8_E4M3 ? "\"float8_e4m3fn\""
                                               : "\"float8_e5m2\"");
    out->failed = out->failed || pattern.failed;
    mpt_text_free(&pattern);
  }
  mpt_text_add(out,
               "]\n\n\n"
               "def provider():\n"
               "    \"\"\"For qwix.quantize_model; get_unused_rules() of it names what matched "
               "nothing.\"\"\"\n"
               "    return qwix.QtProvider(RULES)\n");
}

const export_target export_qwix = {
    .name = "qwix",
    .what = "qwix 0.1 (JAX; a Python snippet: provider())",
    .note =
        "scales are max/amax there, no powers of two. What no rule names stays in the model's own "
        "dtype.\n"
        "Module paths are joined by '/': see --rename for others.\n",
    .write = write,
};
