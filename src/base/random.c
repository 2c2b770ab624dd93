#include "base/random.h"
#include <math.h>

double mpt_normal(uint64_t key, uint64_t index, uint64_t stream) {
  uint32_t words[4];
  mpt_philox(key, index, stream, words);
  const double radius = sqrt(-2.0 * log(mpt_uniform(words[0])));
  return radius * cos(6.283185307179586476925 * mpt_uniform(words[1]));
}
