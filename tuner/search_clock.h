/* The clock of a search: its wall time and limit, whether it is to end, and how far it has come. */
#ifndef SEARCH_CLOCK_H
#define SEARCH_CLOCK_H

#include "store/store.h"

typedef struct search_clock {
  const volatile int *interrupted; /* set by a signal; NULL: never */
  double most_seconds;             /* 0: no limit */
  double started;                  /* monotonic seconds */
  double earlier_seconds;          /* spent by earlier processes of the same run */
  store *store;                    /* where wall time is kept, NULL: nowhere; borrowed */
  int64_t process;                 /* this one, in the store */

  int finished;            /* evaluations, trained or found in the store */
  int planned;             /* how many there may be in all, for the progress line */
  double finished_seconds; /* what they took when they were trained */
  char best[64];           /* label of the best policy at the last decision, or "" */
  double best_share;       /* its step time, of the reference's */
} search_clock;

void search_clock_start(search_clock *k, const volatile int *interrupted, double most_seconds);
/* Wall time is kept in that store from now on, and what it has of earlier processes counts. */
mpt_status search_clock_keep(search_clock *k, store *s, mpt_error *error);
bool search_interrupted(const search_clock *k);
bool search_out_of_time(const search_clock *k);
/* Wall time of the search, by this process and earlier ones; kept in the store at every call. */
mpt_status search_spent(search_clock *k, double *seconds, mpt_error *error);

#endif
