/* The wider fp8 (Micikevicius et al. 2022, "FP8 Formats for Deep Learning"): the upper half of an
 * fp16 number. */
#include "format/descriptor.h"

const mpt_format_descriptor mpt_format_fp8_e5m2 = {
    .info = {.name = "fp8_e5m2",
             .exponent_bits = 5,
             .mantissa_bits = 2,
             .bits = 8,
             .min_exponent = -14,
             .max_exponent = 15,
             .max_finite = 57344.0f,
             .min_normal = 0x1p-14f,
             .min_subnormal = 0x1p-16f,
             .has_infinity = true,
             .description = "fp8 for gradients of outputs, with a scale for each tensor"},
    .saturates = true,
    .nan = 0x7F,
    .nan_fp32 = 0x7FFFFFFF,
};
