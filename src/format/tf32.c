/* What tensor cores read of an fp32 operand: its first 10 fraction bits, here rounded to nearest
 * even. It is stored as fp32. */
#include "format/descriptor.h"

const mpt_format_descriptor mpt_format_tf32 = {
    .info = {.name = "tf32",
             .exponent_bits = 8,
             .mantissa_bits = 10,
             .bits = 32,
             .min_exponent = -126,
             .max_exponent = 127,
             .max_finite = 0x1.ffcp127f,
             .min_normal = 0x1p-126f,
             .min_subnormal = 0x1p-136f,
             .has_infinity = true,
             .description = "fp32 storage, operands of a GEMM rounded to 10 fraction bits"},
    .nan = 0x7FFFFFFF,
    .nan_fp32 = 0x7FFFFFFF,
};
