/* The policies that a search looks at: one for each assignment and loss scale. */
#include "tuner/candidate.h"
#include "base/error.h"
#include "base/shown.h"
#include "tuner/ledger.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

void candidate_clear(candidate *c) {
  free(c->assignment);
  free(c->choice);
  *c = (candidate){0};
}

/* Infinite where one diverged: the mean that GSL updates value by value is NaN behind infinity. */
double candidate_mean(const candidate *c) {
  if (c->seed_count == 0)
    return NAN;
  double sum = 0;
  for (int i = 0; i < c->seed_count; i++)
    sum += c->difference[i];
  return sum / c->seed_count;
}

mpt_status ledger_candidate(ledger *l, const problem *p, const profile *prices,
                            const mpt_layer_policy *assignment, mpt_loss_scale_policy loss_scale,
                            const char *label, candidate **out, mpt_error *error) {
  const size_t bytes = (size_t)p->graph->layer_count * sizeof *assignment;
  const mpt_loss_scale_policy scale = candidate_scale(p, assignment, loss_scale);
  char *text = candidate_text(p, assignment, scale);
  if (text == NULL)
    return mpt_fail_memory(error, "an assignment", bytes);
  char hash[65];
  store_hash(text, strlen(text), hash);
  free(text);
  for (int i = 0; i < l->candidate_count; i++) {
    if (strcmp(l->candidates[i]->hash, hash) != 0)
      continue;
    *out = l->candidates[i];
    return MPT_OK;
  }
  if (l->candidate_count == l->candidate_capacity) {
    int capacity = 2 * l->candidate_capacity + 16;
    candidate **grown = realloc(l->candidates, (size_t)capacity * sizeof *grown);
    if (grown == NULL)
      return mpt_fail_memory(error, "candidates", (size_t)capacity * sizeof *grown);
    l->candidates = grown;
    l->candidate_capacity = capacity;
  }
  candidate *c = calloc(1, sizeof *c);
  if (c != NULL)
    c->assignment = malloc(bytes);
  if (c != NULL)
    c->choice = malloc((size_t)p->space->unit_count * sizeof(int));
  if (c == NULL || c->assignment == NULL || c->choice == NULL) {
    if (c != NULL)
      candidate_clear(c);
    free(c);
    return mpt_fail_memory(error, "a candidate", bytes);
  }
  memcpy(c->assignment, assignment, bytes);
  if (!space_choices(p->space, assignment, c->choice)) {
    free(c->choice);
    c->choice = NULL;
  }
  c->permitted = c->choice != NULL;
  c->loss_scale = scale;
  c->predicted = NAN;
  mpt_copy_text(c->label, sizeof c->label, label);
  mpt_status status = candidate_price(l, p, prices, c, error);
  if (status != MPT_OK) {
    candidate_clear(c);
    free(c);
    return status;
  }
  l->candidates[l->candidate_count++] = c;
  *out = c;
  return MPT_OK;
}
