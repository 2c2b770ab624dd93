/* Stage 6: propose, train, look, correct, propose again.
 *
 * First the uniform policies. Then, until it settles: the fastest policy that is predicted to meet
 * the budget is trained; what it did corrects the prediction. When that policy has been trained and
 * does meet the budget, the same question is asked with a prediction that is one deviation kinder
 * to what is uncertain (slack is looked for where it may be); when that proposes nothing faster
 * that is new, the search is over.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "tuner/baseline.h"
#include "tuner/search.h"
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a diverged run tells the predictor, in budgets. */
#define DIVERGED_BUDGETS 20.0

static bool faster(const search *s, double a, double b) {
  return a < b * (1 - s->equal_time);
}

double search_limit(const search *s) {
  return s->reference.permitted ? s->reference.seconds : INFINITY;
}

static double clipped_mean(const search *s, const candidate *c) {
  return fmin(candidate_mean(c), DIVERGED_BUDGETS * s->margin);
}

/* The deviation of the mean of n pairs: the seeds' noise, and that the model is not exact. */
static double observation_deviation(const search *s, const candidate *c, double mean) {
  const double seeds = fmax(s->noise, 0.02 * s->margin) / sqrt(c->seed_count);
  const double model = 0.1 * fabs(mean);
  return sqrt(seeds * seeds + model * model);
}

/* Pooled deviation of paired differences over everything that has two seeds or more, mixed with
 * the reference's own as if that were one more pair. */
static void update_noise(search *s) {
  double squares = s->reference_deviation * s->reference_deviation, freedom = 1;
  for (int i = 0; i < s->candidate_count; i++) {
    const candidate *c = s->candidates[i];
    const double mean = candidate_mean(c);
    if (c->seed_count < 2 || !isfinite(mean) || mean > 3 * s->margin)
      continue;
    squares += gsl_stats_tss_m(c->difference, 1, (size_t)c->seed_count, mean);
    freedom += c->seed_count - 1;
  }
  s->noise = sqrt(squares / freedom);
}

/* Where a policy stands against the budget after its search seeds. Close: within one standard
 * error of it, while there is a seed left that could tell. */
standing candidate_standing(const search *s, const candidate *c) {
  if (c->verdict == MPT_VERDICT_FAIL || c->verdict == MPT_VERDICT_INCONCLUSIVE)
    return STANDING_FAILS;
  if (c->seed_count == 0)
    return STANDING_UNKNOWN;
  const double mean = candidate_mean(c);
  if (!isfinite(mean))
    return STANDING_FAILS;
  const double error = s->noise / sqrt(c->seed_count);
  if (c->seed_count < s->reference_seeds && fabs(mean - s->margin) < error)
    return STANDING_CLOSE;
  return mean <= s->margin ? STANDING_MEETS : STANDING_FAILS;
}

