/* Student's interval of the mean of D = e - b q, e = s(c - r), as an interval of budgets b: those
 * at which its test neither passes nor fails. Where q is the reference this is Fieller's interval
 * of a ratio of means, which knows that the reference's mean is estimated too. */
#include "tuner/verify_mean.h"
#include <gsl/gsl_cdf.h>
#include <math.h>

static double sign_of_reference(const verify_pair *pairs, int count) {
  double sum = 0.0;
  for (int i = 0; i < count; i++)
    if (verify_finished(&pairs[i]))
      sum += pairs[i].reference;
  return sum < 0.0 ? -1.0 : 1.0;
}

/* Mean of e and q over the pairs that finished; whether q is above 0 in each. */
static bool take_means(const verify_rule *rule, const verify_pair *pairs, int count, verify_mean *m,
                       double *mean_e) {
  const double sign = sign_of_reference(pairs, count), s = rule->higher_is_better ? -1.0 : 1.0;
  bool positive = true;
  *m = (verify_mean){0};
  *mean_e = 0.0;
  for (int i = 0; i < count; i++) {
    if (!verify_finished(&pairs[i]))
      continue;
    const double q = rule->relative ? sign * pairs[i].reference : 1.0;
    positive = positive && q > 0.0;
    *mean_e += s * (pairs[i].candidate - pairs[i].reference);
    m->q += q;
    m->count++;
  }
  *mean_e /= m->count;
  m->q /= m->count;
  m->estimate = *mean_e / m->q;
  return positive;
}

static verify_spread over_seeds(const verify_rule *rule, const verify_pair *pairs, int count,
                                const verify_mean *m) {
  const double sign = sign_of_reference(pairs, count), s = rule->higher_is_better ? -1.0 : 1.0;
  verify_spread spread = {.freedom = m->count - 1.0};
  const double scale = 1.0 / ((double)m->count * (m->count - 1));
  for (int i = 0; i < count; i++) {
    if (!verify_finished(&pairs[i]))
      continue;
    const double q = rule->relative ? sign * pairs[i].reference : 1.0;
    const double g = s * (pairs[i].candidate - pairs[i].reference) - m->estimate * q;
    spread.a += scale * g * g;
    spread.b += scale * g * (q - m->q);
    spread.c += scale * (q - m->q) * (q - m->q);
  }
  return spread;
}

void verify_mean_of(const verify_rule *rule, const verify_pair *pairs, int count, verify_mean *m) {
  double mean_e;
  const bool positive = take_means(rule, pairs, count, m, &mean_e);
  m->bounded = m->count >= 2 && positive && isfinite(m->estimate);
  if (!m->bounded)
    return;
  m->spread[m->spreads++] = over_seeds(rule, pairs, count, m);
  const double least = rule->least_deviation;
  if (least > 0.0)
    m->spread[m->spreads++] =
        (verify_spread){.a = least * least / m->count, .freedom = m->count - 1.0};
  verify_add_steps(rule, pairs, count, m);
}

/* The upper bound is 0 at the larger root x of (q x - h)^2 = k^2 (a - 2 b x + c x^2) + h^2, the
 * lower one at the smaller root with -h. There are such roots where the bound on the mean of q is
 * above 0; the bounds are convex and concave in x there, and fall all along. */
static bool roots(const verify_mean *m, const verify_spread *v, double level, verify_interval *x) {
  const double z = gsl_cdf_ugaussian_Qinv(level), h = z * z * v->skew;
  const double k = isfinite(v->freedom) ? gsl_cdf_tdist_Qinv(level, v->freedom) : z;
  const double square = m->q * m->q - k * k * v->c;
  if (!(square > 0.0) || !isfinite(square))
    return false;
  const double up = h * m->q - k * k * v->b, down = -h * m->q - k * k * v->b;
  x->upper = (up + sqrt(up * up + square * k * k * v->a)) / square;
  x->lower = (down - sqrt(down * down + square * k * k * v->a)) / square;
  return isfinite(x->upper) && isfinite(x->lower);
}

verify_interval verify_mean_bounds(const verify_mean *m, double level) {
  verify_interval widest = {.lower = 0.0, .upper = 0.0};
  if (!m->bounded)
    return (verify_interval){.lower = -INFINITY, .upper = INFINITY};
  for (int i = 0; i < m->spreads; i++) {
    verify_interval x;
    if (!roots(m, &m->spread[i], level, &x))
      return (verify_interval){.lower = -INFINITY, .upper = INFINITY};
    widest.lower = fmin(widest.lower, x.lower);
    widest.upper = fmax(widest.upper, x.upper);
  }
  return (verify_interval){.lower = m->estimate + widest.lower,
                           .upper = m->estimate + widest.upper};
}

verify_interval verify_mean_interval(const verify_rule *rule, const verify_pair *pairs, int count,
                                     double level) {
  verify_mean m;
  verify_mean_of(rule, pairs, count, &m);
  return verify_mean_bounds(&m, level);
}
