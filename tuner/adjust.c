/* Stage 6: propose, train, look, correct, propose again.
 *
 * First the uniform policies. Then, until it settles: the fastest policy that is predicted to meet
 * the budget is trained; what it did corrects the prediction. When that policy has been trained and
 * does meet the budget, the same question is asked with a prediction that is one deviation kinder
 * to what is uncertain (slack is looked for where it may be); when that proposes nothing faster
 * that is new, the search is over.
 */
#include "base/error.h"
#include "tuner/learning.h"
#include "tuner/proposal.h"
#include "tuner/recipes.h"
#include "tuner/results.h"
#include "tuner/stages.h"
#include "tuner/standing.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- one policy ---- */

/* policy.yaml, from the moment there is one. */
static mpt_status write_best(const problem *p, ledger *l, const model *m, mpt_error *error) {
  candidate *best = best_so_far(l, m);
  const search_view view = {.problem = p, .ledger = l, .model = m};
  if (best == NULL || best->written)
    return MPT_OK;
  best->written = true;
  MPT_RETURN_IF_FAILED(ledger_see(l, error));
  return write_policy(&view, best, MPT_VERDICT_UNVERIFIED, error);
}

/* Under another seed until it is known where the policy stands, and learns from it. */
static mpt_status try_candidate(const problem *p, ledger *l, model *m, search_clock *k,
                                candidate *c, requests *out, mpt_error *error) {
  do {
    bool taken = false;
    MPT_RETURN_IF_FAILED(try_seed(p, l, m, c, out, &taken, error));
    if (!taken)
      return MPT_OK;
    MPT_RETURN_IF_FAILED(learn_seed(p, l, m, c, error));
    show_best(k, l, m);
  } while (candidate_standing(l, m, c) == STANDING_CLOSE &&
           l->trainings < p->options->max_evaluations);
  MPT_RETURN_IF_FAILED(learn_trial(m, c, error));
  return write_best(p, l, m, error);
}

/* ---- uniform policies, and what other tools go by ---- */

/* What is slower than the reference is timed, not trained. */
static bool is_worth_trying(const ledger *l, const model *m, const candidate *c) {
  return strcmp(c->hash, l->reference.hash) != 0 && c->untimed[0] == '\0' && c->permitted &&
         c->seed_count == 0 && is_faster(m, c->seconds, time_limit(l));
}

static mpt_status uniform_candidate(const problem *p, ledger *l, const model *m,
                                    mpt_precision precision, mpt_layer_policy *assignment,
                                    adjusting *a, mpt_error *error) {
  candidate *c = NULL;
  bool permitted = true;
  char label[64];
  space_uniform(p->space, precision, assignment, &permitted);
  snprintf(label, sizeof label, "all-%s", mpt_precision_name(precision));
  MPT_RETURN_IF_FAILED(
      ledger_candidate(l, p, &m->prices, assignment, p->workload->loss_scale, label, &c, error));
  if (c->uniform) /* a network without GEMMs: several precisions are one policy */
    return MPT_OK;
  c->uniform = true;
  c->precision = precision;
  c->permitted = permitted;
  a->uniform[a->uniform_count++] = c;
  return MPT_OK;
}

static mpt_status uniform_candidates(const problem *p, ledger *l, const model *m, adjusting *a,
                                     mpt_error *error) {
  mpt_layer_policy *assignment = calloc((size_t)p->graph->layer_count, sizeof *assignment);
  mpt_status status = MPT_OK;
  if (assignment == NULL)
    return mpt_fail_memory(error, "an assignment", 0);
  for (int q = 0; q < MPT_PRECISION_COUNT && status == MPT_OK; q++)
    status = uniform_candidate(p, l, m, (mpt_precision)q, assignment, a, error);
  free(assignment);
  return status;
}

