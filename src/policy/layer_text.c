/* The canonical text of one layer's formats: the run store keeps it, hashes are taken over it.
 *
 *   fp8                                        all three GEMMs
 *   fprop=fp8,dgrad=bf16,wgrad=bf16            each its own
 *   fp8:delayed/16/0                           scaling where it is not the default
 *   fprop=fp8+fast,dgrad=fp8,wgrad=fp8         fast sums, where split is the default
 *   fprop=fp8(fp8_e5m2*fp8_e4m3),...           operands that are not the default
 */
#include "base/error.h"
#include "policy/legal.h"
#include "policy/policy_data.h"
#include <stdio.h>
#include <string.h>

static bool default_operands(mpt_gemm_kind gemm, const mpt_gemm_policy *p) {
  const mpt_gemm_policy standard = mpt_gemm_policy_of(gemm, p->precision);
  return p->operand[0] == standard.operand[0] && p->operand[1] == standard.operand[1];
}

static bool is_default(mpt_gemm_kind gemm, const mpt_gemm_policy *p) {
  return default_operands(gemm, p) && p->accumulate == MPT_ACCUMULATE_SPLIT;
}

static void add_gemm(mpt_text *text, mpt_gemm_kind gemm, const mpt_gemm_policy *p) {
  mpt_text_add(text, mpt_precision_name(p->precision));
  if (!default_operands(gemm, p))
    mpt_text_addf(text, "(%s*%s)", mpt_format_get(p->operand[0])->name,
                  mpt_format_get(p->operand[1])->name);
  if (p->accumulate == MPT_ACCUMULATE_FAST)
    mpt_text_add(text, "+fast");
}

void mpt_layer_policy_text(const mpt_layer_policy *layer, char *out, size_t size) {
  mpt_text text = mpt_text_over(out, size);
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
}

/* ---- the inverse ---- */

/* Whether the text goes on with `word`; moves past it. */
static bool take(const char **text, const char *word) {
  const size_t length = strlen(word);
  if (strncmp(*text, word, length) != 0)
    return false;
  *text += length;
  return true;
}

/* The letters, digits and underscores that come next. */
static void take_name(const char **text, char *name, size_t size) {
  const size_t length = strspn(*text, "abcdefghijklmnopqrstuvwxyz0123456789_");
  snprintf(name, size, "%.*s", (int)length, *text);
  *text += length;
}

static bool take_number(const char **text, int low, int high, int *number) {
  const size_t digits = strspn(*text, "0123456789");
  if (digits == 0 || digits > 4 || ((*text)[0] == '0' && digits > 1))
    return false;
  *number = 0;
  for (size_t i = 0; i < digits; i++)
    *number = 10 * *number + (*text)[i] - '0';
  *text += digits;
  return low <= *number && *number <= high;
}

static bool take_operand(const char **text, mpt_format *format) {
  char name[16];
  take_name(text, name, sizeof name);
  return mpt_format_parse(name, format, NULL) == MPT_OK;
}

static bool take_gemm(const char **text, mpt_gemm_kind kind, mpt_gemm_policy *gemm) {
  char name[16];
  mpt_precision precision;
  take_name(text, name, sizeof name);
  if (mpt_precision_parse(name, &precision, NULL) != MPT_OK)
    return false;
  *gemm = mpt_gemm_policy_of(kind, precision);
  if (take(text, "(")) {
    mpt_precision pair;
    if (precision != MPT_PRECISION_FP8 || !take_operand(text, &gemm->operand[0]) ||
        !take(text, "*") || !take_operand(text, &gemm->operand[1]) || !take(text, ")") ||
        mpt_policy_operands_precision(gemm->operand, &pair, NULL) != MPT_OK ||
        pair != MPT_PRECISION_FP8)
      return false;
  }
  if (!take(text, "+fast"))
    return true;
  gemm->accumulate = MPT_ACCUMULATE_FAST;
  return precision == MPT_PRECISION_FP8;
}

static bool take_layer(const char **text, mpt_layer_policy *layer) {
  const bool each = strncmp(*text, "fprop=", 6) == 0;
  for (int g = 0; g < MPT_GEMM_COUNT; g++) {
    const char *again = *text;
    const mpt_gemm_kind kind = (mpt_gemm_kind)g;
    if (each &&
        ((g > 0 && !take(text, ",")) || !take(text, mpt_gemm_name(kind)) || !take(text, "=")))
      return false;
    if (!take_gemm(text, kind, &layer->gemm[g]))
      return false;
    if (!each && g + 1 < MPT_GEMM_COUNT)
      *text = again;
  }
  if (!take(text, ":delayed/"))
    return true;
  layer->scaling.mode = MPT_SCALING_DELAYED;
  return take_number(text, 1, POLICY_MAX_HISTORY, &layer->scaling.history) && take(text, "/") &&
         take_number(text, 0, POLICY_MAX_MARGIN, &layer->scaling.margin);
}

mpt_status mpt_layer_policy_parse(const char *text, mpt_layer_policy *layer, mpt_error *error) {
  mpt_layer_policy read = mpt_layer_policy_of(MPT_PRECISION_FP32);
  char canonical[160] = "";
  if (text == NULL || layer == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "a layer's text or formats are NULL");
  const char *rest = text;
  const bool good = take_layer(&rest, &read) && *rest == '\0';
  /* One text for one layer: what the writer would not have written is refused. */
  if (good)
    mpt_layer_policy_text(&read, canonical, sizeof canonical);
  if (!good || strcmp(canonical, text) != 0)
    return mpt_fail(error, MPT_ERROR_SYNTAX,
                    "'%s' is no layer's formats, such as fp8 or fprop=fp8,dgrad=bf16,wgrad=bf16",
                    text);
  *layer = read;
  return MPT_OK;
}
