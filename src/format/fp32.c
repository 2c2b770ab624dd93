/* IEEE 754 binary32. */
#include "format/descriptor.h"

const mpt_format_descriptor mpt_format_fp32 = {
    .info = {.name = "fp32",
             .exponent_bits = 8,
             .mantissa_bits = 23,
             .bits = 32,
             .min_exponent = -126,
             .max_exponent = 127,
             .max_finite = 0x1.fffffep127f,
             .min_normal = 0x1p-126f,
             .min_subnormal = 0x1p-149f,
             .has_infinity = true,
             .description = "single precision, the reference"},
    .keeps_nan = true,
};
