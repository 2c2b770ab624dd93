/* How sure the fit is: what follows kappa, and what lies behind a bound.
 *
 * Of the free unknowns, given kappa: cov = D - D X' K^-1 X D. kappa's own uncertainty is passed on
 * along the slope of the fit, d theta / d kappa = s + D X' d alpha / d kappa. An unknown that is
 * held at 0 is not known to be 0: its density there falls as exp(-lambda t - t^2 / 2c), t >= 0,
 * lambda the gradient and c its variance if it were free: the normal N(-lambda c, c) cut off at 0,
 * whose mean and variance it is given (independent of the others: the fit does not move with it).
 */
#include "base/error.h"
#include "tuner/model/damage_fit.h"
#include <gsl/gsl_blas.h>
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_linalg.h>
#include <gsl/gsl_sf_erf.h>
#include <math.h>

enum { M = DAMAGE_MECHANISMS };

/* Mean and variance of N(-lambda c, c) above 0, by the hazard h(z) of the normal at z =
 * lambda sqrt(c): h - z, and 1 - h (h - z), in deviations. */
static void cut_off(double lambda, double c, double *mean, double *variance) {
  const double z = fmax(0, lambda) * sqrt(c);
  const double excess = gsl_sf_hazard(z) - z;
  *mean = sqrt(c) * excess;
  *variance = fmax(0, c * (1 - (excess + z) * excess));
}

static void fill_pull(damage_model *m, gsl_vector *work) {
  for (int k = 0; k < M; k++) {
    gsl_vector_set_zero(work);
    for (int g = 0; g < m->unknowns - m->pair_count; g++) {
      const damage_feature *f = damage_feature_at(m, g);
      if (!m->fit.free[g] || (int)f->mechanism != k)
        continue;
      for (int i = 0; i < m->n; i++)
        work->data[i] -= f->score * m->x[g * m->n + i];
    }
    gsl_linalg_cholesky_svx(m->fit.factor, work);
    for (int i = 0; i < m->n; i++)
      m->pull[i * M + k] = work->data[i];
  }
}

static void fill_slope(damage_model *m, int g) {
  for (int k = 0; k < M; k++) {
    double sum = 0;
    for (int i = 0; i < m->n; i++)
      sum += m->x[g * m->n + i] * m->pull[i * M + k];
    const bool own = m->feature_of[g] >= 0 && (int)damage_feature_at(m, g)->mechanism == k;
    m->slope[g * M + k] =
        m->fit.free[g] ? (own ? damage_feature_at(m, g)->score : 0) + m->variance[g] * sum : 0;
  }
}

static void fill_held(damage_model *m, int g, gsl_vector *work) {
  double along = 0, across = 0;
  m->shift[g] = m->held[g] = 0;
  if (m->fit.free[g])
    return;
  gsl_vector_const_view x = gsl_vector_const_view_array(m->x + g * m->n, (size_t)m->n);
  gsl_vector_const_view alpha = gsl_vector_const_view_array(m->fit.alpha, (size_t)m->n);
  gsl_vector_memcpy(work, &x.vector);
  gsl_linalg_cholesky_svx(m->fit.factor, work);
  gsl_blas_ddot(&x.vector, work, &across);
  gsl_blas_ddot(&x.vector, &alpha.vector, &along);
  cut_off(-m->mean[g] / m->variance[g] - along, 1 / (1 / m->variance[g] + across), &m->shift[g],
          &m->held[g]);
}

mpt_status damage_fill_spread(damage_model *m, mpt_error *error) {
  gsl_vector *work = gsl_vector_alloc((size_t)m->n);
  if (work == NULL)
    return mpt_fail_memory(error, "the model's covariance", (size_t)m->n * sizeof(double));
  fill_pull(m, work);
  for (int g = 0; g < m->unknowns; g++) {
    fill_slope(m, g);
    fill_held(m, g, work);
  }
  gsl_vector_free(work);
  return MPT_OK;
}
