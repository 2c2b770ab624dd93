/* a_t and b_t: for each point a regression of the forks of policies that have full runs on what
 * those say of their damage, from a normal prior, held at 0 from below. Forks of other policies say
 * nothing of the factors: larger damage and smaller factors would explain them as well. */
#include "tuner/model/damage_fit.h"
#include <math.h>

static bool has_run(const damage_model *m, int identity) {
  for (int i = 0; i < m->n; i++)
    if (m->records[i].kind == DAMAGE_RUN && m->records[i].identity == identity)
      return true;
  return false;
}

static void fit_point(damage_model *m, int t) {
  const double before = 1 / pow(m->prior.fork_deviation, 2);
  const double first = before * m->prior.fork_mean;
  double h[3] = {before, before, 0}, b[2] = {first, first};
  for (int i = 0; i < m->all; i++) {
    const damage_record *r = &m->records[i];
    if (r->kind != DAMAGE_FORK || r->point != t || !has_run(m, r->identity))
      continue;
    const double *d = m->part[i];
    const double unsure = m->prior.fork_mean * damage_of(m, r->policy, r->identity).deviation;
    const double w =
        1 / (r->deviation * r->deviation +
             pow(m->prior.fork_mean * m->prior.fork_share * m->size[i], 2) + unsure * unsure);
    h[0] += w * d[0] * d[0], h[1] += w * d[1] * d[1], h[2] += w * d[0] * d[1];
    b[0] += w * d[0] * r->damage, b[1] += w * d[1] * r->damage;
  }
  const double determinant = h[0] * h[1] - h[2] * h[2];
  double *f = m->factor[t], *u = m->uncertain[t];
  f[0] = (b[0] * h[1] - b[1] * h[2]) / determinant;
  f[1] = (b[1] * h[0] - b[0] * h[2]) / determinant;
  if (f[0] < 0)
    f[0] = 0, f[1] = fmax(0, b[1] / h[1]);
  if (f[1] < 0)
    f[1] = 0, f[0] = fmax(0, b[0] / h[0]);
  u[0] = h[1] / determinant, u[1] = h[0] / determinant, u[2] = -h[2] / determinant;
}

void damage_fit_factors(damage_model *m) {
  for (int i = 0; i < m->all; i++)
    for (int part = 0; part < 2; part++)
      m->loose[i][part] = damage_part_variance(m, m->records[i].policy, part);
  for (int t = 0; t < m->points; t++)
    fit_point(m, t);
}
