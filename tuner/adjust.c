/* Stage 6: propose, train, look, correct, propose again.
 *
 * First the uniform policies. Then, until it settles: the fastest policy that is predicted to meet
 * the budget is trained; what it did corrects the prediction. When that policy has been trained and
 * does meet the budget, the same question is asked with a prediction that is one deviation kinder
 * to what is uncertain (slack is looked for where it may be); when that proposes nothing faster
 * that is new, the search is over.
 */
#include "base/error.h"
#include "base/progress.h"
#include "store/run_trajectory.h"
#include "tuner/recipes.h"
#include "tuner/results.h"
#include "tuner/search.h"
#include "tuner/standing.h"
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a diverged run tells the predictor, in budgets. */
#define DIVERGED_BUDGETS 20.0

static double clipped_mean(const search *s, const candidate *c) {
  return fmin(candidate_mean(c), DIVERGED_BUDGETS * s->model.margin);
}

/* The deviation of the mean of n pairs: the seeds' noise, and that the model is not exact. */
static double observation_deviation(const search *s, const candidate *c, double mean) {
  const double seeds = fmax(s->model.noise, 0.02 * s->model.margin) / sqrt(c->seed_count);
  const double inexact = 0.1 * fabs(mean);
  return sqrt(seeds * seeds + inexact * inexact);
}

/* Pooled deviation of paired differences over everything that has two seeds or more, mixed with
 * the reference's own as if that were one more pair. */
static void update_noise(search *s) {
  double squares = s->model.reference_deviation * s->model.reference_deviation, freedom = 1;
  for (int i = 0; i < s->ledger.candidate_count; i++) {
    const candidate *c = s->ledger.candidates[i];
    const double mean = candidate_mean(c);
    if (c->seed_count < 2 || !isfinite(mean) || mean > 3 * s->model.margin)
      continue;
    squares += gsl_stats_tss_m(c->difference, 1, (size_t)c->seed_count, mean);
    freedom += c->seed_count - 1;
  }
  s->model.noise = sqrt(squares / freedom);
}

/* Layers that a diverged run names never get fp16 again: it alone ends where others do not. */
static mpt_status veto_blamed(search *s, const candidate *c, mpt_error *error) {
  store_evaluation *all = NULL;
  int count = 0;
  mpt_status status = store_all_evaluations(s->ledger.store, &all, &count, error);
  for (int i = 0; i < count; i++) {
    const bool mine = strcmp(all[i].policy, c->hash) == 0 && all[i].diverged;
    const store_counters *counters = &all[i].counters;
    for (int j = 0; mine && status == MPT_OK && j < counters->count; j++) {
      if (!counters->rows[j].blamed)
        continue;
      const char *name = counters->rows[j].layer;
      for (int u = 0; u < s->problem.space->unit_count; u++) {
        const space_unit *unit = &s->problem.space->units[u];
        if (strcmp(s->problem.graph->layers[unit->layer].info.name, name) != 0)
          continue;
        for (int g = 0; g < MPT_GEMM_COUNT; g++) {
          const mpt_precision q = c->assignment[unit->layer].gemm[g].precision;
          layer_score *score = &s->model.sensitivity->unit[u][g][q];
          if (q != MPT_PRECISION_FP16 || score->veto[0] != '\0')
            continue;
          snprintf(score->veto, sizeof score->veto, "a run with it in %s diverged here",
                   mpt_precision_name(q));
        }
      }
    }
    store_evaluation_clear(&all[i]);
  }
  free(all);
  return status;
}

/* Its mean difference as the budget is given: of a relative one, over the reference's mean under
 * the same seeds. */
static double change_of(const search *s, const candidate *c) {
  double whole = 0;
  for (int i = 0; i < c->seed_count; i++)
    whole += s->problem.workload->budget.of_error ? 1 - s->ledger.reference_metric[i]
                                                  : s->ledger.reference_metric[i];
  const double mean = candidate_mean(c);
  return s->problem.workload->budget.relative ? mean * c->seed_count / fabs(whole) : mean;
}

