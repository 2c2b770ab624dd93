#include "tests/bench/tables/methods.h"
#include <gsl/gsl_rng.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const space *space_of(const played *s) {
  return s->w->network->space;
}

static bool passes(played *s, int policy) {
  const played_policy *known = played_find(s, policy);
  if (policy == 0)
    return true;
  return (known != NULL ? played_mean(known) : played_train(s, policy)) <= s->budget;
}

int solve_choice(const played *s, double *const *increase, double budget) {
  const table_network *n = s->w->network;
  frontier_solution certificate = {0};
  int choice[TABLE_UNITS];
  mpt_error error = {0};
  if (space_solve(n->space, n->graph, n->profile, &n->w->optimizer, increase, budget, choice,
                  &certificate, &error) != MPT_OK)
    return 0;
  frontier_clear(&certificate);
  return table_policy(n->space, choice);
}

/* What the scores say of one choice, in metric units: a budget for a doubled variance of the
 * gradient; infinite where it is vetoed. */
static double score_of(const played *s, int unit, int choice) {
  const mpt_layer_policy *formats = &space_of(s)->units[unit].choices[choice];
  double sum = 0;
  for (int g = 0; g < MPT_GEMM_COUNT; g++) {
    const mpt_precision q = formats->gemm[g].precision;
    const world_score *score = &s->score[unit][g][q];
    if (q == s->w->network->w->reference)
      continue;
    if (score->vetoed)
      return INFINITY;
    sum += score->forward + s->budget * score->backward;
  }
  return sum;
}

/* The policy with these choices as fast as each unit can be, that is not vetoed. */
static void fastest_choices(const played *s, int *fastest) {
  const space *sp = space_of(s);
  int choice[TABLE_UNITS] = {0};
  for (int u = 0; u < sp->unit_count; u++) {
    fastest[u] = 0;
    for (int c = 0; c < sp->units[u].choice_count; c++) {
      choice[u] = c;
      const double seconds = s->w->seconds[table_policy(sp, choice)];
      choice[u] = fastest[u];
      if (!isinf(score_of(s, u, c)) && seconds < s->w->seconds[table_policy(sp, choice)])
        fastest[u] = c;
    }
    choice[u] = 0;
  }
}

/* Units that have a faster choice than the reference's, by `key`, the largest first. */
static int sorted_units(const played *s, const int *fastest, const double *key, int *order) {
  int count = 0;
  for (int u = 0; u < space_of(s)->unit_count; u++) {
    if (fastest[u] == 0)
      continue;
    int at = count++;
    for (; at > 0 && key[order[at - 1]] < key[u]; at--)
      order[at] = order[at - 1];
    order[at] = u;
  }
  return count;
}

static int policy_without(const played *s, const int *fastest, const bool *back) {
  int choice[TABLE_UNITS];
  for (int u = 0; u < space_of(s)->unit_count; u++)
    choice[u] = back[u] ? 0 : fastest[u];
  return table_policy(space_of(s), choice);
}

void method_promote(played *s) {
  int fastest[TABLE_UNITS] = {0}, order[TABLE_UNITS];
  double key[TABLE_UNITS];
  bool back[TABLE_UNITS] = {false};
  fastest_choices(s, fastest);
  for (int u = 0; u < space_of(s)->unit_count; u++)
    key[u] = score_of(s, u, fastest[u]);
  const int count = sorted_units(s, fastest, key, order);
  for (int i = 0; i <= count && played_may_train(s); i++) {
    s->chosen = policy_without(s, fastest, back);
    if (passes(s, s->chosen))
      return;
    if (i < count)
      back[order[i]] = true;
  }
  s->chosen = 0;
}

void method_one_at_a_time(played *s) {
  int fastest[TABLE_UNITS] = {0}, order[TABLE_UNITS];
  double key[TABLE_UNITS] = {0};
  const int units = space_of(s)->unit_count;
  fastest_choices(s, fastest);
  for (int u = 0; u < units && played_may_train(s); u++) {
    bool back[TABLE_UNITS];
    for (int k = 0; k < units; k++)
      back[k] = k != u;
    if (fastest[u] != 0)
      key[u] = played_train(s, policy_without(s, fastest, back));
  }
  /* The first `low` of the order go back. */
  const int count = sorted_units(s, fastest, key, order);
  int low = 0, high = count;
  while (low < high && played_may_train(s)) {
    bool back[TABLE_UNITS] = {false};
    const int cut = (low + high) / 2;
    for (int i = 0; i < cut; i++)
      back[order[i]] = true;
    const int policy = policy_without(s, fastest, back);
    if (passes(s, policy))
      high = cut, s->chosen = policy;
    else
      low = cut + 1;
  }
}

