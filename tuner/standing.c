#include "tuner/standing.h"
#include <math.h>
#include <stdio.h>

bool is_faster(const model *m, double a, double b) {
  return a < b * (1 - m->equal_time);
}

double time_limit(const ledger *l) {
  return l->reference.permitted ? l->reference.seconds : INFINITY;
}

standing candidate_standing(const ledger *l, const model *m, const candidate *c) {
  if (c->verdict == MPT_VERDICT_FAIL || c->verdict == MPT_VERDICT_INCONCLUSIVE)
    return STANDING_FAILS;
  if (c->seed_count == 0)
    return STANDING_UNKNOWN;
  const double mean = candidate_mean(c);
  if (!isfinite(mean))
    return STANDING_FAILS;
  const double error = m->noise / sqrt(c->seed_count);
  if (c->seed_count < l->reference_seeds && fabs(mean - m->margin) < error)
    return STANDING_CLOSE;
  return mean <= m->margin ? STANDING_MEETS : STANDING_FAILS;
}

candidate *best_so_far(const ledger *l, const model *m) {
  candidate *best = NULL;
  for (int i = 0; i < l->candidate_count; i++) {
    candidate *c = l->candidates[i];
    if (!c->permitted || candidate_standing(l, m, c) != STANDING_MEETS)
      continue;
    if (best == NULL || c->seconds < best->seconds)
      best = c;
  }
  return best;
}

void show_best(search_clock *k, const ledger *l, const model *m) {
  const candidate *best = best_so_far(l, m);
  snprintf(k->best, sizeof k->best, "%s", best == NULL ? "" : best->label);
  k->best_share = best == NULL ? 1 : best->seconds / l->reference.seconds;
}
