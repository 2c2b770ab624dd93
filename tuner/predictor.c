/* What a policy costs in accuracy, learned from few and noisy runs.
 *
 * Model: increase(policy) = sum over units and GEMMs of w[unit, gemm, precision], w normal with the
 * prior mean and deviation that the sensitivity scores give; a run (or the mean of n) observes the
 * sum with normal noise. The posterior is that of Bayesian linear regression (Rasmussen and
 * Williams 2006, section 2.1), taken in the space of observations, which are few:
 *
 *   K = X S X' + N,   mean = m + S X' K^-1 (y - X m),   cov = S - S X' K^-1 X S
 *
 * S and N are diagonal. X holds zeros and ones.
 */
#include "tuner/predictor.h"
#include "base/error.h"
#include <gsl/gsl_errno.h>
#include <gsl/gsl_linalg.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct measured {
  int *choice;
  double mean, deviation;
} measured;

struct predictor {
  const space *space;
  int features;          /* units * GEMMs * precisions */
  double *mean, *spread; /* prior mean and deviation, [features] */
  measured *seen;
  int count, capacity;
};

static int feature_of(int unit, int gemm, mpt_precision precision) {
  return (unit * MPT_GEMM_COUNT + gemm) * MPT_PRECISION_COUNT + (int)precision;
}

mpt_status predictor_open(const space *s, predictor **out, mpt_error *error) {
  predictor *p = calloc(1, sizeof *p);
  if (p == NULL)
    return mpt_fail_memory(error, "the predictor", sizeof *p);
  p->space = s;
  p->features = s->unit_count * MPT_GEMM_COUNT * MPT_PRECISION_COUNT;
  p->mean = calloc((size_t)p->features, sizeof(double));
  p->spread = calloc((size_t)p->features, sizeof(double));
  if (p->mean == NULL || p->spread == NULL) {
    mpt_fail_memory(error, "the predictor", (size_t)p->features * sizeof(double));
    predictor_close(p);
    return MPT_ERROR_MEMORY;
  }
  *out = p;
  return MPT_OK;
}

void predictor_close(predictor *p) {
  if (p == NULL)
    return;
  for (int i = 0; i < p->count; i++)
    free(p->seen[i].choice);
  free(p->seen);
  free(p->mean);
  free(p->spread);
  free(p);
}

void predictor_prior(predictor *p, int unit, mpt_gemm_kind gemm, mpt_precision precision,
                     double mean, double deviation) {
  const int f = feature_of(unit, (int)gemm, precision);
  p->mean[f] = mean;
  p->spread[f] = deviation;
}

mpt_status predictor_observe(predictor *p, const int *choice, double mean, double noise_deviation,
                             mpt_error *error) {
  const size_t bytes = (size_t)p->space->unit_count * sizeof(int);
  int i = 0;
  while (i < p->count && memcmp(p->seen[i].choice, choice, bytes) != 0)
    i++;
  if (i == p->count) {
    if (p->count == p->capacity) {
      const int capacity = 2 * p->capacity + 16;
      measured *grown = realloc(p->seen, (size_t)capacity * sizeof *grown);
      if (grown == NULL)
        return mpt_fail_memory(error, "observations", bytes);
      p->seen = grown;
      p->capacity = capacity;
    }
    p->seen[i].choice = malloc(bytes);
    if (p->seen[i].choice == NULL)
      return mpt_fail_memory(error, "an observation", bytes);
    memcpy(p->seen[i].choice, choice, bytes);
    p->count++;
  }
  p->seen[i].mean = mean;
  p->seen[i].deviation = noise_deviation;
  return MPT_OK;
}

/* The features of one unit's choice: one for each GEMM (attention and embeddings have only the
 * first, whose precision stands for the whole). */
static void unit_features(const space *s, int unit, int choice, int feature[MPT_GEMM_COUNT]) {
  const mpt_layer_policy *formats = &s->units[unit].choices[choice];
  for (int g = 0; g < MPT_GEMM_COUNT; g++)
    feature[g] = feature_of(unit, g, formats->gemm[g].precision);
}

/* The prior covariance of two assignments' sums: their common features. */
static double covariance(const predictor *p, const int *a, const int *b) {
  double sum = 0;
  for (int u = 0; u < p->space->unit_count; u++) {
    int fa[MPT_GEMM_COUNT], fb[MPT_GEMM_COUNT];
    unit_features(p->space, u, a[u], fa);
    unit_features(p->space, u, b[u], fb);
    for (int g = 0; g < MPT_GEMM_COUNT; g++)
      if (fa[g] == fb[g])
        sum += p->spread[fa[g]] * p->spread[fa[g]];
  }
  return sum;
}

