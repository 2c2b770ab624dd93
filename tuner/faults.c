/* Devices that fail: what that says of the policy that was trained. */
#include "base/error.h"
#include "store/run_faults.h"
#include "tuner/ledger.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

mpt_status fault_ends(mpt_status status, mpt_error *error) {
  if (status != MPT_ERROR_DEVICE || error == NULL)
    return status;
  const size_t length = strlen(error->message);
  snprintf(error->message + length, sizeof error->message - length,
           "; what was learned is saved, the same command continues");
  return status;
}

/* In place of the key of an evaluation. */
static void timing_key(const candidate *c, char key[80]) {
  snprintf(key, 80, "timed %s", c->hash);
}

mpt_status fault_timing_noted(const ledger *l, const candidate *c, bool *noted, mpt_error *error) {
  char key[80];
  timing_key(c, key);
  return store_has_fault(l->store, key, noted, error);
}

mpt_status fault_note_timing(ledger *l, const candidate *c, mpt_error *error) {
  char key[80];
  timing_key(c, key);
  return store_put_fault(l->store, key, error);
}

/* An evaluation in which the device failed twice is taken for failed: a search that continues does
 * not meet the same error for ever. It is tried once more, since the device may be to blame. */
mpt_status fault_note(ledger *l, const candidate *c, const evaluation_request *r,
                      const mpt_error *why, mpt_error *error) {
  bool again = false;
  MPT_RETURN_IF_FAILED(store_has_fault(l->store, r->key, &again, error));
  if (!again)
    return store_put_fault(l->store, r->key, error);
  char failure[820];
  snprintf(failure, sizeof failure, "the device failed twice: %s", why->message);
  store_evaluation e = {.seed = r->seed,
                        .steps = r->steps,
                        .diverged = true,
                        .metric = NAN,
                        .metric_plain = NAN,
                        .held_out_loss = NAN,
                        .output_difference = NAN,
                        .host_seconds = NAN,
                        .failure = failure,
                        .time = (int64_t)time(NULL)};
  memcpy(e.key, r->key, sizeof e.key);
  memcpy(e.policy, c->hash, sizeof e.policy);
  memcpy(e.condition, r->condition, sizeof e.condition);
  snprintf(e.purpose, sizeof e.purpose, "%s", r->purpose);
  return store_put_evaluation(l->store, &e, error);
}
