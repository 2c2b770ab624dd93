#include "tuner/search_clock.h"
#include "base/clock.h"
#include "base/error.h"

void search_clock_start(search_clock *k, const volatile int *interrupted, double most_seconds) {
  *k = (search_clock){
      .interrupted = interrupted, .most_seconds = most_seconds, .started = mpt_clock_seconds()};
}

mpt_status search_clock_keep(search_clock *k, store *s, mpt_error *error) {
  MPT_RETURN_IF_FAILED(store_begin_process(s, &k->process, error));
  k->store = s;
  return store_process_seconds(s, k->process, &k->earlier_seconds, error);
}

bool search_interrupted(const search_clock *k) {
  return k->interrupted != NULL && *k->interrupted != 0;
}

bool search_out_of_time(const search_clock *k) {
  return k->most_seconds > 0 &&
         mpt_clock_seconds() - k->started + k->earlier_seconds > k->most_seconds;
}

mpt_status search_spent(search_clock *k, double *seconds, mpt_error *error) {
  const double own = mpt_clock_seconds() - k->started;
  *seconds = k->earlier_seconds + own;
  return k->store != NULL ? store_put_process(k->store, k->process, own, error) : MPT_OK;
}
