/* The record of a training in the store. Its key is a hash over everything that decides its result,
 * so nothing is trained twice and a killed search replays its decisions from the store. */
#include "base/error.h"
#include "base/text.h"
#include "tuner/search.h"
#include <assert.h>
#include <string.h>

void evaluation_key(const search *s, const candidate *c, uint64_t seed, char key[65]) {
  char memory[512];
  mpt_text text = mpt_text_over(memory, sizeof memory);
  const mpt_loss_scale_policy *scale = &c->loss_scale;
  mpt_text_addf(&text, "policy %s\ncondition %s\nseed %llu\nloss scale %d %.9g\n", c->hash,
                s->condition.hash, (unsigned long long)seed, (int)scale->mode,
                (double)scale->initial);
  assert(!text.failed);
  store_hash(text.data, text.length, key);
}

/* What is kept under the key must be of what the key is made from. */
mpt_status evaluation_find(search *s, const candidate *c, uint64_t seed, const char *key,
                           bool *found, store_evaluation *e, mpt_error *error) {
  MPT_RETURN_IF_FAILED(store_find_evaluation(s->store, key, found, e, error));
  if (!*found || (strcmp(e->policy, c->hash) == 0 && e->seed == seed && e->steps == s->steps))
    return MPT_OK;
  const long long id = e->id;
  store_evaluation_clear(e);
  return store_damaged(s->store, error, "evaluation %lld has the key of another", id);
}
