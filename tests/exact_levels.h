/* The levels of the looks by integration, from which tests/bench/bench_levels.c tabulates them.
 *
 * Of a policy at its limit the differences x_1, x_2, … are normal with mean 0, and Student's t at
 * every look depends on the direction of the vector x alone, which is uniform on a sphere whatever
 * the variance: so the chance to pass at some look is known.
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
 * Beyond the T' at which every vector passed before, kept is 0, and no integral goes across that
 * corner. Everything is a ratio near 1, so the smallest alpha is as accurate as the largest. */
#ifndef EXACT_LEVELS_H
#define EXACT_LEVELS_H

#include "tuner/verify.h"
#include <gsl/gsl_cdf.h>
#include <math.h>

#define EXACT_MOST 192

/* How finely: 61 nodes and 192 points are right to 1e-6, 31 and 96 to 1e-5, in a tenth of the time.
 */
typedef struct exact_grid {
  int nodes;  /* of the rule; odd */
  int points; /* at which kept() is tabulated */
} exact_grid;

/* Integrates over (0, 1) by the trapezoidal rule after x = (1 + tanh(pi/2 sinh(s))) / 2, which
 * minds no root or logarithm at the ends. (Takahasi and Mori 1974) */
typedef struct quadrature {
  int count;
  double x[EXACT_MOST], weight[EXACT_MOST];
} quadrature;

static inline void quadrature_fill(quadrature *rule, int nodes) {
  const double step = 4.6 / (nodes - 1);
  const int middle = (nodes - 1) / 2;
  rule->count = nodes;
  for (int i = 0; i < nodes; i++) {
    const double s = step * (i - middle), y = M_PI_2 * sinh(s);
    rule->x[i] = 1.0 / (1.0 + exp(-2.0 * y));
    rule->weight[i] = step * M_PI_2 * cosh(s) / (2.0 * cosh(y) * cosh(y));
  }
}

/* kept() at one look over z = sqrt(n - 1) asinh(T), which is near a normal score. */
typedef struct kept_table {
  double root; /* sqrt(n - 1) */
  double most; /* the T beyond which it is 0 */
  double first, step;
  int points;
  double value[EXACT_MOST];
} kept_table;

/* Cubic between the points, constant beyond them. */
static inline double kept_at(const kept_table *k, double t) {
  const double place = (k->root * asinh(t) - k->first) / k->step;
  const int last = k->points - 1;
  if (!(place > 0.0))
    return k->value[0];
  if (place >= last)
    return k->value[last];
  int i = (int)place - 1;
  i = i < 0 ? 0 : i > last - 3 ? last - 3 : i;
  const double x = place - i, *v = k->value + i;
  return (x - 1) * (x - 2) * ((x - 3) * -v[0] + x * v[3]) / 6 +
         x * (x - 3) * ((x - 2) * v[1] - (x - 1) * v[2]) / 2;
}

/* Integral over the contrast sin(h) of `above` and over p of what did not pass, limit being T at
 * the boundary of the look of n; without its density's constant. */
static inline double not_passed(const quadrature *rule, const kept_table *kept, int n, int m,
                                double limit, double above) {
  const double of_mean = above * sqrt((double)n / (n + m)), spread = sqrt((double)m / (n + m));
  /* T at p = 0 is below the limit between these two. */
  const double reach = of_mean / hypot(limit, spread), turn = atan2(spread, limit);
  if (reach >= 1.0)
    return 0.0;
  const double half = reach <= -1.0 ? M_PI : acos(reach);
  const double low = fmax(-M_PI_2, -turn - half), high = fmin(M_PI_2, -turn + half);
  double sum = 0.0;
  for (int i = 0; i < rule->count; i++) {
    const double h = low + (high - low) * rule->x[i], cosine = cos(h);
    const double t = (of_mean + spread * sin(h)) / cosine; /* at p = 0 */
    const double most = t <= 0.0 ? M_PI_2 : acos(fmin(1.0, t / limit));
    double inner = 0.0;
    for (int j = 0; j < rule->count; j++) {
      const double p = most * rule->x[j], c = cos(p);
      const double density = pow(c, n - 2) * pow(sin(p), m - 2);
      inner += rule->weight[j] * density * (kept == NULL ? 1.0 : kept_at(kept, t / c));
    }
    sum += rule->weight[i] * pow(cosine, n + m - 3) * most * inner;
  }
  return sum * (high - low);
}

/* What the densities of not_passed() integrate to: integral of cos^a sin^b over a quarter. */
static inline double quarter(int a, int b) {
  return 0.5 * exp(lgamma(0.5 * (a + 1)) + lgamma(0.5 * (b + 1)) - lgamma(0.5 * (a + b) + 1));
}

/* kept() at the look of n + m from the one of n; NULL there: all of it. `rarest`: the tail beyond
 * which it does not matter. */
static inline void kept_next(const quadrature *rule, const kept_table *kept, int n, int m,
                             double level, double rarest, kept_table *next) {
  const double at_level = gsl_cdf_tdist_Qinv(level, n - 1) / sqrt(n - 1);
  const double limit = kept == NULL ? at_level : fmin(at_level, kept->most);
  const double total = 2.0 * quarter(n + m - 3, 0) * quarter(n - 2, m - 2);
  next->root = sqrt(n + m - 1);
  next->most = sqrt((limit * limit * (n + m) + m) / n);
  const double farthest = fmin(next->most, gsl_cdf_tdist_Qinv(rarest, n + m - 1) / next->root);
  next->first = -6.0;
  next->step = (next->root * asinh(farthest) - next->first) / (next->points - 1);
  for (int i = 0; i < next->points; i++) {
    const double t = sinh((next->first + i * next->step) / next->root);
    next->value[i] = not_passed(rule, kept, n, m, limit, t) / total;
  }
}

/* The level of a look of n that spends `share`: Newton's method. */
static inline double level_of(const quadrature *rule, const kept_table *kept, int n, double share) {
  const double none = gsl_cdf_tdist_Q(kept->most * kept->root, n - 1); /* spent below it */
  double level = share + none;
  for (int round = 0; round < 50; round++) {
    double spent = 0.0;
    for (int i = 0; i < rule->count; i++) {
      const double q = none + (level - none) * rule->x[i];
      spent += rule->weight[i] * (level - none) *
               kept_at(kept, gsl_cdf_tdist_Qinv(q, n - 1) / kept->root);
    }
    const double slope = kept_at(kept, gsl_cdf_tdist_Qinv(level, n - 1) / kept->root);
    const double change = (share - spent) / slope;
    level += change;
    if (fabs(change) < 1e-10 * level)
      break;
  }
  return level;
}

static inline void exact_levels(double alpha, exact_grid grid, double levels[VERIFY_LOOKS]) {
  const int *sizes = verify_look_sizes;
  const double each = alpha / sizes[VERIFY_LOOKS - 1];
  kept_table kept[2] = {{.points = grid.points}, {.points = grid.points}};
  quadrature rule;
  quadrature_fill(&rule, grid.nodes);
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

#endif
