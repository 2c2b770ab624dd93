/* The levels of the looks, exactly. Of a policy at its limit the differences x_1, x_2, … are normal
 * with mean 0, and Student's t at every look depends on the direction of the vector x alone, which
 * is uniform on a sphere whatever the variance: so the chance to pass at some look is known.
 *
 * Write t(n) for the statistic of the first n and T = t / sqrt(n - 1). Given T' of n + m
 * differences, what is inside x is uniform on the sphere of the vectors with that mean; two of its
 * coordinates decide T of the first n: sin(h), its contrast between the two blocks, with density
 * ~ cos(h)^(n+m-3), and cos(p)^2, the first block's share of the squares within blocks,
 * with density ~ cos(p)^(n-2) sin(p)^(m-2):
 *
 *   T = (T' sqrt(n/(n+m)) + sqrt(m/(n+m)) sin(h)) / (cos(h) cos(p))
 *
 * Hence kept(T'), the chance that no earlier look passed given T' at this one, is the mean of the
 * last look's kept(T) over those T that it did not pass; and this look's level q solves
 * integral from 0 to q of kept(T(p)) dp = what this look may spend, T(p) being Student's quantile.
 * Everything is a ratio near 1, so the smallest alpha is as accurate as the largest. */
#include "tuner/verify.h"
#include <assert.h>
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <string.h>

const int verify_look_sizes[VERIFY_LOOKS] = {4, 6, 9, 13, 18, 24};

#define NODES  31 /* of the rule; twice as many change no level by 2e-4 of itself */
#define POINTS 96 /* at which kept() is tabulated */

/* Integrates over (0, 1) by the trapezoidal rule after x = (1 + tanh(pi/2 sinh(s))) / 2, which
 * minds no root or logarithm at the ends. (Takahasi and Mori 1974) */
typedef struct quadrature {
  double x[NODES], weight[NODES];
} quadrature;

static void quadrature_fill(quadrature *rule) {
  const double step = 4.6 / (NODES - 1);
  const int middle = (NODES - 1) / 2;
  for (int i = 0; i < NODES; i++) {
    const double s = step * (i - middle), y = M_PI_2 * sinh(s);
    rule->x[i] = 1.0 / (1.0 + exp(-2.0 * y));
    rule->weight[i] = step * M_PI_2 * cosh(s) / (2.0 * cosh(y) * cosh(y));
  }
}

/* kept() at one look over z = sqrt(n - 1) asinh(T), which is near a normal score. */
typedef struct kept_table {
  double root; /* sqrt(n - 1) */
  double first, step;
  double value[POINTS];
} kept_table;

/* Cubic between the points, constant beyond them. */
static double kept_at(const kept_table *k, double t) {
  const double place = (k->root * asinh(t) - k->first) / k->step;
  if (!(place > 0.0))
    return k->value[0];
  if (place >= POINTS - 1)
    return k->value[POINTS - 1];
  int i = (int)place - 1;
  i = i < 0 ? 0 : i > POINTS - 4 ? POINTS - 4 : i;
  const double x = place - i, *v = k->value + i;
  return (x - 1) * (x - 2) * ((x - 3) * -v[0] + x * v[3]) / 6 +
         x * (x - 3) * ((x - 2) * v[1] - (x - 1) * v[2]) / 2;
}

static double power(double x, int exponent) {
  double result = 1.0;
  for (; exponent > 0; exponent >>= 1, x *= x)
    if (exponent & 1)
      result *= x;
  return result;
}

/* Integral over the contrast sin(h) of `above` and over p of what did not pass, limit being T at
 * the boundary of the look of n; without its density's constant. */
static double not_passed(const quadrature *rule, const kept_table *kept, int n, int m, double limit,
                         double above) {
  const double of_mean = above * sqrt((double)n / (n + m)), spread = sqrt((double)m / (n + m));
  /* T at p = 0 is below the limit between these two. */
  const double reach = of_mean / hypot(limit, spread), turn = atan2(spread, limit);
  if (reach >= 1.0)
    return 0.0;
  const double half = reach <= -1.0 ? M_PI : acos(reach);
  const double low = fmax(-M_PI_2, -turn - half), high = fmin(M_PI_2, -turn + half);
  double sum = 0.0;
  for (int i = 0; i < NODES; i++) {
    const double h = low + (high - low) * rule->x[i], cosine = cos(h);
    const double t = (of_mean + spread * sin(h)) / cosine; /* at p = 0 */
    const double most = t <= 0.0 ? M_PI_2 : acos(fmin(1.0, t / limit));
    double inner = 0.0;
    for (int j = 0; j < NODES; j++) {
      const double p = most * rule->x[j], c = cos(p);
      const double density = power(c, n - 2) * power(sin(p), m - 2);
      inner += rule->weight[j] * density * (kept == NULL ? 1.0 : kept_at(kept, t / c));
    }
    sum += rule->weight[i] * power(cosine, n + m - 3) * most * inner;
  }
  return sum * (high - low);
}

