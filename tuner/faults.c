/* Devices that fail, or are too small: what that says of the policy that was trained. */
#include "base/error.h"
#include "base/progress.h"
#include "store/run_faults.h"
#include "tuner/search.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

mpt_status search_failed_device(mpt_status status, mpt_error *error) {
  if (status != MPT_ERROR_DEVICE || error == NULL)
    return status;
  const size_t length = strlen(error->message);
  snprintf(error->message + length, sizeof error->message - length,
           "; what was learned is saved, the same command continues");
  return status;
}

/* A candidate that does not fit into the device's memory failed; without the reference there is
 * nothing to compare with. The host's memory says nothing of a candidate. */
mpt_status fault_memory(search *s, const candidate *c, store_evaluation *evaluation,
                        mpt_error *error) {
  if (c == &s->ledger.reference)
    return MPT_ERROR_DEVICE_MEMORY;
  mpt_log_warning("%s: %s", c->label, error == NULL ? "out of memory" : error->message);
  *evaluation = (store_evaluation){.diverged = true, .metric = NAN};
  return MPT_OK;
}

/* An evaluation in which the device failed twice is taken for failed: a search that continues does
 * not meet the same error for ever. It is tried once more, since the device may be to blame. */
mpt_status fault_note(search *s, const candidate *c, const evaluation_request *r,
                      const mpt_error *why, mpt_error *error) {
  bool again = false;
  MPT_RETURN_IF_FAILED(store_has_fault(s->ledger.store, r->key, &again, error));
  if (!again)
    return store_put_fault(s->ledger.store, r->key, error);
  char failure[820];
  snprintf(failure, sizeof failure, "the device failed twice: %s", why->message);
  store_evaluation e = {.seed = r->seed,
                        .steps = s->problem.steps,
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
  memcpy(e.condition, s->problem.condition.hash, sizeof e.condition);
  snprintf(e.purpose, sizeof e.purpose, "%s", r->purpose);
  return store_put_evaluation(s->ledger.store, &e, error);
}