static mpt_status note_step(search *s, const candidate *c, mpt_error *error) {
  const double mean = candidate_mean(c);
  static const char *const words[] = {"not trained", "meets the budget", "misses the budget",
                                      "too close to tell"};
  const store_step step = {.evaluation = s->ledger.trainings,
                           .policy = c->hash,
                           .label = c->label,
                           .predicted_seconds = cost_uncorrected(&c->cost),
                           .seconds = c->seconds,
                           .predicted_increase = c->predicted,
                           .measured_increase = isfinite(mean) ? mean : NAN,
                           .measured_change = isfinite(mean) ? change_of(s, c) : NAN,
                           .verdict_text = isfinite(mean)
                                               ? words[candidate_standing(&s->ledger, &s->model, c)]
                                               : "failed"};
  return store_put_step(s->ledger.store, &step, error);
}

/* Trains a candidate until it is known where it stands, and learns from it. */
static mpt_status try_candidate(search *s, candidate *c, mpt_error *error) {
  do {
    MPT_RETURN_IF_FAILED(search_try(s, c, error));
    update_noise(s);
    show_best(&s->clock, &s->ledger, &s->model);
    MPT_RETURN_IF_FAILED(note_step(s, c, error));
    if (!isfinite(candidate_mean(c)))
      MPT_RETURN_IF_FAILED(veto_blamed(s, c, error));
  } while (candidate_standing(&s->ledger, &s->model, c) == STANDING_CLOSE &&
           s->ledger.trainings < s->problem.options->max_evaluations);
  /* A format that is vetoed where this policy has it explains what it lost: the others are not to
   * be blamed for it. */
  if (c->choice != NULL && sensitivity_veto_of(s->model.sensitivity, c) == NULL) {
    const double mean = clipped_mean(s, c);
    MPT_RETURN_IF_FAILED(predictor_observe(s->model.predictor, c->choice, mean,
                                           observation_deviation(s, c, mean), error));
  }
  candidate *best = best_so_far(&s->ledger, &s->model);
  if (best != NULL && !best->written) {
    best->written = true;
    MPT_RETURN_IF_FAILED(search_see(s, error));
    const search_view view = view_of(s);
    MPT_RETURN_IF_FAILED(write_policy(&view, best, MPT_VERDICT_UNVERIFIED, error));
  }
  return MPT_OK;
}

/* Slower than the reference: timed, not trained. */
static mpt_status try_uniform(search *s, candidate *c, mpt_error *error) {
  if (strcmp(c->hash, s->ledger.reference.hash) == 0)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(timing_measure(s, c, error));
  if (c->untimed[0] != '\0' || !c->permitted || c->seed_count > 0 ||
      !is_faster(&s->model, c->seconds, time_limit(&s->ledger)) ||
      s->ledger.trainings >= s->problem.options->max_evaluations)
    return MPT_OK;
  return try_candidate(s, c, error);
}

/* torchao's rule is what a person might have used instead, like a uniform policy. */
static mpt_status baseline_candidates(search *s, mpt_layer_policy *assignment, mpt_error *error) {
  candidate *c = NULL;
  if (!s->problem.options->baselines && !s->problem.place.measures)
    return MPT_OK;
  recipe_assignment(s->problem.space, RECIPE_TORCHAO, assignment);
  MPT_RETURN_IF_FAILED(ledger_candidate(&s->ledger, &s->problem, &s->model.prices, assignment,
                                        s->problem.workload->loss_scale,
                                        recipe_label(RECIPE_TORCHAO), &c, error));
  if (c->uniform) /* its rule came to one of them here */
    return MPT_OK;
  c->uniform = true;
  return try_uniform(s, c, error);
}

static int by_seconds(const void *a, const void *b) {
  const candidate *x = *(candidate *const *)a, *y = *(candidate *const *)b;
  return x->seconds != y->seconds ? (x->seconds > y->seconds) - (x->seconds < y->seconds)
                                  : (int)x->precision - (int)y->precision;
}

