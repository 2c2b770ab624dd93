#include "tuner/requests.h"
#include "base/error.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void requests_clear(requests *all) {
  free(all->list);
  *all = (requests){0};
}

mpt_status requests_add(requests *all, const evaluation_request *r, const candidate *c,
                        mpt_error *error) {
  for (int i = 0; i < all->count; i++)
    if (request_is_same(&all->list[i].request, r))
      return MPT_OK;
  if (all->count == all->capacity) {
    const int capacity = 2 * all->capacity + 16;
    asked *grown = realloc(all->list, (size_t)capacity * sizeof *grown);
    if (grown == NULL)
      return mpt_fail_memory(error, "requests", (size_t)capacity * sizeof *grown);
    all->list = grown;
    all->capacity = capacity;
  }
  all->list[all->count++] = (asked){*r, c};
  return MPT_OK;
}

bool request_is_same(const evaluation_request *a, const evaluation_request *b) {
  return a->kind == b->kind && a->seed == b->seed && a->steps == b->steps &&
         strcmp(a->key, b->key) == 0 && strcmp(a->policy, b->policy) == 0;
}

evaluation_request request_of(const problem *p, const candidate *c, request_kind kind,
                              uint64_t seed, const char *purpose) {
  evaluation_request r = {.kind = kind,
                          .assignment = c->assignment,
                          .loss_scale = c->loss_scale,
                          .seed = seed,
                          .steps = p->steps};
  memcpy(r.policy, c->hash, sizeof r.policy);
  memcpy(r.condition, p->condition.hash, sizeof r.condition);
  snprintf(r.purpose, sizeof r.purpose, "%s", purpose);
  return r;
}

/* Ten budgets of training loss behind, and half a percent of it at least: no verdict hangs on a run
 * that is this far off. */
static request_limit limit_of(const problem *p, const ledger *l, const model *m, uint64_t seed,
                              const char *purpose) {
  if (!p->may_give_up || strcmp(purpose, "candidate") != 0 || seed != l->reference_seed[0])
    return (request_limit){0};
  return (request_limit){.losses = l->reference_losses, .hopeless = fmax(10 * m->margin, 0.5)};
}

mpt_status ask_training(const problem *p, const ledger *l, const model *m, const candidate *c,
                        uint64_t seed, const char *purpose, requests *out, mpt_error *error) {
  if (ledger_training(l, c, seed) != NULL)
    return MPT_OK;
  evaluation_request r = request_of(p, c, REQUEST_TRAIN, seed, purpose);
  r.limit = limit_of(p, l, m, seed, purpose);
  candidate_key(p, c, seed, r.key);
  return requests_add(out, &r, c, error);
}
