#include "tuner/proposal.h"
#include "base/error.h"
#include "tuner/standing.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Equal is equal: where another format takes the same time, the more accurate one by its scores,
 * as long as nothing measured speaks against it. */
static mpt_status settle_ties(const problem *p, const model *m, const increases *all, double budget,
                              mpt_layer_policy *assignment, int *choice, mpt_error *error) {
  cost_parts parts;
  space_assignment(p->space, choice, assignment);
  MPT_RETURN_IF_FAILED(model_price(m, p, assignment, &parts, error));
  const double least = parts.total;
  for (int u = 0; u < p->space->unit_count; u++) {
    const space_unit *unit = &p->space->units[u];
    int best = choice[u];
    for (int c = 0; c < unit->choice_count; c++) {
      if (sensitivity_score(m->sensitivity, u, &unit->choices[c]) >=
          sensitivity_score(m->sensitivity, u, &unit->choices[best]))
        continue;
      choice[u] = c;
      space_assignment(p->space, choice, assignment);
      MPT_RETURN_IF_FAILED(model_price(m, p, assignment, &parts, error));
      if (parts.total <= least * (1 + 1e-9) && increases_total(all, choice) <= budget)
        best = c;
      choice[u] = best;
    }
  }
  space_assignment(p->space, choice, assignment);
  return MPT_OK;
}

/* The fastest policy predicted to meet `budget`; *out is NULL when there is none. */
static mpt_status propose(const problem *p, ledger *l, const model *m, double optimism,
                          double budget, mpt_layer_policy *assignment, int *choice, candidate **out,
                          mpt_error *error) {
  increases all = {0};
  frontier_solution certificate = {0};
  mpt_status status = MPT_OK;
  *out = NULL;
  MPT_TRY(model_increases(m, p, optimism, &all, error));
  status = space_solve(p->space, p->priced, &m->prices, &p->workload->optimizer, all.of, budget,
                       choice, &certificate, error);
  frontier_clear(&certificate);
  if (status == MPT_ERROR_NOT_FOUND) {
    status = MPT_OK;
    goto fail;
  }
  MPT_TRY(status);
  MPT_TRY(settle_ties(p, m, &all, budget, assignment, choice, error));
  char label[64];
  snprintf(label, sizeof label, LABEL_CANDIDATE "%d", l->trainings + 1);
  MPT_TRY(
      ledger_candidate(l, p, &m->prices, assignment, p->workload->loss_scale, label, out, error));
  if ((*out)->seed_count > 0)
    goto fail;
  (*out)->predicted = increases_total(&all, choice);
  /* The store keeps the prediction too. */
  MPT_TRY(candidate_price(l, p, &m->prices, *out, error));
fail:
  increases_free(&all);
  return status;
}

/* A proposal that is new, or one that is known to meet the budget: the budget asked for shrinks
 * past those that are known to fail. */
static mpt_status propose_new(const problem *p, ledger *l, const model *m, double optimism,
                              mpt_layer_policy *assignment, int *choice, candidate **out,
                              mpt_error *error) {
  for (double budget = m->ceiling; budget > 0.01 * m->margin; budget *= 0.85) {
    MPT_RETURN_IF_FAILED(propose(p, l, m, optimism, budget, assignment, choice, out, error));
    if (*out == NULL || (*out)->verdict == MPT_VERDICT_UNVERIFIED) {
      if (*out == NULL || strcmp((*out)->hash, l->reference.hash) == 0)
        break;
      const standing where = candidate_standing(l, m, *out);
      if (where == STANDING_UNKNOWN || where == STANDING_MEETS)
        return MPT_OK;
    }
  }
  *out = NULL;
  return MPT_OK;
}

/* The least that the units' increases can add up to; INFINITY where one has no choice left. */
static double least_increase(const problem *p, const increases *all) {
  double sum = 0;
  for (int u = 0; u < p->space->unit_count; u++) {
    double least = INFINITY;
    for (int c = 0; c < p->space->units[u].choice_count; c++)
      least = fmin(least, all->of[u][c]);
    sum += least;
  }
  return sum;
}

static mpt_status propose_most_accurate(const problem *p, ledger *l, const model *m,
                                        mpt_layer_policy *assignment, int *choice, candidate **out,
                                        mpt_error *error) {
  increases all = {0};
  mpt_status status = model_increases(m, p, 0, &all, error);
  const double least = status == MPT_OK ? least_increase(p, &all) : INFINITY;
  increases_free(&all);
  *out = NULL;
  return status == MPT_OK && isfinite(least)
             ? propose(p, l, m, 0, least * (1 + 1e-9), assignment, choice, out, error)
             : status;
}

mpt_status proposal_most_accurate(const problem *p, ledger *l, const model *m, candidate **out,
                                  mpt_error *error) {
  mpt_layer_policy *assignment = calloc((size_t)p->graph->layer_count, sizeof *assignment);
  int *choice = calloc((size_t)p->space->unit_count + 1, sizeof *choice);
  const mpt_status status = assignment == NULL || choice == NULL
                                ? mpt_fail_memory(error, "an assignment", 0)
                                : propose_most_accurate(p, l, m, assignment, choice, out, error);
  free(assignment);
  free(choice);
  return status;
}

mpt_status proposal_next(const problem *p, ledger *l, const model *m, double optimism,
                         candidate **out, mpt_error *error) {
  mpt_layer_policy *assignment = calloc((size_t)p->graph->layer_count, sizeof *assignment);
  int *choice = calloc((size_t)p->space->unit_count + 1, sizeof *choice);
  const mpt_status status = assignment == NULL || choice == NULL
                                ? mpt_fail_memory(error, "an assignment", 0)
                                : propose_new(p, l, m, optimism, assignment, choice, out, error);
  free(assignment);
  free(choice);
  return status;
}
