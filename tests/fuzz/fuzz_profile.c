/* Device profiles, and the prices that they give. */
#include "fuzz.h"
#include "profile/profile.h"
#include <math.h>

static void price(const profile *p) {
  static const int64_t sizes[] = {1, 16, 100, 4096, 1 << 20};
  for (int column = 0; column < GEMM_COLUMN_COUNT; column++)
    for (int i = 0; i < 5; i++) {
      const gemm_price time =
          profile_gemm(p, (gemm_column)column, sizes[i], sizes[4 - i], sizes[(i + 2) % 5]);
      FUZZ_REQUIRE(isnan(time.seconds) || time.seconds >= 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  mpt_error error = {0};
  profile *p = NULL;
  if (fuzz_succeeded(profile_load(fuzz_file("profile.yaml", data, size), &p, &error), &error)) {
    price(p);
    profile_free(p);
  } else
    FUZZ_REQUIRE(p == NULL);
  return 0;
}
