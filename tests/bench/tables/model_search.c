/* The search by tuner/model: fit, propose, choose, train, again. */
#include "base/error.h"
#include "base/progress.h"
#include "tests/bench/tables/methods.h"
#include "tuner/model/choice.h"
#include "tuner/model/pair_noise.h"
#include "tuner/model/proposals.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CANDIDATES 96
#define DIVERGED   20.0 /* budgets: what a run that diverged tells */

typedef struct model_search {
  played *s;
  const space *space;
  damage_feature feature[TABLE_UNITS * MPT_GEMM_COUNT * MPT_PRECISION_COUNT];
  int (*features[TABLE_UNITS])[PROPOSAL_FEATURES];
  bool *vetoed[TABLE_UNITS];
  proposal_unit units[TABLE_UNITS];
  damage_pair pairs[TABLE_UNITS * MPT_GEMM_COUNT * MPT_PRECISION_COUNT];
  int pair_count;
  int lists[PLAYED_TRIED][TABLE_UNITS * PROPOSAL_FEATURES];
  damage_record records[PLAYED_TRIED];
  int policies[CANDIDATES];
  choice_candidate candidates[CANDIDATES];
  int count;
  mpt_error error;
} model_search;

static int feature_of(int unit, int gemm, int precision) {
  return (unit * MPT_GEMM_COUNT + gemm) * MPT_PRECISION_COUNT + precision;
}

static void describe_units(model_search *m) {
  const mpt_precision reference = m->s->w->network->w->reference;
  const int last = m->space->unit_count - 1;
  for (int u = 0; u <= last; u++) {
    const space_unit *unit = &m->space->units[u];
    m->features[u] = calloc((size_t)unit->choice_count, sizeof *m->features[u]);
    m->vetoed[u] = calloc((size_t)unit->choice_count, sizeof *m->vetoed[u]);
    for (int g = 0; g < MPT_GEMM_COUNT; g++)
      for (int q = 0; q < MPT_PRECISION_COUNT; q++) {
        const world_score *score = &m->s->score[u][g][q];
        const damage_mechanism backward = u == last ? DAMAGE_HEAD : DAMAGE_BACKWARD;
        m->feature[feature_of(u, g, q)] =
            (damage_feature){.mechanism = g == MPT_FPROP ? DAMAGE_FORWARD : backward,
                             .score = g == MPT_FPROP ? score->forward : score->backward};
      }
    for (int c = 0; c < unit->choice_count; c++)
      for (int g = 0; g < MPT_GEMM_COUNT; g++) {
        const mpt_precision q = unit->choices[c].gemm[g].precision;
        m->features[u][c][g] = q == reference ? -1 : feature_of(u, g, (int)q);
        m->vetoed[u][c] = m->vetoed[u][c] || (q != reference && m->s->score[u][g][q].vetoed);
      }
    m->units[u] = (proposal_unit){.choice_count = unit->choice_count,
                                  .features = (const int(*)[PROPOSAL_FEATURES])m->features[u],
                                  .vetoed = m->vetoed[u]};
    for (int q = 0; u > 0 && q < MPT_PRECISION_COUNT; q++)
      m->pairs[m->pair_count++] =
          (damage_pair){feature_of(u - 1, MPT_FPROP, q), feature_of(u, MPT_FPROP, q)};
  }
}

static bool has_fp8(const model_search *m, const int *choice) {
  for (int u = 0; u < m->space->unit_count; u++)
    for (int g = 0; g < MPT_GEMM_COUNT; g++)
      if (m->space->units[u].choices[choice[u]].gemm[g].precision == MPT_PRECISION_FP8)
        return true;
  return false;
}

/* What was trained, as the model takes it. */
static void make_records(model_search *m) {
  const played *s = m->s;
  pair_group groups[PLAYED_TRIED];
  double noise[2];
  const pair_noise_prior prior = pair_noise_prior_of(s->budget);
  int kinds[PLAYED_TRIED];
  for (int i = 0; i < s->tried_count; i++) {
    const played_policy *t = &s->tried[i];
    const double mean = played_mean(t);
    int choice[TABLE_UNITS];
    table_choice(m->space, t->policy, choice);
    kinds[i] = has_fp8(m, choice);
    groups[i] = (pair_group){.kind = kinds[i], .count = 1};
    if (isfinite(mean) && mean < 3 * s->budget)
      groups[i].count = t->pairs;
    for (int k = 0; groups[i].count > 1 && k < t->pairs; k++)
      groups[i].squares += pow(t->difference[k] - mean, 2);
    damage_policy policy = {.features = m->lists[i]};
    for (int u = 0; u < m->space->unit_count; u++)
      for (int k = 0; k < PROPOSAL_FEATURES; k++)
        if (m->features[u][choice[u]][k] >= 0)
          m->lists[i][policy.count++] = m->features[u][choice[u]][k];
    m->records[i] = (damage_record){.policy = policy,
                                    .identity = t->policy,
                                    .kind = DAMAGE_RUN,
                                    .pairs = t->pairs,
                                    .damage = fmin(mean, DIVERGED * s->budget)};
  }
  pair_noise_pool(&prior, groups, s->tried_count, 2, noise);
  for (int i = 0; i < s->tried_count; i++)
    m->records[i].deviation = noise[kinds[i]];
}

