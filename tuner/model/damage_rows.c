/* The linear problem: what each record sees of each unknown, and with which noise. */
#include "tuner/model/damage_fit.h"
#include <math.h>
#include <string.h>

bool damage_has(damage_policy policy, int feature) {
  for (int i = 0; i < policy.count; i++)
    if (policy.features[i] == feature)
      return true;
  return false;
}

double damage_weight(const damage_model *m, const damage_record *r, damage_mechanism mechanism) {
  return r->kind == DAMAGE_RUN ? 1 : m->factor[r->point][damage_part(mechanism)];
}

void damage_fill_rows(damage_model *m) {
  memset(m->x, 0, (size_t)m->unknowns * (size_t)m->n * sizeof *m->x);
  for (int i = 0; i < m->n; i++) {
    const damage_record *r = &m->records[i];
    m->y[i] = r->damage;
    for (int k = 0; k < r->policy.count; k++) {
      const int feature = r->policy.features[k], unknown = m->unknown_of[feature];
      m->x[unknown * m->n + i] = damage_weight(m, r, m->data.features[feature].mechanism);
    }
    for (int k = 0; k < m->pair_count; k++) {
      const damage_pair *pair = &m->pairs[k];
      const int unknown = m->unknowns - m->pair_count + k;
      if (damage_has(r->policy, pair->first) && damage_has(r->policy, pair->second))
        m->x[unknown * m->n + i] = damage_weight(m, r, m->data.features[pair->first].mechanism);
    }
  }
}

void damage_fill_prior(damage_model *m) {
  const int features = m->unknowns - m->pair_count;
  for (int g = 0; g < features; g++) {
    const damage_feature *f = damage_feature_at(m, g);
    const double expected = m->kappa[f->mechanism] * f->score;
    m->mean[g] = expected;
    m->variance[g] = pow(m->prior.spread * expected, 2) + pow(m->prior.tau, 2);
    m->bounded[g] = true;
  }
  for (int k = 0; k < m->pair_count; k++) {
    m->mean[features + k] = 0;
    m->variance[features + k] = pow(m->pair_deviation[k], 2);
    m->bounded[features + k] = false;
  }
}

/* What of a policy's damage a fork is expected to see. */
static double seen_size(const damage_model *m, int i) {
  const double *factor = m->factor[m->records[i].point];
  return factor[0] * m->part[i][0] + factor[1] * m->part[i][1];
}

/* Two forks share what their policy does to all forks, and what is not known of their point. */
static double shared_by_forks(const damage_model *m, int i, int j) {
  const damage_record *a = &m->records[i], *b = &m->records[j];
  double shared = 0;
  if (a->identity == b->identity)
    shared += pow(m->prior.fork_share, 2) * seen_size(m, i) * seen_size(m, j);
  if (a->point == b->point) {
    const double *u = m->uncertain[a->point], *p = m->part[i], *q = m->part[j];
    /* The factor's error times the damage's: of second order, and where forks are quiet the
     * largest. */
    if (i == j)
      shared += u[0] * m->loose[i][0] + u[1] * m->loose[i][1];
    shared += u[0] * p[0] * q[0] + u[1] * p[1] * q[1] + u[2] * (p[0] * q[1] + p[1] * q[0]);
  }
  return shared;
}

void damage_fill_noise(damage_model *m) {
  for (int i = 0; i < m->n; i++) {
    const damage_record *r = &m->records[i];
    for (int j = 0; j < m->n; j++) {
      const bool forks = r->kind == DAMAGE_FORK && m->records[j].kind == DAMAGE_FORK;
      gsl_matrix_set(m->v, (size_t)i, (size_t)j, forks ? shared_by_forks(m, i, j) : 0);
    }
    double own = r->deviation * r->deviation;
    if (r->kind == DAMAGE_RUN)
      own = own / r->pairs + (pow(m->prior.run_share, 2) + pow(m->prior.interaction_share, 2)) *
                                 m->size[i] * m->size[i];
    *gsl_matrix_ptr(m->v, (size_t)i, (size_t)i) += own;
  }
}

void damage_fill_sizes(damage_model *m) {
  for (int i = 0; i < m->all; i++) {
    const damage_policy policy = m->records[i].policy;
    m->part[i][0] = m->part[i][1] = 0;
    for (int k = 0; k < policy.count; k++) {
      const int feature = policy.features[k], unknown = m->unknown_of[feature];
      m->part[i][damage_part(m->data.features[feature].mechanism)] += m->fit.theta[unknown];
    }
    m->size[i] = m->part[i][0] + m->part[i][1];
  }
}
