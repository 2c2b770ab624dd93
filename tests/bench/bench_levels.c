/* The table of tuner/verify_levels.c: of each look after the first, ln(level / alpha) in Chebyshev
 * polynomials of alpha to the power 1/4. test_verify compares it with the integration.
 *
 *   bench_levels        prints it, and on the last line its largest error; half a minute */
#include "../exact_levels.h"
#include <stdio.h>

#define TERMS 16
#define CHECK 40

static const exact_grid fine = {.nodes = 61, .points = 192};

static double alpha_at(double x) {
  const double low = pow(VERIFY_LEAST_ALPHA, 0.25), high = pow(VERIFY_LARGEST_ALPHA, 0.25);
  const double alpha = pow(0.5 * (low + high) + 0.5 * (high - low) * x, 4);
  return fmin(fmax(alpha, VERIFY_LEAST_ALPHA), VERIFY_LARGEST_ALPHA);
}

int main(void) {
  double coefficient[VERIFY_LOOKS][TERMS] = {{0}}, worst = 0;
  for (int i = 0; i < TERMS; i++) {
    const double angle = M_PI * (i + 0.5) / TERMS, alpha = alpha_at(cos(angle));
    double levels[VERIFY_LOOKS];
    exact_levels(alpha, fine, levels);
    for (int look = 1; look < VERIFY_LOOKS; look++)
      for (int k = 0; k < TERMS; k++)
        coefficient[look][k] += log(levels[look] / alpha) * cos(k * angle) * 2 / TERMS;
  }
  for (int look = 1; look < VERIFY_LOOKS; look++) {
    printf("    {");
    for (int k = 0; k < TERMS; k++)
      printf("%.7f%s", coefficient[look][k], k < TERMS - 1 ? ", " : "},\n");
  }
  for (int i = 0; i <= CHECK; i++) {
    const double alpha = alpha_at(2.0 * i / CHECK - 1);
    double exact[VERIFY_LOOKS], levels[VERIFY_LOOKS];
    exact_levels(alpha, fine, exact);
    verify_levels(alpha, levels);
    for (int look = 0; look < VERIFY_LOOKS; look++)
      worst = fmax(worst, fabs(levels[look] / exact[look] - 1));
  }
  printf("/* the table of this program is within %.1e of them */\n", worst);
  return 0;
}
