/* What the fit says of a policy. */
#include "tuner/model/damage_fit.h"
#include <gsl/gsl_blas.h>
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_linalg.h>
#include <math.h>
#include <stdlib.h>

enum { M = DAMAGE_MECHANISMS };

/* A sum of unknowns: its mean, the variance that its parts have each for itself, its covariance
 * with each record under the prior, and how it follows kappa. */
typedef struct outlook {
  double mean, own;
  double *with; /* [n] */
  double slope[M];
} outlook;

static void add_feature(const damage_model *m, int feature, outlook *s) {
  const damage_feature *f = &m->data.features[feature];
  const int g = m->unknown_of[feature];
  if (g < 0 || m->n == 0) { /* nobody saw it: its prior */
    const double expected = m->kappa[f->mechanism] * f->score;
    s->mean += expected;
    s->own += pow(m->prior.spread * expected, 2) + pow(m->prior.tau, 2);
    s->slope[f->mechanism] += f->score;
    return;
  }
  s->mean += m->fit.theta[g] + m->shift[g];
  s->own += m->fit.free[g] ? m->variance[g] : m->held[g];
  for (int k = 0; k < M; k++)
    s->slope[k] += m->slope[g * M + k];
  for (int i = 0; m->fit.free[g] && i < m->n; i++)
    s->with[i] += m->variance[g] * m->x[g * m->n + i];
}

static void add_interactions(const damage_model *m, damage_policy policy, outlook *s) {
  for (int k = 0; k < m->pair_count; k++) {
    const int g = m->unknowns - m->pair_count + k;
    if (!damage_has(policy, m->pairs[k].first) || !damage_has(policy, m->pairs[k].second))
      continue;
    s->mean += m->fit.theta[g];
    s->own += m->variance[g];
    for (int j = 0; j < M; j++)
      s->slope[j] += m->slope[g * M + j];
    for (int i = 0; i < m->n; i++)
      s->with[i] += m->variance[g] * m->x[g * m->n + i];
  }
}

/* gamma_p: what of the policy's run the sum does not explain is partly the policy's own. */
static void add_own(const damage_model *m, int identity, outlook *s) {
  for (int i = 0; identity >= 0 && i < m->n; i++) {
    if (m->records[i].identity != identity || m->records[i].kind != DAMAGE_RUN)
      continue;
    const double variance = pow(m->prior.interaction_share * m->size[i], 2);
    s->mean += variance * m->fit.alpha[i];
    s->own += variance;
    s->with[i] += variance;
    for (int k = 0; k < M; k++)
      s->slope[k] += variance * m->pull[i * M + k];
    return;
  }
  s->own += pow(m->prior.interaction_share * fmax(0, s->mean), 2);
}

/* with' K^-1 other, given both */
static double explained(const damage_model *m, const double *with, const double *other) {
  double sum = 0;
  if (m->n == 0)
    return 0;
  gsl_vector *solved = gsl_vector_alloc((size_t)m->n);
  if (solved == NULL)
    return 0; /* what was not learned is not sure: too wide, never too narrow */
  for (int i = 0; i < m->n; i++)
    solved->data[i] = with[i];
  gsl_linalg_cholesky_svx(m->fit.factor, solved);
  for (int i = 0; i < m->n; i++)
    sum += solved->data[i] * other[i];
  gsl_vector_free(solved);
  return sum;
}

static double by_kappa(const damage_model *m, const outlook *a, const outlook *b) {
  double total = 0;
  for (int i = 0; i < M; i++)
    for (int j = 0; j < M; j++)
      total += a->slope[i] * m->kappa_covariance[i][j] * b->slope[j];
  return total;
}

static damage_belief belief_of(const damage_model *m, const outlook *s) {
  const double variance = s->own - explained(m, s->with, s->with) + by_kappa(m, s, s);
  return (damage_belief){.mean = s->mean, .deviation = sqrt(fmax(0, variance))};
}

damage_belief damage_of(const damage_model *m, damage_policy policy, int identity) {
  outlook s = {.with = calloc((size_t)m->n + 1, sizeof(double))};
  if (s.with == NULL)
    return (damage_belief){.mean = NAN, .deviation = NAN};
  for (int k = 0; k < policy.count; k++)
    add_feature(m, policy.features[k], &s);
  add_interactions(m, policy, &s);
  if (policy.count > 0)
    add_own(m, identity, &s);
  const damage_belief belief = belief_of(m, &s);
  free(s.with);
  return belief;
}

double damage_part_variance(const damage_model *m, damage_policy policy, int part) {
  outlook s = {.with = calloc((size_t)m->n + 1, sizeof(double))};
  if (s.with == NULL)
    return INFINITY;
  for (int k = 0; k < policy.count; k++)
    if (damage_part(m->data.features[policy.features[k]].mechanism) == part)
      add_feature(m, policy.features[k], &s);
  const damage_belief belief = belief_of(m, &s);
  free(s.with);
  return belief.deviation * belief.deviation;
}

double damage_chance(damage_belief belief, double budget) {
  if (isnan(belief.mean))
    return 0;
  if (belief.deviation == 0)
    return belief.mean <= budget;
  return gsl_cdf_ugaussian_P((budget - belief.mean) / belief.deviation);
}

damage_belief damage_of_feature(const damage_model *m, int feature) {
  outlook s = {.with = calloc((size_t)m->n + 1, sizeof(double))};
  if (s.with == NULL)
    return (damage_belief){.mean = NAN, .deviation = NAN};
  add_feature(m, feature, &s);
  const damage_belief belief = belief_of(m, &s);
  free(s.with);
  return belief;
}

double damage_covariance(const damage_model *m, int first, int second) {
  outlook a = {.with = calloc((size_t)m->n + 1, sizeof(double))};
  outlook b = {.with = calloc((size_t)m->n + 1, sizeof(double))};
  double covariance = NAN;
  if (a.with != NULL && b.with != NULL) {
    add_feature(m, first, &a);
    add_feature(m, second, &b);
    covariance = (first == second ? a.own : 0) - explained(m, a.with, b.with) + by_kappa(m, &a, &b);
  }
  free(a.with);
  free(b.with);
  return covariance;
}

damage_summary damage_summarize(const damage_model *m) {
  damage_summary s = {
      .kkt_residual = m->fit.residual, .interactions = m->pair_count, .fork_points = m->points};
  for (int i = 0; i < M; i++) {
    s.kappa[i] = m->kappa[i];
    s.kappa_deviation[i] = sqrt(fmax(0, m->kappa_covariance[i][i]));
  }
  for (int g = 0; m->n > 0 && g < m->unknowns; g++)
    s.bound += !m->fit.free[g];
  return s;
}

damage_pair damage_interaction(const damage_model *m, int which, damage_belief *size) {
  const int g = m->unknowns - m->pair_count + which;
  double *with = calloc((size_t)m->n + 1, sizeof *with);
  *size = (damage_belief){.mean = m->fit.theta[g], .deviation = NAN};
  for (int i = 0; with != NULL && i < m->n; i++)
    with[i] = m->variance[g] * m->x[g * m->n + i];
  if (with != NULL)
    size->deviation = sqrt(fmax(0, m->variance[g] - explained(m, with, with)));
  free(with);
  return m->pairs[which];
}

void damage_fork_factors(const damage_model *m, int point, double *forward, double *backward) {
  *forward = m->factor[point][0];
  *backward = m->factor[point][1];
}
