#include "base/hash.h"

uint64_t mpt_hash_bytes(uint64_t hash, const void *data, size_t size) {
  const unsigned char *bytes = data;
  for (size_t i = 0; i < size; i++)
    /* The bytes of an integer are defined. NOLINTNEXTLINE(clang-analyzer-core.*) */
    hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
  return hash;
}
