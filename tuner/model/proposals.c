#include "tuner/model/proposals.h"
#include "base/error.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KINDEST   (-3.0) /* lambda */
#define STRICTEST 6.0
enum { HALVINGS = 6 };
static const double targets[] = {0.5, 0.8, 0.95};
/* Shares of the budget that are asked for beside all of it, at lambda 0: ways back from a policy
 * that was found to miss it. */
static const double shares[] = {0.8, 0.6, 0.4, 0.2};
enum { TARGETS = sizeof targets / sizeof *targets, SHARES = sizeof shares / sizeof *shares };
enum { MOST = 2 + TARGETS * HALVINGS + SHARES };

typedef struct work {
  const damage_model *model;
  const proposal_unit *units;
  int unit_count;
  double budget;
  const proposal_calls *calls;
  damage_belief **cost; /* [unit][choice]: sums of its features */
  double **increase;    /* [unit][choice] */
  double lambda[MOST];  /* what was solved, at all of the budget */
  double chance[MOST];  /* and what it gave; 1 where nothing was found: too strict */
  int solved;
  proposal *list;
  int count;
} work;

static mpt_status allocate(work *w, mpt_error *error) {
  const size_t units = (size_t)w->unit_count;
  w->cost = calloc(units + 1, sizeof *w->cost);
  w->increase = calloc(units + 1, sizeof *w->increase);
  w->list = calloc(MOST, sizeof *w->list);
  bool whole = w->cost != NULL && w->increase != NULL && w->list != NULL;
  for (size_t u = 0; whole && u < units; u++) {
    const size_t choices = (size_t)w->units[u].choice_count;
    w->cost[u] = calloc(choices + 1, sizeof *w->cost[u]);
    w->increase[u] = calloc(choices + 1, sizeof *w->increase[u]);
    whole = w->cost[u] != NULL && w->increase[u] != NULL;
  }
  return whole ? MPT_OK : mpt_fail_memory(error, "proposals", units * sizeof *w->cost);
}

static void clear(work *w) {
  for (int u = 0; u < w->unit_count; u++) {
    if (w->cost != NULL)
      free(w->cost[u]);
    if (w->increase != NULL)
      free(w->increase[u]);
  }
  free(w->cost);
  free(w->increase);
}

/* A unit's features together: their deviation knows that they are correlated. */
static void price_units(work *w) {
  for (int u = 0; u < w->unit_count; u++)
    for (int c = 0; c < w->units[u].choice_count; c++) {
      const int *features = w->units[u].features[c];
      double mean = 0, variance = 0;
      for (int a = 0; a < PROPOSAL_FEATURES; a++) {
        if (features[a] < 0)
          continue;
        mean += damage_of_feature(w->model, features[a]).mean;
        for (int b = 0; b < PROPOSAL_FEATURES; b++)
          if (features[b] >= 0)
            variance += damage_covariance(w->model, features[a], features[b]);
      }
      w->cost[u][c] = (damage_belief){.mean = mean, .deviation = sqrt(fmax(0, variance))};
    }
}

mpt_status proposal_judge(const damage_model *model, const proposal_unit *units, int unit_count,
                          double budget, const proposal_calls *calls, proposal *p,
                          mpt_error *error) {
  int *features = calloc((size_t)unit_count * PROPOSAL_FEATURES + 1, sizeof *features);
  damage_policy policy = {.features = features};
  if (features == NULL)
    return mpt_fail_memory(error, "a proposal", (size_t)unit_count * sizeof *features);
  for (int u = 0; u < unit_count; u++)
    for (int k = 0; k < PROPOSAL_FEATURES; k++)
      if (units[u].features[p->choice[u]][k] >= 0)
        features[policy.count++] = units[u].features[p->choice[u]][k];
  const int identity = calls->identity == NULL ? -1 : calls->identity(calls->context, p->choice);
  p->belief = damage_of(model, policy, identity);
  p->chance = damage_chance(p->belief, budget);
  free(features);
  return calls->seconds(calls->context, p->choice, &p->seconds, error);
}

