/* The clock of a search: its wall time, and whether it is to end. */
#include "base/clock.h"
#include "base/error.h"
#include "tuner/search.h"

bool search_interrupted(const search *s) {
  return s->options->interrupted != NULL && *s->options->interrupted != 0;
}

mpt_status search_spent(search *s, double *seconds, mpt_error *error) {
  const double own = mpt_clock_seconds() - s->started;
  *seconds = s->earlier_seconds + own;
  return s->owner ? store_put_process(s->store, s->process, own, error) : MPT_OK;
}
