#include "tuner/ledger.h"
#include "base/error.h"
#include "tuner/budget.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* What was ever evaluated in this run. Losses are not compared with again. */
static mpt_status open_records(ledger *l, const problem *p, mpt_error *error) {
  evidence_records *r = &l->records;
  *r = (evidence_records){.rule = budget_rule(p->workload, p->options->alpha),
                          .of_error = p->workload->budget.of_error,
                          .in_steps = metric_moves_in_steps((int)p->workload->metric),
                          .most_pairs = p->options->pairs};
  memcpy(r->condition, p->condition.hash, sizeof r->condition);
  memcpy(r->reference, l->reference.hash, sizeof r->reference);
  MPT_RETURN_IF_FAILED(evidence_load_records(l->store, r, error));
  for (int i = 0; i < r->evaluation_count; i++) {
    free(r->evaluations[i].losses);
    r->evaluations[i].losses = NULL;
  }
  return MPT_OK;
}

mpt_status ledger_open(ledger *l, const problem *p, bool owner, mpt_error *error) {
  *l = (ledger){.owner = owner};
  if (p->options->dry_run)
    return open_reference(l, p, error);
  MPT_RETURN_IF_FAILED(open_store(l, p, error));
  MPT_RETURN_IF_FAILED(open_reference(l, p, error));
  return open_records(l, p, error);
}

void ledger_close(ledger *l) {
  for (int i = 0; i < l->candidate_count; i++) {
    candidate_clear(l->candidates[i]);
    free(l->candidates[i]);
  }
  free(l->candidates);
  for (int i = 0; i < l->told_count; i++) {
    free(l->told[i].failure);
    free(l->told[i].losses);
  }
  free(l->told);
  free(l->timed);
  evidence_clear(&l->records);
  free(l->reference_losses);
  store_scores_clear(&l->scores);
  candidate_clear(&l->reference);
  store_close(l->store);
  *l = (ledger){0};
}

training *ledger_training(const ledger *l, const candidate *c, uint64_t seed) {
  for (int i = 0; i < l->told_count; i++)
    if (l->told[i].candidate == c && l->told[i].seed == seed)
      return &l->told[i];
  return NULL;
}

const timed_steps *ledger_timed(const ledger *l, const candidate *c, const char *name) {
  for (int i = 0; i < l->timed_count; i++)
    if (l->timed[i].candidate == c && strcmp(l->timed[i].name, name) == 0)
      return &l->timed[i];
  return NULL;
}

mpt_status ledger_see(ledger *l, mpt_error *error) {
  MPT_RETURN_IF_FAILED(evidence_of(&l->records, l->reference.hash, &l->reference.seen, error));
  for (int i = 0; i < l->candidate_count; i++)
    MPT_RETURN_IF_FAILED(
        evidence_of(&l->records, l->candidates[i]->hash, &l->candidates[i]->seen, error));
  return MPT_OK;
}
