// Conversions against the host functions of CUDA's headers, which are C++.
// cuda_formats COUNT: the inputs 0, p, 2p, ... modulo 2^32 with p a prime: 4294967296 is all.
#include "mptune/format.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

namespace {

uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

uint32_t cuda_encode(mpt_format format, float value, bool saturate) {
  __nv_saturation_t mode = saturate ? __NV_SATFINITE : __NV_NOSAT;
  switch (format) {
  case MPT_FP8_E4M3:
    return __nv_cvt_float_to_fp8(value, mode, __NV_E4M3);
  case MPT_FP8_E5M2:
    return __nv_cvt_float_to_fp8(value, mode, __NV_E5M2);
  case MPT_FP16:
    return __half_raw(__float2half_rn(value)).x;
  default:
    return __nv_bfloat16_raw(__float2bfloat16_rn(value)).x;
  }
}

float cuda_decode(mpt_format format, uint32_t encoded) {
  switch (format) {
  case MPT_FP8_E4M3:
    return __half2float(__nv_cvt_fp8_to_halfraw((__nv_fp8_storage_t)encoded, __NV_E4M3));
  case MPT_FP8_E5M2:
    return __half2float(__nv_cvt_fp8_to_halfraw((__nv_fp8_storage_t)encoded, __NV_E5M2));
  case MPT_FP16: {
    __half_raw raw;
    raw.x = (unsigned short)encoded;
    return __half2float(raw);
  }
  default: {
    __nv_bfloat16_raw raw;
    raw.x = (unsigned short)encoded;
    return __bfloat162float(raw);
  }
  }
}

const mpt_format formats[] = {MPT_BF16, MPT_FP16, MPT_FP8_E4M3, MPT_FP8_E5M2};
unsigned long long wrong;

void check(const char *what, mpt_format format, uint32_t input, uint32_t got, uint32_t expected) {
  if (got != expected && wrong++ < 10)
    std::printf("%s: %s(0x%08x) is 0x%x, in cuda's headers 0x%x\n", mpt_format_get(format)->name,
                what, input, got, expected);
}

void check_decoding(mpt_format format) {
  for (uint32_t e = 0; e < 1u << mpt_format_get(format)->bits; e++)
    check("decode", format, e, bits_of(mpt_format_decode(format, e)),
          bits_of(cuda_decode(format, e)));
}

void check_inputs(mpt_format format, unsigned long long count) {
  enum { BLOCK = 4096 };
  static float in[BLOCK], rounded[BLOCK];
  static uint32_t expected[BLOCK];
  uint32_t input = 0;
  for (unsigned long long done = 0; done < count; done += BLOCK) {
    size_t n = count - done < BLOCK ? (size_t)(count - done) : BLOCK;
    for (size_t i = 0; i < n; i++, input += 2654435761u) {
      in[i] = float_of(input);
      for (bool saturate : {false, true}) {
        expected[i] = cuda_encode(format, in[i], saturate);
        check(saturate ? "encode, saturating," : "encode", format, input,
              mpt_format_encode(format, in[i], saturate), expected[i]);
      }
    }
    mpt_format_round_array(format, in, 1.0f, rounded, n);
    for (size_t i = 0; i < n; i++)
      check("round_array", format, bits_of(in[i]), bits_of(rounded[i]),
            bits_of(cuda_decode(format, expected[i])));
  }
}

} // namespace

int main(int argc, char **argv) {
  unsigned long long count = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 0;
  if (count == 0) {
    std::fprintf(stderr, "usage: cuda_formats COUNT\n");
    return 2;
  }
  for (mpt_format format : formats) {
    check_decoding(format);
    check_inputs(format, count);
    std::printf("%s: %llu inputs, %llu wrong so far\n", mpt_format_get(format)->name, count, wrong);
    std::fflush(stdout);
  }
  return wrong > 0 ? 1 : 0;
}
