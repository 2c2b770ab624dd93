/* A quick hash of bytes: FNV-1a of 64 bits (Fowler, Noll, Vo). For tables, checksums and streams of
 * random numbers, not against those who wish for collisions: that is base/sha256.h. */
#ifndef MPT_BASE_HASH_H
#define MPT_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define MPT_HASH_START UINT64_C(0xcbf29ce484222325) /* the hash of no bytes */

/* The hash of what `hash` is the hash of, and `size` bytes more. */
uint64_t mpt_hash_bytes(uint64_t hash, const void *data, size_t size);

#endif
