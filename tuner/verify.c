#include "tuner/verify.h"
#include <assert.h>
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>

const int verify_look_sizes[VERIFY_LOOKS] = {3, 5, 8, 12};

/* Share of alpha spent once `look` looks have been taken. */
static double spent(int look) {
  assert(look >= 0 && look <= VERIFY_LOOKS);
  if (look == 0)
    return 0.0;
  const double information =
      (double)verify_look_sizes[look - 1] / verify_look_sizes[VERIFY_LOOKS - 1];
  return log(1.0 + (M_E - 1.0) * information);
}

double verify_alpha(int look, int attempt, double alpha) {
  return ldexp(alpha, -attempt) * (spent(look + 1) - spent(look));
}

verify_bound verify_look(const double *differences, int look, int attempt, double alpha) {
  const int n = verify_look_sizes[look];
  verify_bound bound = {.verdict = MPT_VERDICT_INCONCLUSIVE};
  bound.alpha = verify_alpha(look, attempt, alpha);
  for (int i = 0; i < n; i++)
    if (!isfinite(differences[i])) {
      bound.verdict = MPT_VERDICT_FAIL;
      bound.mean = bound.lower = bound.upper = INFINITY;
      return bound;
    }
  bound.mean = gsl_stats_mean(differences, 1, (size_t)n);
  const double deviation = gsl_stats_sd_m(differences, 1, (size_t)n, bound.mean);
  const double half = gsl_cdf_tdist_Qinv(bound.alpha, n - 1.0) * deviation / sqrt(n);
  bound.lower = bound.mean - half;
  bound.upper = bound.mean + half;
  if (bound.upper < 0.0)
    bound.verdict = MPT_VERDICT_PASS;
  else if (bound.lower > 0.0)
    bound.verdict = MPT_VERDICT_FAIL;
  return bound;
}
