#include "tuner/ledger.h"
#include "base/error.h"
#include <stdio.h>
#include <stdlib.h>

static mpt_status open_store(ledger *l, const problem *p, mpt_error *error) {
  MPT_RETURN_IF_FAILED(store_open(p->options->run, STORE_WRITE, &l->store, error));
  MPT_RETURN_IF_FAILED(definition_note(l, p, error));
  return store_put_condition(l->store, &p->condition, error);
}

static mpt_status open_reference(ledger *l, const problem *p, mpt_error *error) {
  candidate *r = &l->reference;
  r->assignment = calloc((size_t)p->graph->layer_count, sizeof *r->assignment);
  r->choice = calloc((size_t)p->space->unit_count + 1, sizeof *r->choice);
  if (r->assignment == NULL || r->choice == NULL)
    return mpt_fail_memory(error, "the reference", 0);
  space_uniform(p->space, p->workload->reference, r->assignment, &r->permitted);
  r->permitted = space_choices(p->space, r->assignment, r->choice);
  r->uniform = true;
  r->precision = p->workload->reference;
  r->loss_scale = p->workload->loss_scale;
  r->predicted = 0;
  snprintf(r->label, sizeof r->label, "all-%s", mpt_precision_name(p->workload->reference));
  return candidate_price(l, p, p->profile, r, error);
}

mpt_status ledger_open(ledger *l, const problem *p, bool owner, mpt_error *error) {
  *l = (ledger){.owner = owner};
  if (!p->options->dry_run)
    MPT_RETURN_IF_FAILED(open_store(l, p, error));
  return open_reference(l, p, error);
}

void ledger_close(ledger *l) {
  for (int i = 0; i < l->candidate_count; i++) {
    candidate_clear(l->candidates[i]);
    free(l->candidates[i]);
  }
  free(l->candidates);
  free(l->reference_losses);
  candidate_clear(&l->reference);
  store_close(l->store);
  *l = (ledger){0};
}
