/* The fit: kappa, the nonnegative theta, the factors of forks and the noise that grows with the
 * damage, in turn until they agree; then interactions, if any residual asks for one. */
#include "tuner/model/damage.h"
#include "base/error.h"
#include "tuner/model/damage_fit.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { M = DAMAGE_MECHANISMS, ROUNDS = 3 };

damage_prior damage_prior_of(double budget, int gemms) {
  return (damage_prior){.kappa = {30, 30 * budget, 30 * budget},
                        .spread = 0.7,
                        .tau = 0.25 * budget / sqrt(gemms > 0 ? gemms : 1),
                        .run_share = 0.1,
                        .interaction_share = 0.15,
                        .fork_share = 0.3,
                        .fork_mean = 0.2,
                        .fork_deviation = 0.2};
}

/* ---- what is given ---- */

static bool is_positive(double x) {
  return isfinite(x) && x > 0;
}

static mpt_status check_prior(const damage_prior *p, mpt_error *error) {
  bool good = isfinite(p->spread) && p->spread >= 0 && is_positive(p->tau) &&
              isfinite(p->run_share) && isfinite(p->interaction_share) && isfinite(p->fork_share) &&
              isfinite(p->fork_mean) && is_positive(p->fork_deviation);
  for (int i = 0; i < M; i++)
    good = good && is_positive(p->kappa[i]);
  return good ? MPT_OK
              : mpt_fail(error, MPT_ERROR_ARGUMENT, "the model's prior has a number that is none");
}

static mpt_status check_data(const damage_data *d, mpt_error *error) {
  for (int g = 0; g < d->feature_count; g++)
    if (!isfinite(d->features[g].score) || d->features[g].score < 0)
      return mpt_fail(error, MPT_ERROR_ARGUMENT, "the score of feature %d is %g", g,
                      d->features[g].score);
  for (int i = 0; i < d->record_count; i++) {
    const damage_record *r = &d->records[i];
    bool good = is_positive(r->deviation) && !isinf(r->damage) &&
                (r->kind == DAMAGE_FORK ? r->point >= 0 : r->pairs > 0);
    for (int k = 0; k < r->policy.count; k++)
      good = good && r->policy.features[k] >= 0 && r->policy.features[k] < d->feature_count;
    if (!good)
      return mpt_fail(error, MPT_ERROR_ARGUMENT,
                      "record %d: damage %g with a deviation of %g is none that can be", i,
                      r->damage, r->deviation);
  }
  for (int k = 0; k < d->pair_count; k++)
    if (d->pairs[k].first < 0 || d->pairs[k].first >= d->feature_count || d->pairs[k].second < 0 ||
        d->pairs[k].second >= d->feature_count)
      return mpt_fail(error, MPT_ERROR_ARGUMENT, "pair %d names no features", k);
  return MPT_OK;
}

/* ---- memory ---- */

static void *array(size_t count, size_t size, bool *whole) {
  void *made = calloc(count + 1, size);
  *whole = *whole && made != NULL;
  return made;
}

static void number_unknowns(damage_model *m) {
  for (int g = 0; g < m->data.feature_count; g++)
    m->unknown_of[g] = -1;
  for (int i = 0; i < m->data.record_count; i++) {
    const damage_policy policy = m->data.records[i].policy;
    for (int k = 0; k < policy.count; k++) {
      int *unknown = &m->unknown_of[policy.features[k]];
      if (*unknown >= 0)
        continue;
      m->feature_of[m->unknowns] = policy.features[k];
      *unknown = m->unknowns++;
    }
  }
}