/* Layers that a diverged run names never get fp16 again: it alone ends where others do not. */
static mpt_status veto_blamed(search *s, const candidate *c, mpt_error *error) {
  store_evaluation *all = NULL;
  int count = 0;
  mpt_status status = store_all_evaluations(s->store, &all, &count, error);
  for (int i = 0; i < count; i++) {
    const bool mine = strcmp(all[i].policy, c->hash) == 0 && all[i].diverged;
    json_t *counters = NULL;
    if (mine && status == MPT_OK)
      status = store_read_counters(s->store, &all[i], &counters, error);
    size_t j;
    json_t *row;
    json_array_foreach(counters, j, row) {
      if (!json_is_true(json_object_get(row, "blamed")))
        continue;
      const char *name = json_string_value(json_object_get(row, "layer"));
      for (int u = 0; u < s->space->unit_count; u++) {
        const space_unit *unit = &s->space->units[u];
        if (strcmp(s->graph->layers[unit->layer].info.name, name) != 0)
          continue;
        for (int g = 0; g < MPT_GEMM_COUNT; g++) {
          const mpt_precision q = c->assignment[unit->layer].gemm[g].precision;
          layer_score *score = &s->sensitivity->unit[u][g][q];
          if (q != MPT_PRECISION_FP16 || score->veto[0] != '\0')
            continue;
          snprintf(score->veto, sizeof score->veto, "a run with it in %s diverged here",
                   mpt_precision_name(q));
        }
      }
    }
    json_decref(counters);
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
    whole += s->w->budget.of_error ? 1 - s->reference_metric[i] : s->reference_metric[i];
  const double mean = candidate_mean(c);
  return s->w->budget.relative ? mean * c->seed_count / fabs(whole) : mean;
}

static mpt_status note_step(search *s, const candidate *c, mpt_error *error) {
  char *text = NULL;
  json_t *rows = NULL;
  MPT_RETURN_IF_FAILED(store_read_note(s->store, "trajectory", &rows, error));
  if (rows == NULL)
    rows = json_array();
  /* A continued search replays its steps; each is noted once. */
  while (json_array_size(rows) >= (size_t)s->trainings)
    json_array_remove(rows, json_array_size(rows) - 1);
  const double mean = candidate_mean(c);
  static const char *const words[] = {"not trained", "meets the budget", "misses the budget",
                                      "too close to tell"};
  mpt_json_append(
      &rows, mpt_json_pack("{s:i,s:s,s:s,s:f,s:f,s:o,s:o,s:o,s:s}", "evaluation", s->trainings,
                           "policy", c->hash, "label", c->label, "predicted_seconds",
                           cost_uncorrected(&c->cost), "seconds", c->seconds, "predicted_increase",
                           mpt_json_real(c->predicted), "measured_increase", mpt_json_real(mean),
                           "measured_change", mpt_json_real(change_of(s, c)), "verdict_text",
                           isfinite(mean) ? words[candidate_standing(s, c)] : "failed"));
  MPT_RETURN_IF_FAILED(mpt_json_dump(rows, JSON_COMPACT, "the search's record", &text, error));
  mpt_status status = store_set(s->store, "trajectory", text, error);
  free(text);
  return status;
}

candidate *search_best(const search *s) {
  candidate *best = NULL;
  for (int i = 0; i < s->candidate_count; i++) {
    candidate *c = s->candidates[i];
    if (!c->permitted || candidate_standing(s, c) != STANDING_MEETS)
      continue;
    if (best == NULL || c->seconds < best->seconds)
      best = c;
  }
  return best;
}

/* Trains a candidate until it is known where it stands, and learns from it. */
static mpt_status try_candidate(search *s, candidate *c, mpt_error *error) {
  do {
    MPT_RETURN_IF_FAILED(search_try(s, c, error));
    update_noise(s);
    s->best = search_best(s);
    MPT_RETURN_IF_FAILED(note_step(s, c, error));
    if (!isfinite(candidate_mean(c)))
      MPT_RETURN_IF_FAILED(veto_blamed(s, c, error));
  } while (candidate_standing(s, c) == STANDING_CLOSE &&
           s->trainings < s->options->max_evaluations);
  /* A format that is vetoed where this policy has it explains what it lost: the others are not to
   * be blamed for it. */
  if (c->choice != NULL && sensitivity_veto_of(s, c) == NULL) {
    const double mean = clipped_mean(s, c);
    MPT_RETURN_IF_FAILED(
        predictor_observe(s->predictor, c->choice, mean, observation_deviation(s, c, mean), error));
  }
  candidate *best = search_best(s);
  if (best != NULL && !best->written) {
    best->written = true;
    MPT_RETURN_IF_FAILED(search_see(s, error));
    MPT_RETURN_IF_FAILED(write_policy(s, best, MPT_VERDICT_UNVERIFIED, error));
  }
  return MPT_OK;
}

/* Slower than the reference: timed, not trained. */
static mpt_status try_uniform(search *s, candidate *c, mpt_error *error) {
  if (strcmp(c->hash, s->reference.hash) == 0)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(timing_measure(s, c, error));
  if (c->untimed[0] != '\0' || !c->permitted || c->seed_count > 0 ||
      !faster(s, c->seconds, search_limit(s)) || s->trainings >= s->options->max_evaluations)
    return MPT_OK;
  return try_candidate(s, c, error);
}

/* torchao's rule is what a person might have used instead, like a uniform policy. */
static mpt_status baseline_candidates(search *s, mpt_layer_policy *assignment, mpt_error *error) {
  candidate *c = NULL;
  if (!s->options->baselines && !s->place.measures)
    return MPT_OK;
  baseline_torchao(s->space, assignment);
  MPT_RETURN_IF_FAILED(
      search_candidate(s, assignment, s->w->loss_scale, BASELINE_TORCHAO, &c, error));
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
    space_uniform(s->space, (mpt_precision)q, assignment, &permitted);
    candidate *c = NULL;
    char label[64];
    snprintf(label, sizeof label, "all-%s", mpt_precision_name((mpt_precision)q));
    MPT_RETURN_IF_FAILED(search_candidate(s, assignment, s->w->loss_scale, label, &c, error));
    if (c->uniform) /* a network without GEMMs: several precisions are one policy */
      continue;
    c->uniform = true;
    c->precision = (mpt_precision)q;
    c->permitted = permitted;
    if (strcmp(c->hash, s->reference.hash) != 0)
      MPT_RETURN_IF_FAILED(timing_measure(s, c, error));
    all[count++] = c;
  }
  qsort(all, count, sizeof all[0], by_seconds);
  for (size_t i = 0; i < count; i++)
    MPT_RETURN_IF_FAILED(try_uniform(s, all[i], error));
  return baseline_candidates(s, assignment, error);
}

