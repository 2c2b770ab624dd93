#include "tuner/space_relax.h"
#include "base/error.h"
#include "tuner/cost.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TURNS = 100, PATIENCE = 5, MOST_SWEEPS = 20, RELAXED_LABELS = 100000 };
#define CLOSE_ENOUGH 1e-9 /* a gap of this share is none: it is what sums are rounded to */

typedef struct incumbent {
  int *choice; /* [unit] */
  double seconds, increase;
} incumbent;

static double increase_of(const space_problem *sp, const int *choice) {
  double sum = 0;
  for (int u = 0; u < sp->problem.layer_count; u++)
    sum += sp->problem.layers[u].increase[choice[u]];
  return sum;
}

static double true_seconds(space_problem *sp, const int *choice) {
  term_list *terms = &sp->terms;
  double sum = cost_optimizer(terms->graph, terms->profile, terms->optimizer);
  for (int u = 0; u < sp->problem.layer_count; u++)
    sum += unit_seconds(terms, u, choice[u]);
  for (int i = 0; i < terms->count; i++)
    if (terms->terms[i].real)
      sum += term_seconds_of(terms, &terms->terms[i], choice);
  return sum;
}

/* What the unit's choice has a part in. */
static double seconds_around(space_problem *sp, int unit, const int *choice) {
  double sum = unit_seconds(&sp->terms, unit, choice[unit]);
  for (const int *k = sp->terms.of_unit[unit]; *k >= 0; k++)
    if (sp->terms.terms[*k].real)
      sum += term_seconds_of(&sp->terms, &sp->terms.terms[*k], choice);
  return sum;
}

/* Whether a better choice of one unit was found and taken. */
static bool change_unit(space_problem *sp, int unit, double budget, int *choice, double *increase) {
  const frontier_layer *l = &sp->problem.layers[unit];
  const int old = choice[unit];
  const double others = *increase - l->increase[old];
  double least = seconds_around(sp, unit, choice);
  int best = old;
  for (int c = 0; c < l->choice_count; c++) {
    if (c == old || !isfinite(l->increase[c]) || others + l->increase[c] > budget)
      continue;
    choice[unit] = c;
    const double seconds = seconds_around(sp, unit, choice);
    if (seconds < least * (1 - CLOSE_ENOUGH))
      least = seconds, best = c;
  }
  choice[unit] = best;
  *increase = others + l->increase[best];
  return best != old;
}

static void improve(space_problem *sp, double budget, int *choice) {
  double increase = increase_of(sp, choice);
  bool changed = true;
  for (int sweep = 0; sweep < MOST_SWEEPS && changed; sweep++) {
    changed = false;
    for (int u = 0; u < sp->problem.layer_count; u++)
      changed = change_unit(sp, u, budget, choice, &increase) || changed;
  }
}

static void offer(space_problem *sp, double budget, int *choice, incumbent *best) {
  const size_t bytes = (size_t)sp->problem.layer_count * sizeof *choice;
  for (int turn = 0; turn < 2; turn++) {
    const double seconds = true_seconds(sp, choice), increase = increase_of(sp, choice);
    if (seconds < best->seconds || (seconds == best->seconds && increase < best->increase)) {
      best->seconds = seconds, best->increase = increase;
      memcpy(best->choice, choice, bytes);
    }
    if (turn == 0)
      improve(sp, budget, choice);
  }
}

/* Of the reads that are dropped: the value the unit has, and the one the term took. Moves their
 * prices by `step`, or (0) counts those that differ. */
static int move_prices(space_problem *sp, const int *choice, double step) {
  int differ = 0;
  for (int i = 0; i < sp->terms.count; i++) {
    term *t = &sp->terms.terms[i];
    int rank[MOST_READS];
    copy_set set = 0;
    bool drops = false;
    if (!t->stands)
      continue;
    for (int k = 0; k < t->read_count; k++) {
      rank[k] = t->reads[k].by.rank[choice[t->reads[k].unit]];
      drops = drops || t->reads[k].price != NULL;
    }
    if (!drops)
      continue;
    for (int k = 0; k < t->sharer_count; k++)
      set |= term_needs(&sp->terms, t->sharers[k], choice[t->sharers[k]]);
    problem_relaxed(sp, i, rank, set);
    for (int k = 0; k < t->read_count; k++) {
      const int has = t->reads[k].by.rank[choice[t->reads[k].unit]];
      if (t->reads[k].price == NULL || rank[k] == has)
        continue;
      differ++;
      t->reads[k].price[has] += step;
      t->reads[k].price[rank[k]] -= step;
    }
  }
  return differ;
}

/* One turn: solves under the prices as they are, and moves them. *done when nothing is to be
 * gained. */
static mpt_status turn(space_problem *sp, double budget, double *pace, int *stale, double *bound,
                       int64_t *labels, incumbent *best, bool *done, mpt_error *error) {
  frontier_solution solution = {0};
  const size_t bytes = (size_t)sp->problem.layer_count * sizeof(int);
  MPT_RETURN_IF_FAILED(frontier_solve(&sp->problem, budget, RELAXED_LABELS, &solution, error));
  int *choice = malloc(bytes);
  if (choice == NULL) {
    frontier_clear(&solution);
    return mpt_fail_memory(error, "the solver's answer", bytes);
  }
  memcpy(choice, solution.choice, bytes);
  offer(sp, budget, choice, best);
  free(choice);
  *stale = solution.bound > *bound * (1 + CLOSE_ENOUGH) ? 0 : *stale + 1;
  *bound = fmax(*bound, solution.bound);
  *labels += solution.labels;
  if (*stale == PATIENCE)
    *pace /= 2, *stale = 0;
  const int differ = move_prices(sp, solution.choice, 0);
  *done = differ == 0 || best->seconds - *bound <= CLOSE_ENOUGH * best->seconds;
  if (!*done) {
    move_prices(sp, solution.choice,
                *pace * (best->seconds - solution.bound) / (2.0 * (double)differ));
    problem_fill(sp);
  }
  frontier_clear(&solution);
  return MPT_OK;
}

mpt_status relax_solve(space_problem *sp, double budget, frontier_solution *solution,
                       mpt_error *error) {
  mpt_status status = MPT_OK;
  incumbent best = {.seconds = INFINITY};
  double bound = 0, pace = 1;
  int stale = 0;
  int64_t labels = 0;
  bool done = false;
  best.choice = malloc((size_t)sp->problem.layer_count * sizeof *best.choice);
  if (best.choice == NULL)
    return mpt_fail_memory(error, "the solver's answer", sizeof *best.choice);
  for (int i = 0; i < MOST_TURNS && !done; i++)
    MPT_TRY(turn(sp, budget, &pace, &stale, &bound, &labels, &best, &done, error));
  *solution = (frontier_solution){.choice = best.choice,
                                  .seconds = best.seconds,
                                  .increase = best.increase,
                                  .bound = fmin(bound, best.seconds),
                                  .labels = labels};
  solution->gap = solution->seconds - solution->bound;
  return MPT_OK;
fail:
  free(best.choice);
  return status;
}
