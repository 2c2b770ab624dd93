/* A keyed permutation without a table: a balanced Feistel network over the smallest even number of
 * bits that holds `count`, walked until it lands inside (Black and Rogaway 2002, "Ciphers with
 * arbitrary finite domains"). The round function is Philox. Sample i of an epoch is then a function
 * of (seed, epoch, i), with no state to keep or to lock. */
#include "base/random.h"
#include "data/source.h"

enum { ROUNDS = 8 };

int64_t shuffle_index(uint64_t key, uint64_t epoch, int64_t count, int64_t index) {
  int half = 1;
  while (half < 31 && (int64_t)1 << 2 * half < count)
    half++;
  uint64_t mask = ((uint64_t)1 << half) - 1;
  uint64_t value = (uint64_t)index;
  do {
    uint64_t left = value >> half, right = value & mask;
    for (uint64_t round = 0; round < ROUNDS; round++) {
      uint32_t random[4];
      mpt_philox(key, right << 8 | round, epoch, random);
      uint64_t next = left ^ (random[0] & mask);
      left = right;
      right = next;
    }
    value = left << half | right;
  } while (value >= (uint64_t)count);
  return (int64_t)value;
}
