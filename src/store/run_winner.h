/* What a search came to: the policy that was written, why each layer has its format, and the
 * policies of the summary. */
#ifndef RUN_WINNER_H
#define RUN_WINNER_H

#include "base/arena.h"
#include "store/store.h"

/* Of one that was read, what is not known is NULL, NaN, -1, or no list; flags are false. */

typedef struct store_interval {
  double lower, upper; /* NaN: nothing bounds it */
  bool relative;       /* the bounds are shares; else in the metric's units */
  double confidence;
} store_interval;

/* A policy against the reference, from pairs of trainings that differ in the policy alone. */
typedef struct store_accuracy {
  double metric, reference_metric;             /* means over the pairs */
  double worse_by_absolute, worse_by_relative; /* mean difference; positive is worse */
  double deviation_of_pairs;
  store_interval interval; /* of the mean difference */
  int64_t pairs;           /* in which both trainings finished */
  bool fresh;              /* they are those of verification */
  int64_t diverged, given_up, reference_diverged;
} store_accuracy;
struct json_t *store_accuracy_json(const store_accuracy *accuracy); /* NULL: no memory */

typedef struct store_row {
  const char *label, *policy; /* hash */
  double step_seconds, predicted_seconds;
  bool measured;       /* step_seconds */
  double ratio;        /* to the reference's step */
  const char *verdict; /* or what stands in place of one: "timed only" */
  bool winner, reference;
  int64_t memory_bytes; /* -1: not known at the size that is priced */
  store_accuracy accuracy;
} store_row;
struct json_t *store_row_json(const store_row *row); /* NULL: no memory */

typedef struct store_reason {
  const char *layer;
  const char *formats; /* as a text: mpt_layer_policy_parse */
  const char *reason, *flip;
} store_reason;

typedef struct store_winner {
  mpt_arena memory; /* what was read */
  int verdict;      /* mpt_verdict of what was written; -1: not known */
  bool gain;        /* a policy other than the reference won */
  const char *message;
  bool predicted;        /* step times */
  const store_row *rows; /* [row_count] */
  int row_count;
  double tuning_seconds;
  double payback_seconds; /* NaN: never */
  const char *otherwise;  /* the label of what it pays beside */
  int64_t evaluations;    /* trainings of candidates before verification */
  /* NULL, NaN and none where no policy was written. */
  const char *policy, *label;   /* hash */
  const store_pair *assignment; /* [assignment_count]: the formats of each layer that has one */
  int assignment_count;
  double step_seconds, reference_seconds, otherwise_seconds, ratio;
  const store_reason *reasons; /* [reason_count]: of each layer whose format is chosen */
  int reason_count;
} store_winner;

mpt_status store_put_winner(store *s, const store_winner *winner, mpt_error *error);
mpt_status store_get_winner(store *s, store_winner *winner, bool *found, mpt_error *error);
void store_winner_clear(store_winner *winner);
struct json_t *store_winner_json(const store_winner *winner); /* NULL: no memory */

#endif
