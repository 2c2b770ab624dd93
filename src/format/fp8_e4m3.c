/* The finer fp8 (Micikevicius et al. 2022, "FP8 Formats for Deep Learning"). It has no infinity:
 * exponent and fraction of all ones are its only NaN, so the largest binade is used up to 1.75. */
#include "format/descriptor.h"

const mpt_format_descriptor mpt_format_fp8_e4m3 = {
    .info = {.name = "fp8_e4m3",
             .exponent_bits = 4,
             .mantissa_bits = 3,
             .bits = 8,
             .min_exponent = -6,
             .max_exponent = 8,
             .max_finite = 448.0f,
             .min_normal = 0x1p-6f,
             .min_subnormal = 0x1p-9f,
             .has_infinity = false,
             .description = "fp8 for inputs and weights, with a scale for each tensor"},
    .saturates = true,
    .nan = 0x7F,
    .nan_fp32 = 0x7FFFFFFF,
};
