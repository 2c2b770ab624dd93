/* IEEE 754 binary16. */
#include "format/descriptor.h"

const mpt_format_descriptor mpt_format_fp16 = {
    .info = {.name = "fp16",
             .exponent_bits = 5,
             .mantissa_bits = 10,
             .bits = 16,
             .min_exponent = -14,
             .max_exponent = 15,
             .max_finite = 65504.0f,
             .min_normal = 0x1p-14f,
             .min_subnormal = 0x1p-24f,
             .has_infinity = true,
             .description = "half precision, eight times finer than bf16, needs a loss scale"},
    .nan = 0x7FFF,
    .nan_fp32 = 0x7FFFFFFF,
};