/* All are timed, then trained from the fastest on: a limit leaves out those that promise least. */
static mpt_status uniform_candidates(search *s, mpt_layer_policy *assignment, mpt_error *error) {
  candidate *all[MPT_PRECISION_COUNT];
  size_t count = 0;
  for (int q = 0; q < MPT_PRECISION_COUNT; q++) {
    bool permitted = true;
    space_uniform(s->problem.space, (mpt_precision)q, assignment, &permitted);
    candidate *c = NULL;
    char label[64];
    snprintf(label, sizeof label, "all-%s", mpt_precision_name((mpt_precision)q));
    MPT_RETURN_IF_FAILED(ledger_candidate(&s->ledger, &s->problem, &s->model.prices, assignment,
                                          s->problem.workload->loss_scale, label, &c, error));
    if (c->uniform) /* a network without GEMMs: several precisions are one policy */
      continue;
    c->uniform = true;
    c->precision = (mpt_precision)q;
    c->permitted = permitted;
    if (strcmp(c->hash, s->ledger.reference.hash) != 0)
      MPT_RETURN_IF_FAILED(timing_measure(s, c, error));
    all[count++] = c;
  }
  qsort(all, count, sizeof all[0], by_seconds);
  for (size_t i = 0; i < count; i++)
    MPT_RETURN_IF_FAILED(try_uniform(s, all[i], error));
  return baseline_candidates(s, assignment, error);
}

/* Equal is equal: where another format takes the same time, the more accurate one by its scores,
 * as long as nothing measured speaks against it. */
static mpt_status settle_ties(search *s, const increases *all, double budget,
                              mpt_layer_policy *assignment, int *choice, mpt_error *error) {
  cost_parts parts;
  space_assignment(s->problem.space, choice, assignment);
  MPT_RETURN_IF_FAILED(model_price(&s->model, &s->problem, assignment, &parts, error));
  const double least = parts.total;
  for (int u = 0; u < s->problem.space->unit_count; u++) {
    const space_unit *unit = &s->problem.space->units[u];
    int best = choice[u];
    for (int c = 0; c < unit->choice_count; c++) {
      if (sensitivity_score(s->model.sensitivity, u, &unit->choices[c]) >=
          sensitivity_score(s->model.sensitivity, u, &unit->choices[best]))
        continue;
      choice[u] = c;
      space_assignment(s->problem.space, choice, assignment);
      MPT_RETURN_IF_FAILED(model_price(&s->model, &s->problem, assignment, &parts, error));
      if (parts.total <= least * (1 + 1e-9) && increases_total(all, choice) <= budget)
        best = c;
      choice[u] = best;
    }
  }
  space_assignment(s->problem.space, choice, assignment);
  return MPT_OK;
}

/* The fastest policy predicted to meet `budget`; *out is NULL when there is none. */
static mpt_status propose(search *s, double optimism, double budget, mpt_layer_policy *assignment,
                          int *choice, candidate **out, mpt_error *error) {
  const problem *p = &s->problem;
  increases all = {0};
  frontier_solution certificate = {0};
  mpt_status status = MPT_OK;
  *out = NULL;
  MPT_TRY(model_increases(&s->model, p, optimism, &all, error));
  status = space_solve(p->space, p->priced, &s->model.prices, &p->workload->optimizer, all.of,
                       budget, choice, &certificate, error);
  frontier_clear(&certificate);
  if (status == MPT_ERROR_NOT_FOUND) {
    status = MPT_OK;
    goto fail;
  }
  MPT_TRY(status);
  MPT_TRY(settle_ties(s, &all, budget, assignment, choice, error));
  char label[64];
  snprintf(label, sizeof label, LABEL_CANDIDATE "%d", s->ledger.trainings + 1);
  MPT_TRY(ledger_candidate(&s->ledger, p, &s->model.prices, assignment, p->workload->loss_scale,
                           label, out, error));
  if ((*out)->seed_count > 0)
    goto fail;
  (*out)->predicted = increases_total(&all, choice);
  /* The store keeps the prediction too. */
  MPT_TRY(candidate_price(&s->ledger, p, &s->model.prices, *out, error));
fail:
  increases_free(&all);
  return status;
}

/* A proposal that is new, or one that is known to meet the budget: the budget asked for shrinks
 * past those that are known to fail. */