static double total_of(double *const *increase, const int *choice, int units) {
  double sum = 0;
  for (int u = 0; u < units; u++)
    sum += increase[u][choice[u]];
  return sum;
}

/* Equal is equal: where another format takes the same time, the more accurate one by its scores,
 * as long as nothing measured speaks against it. */
static mpt_status settle_ties(search *s, double budget, mpt_layer_policy *assignment, int *choice,
                              mpt_error *error) {
  cost_parts parts;
  space_assignment(s->space, choice, assignment);
  MPT_RETURN_IF_FAILED(
      cost_predict(s->priced, s->profile, &s->w->optimizer, assignment, &parts, error));
  const double least = parts.total;
  for (int u = 0; u < s->space->unit_count; u++) {
    const space_unit *unit = &s->space->units[u];
    int best = choice[u];
    for (int c = 0; c < unit->choice_count; c++) {
      if (sensitivity_score(s, u, &unit->choices[c]) >=
          sensitivity_score(s, u, &unit->choices[best]))
        continue;
      choice[u] = c;
      space_assignment(s->space, choice, assignment);
      MPT_RETURN_IF_FAILED(
          cost_predict(s->priced, s->profile, &s->w->optimizer, assignment, &parts, error));
      if (parts.total <= least * (1 + 1e-9) &&
          total_of(s->increase, choice, s->space->unit_count) <= budget)
        best = c;
      choice[u] = best;
    }
  }
  space_assignment(s->space, choice, assignment);
  return MPT_OK;
}

mpt_status search_predict(search *s, const candidate *c, double *increase, mpt_error *error) {
  sensitivity_vetoes(s);
  MPT_RETURN_IF_FAILED(predictor_increases(s->predictor, 0, s->increase, error));
  *increase = c->choice == NULL ? 0 : total_of(s->increase, c->choice, s->space->unit_count);
  return MPT_OK;
}