static int by_seconds(const void *a, const void *b) {
  const candidate *x = *(candidate *const *)a, *y = *(candidate *const *)b;
  return x->seconds != y->seconds ? (x->seconds > y->seconds) - (x->seconds < y->seconds)
                                  : (int)x->precision - (int)y->precision;
}

/* All are timed, and then in the order of their times. */
static mpt_status time_uniform(const problem *p, ledger *l, model *m, adjusting *a, requests *out,
                               mpt_error *error) {
  if (a->uniform_count == 0)
    MPT_RETURN_IF_FAILED(uniform_candidates(p, l, m, a, error));
  for (int i = 0; i < a->uniform_count; i++)
    if (strcmp(a->uniform[i]->hash, l->reference.hash) != 0)
      MPT_RETURN_IF_FAILED(timing_measure(p, l, m, a->uniform[i], out, error));
  if (out->count == 0)
    qsort(a->uniform, (size_t)a->uniform_count, sizeof a->uniform[0], by_seconds);
  return MPT_OK;
}

/* The first trainings of those that come after the one that is tried, as many as there will be,
 * whatever comes of it: each may take all of the reference's seeds. */
static mpt_status ask_uniform(const problem *p, const ledger *l, const model *m, const adjusting *a,
                              requests *out, mpt_error *error) {
  int most = l->trainings + l->reference_seeds - a->trying->seed_count;
  for (int i = a->next + 1; i < a->uniform_count && most < p->options->max_evaluations; i++) {
    const candidate *c = a->uniform[i];
    if (!is_worth_trying(l, m, c))
      continue;
    MPT_RETURN_IF_FAILED(
        ask_training(p, l, m, c, l->reference_seed[0], trial_purpose(c), out, error));
    most += l->reference_seeds;
  }
  return MPT_OK;
}

/* From the fastest on: a limit leaves out those that promise least. */
static mpt_status try_uniform(const problem *p, ledger *l, model *m, search_clock *k, adjusting *a,
                              requests *out, mpt_error *error) {
  for (; a->next < a->uniform_count; a->next++) {
    candidate *c = a->uniform[a->next];
    if (a->trying == NULL &&
        (!is_worth_trying(l, m, c) || l->trainings >= p->options->max_evaluations))
      continue;
    a->trying = c;
    MPT_RETURN_IF_FAILED(try_candidate(p, l, m, k, c, out, error));
    if (out->count > 0)
      return ask_uniform(p, l, m, a, out, error);
    a->trying = NULL;
  }
  return MPT_OK;
}

/* torchao's rule is what a person might have used instead, like a uniform policy. */
static mpt_status baseline_candidate(const problem *p, ledger *l, const model *m, candidate **out,
                                     mpt_error *error) {
  mpt_layer_policy *assignment = calloc((size_t)p->graph->layer_count, sizeof *assignment);
  if (assignment == NULL)
    return mpt_fail_memory(error, "an assignment", 0);
  recipe_assignment(p->space, RECIPE_TORCHAO, assignment);
  const mpt_status status = ledger_candidate(l, p, &m->prices, assignment, p->workload->loss_scale,
                                             recipe_label(RECIPE_TORCHAO), out, error);
  free(assignment);
  return status;
}

static mpt_status try_baseline(const problem *p, ledger *l, model *m, search_clock *k, adjusting *a,
                               requests *out, mpt_error *error) {
  if (!p->options->baselines && !p->place.measures)
    return MPT_OK;
  if (a->baseline == NULL) {
    MPT_RETURN_IF_FAILED(baseline_candidate(p, l, m, &a->baseline, error));
    if (a->baseline->uniform) /* its rule came to one of them here */
      return MPT_OK;
    a->baseline->uniform = true;
  }
  candidate *c = a->baseline;
  if (a->trying == NULL) {
    if (strcmp(c->hash, l->reference.hash) != 0)
      MPT_RETURN_IF_FAILED(timing_measure(p, l, m, c, out, error));
    if (out->count > 0 || !is_worth_trying(l, m, c) || l->trainings >= p->options->max_evaluations)
      return MPT_OK;
    a->trying = c;
  }
  MPT_RETURN_IF_FAILED(try_candidate(p, l, m, k, c, out, error));
  if (out->count == 0)
    a->trying = NULL;
  return MPT_OK;
}

