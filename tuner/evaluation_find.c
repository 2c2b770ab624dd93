/* The record of a training in the store. */
#include "base/error.h"
#include "tuner/search.h"
#include <string.h>

/* What is kept under the key must be of what the key is made from. */
mpt_status evaluation_find(search *s, const candidate *c, uint64_t seed, const char *key,
                           bool *found, store_evaluation *e, mpt_error *error) {
  MPT_RETURN_IF_FAILED(store_find_evaluation(s->ledger.store, key, found, e, error));
  if (!*found ||
      (strcmp(e->policy, c->hash) == 0 && e->seed == seed && e->steps == s->problem.steps))
    return MPT_OK;
  const long long id = e->id;
  store_evaluation_clear(e);
  return store_damaged(s->ledger.store, error, "evaluation %lld has the key of another", id);
}
