/* What a trained policy teaches: the noise of pairs, vetoes, increases; and the run's note of it.
 */
#include "tuner/learning.h"
#include "base/error.h"
#include "store/run_trajectory.h"
#include "tuner/model/pair_noise.h"
#include "tuner/standing.h"
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a diverged run tells the predictor, in budgets. */
#define DIVERGED_BUDGETS 20.0

static double clipped_mean(const model *m, const candidate *c) {
  return fmin(candidate_mean(c), DIVERGED_BUDGETS * m->margin);
}

/* The deviation of the mean of n pairs: the seeds' noise, and that the model is not exact. */
static double observation_deviation(const model *m, const candidate *c, double mean) {
  const double seeds = fmax(m->noise, 0.02 * m->margin) / sqrt(c->seed_count);
  const double inexact = 0.1 * fabs(mean);
  return sqrt(seeds * seeds + inexact * inexact);
}

/* Pooled over the pairs of everything that was trained under two seeds or more; the reference's own
 * seeds differ several times as much as pairs do. */
static void update_noise(const ledger *l, model *m) {
  const pair_noise_prior prior = pair_noise_prior_of(m->margin);
  pair_group all = {.count = 1};
  for (int i = 0; i < l->candidate_count; i++) {
    const candidate *c = l->candidates[i];
    const double mean = candidate_mean(c);
    if (c->seed_count < 2 || !isfinite(mean) || mean > 3 * m->margin)
      continue;
    all.squares += gsl_stats_tss_m(c->difference, 1, (size_t)c->seed_count, mean);
    all.count += c->seed_count - 1;
  }
  pair_noise_pool(&prior, &all, 1, 1, &m->noise);
}

static void veto_fp16(const space_unit *unit, const candidate *c, unit_scores *scores) {
  for (int g = 0; g < MPT_GEMM_COUNT; g++) {
    const mpt_precision q = c->assignment[unit->layer].gemm[g].precision;
    layer_score *score = &(*scores)[g][q];
    if (q == MPT_PRECISION_FP16 && score->veto[0] == '\0')
      snprintf(score->veto, sizeof score->veto, "a run with it in %s diverged here",
               mpt_precision_name(q));
  }
}

/* Layers that a diverged run names never get fp16 again: it alone ends where others do not. By all
 * of the policy's runs, also of other lengths. */
static void veto_blamed(const problem *p, const ledger *l, const candidate *c,
                        sensitivity *scores) {
  for (int i = 0; i < l->records.evaluation_count; i++) {
    const store_evaluation *e = &l->records.evaluations[i];
    if (!e->diverged || strcmp(e->policy, c->hash) != 0)
      continue;
    for (int j = 0; j < e->counters.count; j++)
      for (int u = 0; e->counters.rows[j].blamed && u < p->space->unit_count; u++) {
        const space_unit *unit = &p->space->units[u];
        if (strcmp(p->graph->layers[unit->layer].info.name, e->counters.rows[j].layer) == 0)
          veto_fp16(unit, c, &scores->unit[u]);
      }
  }
}

/* Its mean difference as the budget is given: of a relative one, over the reference's mean under
 * the same seeds. */
static double change_of(const problem *p, const ledger *l, const candidate *c) {
  double whole = 0;
  for (int i = 0; i < c->seed_count; i++)
    whole += p->workload->budget.of_error ? 1 - l->reference_metric[i] : l->reference_metric[i];
  const double mean = candidate_mean(c);
  return p->workload->budget.relative ? mean * c->seed_count / fabs(whole) : mean;
}

static mpt_status note_step(const problem *p, const ledger *l, const model *m, const candidate *c,
                            mpt_error *error) {
  const double mean = candidate_mean(c);
  static const char *const words[] = {"not trained", "meets the budget", "misses the budget",
                                      "too close to tell"};
  const store_step step = {.evaluation = l->trainings,
                           .policy = c->hash,
                           .label = c->label,
                           .predicted_seconds = cost_uncorrected(&c->cost),
                           .seconds = c->seconds,
                           .predicted_increase = c->predicted,
                           .measured_increase = isfinite(mean) ? mean : NAN,
                           .measured_change = isfinite(mean) ? change_of(p, l, c) : NAN,
                           .verdict_text =
                               isfinite(mean) ? words[candidate_standing(l, m, c)] : "failed"};
  return store_put_step(l->store, &step, error);
}

mpt_status learn_seed(const problem *p, const ledger *l, model *m, const candidate *c,
                      mpt_error *error) {
  update_noise(l, m);
  MPT_RETURN_IF_FAILED(note_step(p, l, m, c, error));
  if (!isfinite(candidate_mean(c)))
    veto_blamed(p, l, c, m->sensitivity);
  return MPT_OK;
}

/* A format that is vetoed where this policy has it explains what it lost: the others are not to be
 * blamed for it. */
static bool teaches(const model *m, const candidate *c) {
  return c->choice != NULL && sensitivity_veto_of(m->sensitivity, c) == NULL;
}

mpt_status learn_trial(model *m, const candidate *c, mpt_error *error) {
  const double mean = clipped_mean(m, c);
  return teaches(m, c) ? predictor_observe(m->predictor, c->choice, mean,
                                           observation_deviation(m, c, mean), error)
                       : MPT_OK;
}

mpt_status learn_verification(model *m, const candidate *c, mpt_error *error) {
  double sum = c->seen.diverged > 0 ? INFINITY : c->seen.pairs * c->seen.worse;
  int count = c->seen.pairs + c->seen.diverged;
  for (int i = 0; i < c->seed_count; i++, count++)
    sum += c->difference[i];
  if (count == 0 || !teaches(m, c))
    return MPT_OK;
  const double mean = fmin(sum / count, DIVERGED_BUDGETS * m->margin);
  const double deviation = fmax(m->noise, 0.02 * m->margin) / sqrt(count);
  return predictor_observe(m->predictor, c->choice, mean, deviation, error);
}
