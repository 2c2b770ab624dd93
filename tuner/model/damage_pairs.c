/* Interactions of two layers, let in one at a time: where a run is more than 2 deviations off what
 * the model says, the pair that explains all residuals best, by its score statistic
 * (c' alpha)^2 / c' K^-1 c. It may hurt or help; its prior is as wide as that residual. */
#include "base/error.h"
#include "tuner/model/damage_fit.h"
#include <gsl/gsl_blas.h>
#include <gsl/gsl_linalg.h>
#include <math.h>
#include <stdlib.h>

/* The residual of the worst run in its own deviations, and in units of damage. */
static double worst_residual(const damage_model *m, double *size) {
  double worst = 0;
  for (int i = 0; i < m->n; i++) {
    if (m->records[i].kind != DAMAGE_RUN)
      continue;
    double r = m->y[i];
    for (int g = 0; g < m->unknowns; g++)
      r -= m->x[g * m->n + i] * m->fit.theta[g];
    const double off = fabs(r) / sqrt(gsl_matrix_get(m->v, (size_t)i, (size_t)i));
    if (off > worst)
      worst = off, *size = fabs(r);
  }
  return worst;
}

static bool is_in(const damage_model *m, const damage_pair *pair) {
  for (int k = 0; k < m->pair_count; k++)
    if (m->pairs[k].first == pair->first && m->pairs[k].second == pair->second)
      return true;
  return false;
}

/* The score statistic of a pair; c and solved are scratch. Seen in no record: 0. */
static double statistic(const damage_model *m, const damage_pair *pair, gsl_vector *c,
                        gsl_vector *solved) {
  double along = 0, across = 0;
  for (int i = 0; i < m->n; i++) {
    const damage_policy policy = m->records[i].policy;
    const bool both = damage_has(policy, pair->first) && damage_has(policy, pair->second);
    c->data[i] =
        both ? damage_weight(m, &m->records[i], m->data.features[pair->first].mechanism) : 0;
    along += c->data[i] * m->fit.alpha[i];
  }
  gsl_vector_memcpy(solved, c);
  gsl_linalg_cholesky_svx(m->fit.factor, solved);
  gsl_blas_ddot(c, solved, &across);
  return across > 0 ? along * along / across : 0;
}

mpt_status damage_add_pair(damage_model *m, bool *added, mpt_error *error) {
  double size = 0, best = 0;
  int which = -1;
  *added = false;
  if (m->pair_count == DAMAGE_MOST_PAIRS || worst_residual(m, &size) <= 2)
    return MPT_OK;
  gsl_vector *c = gsl_vector_alloc((size_t)m->n), *solved = gsl_vector_alloc((size_t)m->n);
  for (int k = 0; c != NULL && solved != NULL && k < m->data.pair_count; k++) {
    const double s = is_in(m, &m->data.pairs[k]) ? 0 : statistic(m, &m->data.pairs[k], c, solved);
    if (s > best)
      best = s, which = k;
  }
  const bool room = c != NULL && solved != NULL;
  gsl_vector_free(c);
  gsl_vector_free(solved);
  if (!room)
    return mpt_fail_memory(error, "the model's interactions", (size_t)m->n * sizeof(double));
  if (which < 0 || best < 4) /* 2 deviations of the pair itself */
    return MPT_OK;
  m->pairs[m->pair_count] = m->data.pairs[which];
  m->pair_deviation[m->pair_count++] = size;
  m->feature_of[m->unknowns++] = -1;
  *added = true;
  return MPT_OK;
}