static double prior_mean(const predictor *p, const int *choice) {
  double sum = 0;
  for (int u = 0; u < p->space->unit_count; u++) {
    int f[MPT_GEMM_COUNT];
    unit_features(p->space, u, choice[u], f);
    for (int g = 0; g < MPT_GEMM_COUNT; g++)
      sum += p->mean[f[g]];
  }
  return sum;
}

/* K factored, and K^-1 (y - X m) in `residual`. */
static mpt_status factor(const predictor *p, gsl_matrix *k, gsl_vector *residual,
                         mpt_error *error) {
  for (int i = 0; i < p->count; i++) {
    const measured *o = &p->seen[i];
    for (int j = 0; j < p->count; j++)
      gsl_matrix_set(k, (size_t)i, (size_t)j, covariance(p, o->choice, p->seen[j].choice));
    const double variance = o->deviation * o->deviation;
    /* A floor keeps K positive definite where the noise is zero and rows repeat. */
    const double diagonal = gsl_matrix_get(k, (size_t)i, (size_t)i);
    gsl_matrix_set(k, (size_t)i, (size_t)i, diagonal * (1 + 1e-9) + variance + 1e-30);
    gsl_vector_set(residual, (size_t)i, o->mean - prior_mean(p, o->choice));
  }
  if (gsl_linalg_cholesky_decomp1(k) != GSL_SUCCESS)
    return mpt_fail(error, MPT_ERROR_INTERNAL, "the predictor's matrix is not positive definite");
  gsl_linalg_cholesky_svx(k, residual);
  return MPT_OK;
}

/* Posterior mean and variance of the sum of one unit's features; work and solved are scratch. */
static void posterior(const predictor *p, const int feature[MPT_GEMM_COUNT], int unit,
                      const gsl_matrix *k, const gsl_vector *weights, gsl_vector *work,
                      gsl_vector *solved, double *mean, double *variance) {
  *mean = *variance = 0;
  for (int g = 0; g < MPT_GEMM_COUNT; g++) {
    *mean += p->mean[feature[g]];
    *variance += p->spread[feature[g]] * p->spread[feature[g]];
  }
  if (p->count == 0)
    return;
  for (int i = 0; i < p->count; i++) {
    int seen[MPT_GEMM_COUNT];
    unit_features(p->space, unit, p->seen[i].choice[unit], seen);
    double shared = 0;
    for (int g = 0; g < MPT_GEMM_COUNT; g++)
      if (seen[g] == feature[g])
        shared += p->spread[seen[g]] * p->spread[seen[g]];
    *mean += shared * gsl_vector_get(weights, (size_t)i);
    gsl_vector_set(work, (size_t)i, shared);
  }
  gsl_vector_memcpy(solved, work);
  gsl_linalg_cholesky_svx(k, solved);
  for (int i = 0; i < p->count; i++)
    *variance -= gsl_vector_get(work, (size_t)i) * gsl_vector_get(solved, (size_t)i);
  *variance = fmax(0, *variance);
}

mpt_status predictor_increases(const predictor *p, double optimism, double *const *increase,
                               mpt_error *error) {
  const size_t n = (size_t)(p->count > 0 ? p->count : 1);
  gsl_matrix *k = gsl_matrix_alloc(n, n);
  gsl_vector *weights = gsl_vector_alloc(n), *work = gsl_vector_alloc(n);
  gsl_vector *solved = gsl_vector_alloc(n);
  mpt_status status = MPT_OK;
  if (k == NULL || weights == NULL || work == NULL || solved == NULL) {
    status = mpt_fail_memory(error, "the predictor's matrix", (n + 3) * n * sizeof(double));
    goto fail;
  }
  if (p->count > 0)
    MPT_TRY(factor(p, k, weights, error));
  for (int u = 0; u < p->space->unit_count; u++) {
    for (int c = 0; c < p->space->units[u].choice_count; c++) {
      if (isinf(increase[u][c]))
        continue;
      int feature[MPT_GEMM_COUNT];
      unit_features(p->space, u, c, feature);
      double mean, variance;
      posterior(p, feature, u, k, weights, work, solved, &mean, &variance);
      increase[u][c] = fmax(0, mean - optimism * sqrt(variance));
    }
  }
fail:
  gsl_matrix_free(k);
  gsl_vector_free(weights);
  gsl_vector_free(work);
  gsl_vector_free(solved);
  return status;
}