/* ---- proposals ---- */

/* *out is NULL when no other training is expected to be of use, or the limit is reached. */
static bool is_anything_trained(const ledger *l) {
  bool trained = l->reference.permitted;
  for (int i = 0; i < l->candidate_count; i++)
    trained = trained || (l->candidates[i]->permitted && l->candidates[i]->seed_count > 0);
  return trained;
}

static mpt_status choose_next(const problem *p, ledger *l, const model *m, const search_clock *k,
                              candidate **out, mpt_error *error) {
  candidate *c = NULL;
  *out = NULL;
  if (l->trainings >= p->options->max_evaluations || search_out_of_time(k))
    return MPT_OK;
  MPT_RETURN_IF_FAILED(proposal_next(p, l, m, 0, &c, error));
  const candidate *best = best_so_far(l, m);
  const double least = best != NULL ? best->seconds : time_limit(l);
  /* What is not faster by more than noise than what already meets the budget is not worth a run. */
  if (c == NULL || candidate_standing(l, m, c) == STANDING_MEETS ||
      !is_faster(m, c->seconds, least)) {
    MPT_RETURN_IF_FAILED(proposal_next(p, l, m, 1, &c, error));
    if (c == NULL && !is_anything_trained(l)) { /* what is predicted is not known yet */
      MPT_RETURN_IF_FAILED(proposal_most_accurate(p, l, m, &c, error));
      *out = c != NULL && c->untimed[0] == '\0' ? c : NULL;
      return MPT_OK;
    }
    if (c == NULL || candidate_standing(l, m, c) != STANDING_UNKNOWN ||
        !is_faster(m, c->seconds, least))
      return MPT_OK;
  }
  *out = c;
  return MPT_OK;
}

static mpt_status try_proposals(const problem *p, ledger *l, model *m, search_clock *k,
                                adjusting *a, requests *out, mpt_error *error) {
  for (;;) {
    if (a->trying == NULL)
      MPT_RETURN_IF_FAILED(choose_next(p, l, m, k, &a->trying, error));
    if (a->trying == NULL)
      return MPT_OK;
    MPT_RETURN_IF_FAILED(try_candidate(p, l, m, k, a->trying, out, error));
    if (out->count > 0)
      return MPT_OK;
    a->trying = NULL;
    MPT_RETURN_IF_FAILED(model_fit(m, l, error));
  }
}

/* ---- the stage ---- */

mpt_status stage_adjust(const problem *p, ledger *l, model *m, search_clock *k, adjusting *a,
                        requests *out, mpt_error *error) {
  for (;; a->at++) {
    switch (a->at) {
    case ADJUST_TIME_UNIFORM:
      MPT_RETURN_IF_FAILED(time_uniform(p, l, m, a, out, error));
      break;
    case ADJUST_TRY_UNIFORM:
      MPT_RETURN_IF_FAILED(try_uniform(p, l, m, k, a, out, error));
      break;
    case ADJUST_TRY_BASELINE:
      MPT_RETURN_IF_FAILED(try_baseline(p, l, m, k, a, out, error));
      break;
    case ADJUST_FIT:
      MPT_RETURN_IF_FAILED(model_fit(m, l, error));
      break;
    case ADJUST_PROPOSE:
      return try_proposals(p, l, m, k, a, out, error);
    }
    if (out->count > 0)
      return MPT_OK;
  }
}

mpt_status adjust_again(model *m, const candidate *c, adjusting *a, mpt_error *error) {
  *a = (adjusting){.at = ADJUST_FIT};
  return learn_verification(m, c, error);
}