static mpt_status solve(void *context, double *const *increase, double budget, int *choice,
                        mpt_error *error) {
  const model_search *m = context;
  const table_network *n = m->s->w->network;
  frontier_solution certificate = {0};
  MPT_RETURN_IF_FAILED(space_solve(n->space, n->graph, n->profile, &n->w->optimizer, increase,
                                   budget, choice, &certificate, error));
  frontier_clear(&certificate);
  return MPT_OK;
}

static mpt_status price(void *context, const int *choice, double *seconds, mpt_error *error) {
  const model_search *m = context;
  (void)error;
  *seconds = m->s->w->seconds[table_policy(m->space, choice)];
  return MPT_OK;
}

static int identify(void *context, const int *choice) {
  const model_search *m = context;
  const int policy = table_policy(m->space, choice);
  return played_find(m->s, policy) == NULL ? -1 : policy;
}

static const proposal_calls calls_of_none = {
    .solve = solve, .seconds = price, .identity = identify};

static void add_candidate(model_search *m, int policy, double chance) {
  for (int i = 0; i < m->count; i++)
    if (m->policies[i] == policy)
      return;
  if (m->count == CANDIDATES || policy == 0)
    return;
  const played_policy *t = played_find(m->s, policy);
  const int pairs = t == NULL ? 0 : t->pairs;
  const bool diverged = t != NULL && !isfinite(played_mean(t));
  m->policies[m->count] = policy;
  m->candidates[m->count++] = (choice_candidate){.seconds = m->s->w->seconds[policy],
                                                 .chance = diverged ? 0 : chance,
                                                 .pairs = pairs,
                                                 .new_seed = !m->s->reference[pairs]};
}

/* Uniform policies, and what was tried: candidates whether they are proposed or not. */
static mpt_status add_known(model_search *m, const damage_model *model,
                            const proposal_calls *calls) {
  for (int i = -MPT_PRECISION_COUNT; i < m->s->tried_count; i++) {
    int choice[TABLE_UNITS] = {0};
    bool vetoed = false;
    if (i >= 0)
      table_choice(m->space, m->s->tried[i].policy, choice);
    for (int u = 0; i < 0 && u < m->space->unit_count; u++) {
      const space_unit *unit = &m->space->units[u];
      const mpt_layer_policy wanted =
          space_policy_of(m->space, (mpt_precision)(i + MPT_PRECISION_COUNT));
      for (int c = 0; c < unit->choice_count; c++)
        if (mpt_layer_policy_equal(&unit->choices[c], &wanted))
          choice[u] = c;
      vetoed = vetoed || m->vetoed[u][choice[u]];
    }
    proposal p = {.choice = choice};
    MPT_RETURN_IF_FAILED(
        proposal_judge(model, m->units, m->space->unit_count, m->s->budget, calls, &p, &m->error));
    if (!vetoed)
      add_candidate(m, table_policy(m->space, choice), p.chance);
  }
  return MPT_OK;
}

static mpt_status list_candidates(model_search *m, const damage_model *model) {
  proposal_calls calls = calls_of_none;
  proposal *list = NULL;
  int count = 0;
  calls.context = m;
  m->count = 0;
  MPT_RETURN_IF_FAILED(proposals_make(model, m->units, m->space->unit_count, m->s->budget, &calls,
                                      &list, &count, &m->error));
  for (int i = 0; i < count; i++)
    add_candidate(m, table_policy(m->space, list[i].choice), list[i].chance);
  proposals_free(list, count);
  return add_known(m, model, &calls);
}

static choice_decision decide(model_search *m) {
  const damage_prior prior = damage_prior_of(m->s->budget, m->space->unit_count * MPT_GEMM_COUNT);
  make_records(m);
  const damage_data data = {.features = m->feature,
                            .feature_count =
                                m->space->unit_count * MPT_GEMM_COUNT * MPT_PRECISION_COUNT,
                            .records = m->records,
                            .record_count = m->s->tried_count,
                            .pairs = m->pairs,
                            .pair_count = m->pair_count};
  damage_model *model = NULL;
  mpt_status status = damage_fit(&prior, &data, &model, &m->error);
  if (status == MPT_OK)
    status = list_candidates(m, model);
  damage_free(model);
  if (status != MPT_OK) {
    mpt_log_error(&m->error);
    exit(1);
  }
  const choice_rule rule = choice_rule_default(m->s->w->seconds[0]);
  choice_decision d = choice_next(&rule, m->candidates, m->count);
  if (d.action == CHOICE_TRAIN && !played_may_train(m->s)) {
    d.action = CHOICE_VERIFY;
    for (int i = 0; i < m->count; i++)
      if (choice_verify_ratio(&rule, m->candidates, m->count, i) >
          choice_verify_ratio(&rule, m->candidates, m->count, d.candidate))
        d.candidate = i;
  }
  return d;
}

void method_model(played *s) {
  model_search *m = calloc(1, sizeof *m);
  m->s = s;
  m->space = s->w->network->space;
  describe_units(m);
  played_reference(s, 0);
  for (;;) {
    const choice_decision d = decide(m);
    if (d.action == CHOICE_TRAIN) {
      played_train(s, m->policies[d.candidate]);
      continue;
    }
    s->chosen = d.candidate < 0 ? 0 : m->policies[d.candidate];
    break;
  }
  for (int u = 0; u < m->space->unit_count; u++)
    free(m->features[u]), free(m->vetoed[u]);
  free(m);
}