/* What the densities of not_passed() integrate to: integral of cos^a sin^b over a quarter. */
static double quarter(int a, int b) {
  return 0.5 * exp(lgamma(0.5 * (a + 1)) + lgamma(0.5 * (b + 1)) - lgamma(0.5 * (a + b) + 1));
}

/* kept() at the look of n + m from the one of n; NULL there: all of it. `rarest`: the tail beyond
 * which it does not matter. */
static void kept_next(const quadrature *rule, const kept_table *kept, int n, int m, double level,
                      double rarest, kept_table *next) {
  const double limit = gsl_cdf_tdist_Qinv(level, n - 1) / sqrt(n - 1);
  const double total = 2.0 * quarter(n + m - 3, 0) * quarter(n - 2, m - 2);
  next->root = sqrt(n + m - 1);
  const double farthest = gsl_cdf_tdist_Qinv(rarest, n + m - 1) / next->root;
  next->first = -6.0;
  next->step = (next->root * asinh(farthest) - next->first) / (POINTS - 1);
  for (int i = 0; i < POINTS; i++) {
    const double t = sinh((next->first + i * next->step) / next->root);
    next->value[i] = not_passed(rule, kept, n, m, limit, t) / total;
  }
}

/* The level of a look of n that spends `share`: Newton's method. */
static double level_of(const quadrature *rule, const kept_table *kept, int n, double share) {
  double level = share;
  for (int round = 0; round < 20; round++) {
    double spent = 0.0;
    for (int i = 0; i < NODES; i++)
      spent += rule->weight[i] * level *
               kept_at(kept, gsl_cdf_tdist_Qinv(level * rule->x[i], n - 1) / kept->root);
    const double slope = kept_at(kept, gsl_cdf_tdist_Qinv(level, n - 1) / kept->root);
    const double change = (share - spent) / slope;
    level += change;
    if (fabs(change) < 1e-9 * level)
      break;
  }
  return level;
}

static void find_levels(double alpha, double levels[VERIFY_LOOKS]) {
  const int *sizes = verify_look_sizes;
  const double each = alpha / sizes[VERIFY_LOOKS - 1];
  kept_table kept[2];
  quadrature rule;
  quadrature_fill(&rule);
  levels[0] = each * sizes[0];
  for (int look = 1; look < VERIFY_LOOKS; look++) {
    const int n = sizes[look - 1], m = sizes[look] - n;
    kept_table *next = &kept[look % 2];
    const double share = each * m;
    kept_next(&rule, look == 1 ? NULL : &kept[1 - look % 2], n, m, levels[look - 1], 1e-5 * share,
              next);
    levels[look] = level_of(&rule, next, sizes[look], share);
  }
}

/* A search asks for those of the policies that it set out to verify again and again, in turn, and
 * each takes some 20 milliseconds: as many are kept as there are such policies in most searches. */
#define KEPT_LEVELS 16

typedef struct known_levels {
  double alpha, levels[VERIFY_LOOKS];
} known_levels;

void verify_levels(double alpha, double levels[VERIFY_LOOKS]) {
  static _Thread_local known_levels known[KEPT_LEVELS];
  static _Thread_local int oldest;
  assert(alpha >= VERIFY_LEAST_ALPHA && alpha <= 0.5);
  int k = 0;
  while (k < KEPT_LEVELS && known[k].alpha != alpha)
    k++;
  if (k == KEPT_LEVELS) {
    k = oldest;
    oldest = (oldest + 1) % KEPT_LEVELS;
    find_levels(alpha, known[k].levels);
    known[k].alpha = alpha;
  }
  memcpy(levels, known[k].levels, sizeof known[k].levels);
}