/* Whether the policy passes with those of `set` back whose part is (not) `part` of `parts`. */
static bool try_part(played *s, const int *fastest, const int *set, int size, int parts, int part,
                     bool complement, bool *back) {
  memset(back, 0, TABLE_UNITS * sizeof *back);
  for (int i = 0; i < size; i++)
    back[set[i]] = (i * parts / size == part) != complement;
  return passes(s, policy_without(s, fastest, back));
}

/* Zeller and Hildebrandt 2002: the smallest set of layers that must go back. */
void method_delta(played *s) {
  int fastest[TABLE_UNITS] = {0}, set[TABLE_UNITS], size = 0;
  bool back[TABLE_UNITS] = {false};
  fastest_choices(s, fastest);
  s->chosen = policy_without(s, fastest, back);
  if (passes(s, s->chosen))
    return;
  for (int u = 0; u < space_of(s)->unit_count; u++)
    if (fastest[u] != 0)
      set[size++] = u;
  for (int parts = 2; size > 1 && played_may_train(s);) {
    bool smaller = false;
    for (int turn = 0; turn < 2 * parts && !smaller && played_may_train(s); turn++) {
      if (!try_part(s, fastest, set, size, parts, turn % parts, turn >= parts, back))
        continue;
      smaller = true;
      int kept = 0;
      for (int i = 0; i < size; i++)
        if (back[set[i]])
          set[kept++] = set[i];
      size = kept;
      parts = turn >= parts && parts > 2 ? parts - 1 : 2;
    }
    if (!smaller && parts >= size)
      break;
    if (!smaller)
      parts = 2 * parts < size ? 2 * parts : size;
  }
  memset(back, 0, sizeof back);
  for (int i = 0; i < size; i++)
    back[set[i]] = true;
  s->chosen = policy_without(s, fastest, back);
}

static bool is_vetoed(const played *s, int policy) {
  int choice[TABLE_UNITS];
  table_choice(space_of(s), policy, choice);
  for (int u = 0; u < space_of(s)->unit_count; u++)
    if (isinf(score_of(s, u, choice[u])))
      return true;
  return false;
}

void method_random(played *s) {
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  gsl_rng_set(random, (unsigned long)s->first + 1);
  for (int turn = 0; turn < 10000 && played_may_train(s); turn++) {
    const int p = (int)gsl_rng_uniform_int(random, (unsigned long)s->w->network->policies);
    const int best = played_recommended(s);
    if (s->w->seconds[p] < s->w->seconds[best] * 0.995 && played_find(s, p) == NULL &&
        !is_vetoed(s, p))
      played_train(s, p);
  }
  gsl_rng_free(random);
  s->chosen = played_recommended(s);
}

void method_fastest(played *s) {
  while (played_may_train(s)) {
    int next = 0;
    for (int p = 1; p < s->w->network->policies; p++)
      if (s->w->seconds[p] < s->w->seconds[next] && played_find(s, p) == NULL && !is_vetoed(s, p))
        next = p;
    if (next == 0 || played_train(s, next) <= s->budget)
      break;
  }
  s->chosen = played_recommended(s);
}

void method_scores(played *s) {
  double *increase[TABLE_UNITS], *all;
  int count = 0;
  const space *sp = space_of(s);
  for (int u = 0; u < sp->unit_count; u++)
    count += sp->units[u].choice_count;
  all = calloc((size_t)count + 1, sizeof *all);
  played_reference(s, 0);
  for (int u = 0, at = 0; all != NULL && u < sp->unit_count; u++) {
    increase[u] = all + at;
    at += sp->units[u].choice_count;
    for (int c = 0; c < sp->units[u].choice_count; c++)
      increase[u][c] = score_of(s, u, c);
  }
  s->chosen = all == NULL ? 0 : solve_choice(s, increase, s->budget);
  free(all);
}
