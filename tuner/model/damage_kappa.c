/* kappa, integrated over a grid of its logarithms: for each mechanism that some record sees, with
 * theta's bounds left out,
 *
 *   p(kappa | y)  ~  exp(-kappa^2 / 2 scale^2) N(y; sum of kappa_m u_m, K(kappa)),   u_m = X s_m
 *   K(kappa) = V + X D(kappa) X' = V + sum of kappa_m^2 A_m + tau^2 B
 *
 * First over 3.5 decades; a mechanism whose posterior is narrower than that grid's step is then
 * gridded again around its mean. One that nobody sees has its prior. */
#include "base/error.h"
#include "tuner/model/damage_fit.h"
#include <gsl/gsl_blas.h>
#include <gsl/gsl_errno.h>
#include <gsl/gsl_linalg.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define POINTS 9
enum { M = DAMAGE_MECHANISMS };

typedef struct kappa_grid {
  double at[M][POINTS], width[M][POINTS]; /* of the cell, in kappa */
  int count[M];
} kappa_grid;

typedef struct kappa_problem {
  const damage_model *m;
  gsl_matrix *a[M], *b, *k; /* [n][n] */
  gsl_vector *u[M], *r;     /* [n] */
} kappa_problem;

static void close_problem(kappa_problem *p) {
  for (int i = 0; i < M; i++) {
    gsl_matrix_free(p->a[i]);
    gsl_vector_free(p->u[i]);
  }
  gsl_matrix_free(p->b);
  gsl_matrix_free(p->k);
  gsl_vector_free(p->r);
}

static mpt_status open_problem(const damage_model *m, kappa_problem *p, mpt_error *error) {
  const size_t n = (size_t)m->n;
  *p = (kappa_problem){
      .m = m, .b = gsl_matrix_calloc(n, n), .k = gsl_matrix_alloc(n, n), .r = gsl_vector_alloc(n)};
  bool whole = p->b != NULL && p->k != NULL && p->r != NULL;
  for (int i = 0; i < M; i++) {
    p->a[i] = gsl_matrix_calloc(n, n);
    p->u[i] = gsl_vector_calloc(n);
    whole = whole && p->a[i] != NULL && p->u[i] != NULL;
  }
  if (!whole)
    return mpt_fail_memory(error, "the model's factors", 5 * n * n * sizeof(double));
  for (int g = 0; g < m->unknowns; g++) {
    const bool pair = m->feature_of[g] < 0;
    const damage_feature none = {0}, *f = pair ? &none : damage_feature_at(m, g);
    gsl_vector_const_view x = gsl_vector_const_view_array(m->x + g * m->n, n);
    const double own = pair ? m->variance[g] : pow(m->prior.tau, 2);
    gsl_blas_dger(own, &x.vector, &x.vector, p->b);
    if (f->score == 0)
      continue;
    gsl_blas_dger(pow(m->prior.spread * f->score, 2), &x.vector, &x.vector, p->a[f->mechanism]);
    gsl_blas_daxpy(f->score, &x.vector, p->u[f->mechanism]);
  }
  return MPT_OK;
}

/* The logarithm of the posterior's density, but for a constant. */
static double log_density(kappa_problem *p, const double kappa[M]) {
  const damage_model *m = p->m;
  double sum = 0;
  gsl_matrix_memcpy(p->k, m->v);
  gsl_matrix_add(p->k, p->b);
  memcpy(p->r->data, m->y, (size_t)m->n * sizeof *m->y);
  for (int i = 0; i < M; i++) {
    const double square = kappa[i] * kappa[i];
    for (size_t e = 0; e < (size_t)m->n * (size_t)m->n; e++)
      p->k->data[e] += square * p->a[i]->data[e];
    gsl_blas_daxpy(-kappa[i], p->u[i], p->r);
    sum -= square / (2 * m->prior.kappa[i] * m->prior.kappa[i]);
  }
  if (gsl_linalg_cholesky_decomp1(p->k) != GSL_SUCCESS)
    return -INFINITY;
  gsl_blas_dtrsv(CblasLower, CblasNoTrans, CblasNonUnit, p->k, p->r);
  for (size_t i = 0; i < (size_t)m->n; i++)
    sum -= log(gsl_matrix_get(p->k, i, i)) + p->r->data[i] * p->r->data[i] / 2;
  return sum;
}