static mpt_status propose_new(search *s, double optimism, mpt_layer_policy *assignment, int *choice,
                              candidate **out, mpt_error *error) {
  for (double budget = s->model.ceiling; budget > 0.01 * s->model.margin; budget *= 0.85) {
    MPT_RETURN_IF_FAILED(propose(s, optimism, budget, assignment, choice, out, error));
    if (*out == NULL || (*out)->verdict == MPT_VERDICT_UNVERIFIED) {
      if (*out == NULL || strcmp((*out)->hash, s->ledger.reference.hash) == 0)
        break;
      const standing where = candidate_standing(&s->ledger, &s->model, *out);
      if (where == STANDING_UNKNOWN || where == STANDING_MEETS)
        return MPT_OK;
    }
  }
  *out = NULL;
  return MPT_OK;
}

static mpt_status adjust(search *s, mpt_layer_policy *assignment, int *choice, mpt_error *error) {
  while (s->ledger.trainings < s->problem.options->max_evaluations) {
    if (search_out_of_time(&s->clock))
      return MPT_OK;
    candidate *c = NULL;
    MPT_RETURN_IF_FAILED(propose_new(s, 0, assignment, choice, &c, error));
    const candidate *best = best_so_far(&s->ledger, &s->model);
    const double least = best != NULL ? best->seconds : time_limit(&s->ledger);
    /* What is not faster by more than noise than what already meets the budget is not worth a run.
     */
    if (c == NULL || candidate_standing(&s->ledger, &s->model, c) == STANDING_MEETS ||
        !is_faster(&s->model, c->seconds, least)) {
      MPT_RETURN_IF_FAILED(propose_new(s, 1, assignment, choice, &c, error));
      if (c == NULL || candidate_standing(&s->ledger, &s->model, c) != STANDING_UNKNOWN ||
          !is_faster(&s->model, c->seconds, least))
        return MPT_OK;
    }
    MPT_RETURN_IF_FAILED(try_candidate(s, c, error));
    MPT_RETURN_IF_FAILED(model_fit(&s->model, &s->ledger, error));
  }
  return MPT_OK;
}

/* `again`: after a verification that did not pass, without the uniform policies. */
static mpt_status run_stage(search *s, bool again, mpt_error *error) {
  mpt_layer_policy *assignment = calloc((size_t)s->problem.graph->layer_count, sizeof *assignment);
  int *choice = calloc((size_t)s->problem.space->unit_count + 1, sizeof *choice);
  mpt_status status = MPT_OK;
  if (assignment == NULL || choice == NULL) {
    status = mpt_fail_memory(error, "an assignment", 0);
    goto fail;
  }
  if (!again)
    MPT_TRY(uniform_candidates(s, assignment, error));
  MPT_TRY(model_fit(&s->model, &s->ledger, error));
  MPT_TRY(adjust(s, assignment, choice, error));
fail:
  free(assignment);
  free(choice);
  return status;
}

mpt_status stage_adjust(search *s, mpt_error *error) {
  return run_stage(s, false, error);
}

mpt_status stage_adjust_again(search *s, candidate *c, mpt_error *error) {
  double sum = c->seen.diverged > 0 ? INFINITY : c->seen.pairs * c->seen.worse;
  int count = c->seen.pairs + c->seen.diverged;
  for (int i = 0; i < c->seed_count; i++, count++)
    sum += c->difference[i];
  if (c->choice != NULL && count > 0 && sensitivity_veto_of(s->model.sensitivity, c) == NULL) {
    const double mean = fmin(sum / count, DIVERGED_BUDGETS * s->model.margin);
    const double deviation = fmax(s->model.noise, 0.02 * s->model.margin) / sqrt(count);
    MPT_RETURN_IF_FAILED(predictor_observe(s->model.predictor, c->choice, mean, deviation, error));
  }
  return run_stage(s, true, error);
}

mpt_status stage_sensitivity(search *s, mpt_error *error) {
  MPT_RETURN_IF_FAILED(predictor_open(s->problem.space, &s->model.predictor, error));
  MPT_RETURN_IF_FAILED(
      sensitivity_load(&s->problem, &s->ledger, s->model.margin, &s->model.sensitivity, error));
  return model_fit(&s->model, &s->ledger, error);
}
