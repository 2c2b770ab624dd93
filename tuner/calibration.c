#include "tuner/calibration.h"
#include "base/error.h"
#include <gsl/gsl_errno.h>
#include <gsl/gsl_multifit.h>
#include <math.h>

#define PRIOR_DEVIATION 0.3  /* of a factor, relative to the common ratio */
#define MODEL_DEVIATION 0.01 /* of a step time from the sum of its parts */

enum { FACTORS = 3 };

/* The posterior means: least squares over a row for each measurement, its parts as shares of it,
 * which sum to 1, and a row for each factor, which is `ratio`; weighted by their precisions. */
static bool fit(const calibration_point *points, int count, double ratio, double factors[FACTORS]) {
  const size_t n = (size_t)count, rows = n + FACTORS;
  gsl_matrix *x = gsl_matrix_calloc(rows, FACTORS),
             *covariance = gsl_matrix_alloc(FACTORS, FACTORS);
  gsl_vector *weight = gsl_vector_alloc(rows), *y = gsl_vector_alloc(rows);
  gsl_multifit_linear_workspace *work = gsl_multifit_linear_alloc(rows, FACTORS);
  gsl_vector_view solution = gsl_vector_view_array(factors, FACTORS);
  double squares;
  bool done = false;
  if (x == NULL || covariance == NULL || weight == NULL || y == NULL || work == NULL)
    goto fail;
  for (size_t i = 0; i < n; i++) {
    const cost_parts *p = points[i].parts;
    gsl_matrix_set(x, i, 0, p->gemms / points[i].seconds);
    gsl_matrix_set(x, i, 1, p->copies / points[i].seconds);
    gsl_matrix_set(x, i, 2, p->passes / points[i].seconds);
    gsl_vector_set(y, i, 1.0);
    gsl_vector_set(weight, i, 1 / (MODEL_DEVIATION * MODEL_DEVIATION));
  }
  for (size_t f = 0; f < FACTORS; f++) {
    gsl_matrix_set(x, n + f, f, 1.0);
    gsl_vector_set(y, n + f, ratio);
    gsl_vector_set(weight, n + f, 1 / (PRIOR_DEVIATION * PRIOR_DEVIATION * ratio * ratio));
  }
  done = gsl_multifit_wlinear(x, weight, y, &solution.vector, covariance, &squares, work) ==
         GSL_SUCCESS;
fail:
  gsl_matrix_free(x);
  gsl_matrix_free(covariance);
  gsl_vector_free(weight);
  gsl_vector_free(y);
  gsl_multifit_linear_free(work);
  return done;
}

mpt_status calibration_fit(const calibration_point *points, int count, calibration *c,
                           mpt_error *error) {
  *c = (calibration){1, 1, 1, count};
  double logs = 0, factors[FACTORS];
  for (int i = 0; i < count; i++) {
    const cost_parts *p = points[i].parts;
    logs += log(points[i].seconds / (p->gemms + p->copies + p->passes));
  }
  if (count == 0)
    return MPT_OK;
  const double ratio = exp(logs / count);
  if (!fit(points, count, ratio, factors))
    return mpt_fail_memory(error, "the calibration", 0);
  /* A factor far from the others is noise, and the solver takes no negative times. */
  c->gemms = fmin(fmax(factors[0], 0.25 * ratio), 4 * ratio);
  c->copies = fmin(fmax(factors[1], 0.25 * ratio), 4 * ratio);
  c->passes = fmin(fmax(factors[2], 0.25 * ratio), 4 * ratio);
  return MPT_OK;
}
