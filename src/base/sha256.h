/* SHA-256 (FIPS 180-4): names content, so that nothing is trained twice on the same data. */
#ifndef MPT_BASE_SHA256_H
#define MPT_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct mpt_sha256 {
  uint32_t state[8];
  uint64_t length; /* bytes so far */
  uint8_t block[64];
} mpt_sha256;

void mpt_sha256_begin(mpt_sha256 *hash);
void mpt_sha256_add(mpt_sha256 *hash, const void *data, size_t length);
/* 64 hexadecimal digits and a NUL. */
void mpt_sha256_end(mpt_sha256 *hash, char hex[65]);

/* The three calls at once. */
void mpt_sha256_hex(const void *data, size_t length, char hex[65]);

#endif