static mpt_status allocate(damage_model *m, mpt_error *error) {
  const size_t features = (size_t)m->data.feature_count, n = (size_t)m->data.record_count;
  bool whole = true;
  m->unknown_of = array(features, sizeof *m->unknown_of, &whole);
  m->feature_of = array(features + DAMAGE_MOST_PAIRS, sizeof *m->feature_of, &whole);
  m->records = array(n, sizeof *m->records, &whole);
  if (whole)
    number_unknowns(m);
  const size_t unknowns = (size_t)m->unknowns + DAMAGE_MOST_PAIRS;
  for (size_t i = 0; i < n; i++)
    if (m->data.records[i].kind == DAMAGE_FORK && m->data.records[i].point >= m->points)
      m->points = m->data.records[i].point + 1;
  m->x = array(unknowns * n, sizeof *m->x, &whole);
  m->mean = array(unknowns, sizeof *m->mean, &whole);
  m->variance = array(unknowns, sizeof *m->variance, &whole);
  m->bounded = array(unknowns, sizeof *m->bounded, &whole);
  m->y = array(n, sizeof *m->y, &whole);
  m->size = array(n, sizeof *m->size, &whole);
  m->part = array(n, sizeof *m->part, &whole);
  m->loose = array(n, sizeof *m->loose, &whole);
  m->slope = array(unknowns * M, sizeof *m->slope, &whole);
  m->pull = array(n * M, sizeof *m->pull, &whole);
  m->shift = array(unknowns, sizeof *m->shift, &whole);
  m->held = array(unknowns, sizeof *m->held, &whole);
  m->factor = array((size_t)m->points, sizeof *m->factor, &whole);
  m->uncertain = array((size_t)m->points, sizeof *m->uncertain, &whole);
  return whole ? MPT_OK : mpt_fail_memory(error, "the model", unknowns * n * sizeof(double));
}

void damage_free(damage_model *m) {
  if (m == NULL)
    return;
  free(m->unknown_of), free(m->feature_of), free(m->records), free(m->x), free(m->mean);
  free(m->variance), free(m->bounded), free(m->y), free(m->size), free(m->part), free(m->slope);
  free(m->pull), free(m->shift), free(m->held), free(m->factor), free(m->uncertain), free(m->loose);
  gsl_matrix_free(m->v);
  nonnegative_clear(&m->fit);
  free(m);
}

/* ---- the fit ---- */

static mpt_status solve(damage_model *m, mpt_error *error) {
  const nonnegative_problem problem = {.unknowns = m->unknowns,
                                       .observations = m->n,
                                       .mean = m->mean,
                                       .variance = m->variance,
                                       .bounded = m->bounded,
                                       .x = m->x,
                                       .y = m->y,
                                       .v = m->v};
  nonnegative_clear(&m->fit);
  return nonnegative_solve(&problem, &m->fit, error);
}

/* The sizes by which noise grows follow the runs alone. Forks would drive them: where several see
 * more than expected, larger damage means more noise in the runs that hold it down, and so on
 * (Peelle's puzzle). */
static mpt_status fit_once(damage_model *m, bool forks, mpt_error *error) {
  damage_fill_rows(m);
  damage_fill_noise(m);
  MPT_RETURN_IF_FAILED(damage_fit_kappa(m, error));
  damage_fill_prior(m);
  MPT_RETURN_IF_FAILED(solve(m, error));
  if (!forks)
    damage_fill_sizes(m);
  return MPT_OK;
}

static void start(damage_model *m) {
  for (int i = 0; i < m->all; i++) {
    m->size[i] = m->records[i].kind == DAMAGE_RUN ? fmax(0, m->records[i].damage) : 0;
    m->part[i][0] = m->part[i][1] = 0;
  }
  for (int t = 0; t < m->points; t++) {
    m->factor[t][0] = m->factor[t][1] = m->prior.fork_mean;
    m->uncertain[t][0] = m->uncertain[t][1] = pow(m->prior.fork_deviation, 2);
  }
  m->unknowns -= m->pair_count;
  m->pair_count = 0;
  for (int i = 0; i < M; i++) {
    m->kappa[i] = m->prior.kappa[i] * sqrt(2 / M_PI);
    m->kappa_covariance[i][i] = pow(m->prior.kappa[i], 2) * (1 - 2 / M_PI);
  }
}

