/* A policy under the reference's seeds: what each pair of trainings says. */
#include "base/error.h"
#include "base/shown.h"
#include "tuner/stages.h"
#include "tuner/taking.h"
#include <math.h>

const char *trial_purpose(const candidate *c) {
  return c->uniform ? "uniform" : "candidate";
}

mpt_status try_seed(const problem *p, ledger *l, model *m, candidate *c, requests *out, bool *taken,
                    mpt_error *error) {
  const int i = c->seed_count;
  const training *t = NULL;
  if (i >= l->reference_seeds)
    return mpt_fail(error, MPT_ERROR_INTERNAL, "no search seed is left");
  MPT_RETURN_IF_FAILED(
      take_training(p, l, m, c, l->reference_seed[i], trial_purpose(c), out, &t, error));
  *taken = t != NULL;
  if (t == NULL)
    return MPT_OK;
  if (t->left_out) /* its row says so */
    mpt_copy_text(c->untimed, sizeof c->untimed, t->failure);
  c->difference[i] = t->diverged || t->stopped || !isfinite(t->metric)
                         ? INFINITY
                         : p->sign * (t->metric - l->reference_metric[i]);
  c->memory_bytes = t->memory_bytes;
  c->seed_count++;
  l->trainings++;
  return MPT_OK;
}