/* The one with that choice, added and judged where it is new. */
static mpt_status add(work *w, const int *choice, const proposal **out, mpt_error *error) {
  const size_t bytes = (size_t)w->unit_count * sizeof *choice;
  for (int i = 0; i < w->count; i++)
    if (memcmp(w->list[i].choice, choice, bytes) == 0) {
      *out = &w->list[i];
      return MPT_OK;
    }
  proposal *p = &w->list[w->count];
  p->choice = malloc(bytes + 1);
  if (p->choice == NULL)
    return mpt_fail_memory(error, "a proposal", bytes);
  w->count++;
  memcpy(p->choice, choice, bytes);
  *out = p;
  return proposal_judge(w->model, w->units, w->unit_count, w->budget, w->calls, p, error);
}

/* *chance: of what was found; 1 when nothing is that good. */
static mpt_status solve(work *w, double lambda, double budget, double *chance, mpt_error *error) {
  int *choice = calloc((size_t)w->unit_count + 1, sizeof *choice);
  const proposal *found = NULL;
  if (choice == NULL)
    return mpt_fail_memory(error, "a proposal", (size_t)w->unit_count * sizeof *choice);
  for (int u = 0; u < w->unit_count; u++)
    for (int c = 0; c < w->units[u].choice_count; c++) {
      const bool vetoed = w->units[u].vetoed != NULL && w->units[u].vetoed[c];
      const damage_belief *cost = &w->cost[u][c];
      w->increase[u][c] = vetoed ? INFINITY : fmax(0, cost->mean + lambda * cost->deviation);
    }
  mpt_status status = w->calls->solve(w->calls->context, w->increase, budget, choice, error);
  *chance = 1;
  if (status == MPT_OK)
    status = add(w, choice, &found, error);
  else if (status == MPT_ERROR_NOT_FOUND)
    status = MPT_OK;
  if (status == MPT_OK && found != NULL)
    *chance = found->chance;
  free(choice);
  return status;
}

static mpt_status solve_at(work *w, double lambda, mpt_error *error) {
  double chance = 0;
  MPT_RETURN_IF_FAILED(solve(w, lambda, w->budget, &chance, error));
  w->lambda[w->solved] = lambda;
  w->chance[w->solved++] = chance;
  return MPT_OK;
}

/* Halves the interval of lambda around that chance, from what was solved for the others. */
static mpt_status bisect(work *w, double target, mpt_error *error) {
  for (int turn = 0; turn < HALVINGS; turn++) {
    double low = KINDEST, high = STRICTEST;
    for (int i = 0; i < w->solved; i++)
      if (w->chance[i] < target && w->lambda[i] > low)
        low = w->lambda[i];
    for (int i = 0; i < w->solved; i++)
      if (w->chance[i] >= target && w->lambda[i] < high && w->lambda[i] > low)
        high = w->lambda[i];
    if (high - low < 0.05)
      return MPT_OK;
    MPT_RETURN_IF_FAILED(solve_at(w, (low + high) / 2, error));
  }
  return MPT_OK;
}

static int by_seconds(const void *a, const void *b) {
  const proposal *x = a, *y = b;
  return (x->seconds > y->seconds) - (x->seconds < y->seconds);
}

mpt_status proposals_make(const damage_model *model, const proposal_unit *units, int unit_count,
                          double budget, const proposal_calls *calls, proposal **list, int *count,
                          mpt_error *error) {
  work w = {
      .model = model, .units = units, .unit_count = unit_count, .budget = budget, .calls = calls};
  double chance = 0;
  mpt_status status = allocate(&w, error);
  if (status != MPT_OK)
    goto fail;
  price_units(&w);
  MPT_TRY(solve_at(&w, KINDEST, error));
  MPT_TRY(solve_at(&w, 0, error));
  for (int t = 0; t < TARGETS; t++)
    MPT_TRY(bisect(&w, targets[t], error));
  for (int i = 0; i < SHARES; i++)
    MPT_TRY(solve(&w, 0, shares[i] * budget, &chance, error));
  qsort(w.list, (size_t)w.count, sizeof *w.list, by_seconds);
  *list = w.list, *count = w.count;
  w.list = NULL;
fail:
  if (w.list != NULL)
    proposals_free(w.list, w.count);
  clear(&w);
  return status;
}

void proposals_free(proposal *list, int count) {
  for (int i = 0; list != NULL && i < count; i++)
    free(list[i].choice);
  free(list);
}
