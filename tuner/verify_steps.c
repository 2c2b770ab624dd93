/* Metrics that are means over judged samples, such as accuracy: they move in steps, so that a few
 * pairs may well agree to the last digit though the policies differ. Their bounds know the samples:
 * docs/verification.md, "Metrics that move in steps". */
#include "tuner/verify_mean.h"
#include <assert.h>
#include <gsl/gsl_cdf.h>
#include <math.h>

/* Sums of products over all samples of all finished pairs, at the estimate: z = e - estimate q of
 * one sample, q its share of what the budget allows. */
typedef struct sample_sums {
  double zz, zq, qq;
  double unit;
  double samples; /* of all pairs */
} sample_sums;

static sample_sums add_up(const verify_rule *rule, const verify_pair *pairs, int count,
                          double estimate) {
  const double s = rule->higher_is_better ? -1.0 : 1.0;
  sample_sums t = {0};
  for (int i = 0; i < count; i++) {
    const verify_pair *p = &pairs[i];
    if (!verify_finished(p))
      continue;
    /* q of a sample is x where the budget is relative: e = s (y - x). */
    const double ee = p->xx - 2.0 * p->xy + p->yy, eq = s * (p->xy - p->xx);
    t.zz += ee;
    if (rule->relative) {
      t.zz += estimate * (estimate * p->xx - 2.0 * eq);
      t.zq += eq - estimate * p->xx;
      t.qq += p->xx;
    }
    t.unit = fmax(t.unit, p->unit);
    t.samples += (double)p->samples;
  }
  t.zz = fmax(t.zz, 0.0);
  return t;
}

/* The samples as they are, with two that were flipped added, one to either side, so that none
 * flipped does not mean that none can be. The seeds' own spread stands beside it. */
static verify_spread of_these_samples(const verify_rule *rule, const verify_mean *m,
                                      const sample_sums *t) {
  const double n = t->samples + 2.0;
  const double mean = rule->relative ? 0.0 : t->samples * m->estimate / n;
  const double mean_q = rule->relative ? t->samples * m->q / n : 0.0;
  return (verify_spread){.a = ((t->zz + 2.0 * t->unit * t->unit) / n - mean * mean) / n,
                         .b = t->zq / (n * n),
                         .c = (t->qq / n - mean_q * mean_q) / n,
                         .freedom = INFINITY};
}

/* Whether the contributions are there, of the same number of samples in every pair. */
static bool are_known(const verify_pair *pairs, int count, double samples) {
  for (int i = 0; i < count; i++)
    if (verify_finished(&pairs[i]) &&
        (pairs[i].x == NULL || pairs[i].y == NULL || (double)pairs[i].samples != samples))
      return false;
  return true;
}

/* Sums of products over the samples, each first averaged over the pairs. */
static verify_spread products_of_means(const verify_rule *rule, const verify_pair *pairs, int count,
                                       const verify_mean *m, int64_t samples) {
  const double s = rule->higher_is_better ? -1.0 : 1.0;
  verify_spread v = {0};
  for (int64_t j = 0; j < samples; j++) {
    double z = 0.0, q = 0.0;
    for (int i = 0; i < count; i++)
      if (verify_finished(&pairs[i])) {
        const double x = (double)pairs[i].x[j], e = s * ((double)pairs[i].y[j] - x);
        z += rule->relative ? e - m->estimate * x : e;
        q += rule->relative ? x : 0.0;
      }
    z /= m->count, q /= m->count;
    v.a += z * z, v.b += z * q, v.c += q * q;
  }
  return v;
}

/* The variance of the samples' means over the seeds, by the number of samples. From the sums alone
 * it is the mean over pairs of that within a pair, as if every seed turned the same samples: never
 * too small. */
static verify_spread over_samples(const verify_rule *rule, const verify_pair *pairs, int count,
                                  const verify_mean *m, const sample_sums *t, bool known) {
  const double samples = t->samples / m->count, scale = 1.0 / (samples * (samples - 1.0));
  const double mean = rule->relative ? 0.0 : m->estimate, mean_q = rule->relative ? m->q : 0.0;
  const verify_spread v =
      known ? products_of_means(rule, pairs, count, m, (int64_t)samples)
            : (verify_spread){.a = t->zz / m->count, .b = t->zq / m->count, .c = t->qq / m->count};
  return (verify_spread){.a = scale * fmax(v.a - samples * mean * mean, 0.0),
                         .b = scale * (v.b - samples * mean * mean_q),
                         .c = scale * fmax(v.c - samples * mean_q * mean_q, 0.0)};
}

/* Samples that stand for others like them: both variances together, with Satterthwaite's degrees of
 * freedom at the estimate (from the sums alone the seeds' own, which are fewer), and a score
 * interval's h, so that it has width where nothing flipped. */
static verify_spread of_the_population(const verify_rule *rule, const verify_pair *pairs, int count,
                                       const verify_mean *m, const sample_sums *t) {
  const double samples = t->samples / m->count;
  const bool known = are_known(pairs, count, samples);
  const verify_spread seeds = m->spread[0], v = over_samples(rule, pairs, count, m, t, known);
  const double parts = seeds.a * seeds.a / seeds.freedom + v.a * v.a / (samples - 1.0);
  const double both = seeds.a + v.a;
  return (verify_spread){.a = both,
                         .b = seeds.b + v.b,
                         .c = seeds.c + v.c,
                         .freedom = known && parts > 0.0 ? both * both / parts : seeds.freedom,
                         .skew = 0.5 * t->unit / samples};
}

void verify_add_steps(const verify_rule *rule, const verify_pair *pairs, int count,
                      verify_mean *m) {
  const sample_sums t = add_up(rule, pairs, count, m->estimate);
  if (t.samples <= m->count) /* one sample in each pair has no spread of its own */
    return;
  if (rule->population)
    m->spread[0] = of_the_population(rule, pairs, count, m, &t);
  else
    m->spread[m->spreads++] = of_these_samples(rule, m, &t);
}

double verify_resolution(const verify_rule *rule, int64_t samples, int pairs) {
  if (samples <= 0)
    return 0.0;
  double levels[VERIFY_LOOKS], z = INFINITY;
  verify_levels(rule->alpha, levels);
  int looked = 0;
  for (int look = 0; look < VERIFY_LOOKS; look++)
    if (verify_look_sizes[look] <= pairs) {
      z = gsl_cdf_ugaussian_Qinv(levels[look]);
      looked = verify_look_sizes[look];
    }
  const double n = (double)samples * looked + 2.0;
  const double hidden = rule->population ? z * z / (double)samples : z * M_SQRT2 / n;
  return fmax(hidden, 1.0 / (double)samples);
}
