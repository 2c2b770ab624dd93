/* The reference as a search found it: its metric over the search's seeds, and what a step takes. */
#ifndef RUN_REFERENCE_H
#define RUN_REFERENCE_H

#include "base/arena.h"
#include "store/store.h"

/* Of one that was read, what is not known is NULL, NaN, or no list. */
typedef struct store_reference {
  mpt_arena memory;      /* what was read */
  const char *policy;    /* hash */
  const char *observed;  /* key of the training that was instrumented */
  const int64_t *seeds;  /* [seed_count], of the search */
  const double *metrics; /* [metric_count], of those seeds */
  int seed_count, metric_count;
  double metric_mean, metric_deviation;
  const char *noise_note;      /* for people; empty: nothing to say */
  double step_seconds, margin; /* margin: the budget in the metric's units */
} store_reference;

/* `keep`: one that is there stays. */
mpt_status store_put_reference(store *s, const store_reference *reference, bool keep,
                               mpt_error *error);
mpt_status store_get_reference(store *s, store_reference *reference, bool *found, mpt_error *error);
void store_reference_clear(store_reference *reference);
struct json_t *store_reference_json(const store_reference *reference); /* NULL: no memory */

#endif
