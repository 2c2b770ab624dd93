#include "tuner/model/nonnegative.h"
#include "base/error.h"
#include <gsl/gsl_errno.h>
#include <gsl/gsl_linalg.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double dot(const double *a, const double *b, int n) {
  double sum = 0;
  for (int i = 0; i < n; i++)
    sum += a[i] * b[i];
  return sum;
}

static const double *column(const nonnegative_problem *p, int g) {
  return p->x + (size_t)g * (size_t)p->observations;
}

/* k += c x x' */
static void add_outer(gsl_matrix *k, const double *x, double c) {
  for (size_t i = 0; i < k->size1; i++) {
    if (x[i] == 0)
      continue;
    for (size_t j = 0; j < k->size2; j++)
      *gsl_matrix_ptr(k, i, j) += c * x[i] * x[j];
  }
}

/* K of the free unknowns factored, alpha, and where the free unknowns would like to be. */
static mpt_status solve_free(const nonnegative_problem *p, nonnegative_solution *s, double *wanted,
                             mpt_error *error) {
  const int n = p->observations;
  gsl_matrix_memcpy(s->factor, p->v);
  memcpy(s->alpha, p->y, (size_t)n * sizeof *s->alpha);
  for (int g = 0; g < p->unknowns; g++) {
    if (!s->free[g])
      continue;
    const double *x = column(p, g);
    add_outer(s->factor, x, p->variance[g]);
    for (int i = 0; i < n; i++)
      s->alpha[i] -= x[i] * p->mean[g];
  }
  if (gsl_linalg_cholesky_decomp1(s->factor) != GSL_SUCCESS)
    return mpt_fail(error, MPT_ERROR_INTERNAL,
                    "the covariance of the observations is not positive definite");
  gsl_vector_view alpha = gsl_vector_view_array(s->alpha, (size_t)n);
  gsl_linalg_cholesky_svx(s->factor, &alpha.vector);
  for (int g = 0; g < p->unknowns; g++)
    wanted[g] = s->free[g] ? p->mean[g] + p->variance[g] * dot(column(p, g), s->alpha, n) : 0;
  return MPT_OK;
}

/* From theta towards `wanted`, until the first bound; what reaches it is held there. Whether all
 * the way was gone. */
static bool step_towards(const nonnegative_problem *p, nonnegative_solution *s,
                         const double *wanted) {
  double length = 1;
  int first = -1;
  for (int g = 0; g < p->unknowns; g++)
    if (s->free[g] && p->bounded[g] && wanted[g] < 0) {
      const double to = s->theta[g] / (s->theta[g] - wanted[g]);
      if (to < length || first < 0)
        length = to, first = g;
    }
  for (int g = 0; g < p->unknowns; g++)
    if (s->free[g])
      s->theta[g] += length * (wanted[g] - s->theta[g]);
  if (first < 0)
    return true;
  for (int g = 0; g < p->unknowns; g++)
    if (s->free[g] && p->bounded[g] && (g == first || (wanted[g] < 0 && s->theta[g] <= 0)))
      s->theta[g] = 0, s->free[g] = false;
  return false;
}

/* The held unknown whose gradient points inside most, by its prior's deviation; -1: none does. */
static int most_wronged(const nonnegative_problem *p, const nonnegative_solution *s) {
  int most = -1;
  double best = 1e-9;
  for (int g = 0; g < p->unknowns; g++) {
    if (s->free[g])
      continue;
    const double inside =
        p->mean[g] / p->variance[g] + dot(column(p, g), s->alpha, p->observations);
    if (inside * sqrt(p->variance[g]) > best)
      best = inside * sqrt(p->variance[g]), most = g;
  }
  return most;
}

/* The conditions of optimality, from theta, X, V and the prior: nothing of the active set's. */
static mpt_status certify(const nonnegative_problem *p, nonnegative_solution *s, mpt_error *error) {
  const size_t n = (size_t)p->observations;
  gsl_matrix *v = gsl_matrix_alloc(n, n);
  gsl_vector *r = gsl_vector_alloc(n);
  mpt_status status = MPT_OK;
  s->residual = 0;
  if (v == NULL || r == NULL) {
    status = mpt_fail_memory(error, "the model's certificate", n * n * sizeof(double));
    goto fail;
  }
  gsl_matrix_memcpy(v, p->v);
  for (size_t i = 0; i < n; i++)
    r->data[i] = p->y[i];
  for (int g = 0; g < p->unknowns; g++)
    for (size_t i = 0; i < n; i++)
      r->data[i] -= column(p, g)[i] * s->theta[g];
  if (gsl_linalg_cholesky_decomp1(v) != GSL_SUCCESS) {
    status = mpt_fail(error, MPT_ERROR_INTERNAL, "the noise is not positive definite");
    goto fail;
  }
  gsl_linalg_cholesky_svx(v, r);
  for (int g = 0; g < p->unknowns; g++) {
    const double deviation = sqrt(p->variance[g]);
    const double gradient = deviation * ((s->theta[g] - p->mean[g]) / p->variance[g] -
                                         dot(column(p, g), r->data, (int)n));
    const double at = s->theta[g] / deviation;
    /* min(gradient, theta) is 0 at the optimum of a bounded unknown. */
    const double wrong = p->bounded[g] ? fabs(fmin(gradient, at)) : fabs(gradient);
    s->residual = fmax(s->residual, wrong);
  }
fail:
  gsl_matrix_free(v);
  gsl_vector_free(r);
  return status;
}

static mpt_status allocate(const nonnegative_problem *p, nonnegative_solution *s,
                           mpt_error *error) {
  const size_t unknowns = (size_t)p->unknowns, n = (size_t)p->observations;
  *s = (nonnegative_solution){0};
  s->theta = calloc(unknowns + 1, sizeof *s->theta);
  s->free = calloc(unknowns + 1, sizeof *s->free);
  s->alpha = calloc(n, sizeof *s->alpha);
  s->factor = gsl_matrix_alloc(n, n);
  if (s->theta == NULL || s->free == NULL || s->alpha == NULL || s->factor == NULL)
    return mpt_fail_memory(error, "the model's fit", (unknowns + n * n) * sizeof(double));
  return MPT_OK;
}

mpt_status nonnegative_solve(const nonnegative_problem *p, nonnegative_solution *s,
                             mpt_error *error) {
  double *wanted = calloc((size_t)p->unknowns + 1, sizeof *wanted);
  mpt_status status = wanted == NULL ? mpt_fail_memory(error, "the model's fit", 0) : MPT_OK;
  if (status == MPT_OK)
    status = allocate(p, s, error);
  if (status != MPT_OK)
    goto fail;
  for (int g = 0; g < p->unknowns; g++)
    s->theta[g] = p->mean[g], s->free[g] = true;
  /* Every round frees one unknown and lowers the objective; the limit is against rounding alone. */
  const int most = 20 * p->unknowns + 100;
  for (int released = 0; released >= 0 && s->steps < most;) {
    do {
      s->steps++;
      MPT_TRY(solve_free(p, s, wanted, error));
    } while (!step_towards(p, s, wanted) && s->steps < most);
    released = most_wronged(p, s);
    if (released >= 0)
      s->free[released] = true;
  }
  MPT_TRY(certify(p, s, error));
fail:
  free(wanted);
  if (status != MPT_OK)
    nonnegative_clear(s);
  return status;
}

void nonnegative_clear(nonnegative_solution *s) {
  free(s->theta);
  free(s->free);
  free(s->alpha);
  gsl_matrix_free(s->factor);
  *s = (nonnegative_solution){0};
}
