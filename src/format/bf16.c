/* bfloat16: the upper half of an fp32 number. */
#include "format/descriptor.h"

const mpt_format_descriptor mpt_format_bf16 = {
    .info = {.name = "bf16",
             .exponent_bits = 8,
             .mantissa_bits = 7,
             .bits = 16,
             .min_exponent = -126,
             .max_exponent = 127,
             .max_finite = 0x1.fep127f,
             .min_normal = 0x1p-126f,
             .min_subnormal = 0x1p-133f,
             .has_infinity = true,
             .description = "bfloat16, the range of fp32 in half the bits"},
    .nan = 0x7FFF,
    .nan_fp32 = 0x7FFF0000,
};
