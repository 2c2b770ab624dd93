/* The canonical text of one layer's formats: the run store keeps it, hashes are taken over it.
 *
 *   fp8                                        all three GEMMs
 *   fprop=fp8,dgrad=bf16,wgrad=bf16            each its own
 *   fp8:delayed/16/0                           scaling where it is not the default
 *   fprop=fp8(fp8_e4m3*fp8_e4m3+fast),...      operands or accumulation that are not the default
 */
#include "base/text.h"
#include "mptune/policy.h"
#include <stdio.h>

static bool is_default(mpt_gemm_kind gemm, const mpt_gemm_policy *p) {
  const mpt_gemm_policy standard = mpt_gemm_policy_of(gemm, p->precision);
  return p->operand[0] == standard.operand[0] && p->operand[1] == standard.operand[1] &&
         p->accumulate == standard.accumulate;
}

static void add_gemm(mpt_text *text, mpt_gemm_kind gemm, const mpt_gemm_policy *p) {
  mpt_text_add(text, mpt_precision_name(p->precision));
  if (is_default(gemm, p))
    return;
  mpt_text_addf(text, "(%s*%s%s)", mpt_format_get(p->operand[0])->name,
                mpt_format_get(p->operand[1])->name,
                p->accumulate == MPT_ACCUMULATE_FAST ? "+fast" : "");
}

void mpt_layer_policy_text(const mpt_layer_policy *layer, char *out, size_t size) {
  mpt_text text = {0};
  bool alike = true, fp8 = false;
  for (int g = 0; g < MPT_GEMM_COUNT; g++) {
    alike = alike && layer->gemm[g].precision == layer->gemm[0].precision &&
            is_default((mpt_gemm_kind)g, &layer->gemm[g]);
    fp8 = fp8 || layer->gemm[g].precision == MPT_PRECISION_FP8;
  }
  for (int g = 0; g < (alike ? 1 : MPT_GEMM_COUNT); g++) {
    if (!alike)
      mpt_text_addf(&text, "%s%s=", g > 0 ? "," : "", mpt_gemm_name((mpt_gemm_kind)g));
    add_gemm(&text, (mpt_gemm_kind)g, &layer->gemm[g]);
  }
  if (fp8 && layer->scaling.mode == MPT_SCALING_DELAYED)
    mpt_text_addf(&text, ":delayed/%d/%d", layer->scaling.history, layer->scaling.margin);
  snprintf(out, size, "%s", text.failed || text.data == NULL ? "" : text.data);
  mpt_text_free(&text);
}
