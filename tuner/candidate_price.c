/* What a policy's step is predicted to take, and its row in the store. */
#include "base/error.h"
#include "tuner/label.h"
#include "tuner/ledger.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A label from a file's name that another policy in the store has got a number: that policy may be
 * what the file held before. */
static mpt_status own_label(ledger *l, candidate *c, mpt_error *error) {
  char label[LABEL_SIZE];
  bool taken = true;
  for (int number = 1; taken; number++) {
    label_path(c->label, number, label);
    MPT_RETURN_IF_FAILED(store_label_taken(l->store, label, c->hash, &taken, error));
  }
  memcpy(c->label, label, sizeof c->label);
  return MPT_OK;
}

/* Its formats and its price, in the store. */
static mpt_status note_price(ledger *l, const problem *p, candidate *c, char *text,
                             mpt_error *error) {
  if (!l->owner)
    MPT_RETURN_IF_FAILED(own_label(l, c, error));
  else if (strncmp(c->label, LABEL_CANDIDATE, strlen(LABEL_CANDIDATE)) == 0)
    MPT_RETURN_IF_FAILED(label_candidate(l->store, c->hash, l->trainings + 1, c->label, error));
  const double seconds = cost_uncorrected(&c->cost);
  store_policy policy = {
      .assignment = text, .predicted_increase = c->predicted, .predicted_seconds = seconds};
  memcpy(policy.hash, c->hash, sizeof policy.hash);
  snprintf(policy.label, sizeof policy.label, "%s", c->label);
  MPT_RETURN_IF_FAILED(l->owner ? store_put_policy(l->store, &policy, error)
                                : store_add_policy(l->store, &policy, error));
  store_time time = {.measured = false,
                     .seconds = seconds,
                     .parts = {.noise = NAN,
                               .gemms = c->cost.gemms,
                               .copies = c->cost.copies,
                               .passes = c->cost.passes,
                               .extrapolated = c->cost.extrapolated}};
  memcpy(time.policy, c->hash, sizeof time.policy);
  snprintf(time.device, sizeof time.device, "%s", p->profile_identity);
  return store_put_time(l->store, &time, error);
}

mpt_status candidate_price(ledger *l, const problem *p, const profile *prices, candidate *c,
                           mpt_error *error) {
  char *text = candidate_text(p, c->assignment, c->loss_scale);
  if (text == NULL)
    return mpt_fail_memory(error, "an assignment", 0);
  store_hash(text, strlen(text), c->hash);
  mpt_status status =
      cost_predict(p->priced, prices, &p->workload->optimizer, c->assignment, &c->cost, error);
  c->seconds = c->timed.count > 0 ? timing_seconds(&c->timed) : c->cost.total;
  if (status == MPT_OK && l->store != NULL)
    status = note_price(l, p, c, text, error);
  free(text);
  return status;
}
