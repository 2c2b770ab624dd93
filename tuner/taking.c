#include "tuner/taking.h"
#include "base/error.h"
#include "tuner/timing.h"

mpt_status take_training(const problem *p, ledger *l, model *m, candidate *c, uint64_t seed,
                         const char *purpose, requests *out, const training **taken,
                         mpt_error *error) {
  const int before = out->count;
  training *t = ledger_training(l, c, seed);
  *taken = NULL;
  if (t == NULL)
    return ask_training(p, l, m, c, seed, purpose, out, error);
  if (!t->time_taken)
    MPT_RETURN_IF_FAILED(timing_of_training(p, l, m, c, t, out, error));
  if (out->count > before)
    return MPT_OK;
  t->time_taken = true;
  *taken = t;
  return MPT_OK;
}
