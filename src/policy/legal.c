#include "policy/legal.h"
#include "base/error.h"

bool mpt_policy_operands_multiply(const mpt_format operand[2]) {
  const mpt_format a = operand[0], b = operand[1];
  if (mpt_format_is_fp8(a) && mpt_format_is_fp8(b))
    return a != MPT_FP8_E5M2 || b != MPT_FP8_E5M2;
  return a == b && mpt_format_get(a) != NULL;
}

static const char *name_of(mpt_format format) {
  const mpt_format_info *info = mpt_format_get(format);
  return info != NULL ? info->name : "an unknown format";
}

mpt_status mpt_policy_operands_precision(const mpt_format operand[2], mpt_precision *precision,
                                         mpt_error *error) {
  if (operand[0] == MPT_FP8_E5M2 && operand[1] == MPT_FP8_E5M2)
    return mpt_fail(error, MPT_ERROR_UNSUPPORTED, "no device multiplies fp8_e5m2 by fp8_e5m2");
  if (!mpt_policy_operands_multiply(operand))
    return mpt_fail(error, MPT_ERROR_UNSUPPORTED,
                    "the operands of a GEMM have the same format, or both are fp8, not %s and %s",
                    name_of(operand[0]), name_of(operand[1]));
  if (mpt_format_is_fp8(operand[0])) {
    *precision = MPT_PRECISION_FP8;
    return MPT_OK;
  }
  return mpt_precision_parse(name_of(operand[0]), precision, error);
}

mpt_status mpt_policy_check_scaling(const char *layer, const mpt_scaling *scaling,
                                    mpt_error *error) {
  if (scaling->mode != MPT_SCALING_DELAYED ||
      (scaling->history >= 1 && scaling->history <= POLICY_MAX_HISTORY && scaling->margin >= 0 &&
       scaling->margin <= POLICY_MAX_MARGIN))
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_ARGUMENT,
                  "layer '%s': delayed scaling takes a history of 1 to %d steps and a margin of 0 "
                  "to %d, not %d and %d",
                  layer, POLICY_MAX_HISTORY, POLICY_MAX_MARGIN, scaling->history, scaling->margin);
}
