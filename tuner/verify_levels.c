/* The levels of the looks. They are integrals without unknowns (docs/verification.md), which take
 * some 20 milliseconds for each alpha; a search has several, and small ones are over in a tenth of
 * a second. So they are tabulated: tests/exact_levels.h integrates, tests/bench/bench_levels.c
 * prints the table, and test_verify holds the two together. */
#include "tuner/verify.h"
#include <assert.h>
#include <math.h>

const int verify_look_sizes[VERIFY_LOOKS] = {4, 6, 9, 13, 18, 24};

#define TERMS 16

/* Of each look after the first: ln(level / alpha) in Chebyshev polynomials of alpha^(1/4). */
static const double table[VERIFY_LOOKS - 1][TERMS] = {
    {-4.2841227, 0.3651982, 0.0131800, -0.0117728, 0.0029947, -0.0005354, 0.0001842, -0.0000681,
     0.0000280, -0.0000140, 0.0000064, -0.0000034, 0.0000017, -0.0000009, 0.0000004, -0.0000002},
    {-3.5176928, 0.3625406, 0.0372946, -0.0088842, 0.0009826, -0.0001526, 0.0000708, -0.0000465,
     0.0000223, -0.0000110, 0.0000053, -0.0000028, 0.0000014, -0.0000008, 0.0000004, -0.0000001},
    {-2.7719201, 0.4222178, 0.0294966, -0.0034654, -0.0001522, -0.0001364, 0.0000948, -0.0000734,
     0.0000353, -0.0000198, 0.0000104, -0.0000058, 0.0000032, -0.0000018, 0.0000009, -0.0000004},
    {-2.1031566, 0.4919232, 0.0194011, 0.0021792, -0.0019479, 0.0003707, -0.0002122, 0.0000497,
     -0.0000335, 0.0000120, -0.0000067, 0.0000029, -0.0000015, 0.0000007, -0.0000003, 0.0000001},
    {-1.5024036, 0.5598090, 0.0118706, 0.0071006, -0.0042133, 0.0010175, -0.0007352, 0.0002494,
     -0.0001692, 0.0000763, -0.0000463, 0.0000241, -0.0000140, 0.0000076, -0.0000041, 0.0000018},
};

/* Clenshaw's sum. x in [-1, 1] */
static double chebyshev(const double *coefficient, double x) {
  double next = 0.0, after = 0.0;
  for (int k = TERMS - 1; k > 0; k--) {
    const double now = 2.0 * x * next - after + coefficient[k];
    after = next;
    next = now;
  }
  return x * next - after + 0.5 * coefficient[0];
}

void verify_levels(double alpha, double levels[VERIFY_LOOKS]) {
  assert(alpha >= VERIFY_LEAST_ALPHA && alpha <= VERIFY_LARGEST_ALPHA);
  const double low = pow(VERIFY_LEAST_ALPHA, 0.25), high = pow(VERIFY_LARGEST_ALPHA, 0.25);
  const double x = (2.0 * pow(alpha, 0.25) - low - high) / (high - low);
  levels[0] = alpha * verify_look_sizes[0] / VERIFY_MOST_PAIRS; /* nothing was spent before */
  for (int look = 1; look < VERIFY_LOOKS; look++)
    levels[look] = alpha * exp(chebyshev(table[look - 1], x));
}