static void make_grid(double low, double high, int count, double at[POINTS], double width[POINTS]) {
  const double step = log(high / low) / (count - 1);
  for (int i = 0; i < count; i++) {
    at[i] = low * exp(step * i);
    width[i] = at[i] * step;
  }
}

/* The mean of kappa over the grid, its covariance, and how much of the whole lies in one cell of
 * each mechanism. */
static void integrate(kappa_problem *p, const kappa_grid *grid, double mean[M], double cov[M][M],
                      double peak[M]) {
  static const int most = POINTS * POINTS * POINTS;
  double density[POINTS * POINTS * POINTS], marginal[M][POINTS] = {{0}}, best = -INFINITY, all = 0;
  const int count = grid->count[0] * grid->count[1] * grid->count[2];
  double second[M][M] = {{0}};
  memset(mean, 0, M * sizeof *mean);
  for (int turn = 0; turn < 2; turn++)
    for (int e = 0; e < count && e < most; e++) {
      const int at[M] = {e % grid->count[0], e / grid->count[0] % grid->count[1],
                         e / grid->count[0] / grid->count[1]};
      double kappa[M], width = 1;
      for (int i = 0; i < M; i++)
        kappa[i] = grid->at[i][at[i]], width *= grid->width[i][at[i]];
      if (turn == 0) {
        density[e] = log_density(p, kappa);
        best = fmax(best, density[e]);
        continue;
      }
      const double weight = width * exp(density[e] - best);
      all += weight;
      for (int i = 0; i < M; i++) {
        mean[i] += weight * kappa[i];
        marginal[i][at[i]] += weight;
        for (int j = 0; j < M; j++)
          second[i][j] += weight * kappa[i] * kappa[j];
      }
    }
  for (int i = 0; i < M; i++) {
    mean[i] /= all;
    peak[i] = 0;
    for (int k = 0; k < grid->count[i]; k++)
      peak[i] = fmax(peak[i], marginal[i][k] / all);
  }
  for (int i = 0; i < M; i++)
    for (int j = 0; j < M; j++)
      cov[i][j] = second[i][j] / all - mean[i] * mean[j];
}

mpt_status damage_fit_kappa(damage_model *m, mpt_error *error) {
  kappa_problem p;
  kappa_grid grid = {0};
  double peak[M];
  bool unseen[M];
  const int points = m->n <= 40 ? POINTS : 6; /* n^3 / 3 for each */
  mpt_status status = open_problem(m, &p, error);
  if (status != MPT_OK)
    goto fail;
  for (int i = 0; i < M; i++) {
    unseen[i] = gsl_vector_isnull(p.u[i]) != 0;
    grid.count[i] = unseen[i] ? 1 : points;
    grid.at[i][0] = grid.width[i][0] = m->prior.kappa[i];
    if (!unseen[i])
      make_grid(1e-3 * m->prior.kappa[i], 3 * m->prior.kappa[i], points, grid.at[i], grid.width[i]);
  }
  integrate(&p, &grid, m->kappa, m->kappa_covariance, peak);
  bool narrow = false;
  for (int i = 0; i < M; i++)
    if (!unseen[i] && peak[i] > 0.5) {
      narrow = true;
      make_grid(m->kappa[i] / 3, m->kappa[i] * 3, points, grid.at[i], grid.width[i]);
    }
  if (narrow)
    integrate(&p, &grid, m->kappa, m->kappa_covariance, peak);
  for (int i = 0; i < M; i++)
    if (unseen[i]) { /* the half-normal's mean and variance */
      m->kappa[i] = m->prior.kappa[i] * sqrt(2 / M_PI);
      m->kappa_covariance[i][i] = pow(m->prior.kappa[i], 2) * (1 - 2 / M_PI);
    }
fail:
  close_problem(&p);
  return status;
}
