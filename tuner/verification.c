/* Stage 7: fresh seeds, full length, paired with the reference (verify.h has the statistics).
 * Before the first fresh seed the policies to be looked at and their shares of alpha are written
 * down, the fastest first; they are worked off until one passes. A policy that does not pass
 * teaches the predictor, which may propose another: that one gets seeds of its own, and a share of
 * what is left of alpha. */
#include "base/error.h"
#include "base/progress.h"
#include "tuner/stages.h"
#include "tuner/standing.h"
#include "tuner/taking.h"
#include "tuner/verification_plan.h"
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>

/* ---- one policy ---- */

/* The verdict of the attempt that is being worked off. */
static mpt_status look(const ledger *l, const model *m, search_clock *k, candidate *c, int tried,
                       mpt_error *error) {
  MPT_RETURN_IF_FAILED(evidence_after(&l->records, c->hash, tried, &c->seen, error));
  c->verdict = c->seen.verified.verdict;
  show_best(k, l, m);
  return MPT_OK;
}

static bool is_look(int finished, int most) {
  for (int look = 0; look < VERIFY_LOOKS && verify_look_sizes[look] <= most; look++)
    if (verify_look_sizes[look] == finished)
      return true;
  return false;
}

/* How many pairs will have been tried at the next look, if none diverges. */
static int next_look(const verifying *v, int most) {
  int look = 0;
  while (look < VERIFY_LOOKS - 1 && verify_look_sizes[look] <= v->finished)
    look++;
  const int size = verify_look_sizes[look] < most ? verify_look_sizes[look] : most;
  const int tried = v->tried + (size > v->finished ? size - v->finished : 1);
  return tried < VERIFY_MOST_TRIED ? tried : VERIFY_MOST_TRIED;
}

static mpt_status ask_pairs(const problem *p, const ledger *l, const model *m, const verifying *v,
                            uint64_t first_seed, requests *out, mpt_error *error) {
  const int end = next_look(v, p->options->pairs);
  for (int i = v->tried; i < end; i++) {
    const uint64_t seed = first_seed + (uint64_t)i;
    MPT_RETURN_IF_FAILED(ask_training(p, l, m, &l->reference, seed, "verify", out, error));
    MPT_RETURN_IF_FAILED(ask_training(p, l, m, v->list[0], seed, "verify", out, error));
  }
  return MPT_OK;
}

static bool is_finished(const training *t) {
  return !t->diverged && isfinite(t->metric);
}

static void take_memory(candidate *c, const training *t) {
  if (t->memory_bytes > 0)
    c->memory_bytes = t->memory_bytes;
}

/* *taken is false while one of the two is not there. */
static mpt_status take_pair(const problem *p, ledger *l, model *m, candidate *c, uint64_t seed,
                            requests *out, bool *taken, bool *reference, bool *own,
                            mpt_error *error) {
  const training *first = NULL, *second = NULL;
  *taken = false;
  MPT_RETURN_IF_FAILED(take_training(p, l, m, &l->reference, seed, "verify", out, &first, error));
  if (first == NULL)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(take_training(p, l, m, c, seed, "verify", out, &second, error));
  if (second == NULL)
    return MPT_OK;
  *taken = true;
  *reference = is_finished(first);
  *own = is_finished(second);
  take_memory(&l->reference, first);
  take_memory(c, second);
  if (!*reference)
    mpt_log_warning("the reference diverged under seed %llu", (unsigned long long)seed);
  return MPT_OK;
}

/* Whether the look that was taken ends it. */
static bool is_settled(const verifying *v, int most) {
  const verify_result *r = &v->list[0]->seen.verified;
  return r->verdict != MPT_VERDICT_INCONCLUSIVE || v->finished >= most ||
         (v->finished > 0 && is_look(v->finished, most) && !r->may_still_pass);
}

/* Pair after pair until a look decides. Both sides run on every seed, whatever becomes of the
 * other: diverged ones are counted, not replaced. */