/* To the first n records. */
static mpt_status fit_to(damage_model *m, int n, bool forks, mpt_error *error) {
  bool added = false;
  m->n = n;
  gsl_matrix_free(m->v);
  m->v = NULL;
  if (n == 0)
    return MPT_OK;
  m->v = gsl_matrix_alloc((size_t)n, (size_t)n);
  if (m->v == NULL)
    return mpt_fail_memory(error, "the model", (size_t)n * (size_t)n * sizeof(double));
  do {
    for (int round = 0; round < (forks ? 1 : ROUNDS); round++)
      MPT_RETURN_IF_FAILED(fit_once(m, forks, error));
    MPT_RETURN_IF_FAILED(damage_add_pair(m, &added, error));
  } while (added);
  return damage_fill_spread(m, error);
}

/* To m->records: to the runs, by which forks are calibrated, then to all. */
static mpt_status fit(damage_model *m, mpt_error *error) {
  int runs = 0;
  while (runs < m->all && m->records[runs].kind == DAMAGE_RUN)
    runs++;
  start(m);
  MPT_RETURN_IF_FAILED(fit_to(m, runs, false, error));
  if (runs == m->all)
    return MPT_OK;
  damage_fit_factors(m);
  return fit_to(m, m->all, true, error);
}

/* Those that are back. */
static void take_records(damage_model *m, damage_record_kind kind) {
  for (int i = 0; i < m->data.record_count; i++)
    if (m->data.records[i].kind == kind && !isnan(m->data.records[i].damage))
      m->records[m->all++] = m->data.records[i];
}

/* What a fork is expected to show. */
static double expected(const damage_model *m, const damage_record *r) {
  double sum = 0;
  if (r->kind == DAMAGE_RUN)
    return damage_of(m, r->policy, -1).mean;
  for (int k = 0; k < r->policy.count; k++) {
    const int g = r->policy.features[k];
    sum += damage_weight(m, r, m->data.features[g].mechanism) * damage_of_feature(m, g).mean;
  }
  return sum;
}

/* Again, to the records in flight too: as this fit expects them. */
static mpt_status fit_with_expected(damage_model *m, mpt_error *error) {
  const int count = m->data.record_count;
  double *damage = calloc((size_t)count + 1, sizeof *damage);
  if (damage == NULL)
    return mpt_fail_memory(error, "the model", (size_t)count * sizeof *damage);
  for (int i = 0; i < count; i++)
    damage[i] = isnan(m->data.records[i].damage) ? expected(m, &m->data.records[i])
                                                 : m->data.records[i].damage;
  m->all = 0;
  for (int kind = DAMAGE_RUN; kind <= DAMAGE_FORK; kind++)
    for (int i = 0; i < count; i++)
      if ((int)m->data.records[i].kind == kind) {
        m->records[m->all] = m->data.records[i];
        m->records[m->all++].damage = damage[i];
      }
  free(damage);
  return fit(m, error);
}

mpt_status damage_fit(const damage_prior *prior, const damage_data *data, damage_model **out,
                      mpt_error *error) {
  damage_model *m = calloc(1, sizeof *m);
  mpt_status status = MPT_OK;
  if (m == NULL)
    return mpt_fail_memory(error, "the model", sizeof *m);
  m->prior = *prior;
  m->data = *data;
  MPT_TRY(check_prior(prior, error));
  MPT_TRY(check_data(data, error));
  MPT_TRY(allocate(m, error));
  take_records(m, DAMAGE_RUN);
  take_records(m, DAMAGE_FORK);
  MPT_TRY(fit(m, error));
  if (m->all < data->record_count)
    MPT_TRY(fit_with_expected(m, error));
  *out = m;
  return MPT_OK;
fail:
  damage_free(m);
  return status;
}
