/* Which policies verification sets out to look at, and under which seeds: written down before the
 * first of these is trained. */
#include "tuner/verification_plan.h"
#include "base/error.h"
#include "tuner/standing.h"
#include "tuner/verify_plan.h"
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SEED_BLOCK ((uint64_t)VERIFY_MOST_TRIED)

/* Whether a policy is worth verifying: it met the budget in the search, or (uniform policies, which
 * the winner must not be slower than) missed it by no more than noise explains. */
static bool plausible(const ledger *l, const model *m, const candidate *c) {
  if (!c->permitted || c->verdict != MPT_VERDICT_UNVERIFIED || c->seed_count == 0)
    return false;
  if (c->seconds >= time_limit(l) * (1 - m->equal_time))
    return false;
  const standing where = candidate_standing(l, m, c);
  if (where == STANDING_MEETS || where == STANDING_CLOSE)
    return true;
  const double mean = candidate_mean(c);
  return c->uniform && isfinite(mean) && mean - m->margin < 2 * m->noise / sqrt(c->seed_count);
}

/* The fastest first; times that are close are the same: a uniform policy then goes before others,
 * and the more accurate before the less. */
static const candidate *first_of(const model *m, candidate *const *list, int count) {
  double least = INFINITY;
  const candidate *first = NULL;
  for (int i = 0; i < count; i++)
    least = fmin(least, list[i]->seconds);
  for (int i = 0; i < count; i++) {
    const candidate *c = list[i];
    if (c->seconds > least * (1 + m->equal_time))
      continue;
    if (first == NULL || (c->uniform && !first->uniform) ||
        (c->uniform == first->uniform && candidate_mean(c) < candidate_mean(first)))
      first = c;
  }
  return first;
}

static void put_first(const model *m, candidate **list, int count) {
  const candidate *first = first_of(m, list, count);
  for (int i = 0; i < count; i++) {
    if (list[i] != first)
      continue;
    candidate *swap = list[0];
    list[0] = list[i];
    list[i] = swap;
    return;
  }
}

/* Those that were proposed since verification began, and cost too much by what was learned, are
 * left out. */
mpt_status plan_list(const problem *p, const ledger *l, const model *m, bool first,
                     candidate ***list, int *count, mpt_error *error) {
  *count = 0;
  *list = calloc((size_t)l->candidate_count + 1, sizeof **list);
  if (*list == NULL)
    return mpt_fail_memory(error, "the policies to verify", 0);
  for (int i = 0; i < l->candidate_count; i++) {
    candidate *c = l->candidates[i];
    double predicted = 0;
    if (!plausible(l, m, c))
      continue;
    if (!first && !c->uniform && evidence_attempt(&l->records, c->hash) == NULL)
      MPT_RETURN_IF_FAILED(model_predict(m, p, c, &predicted, error));
    if (predicted <= m->ceiling)
      (*list)[(*count)++] = c;
  }
  return MPT_OK;
}

void plan_order(const model *m, candidate **list, int count) {
  for (int i = 0; i < count; i++)
    put_first(m, list + i, count - i);
}

/* ---- seeds ---- */

static bool is_of(const ledger *l, const char *condition) {
  return strcmp(condition, l->records.condition) == 0;
}

/* The first of a block of seeds under which nothing was trained, and for which nothing is planned.
 */
static uint64_t fresh_block(const problem *p, const ledger *l) {
  const evidence_records *r = &l->records;
  uint64_t first = p->options->seed + SEARCH_FRESH_SEEDS;
  for (bool used = true; used; first += used ? SEED_BLOCK : 0) {
    used = false;
    for (int i = 0; i < r->evaluation_count; i++) {
      const store_evaluation *e = &r->evaluations[i];
      used = used || (e->seed >= first && e->seed - first < SEED_BLOCK && is_of(l, e->condition));
    }
    for (int i = 0; i < r->attempt_count; i++) {
      const store_attempt *a = &r->attempts[i];
      used = used || (is_of(l, a->condition) && a->first_seed < first + SEED_BLOCK &&
                      first < a->first_seed + SEED_BLOCK);
    }
  }
  return first;
}

mpt_status verification_keeps_seeds(const problem *p, const ledger *l, mpt_error *error) {
  const int seeds = p->workload->reference_seeds;
  const uint64_t first = p->options->seed, end = first + (uint64_t)(seeds + seeds / 2);
  for (int i = 0; i < l->records.attempt_count; i++) {
    const store_attempt *a = &l->records.attempts[i];
    const uint64_t kept = a->first_seed;
    if (is_of(l, a->condition) && first < kept + SEED_BLOCK && kept < end)
      return mpt_fail(error, MPT_ERROR_MISMATCH,
                      "seed %llu is taken: in '%s' seeds %llu to %llu belong to verification, and "
                      "a search must not see what they say (give another --seed, choose another "
                      "directory (-o), or start anew beside it (--fresh))",
                      (unsigned long long)first, p->options->run, (unsigned long long)kept,
                      (unsigned long long)(kept + SEED_BLOCK - 1));
  }
  return MPT_OK;
}

/* ---- writing it down ---- */

/* The chance that its mean is inside the budget, by the search's pairs. */
static double chance_of(const model *m, const candidate *c) {
  const double error = fmax(m->noise, 1e-3 * m->margin) / sqrt(c->seed_count);
  return gsl_cdf_ugaussian_P((m->margin - candidate_mean(c)) / error);
}

mpt_status plan_write_down(const problem *p, ledger *l, const model *m, candidate *const *list,
                           int count, mpt_error *error) {
  store_attempt new[VERIFY_MOST_ATTEMPTS] = {0};
  double chance[VERIFY_MOST_ATTEMPTS], weights[VERIFY_MOST_ATTEMPTS], given = 0;
  int added = 0, position = 0;
  for (int i = 0; i < l->records.attempt_count; i++) {
    const store_attempt *a = &l->records.attempts[i];
    if (!is_of(l, a->condition))
      continue;
    given += a->weight;
    position = a->position > position ? a->position : position;
  }
  const uint64_t first = fresh_block(p, l);
  for (int i = 0; i < count && added < VERIFY_MOST_ATTEMPTS; i++) {
    if (evidence_attempt(&l->records, list[i]->hash) != NULL)
      continue;
    store_attempt *a = &new[added];
    memcpy(a->condition, p->condition.hash, sizeof a->condition);
    memcpy(a->policy, list[i]->hash, sizeof a->policy);
    a->position = position + added + 1;
    a->first_seed = first;
    chance[added++] = chance_of(m, list[i]);
  }
  if (added == 0)
    return MPT_OK;
  verify_weights(chance, added, fmax(0, 1 - given), weights);
  for (int i = 0; i < added; i++)
    new[i].weight = weights[i];
  MPT_RETURN_IF_FAILED(store_put_attempts(l->store, new, added, error));
  return evidence_add_attempts(&l->records, new, added, error);
}