static mpt_status verify_first(const problem *p, ledger *l, model *m, search_clock *k, verifying *v,
                               requests *out, mpt_error *error) {
  candidate *c = v->list[0];
  const uint64_t first_seed = evidence_attempt(&l->records, c->hash)->first_seed;
  while (v->tried < VERIFY_MOST_TRIED) {
    bool taken = false, reference = false, own = false;
    MPT_RETURN_IF_FAILED(take_pair(p, l, m, c, first_seed + (uint64_t)v->tried, out, &taken,
                                   &reference, &own, error));
    if (!taken)
      return ask_pairs(p, l, m, v, first_seed, out, error);
    v->finished += reference && own;
    v->tried++;
    /* One that diverged may settle it by itself. */
    if (reference && own && !is_look(v->finished, p->options->pairs))
      continue;
    MPT_RETURN_IF_FAILED(look(l, m, k, c, v->tried, error));
    if (c->seen.verified.tried == 0 && v->tried > 1) {
      c->verdict = MPT_VERDICT_FAIL; /* it does not fit here: there is no record of it */
      return MPT_OK;
    }
    if (is_settled(v, p->options->pairs))
      return MPT_OK;
  }
  return MPT_OK;
}

/* After a policy that did not pass: the next one that is proposed must be predicted to cost less.
 * How much less is what its own noise asks for at the last look; at most nine tenths, at least a
 * quarter of it. */
static mpt_status lower_ceiling(const problem *p, model *m, const candidate *c, mpt_error *error) {
  double predicted;
  MPT_RETURN_IF_FAILED(model_predict(m, p, c, &predicted, error));
  if (predicted > m->ceiling) /* a uniform policy, which is verified all the same */
    return MPT_OK;
  const int last = p->options->pairs;
  const double quantile = gsl_cdf_tdist_Qinv(p->options->alpha / 4, last - 1);
  const double needed = m->margin - quantile * c->seen.deviation / sqrt(last);
  m->ceiling =
      isfinite(needed) ? fmax(0.25 * predicted, fmin(0.9 * predicted, needed)) : 0.5 * predicted;
  return MPT_OK;
}

/* ---- the stage ---- */

void verifying_clear(verifying *v) {
  free(v->list);
  turns_clear(&v->turns);
  *v = (verifying){0};
}

/* The list anew: who is plausible now. */
static mpt_status begin_list(const problem *p, const ledger *l, const model *m, verifying *v,
                             mpt_error *error) {
  free(v->list);
  v->list = NULL;
  v->count = 0;
  if (v->looked < VERIFY_MOST_ATTEMPTS)
    MPT_RETURN_IF_FAILED(plan_list(p, l, m, v->looked == 0, &v->list, &v->count, error));
  v->at = v->count == 0 ? VERIFY_OVER : VERIFY_TIME;
  /* Those that could be verified, when times are measured: the fastest are timed again in turn. */
  return turns_begin(&v->turns, p, m, v->list, v->count, v->looked + 1, error);
}

static mpt_status begin_pairs(const problem *p, ledger *l, const model *m, verifying *v,
                              mpt_error *error) {
  plan_order(m, v->list, v->count);
  v->tried = v->finished = 0;
  v->at = VERIFY_PAIRS;
  return plan_write_down(p, l, m, v->list, v->count, error);
}

static mpt_status end_pairs(const problem *p, model *m, verifying *v, mpt_error *error) {
  candidate *c = v->list[0];
  if (c->verdict == MPT_VERDICT_PASS) {
    v->winner = c;
    v->at = VERIFY_OVER;
    return MPT_OK;
  }
  MPT_RETURN_IF_FAILED(lower_ceiling(p, m, c, error));
  v->at = VERIFY_ADJUST;
  return adjust_again(m, c, &v->adjust, error);
}

mpt_status stage_verify(const problem *p, ledger *l, model *m, search_clock *k, verifying *v,
                        requests *out, mpt_error *error) {
  while (v->at != VERIFY_OVER) {
    switch (v->at) {
    case VERIFY_LIST:
      MPT_RETURN_IF_FAILED(begin_list(p, l, m, v, error));
      break;
    case VERIFY_TIME:
      MPT_RETURN_IF_FAILED(turns_go_on(&v->turns, p, l, m, out, error));
      if (out->count == 0)
        MPT_RETURN_IF_FAILED(begin_pairs(p, l, m, v, error));
      break;
    case VERIFY_PAIRS:
      MPT_RETURN_IF_FAILED(verify_first(p, l, m, k, v, out, error));
      if (out->count == 0)
        MPT_RETURN_IF_FAILED(end_pairs(p, m, v, error));
      break;
    case VERIFY_ADJUST:
      MPT_RETURN_IF_FAILED(stage_adjust(p, l, m, k, &v->adjust, out, error));
      if (out->count == 0) {
        v->looked++;
        v->at = VERIFY_LIST;
      }
      break;
    case VERIFY_OVER:
      break;
    }
    if (out->count > 0)
      return MPT_OK;
  }
  return MPT_OK;
}
