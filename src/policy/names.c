/* The words of a policy, and what each precision means for operands and storage. */
#include "base/error.h"
#include "mptune/policy.h"
#include <string.h>

typedef struct precision_facts {
  const char *name;
  mpt_format activation, gradient; /* operand formats: input and weight; grad_output */
  mpt_format storage;
  mpt_precision whole; /* of a layer without GEMMs: that of its storage format */
} precision_facts;

static const precision_facts facts[MPT_PRECISION_COUNT] = {
    [MPT_PRECISION_FP32] = {"fp32", MPT_FP32, MPT_FP32, MPT_FP32, MPT_PRECISION_FP32},
    [MPT_PRECISION_TF32] = {"tf32", MPT_TF32, MPT_TF32, MPT_FP32, MPT_PRECISION_FP32},
    [MPT_PRECISION_BF16] = {"bf16", MPT_BF16, MPT_BF16, MPT_BF16, MPT_PRECISION_BF16},
    [MPT_PRECISION_FP16] = {"fp16", MPT_FP16, MPT_FP16, MPT_FP16, MPT_PRECISION_FP16},
    [MPT_PRECISION_FP8] = {"fp8", MPT_FP8_E4M3, MPT_FP8_E5M2, MPT_BF16, MPT_PRECISION_BF16},
};

const char *mpt_precision_name(mpt_precision precision) {
  return (unsigned)precision < MPT_PRECISION_COUNT ? facts[precision].name : "unknown";
}

mpt_status mpt_precision_parse(const char *name, mpt_precision *precision, mpt_error *error) {
  for (int i = 0; name != NULL && i < MPT_PRECISION_COUNT; i++) {
    if (strcmp(facts[i].name, name) != 0)
      continue;
    *precision = (mpt_precision)i;
    return MPT_OK;
  }
  return mpt_fail(error, MPT_ERROR_NOT_FOUND,
                  "unknown format '%s' (known: fp32, tf32, bf16, fp16, fp8)",
                  name == NULL ? "" : name);
}

mpt_format mpt_precision_storage(mpt_precision precision) {
  return (unsigned)precision < MPT_PRECISION_COUNT ? facts[precision].storage : MPT_FP32;
}

const char *mpt_gemm_name(mpt_gemm_kind gemm) {
  static const char *const names[MPT_GEMM_COUNT] = {"fprop", "dgrad", "wgrad"};
  return (unsigned)gemm < MPT_GEMM_COUNT ? names[gemm] : "unknown";
}

const char *mpt_operand_name(mpt_operand operand) {
  static const char *const names[MPT_OPERAND_COUNT] = {"input", "weight", "grad_output"};
  return (unsigned)operand < MPT_OPERAND_COUNT ? names[operand] : "unknown";
}

const char *mpt_verdict_name(mpt_verdict verdict) {
  static const char *const names[] = {"unverified", "pass", "fail", "inconclusive", "reference"};
  return (unsigned)verdict < MPT_VERDICT_COUNT ? names[verdict] : "unknown";
}

const char *mpt_loss_scale_mode_name(mpt_loss_scale_mode mode) {
  static const char *const names[] = {"dynamic", "static", "none"};
  return (unsigned)mode <= MPT_LOSS_SCALE_NONE ? names[mode] : "unknown";
}

mpt_operand mpt_gemm_operand(mpt_gemm_kind gemm, int index) {
  static const mpt_operand operands[MPT_GEMM_COUNT][2] = {
      [MPT_FPROP] = {MPT_INPUT, MPT_WEIGHT},
      [MPT_DGRAD] = {MPT_GRAD_OUTPUT, MPT_WEIGHT},
      [MPT_WGRAD] = {MPT_GRAD_OUTPUT, MPT_INPUT},
  };
  return operands[gemm][index];
}

mpt_gemm_policy mpt_gemm_policy_of(mpt_gemm_kind gemm, mpt_precision precision) {
  mpt_gemm_policy policy = {.precision = precision, .accumulate = MPT_ACCUMULATE_SPLIT};
  for (int i = 0; i < 2; i++)
    policy.operand[i] = mpt_gemm_operand(gemm, i) == MPT_GRAD_OUTPUT ? facts[precision].gradient
                                                                     : facts[precision].activation;
  return policy;
}

mpt_layer_policy mpt_layer_policy_of(mpt_precision precision) {
  mpt_layer_policy policy = {.scaling = {.mode = MPT_SCALING_CURRENT, .history = 16}, .rule = -1};
  for (int g = 0; g < MPT_GEMM_COUNT; g++)
    policy.gemm[g] = mpt_gemm_policy_of((mpt_gemm_kind)g, precision);
  return policy;
}

static bool gemm_equal(const mpt_gemm_policy *a, const mpt_gemm_policy *b) {
  return a->precision == b->precision && a->operand[0] == b->operand[0] &&
         a->operand[1] == b->operand[1] && a->accumulate == b->accumulate;
}

static bool scaling_equal(const mpt_scaling *a, const mpt_scaling *b) {
  if (a->mode != b->mode)
    return false;
  return a->mode == MPT_SCALING_CURRENT || (a->history == b->history && a->margin == b->margin);
}

static bool uses_fp8(const mpt_layer_policy *p) {
  for (int g = 0; g < MPT_GEMM_COUNT; g++)
    if (p->gemm[g].precision == MPT_PRECISION_FP8)
      return true;
  return false;
}

bool mpt_layer_policy_equal(const mpt_layer_policy *a, const mpt_layer_policy *b) {
  for (int g = 0; g < MPT_GEMM_COUNT; g++)
    if (!gemm_equal(&a->gemm[g], &b->gemm[g]))
      return false;
  return !uses_fp8(a) || scaling_equal(&a->scaling, &b->scaling);
}

bool mpt_layer_has_gemm(const char *kind) {
  return kind[0] == '\0' || strcmp(kind, "linear") == 0 || strcmp(kind, "conv2d") == 0;
}

mpt_precision mpt_precision_for(const char *kind, mpt_precision precision) {
  const bool multiplies = precision == MPT_PRECISION_TF32 && strcmp(kind, "attention") == 0;
  if (mpt_layer_has_gemm(kind) || multiplies || (unsigned)precision >= MPT_PRECISION_COUNT)
    return precision;
  return facts[precision].whole;
}

mpt_format mpt_layer_policy_storage(const mpt_layer_policy *formats, bool has_gemm,
                                    mpt_gemm_kind gemm) {
  return mpt_precision_storage(formats->gemm[has_gemm ? gemm : MPT_FPROP].precision);
}

mpt_layer_policy mpt_layer_policy_for(const char *kind, const mpt_layer_policy *formats) {
  if (mpt_layer_has_gemm(kind))
    return *formats;
  mpt_layer_policy meant =
      mpt_layer_policy_of(mpt_precision_for(kind, formats->gemm[MPT_FPROP].precision));
  meant.rule = formats->rule;
  return meant;
}