/* The fastest policy predicted to meet `budget`; *out is NULL when there is none. */
static mpt_status propose(search *s, double optimism, double budget, mpt_layer_policy *assignment,
                          int *choice, candidate **out, mpt_error *error) {
  *out = NULL;
  sensitivity_vetoes(s);
  MPT_RETURN_IF_FAILED(predictor_increases(s->predictor, optimism, s->increase, error));
  frontier_solution certificate = {0};
  mpt_status status = space_solve(s->space, s->priced, s->profile, &s->w->optimizer, s->increase,
                                  budget, choice, &certificate, error);
  if (status == MPT_ERROR_NOT_FOUND)
    return MPT_OK;
  if (status != MPT_OK)
    return status;
  frontier_clear(&certificate);
  MPT_RETURN_IF_FAILED(settle_ties(s, budget, assignment, choice, error));
  char label[64];
  snprintf(label, sizeof label, LABEL_CANDIDATE "%d", s->trainings + 1);
  MPT_RETURN_IF_FAILED(search_candidate(s, assignment, s->w->loss_scale, label, out, error));
  if ((*out)->seed_count > 0)
    return MPT_OK;
  (*out)->predicted = total_of(s->increase, choice, s->space->unit_count);
  return search_price(s, *out, error); /* the store keeps the prediction too */
}

/* A proposal that is new, or one that is known to meet the budget: the budget asked for shrinks
 * past those that are known to fail. */
static mpt_status propose_new(search *s, double optimism, mpt_layer_policy *assignment, int *choice,
                              candidate **out, mpt_error *error) {
  for (double budget = s->ceiling; budget > 0.01 * s->margin; budget *= 0.85) {
    MPT_RETURN_IF_FAILED(propose(s, optimism, budget, assignment, choice, out, error));
    if (*out == NULL || (*out)->verdict == MPT_VERDICT_UNVERIFIED) {
      if (*out == NULL || strcmp((*out)->hash, s->reference.hash) == 0)
        break;
      const standing where = candidate_standing(s, *out);
      if (where == STANDING_UNKNOWN || where == STANDING_MEETS)
        return MPT_OK;
    }
  }
  *out = NULL;
  return MPT_OK;
}

static mpt_status adjust(search *s, mpt_layer_policy *assignment, int *choice, mpt_error *error) {
  while (s->trainings < s->options->max_evaluations) {
    if (s->options->max_seconds > 0 &&
        mpt_clock_seconds() - s->started + s->earlier_seconds > s->options->max_seconds)
      return MPT_OK;
    candidate *c = NULL;
    MPT_RETURN_IF_FAILED(propose_new(s, 0, assignment, choice, &c, error));
    const candidate *best = search_best(s);
    const double least = best != NULL ? best->seconds : search_limit(s);
    /* What is not faster by more than noise than what already meets the budget is not worth a run.
     */
    if (c == NULL || candidate_standing(s, c) == STANDING_MEETS || !faster(s, c->seconds, least)) {
      MPT_RETURN_IF_FAILED(propose_new(s, 1, assignment, choice, &c, error));
      if (c == NULL || candidate_standing(s, c) != STANDING_UNKNOWN ||
          !faster(s, c->seconds, least))
        return MPT_OK;
    }
    MPT_RETURN_IF_FAILED(try_candidate(s, c, error));
    MPT_RETURN_IF_FAILED(sensitivity_fit(s, error));
  }
  return MPT_OK;
}

/* `again`: after a verification that did not pass, without the uniform policies. */
static mpt_status run_stage(search *s, bool again, mpt_error *error) {
  mpt_layer_policy *assignment = calloc((size_t)s->graph->layer_count, sizeof *assignment);
  int *choice = calloc((size_t)s->space->unit_count + 1, sizeof *choice);
  mpt_status status = MPT_OK;
  if (assignment == NULL || choice == NULL) {
    status = mpt_fail_memory(error, "an assignment", 0);
    goto fail;
  }
  if (!again)
    MPT_TRY(uniform_candidates(s, assignment, error));
  MPT_TRY(sensitivity_fit(s, error));
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
  if (c->choice != NULL && count > 0 && sensitivity_veto_of(s, c) == NULL) {
    const double mean = fmin(sum / count, DIVERGED_BUDGETS * s->margin);
    const double deviation = fmax(s->noise, 0.02 * s->margin) / sqrt(count);
    MPT_RETURN_IF_FAILED(predictor_observe(s->predictor, c->choice, mean, deviation, error));
  }
  return run_stage(s, true, error);
}
