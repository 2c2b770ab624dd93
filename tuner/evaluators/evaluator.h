/* What carries out the requests of a search: the built-in trainer, records that are replayed. The
 * search asks, an evaluator answers; it sees requests and records, and nothing of the search.
 *
 *   describe   what it is, and how many requests it takes at once
 *   submit     takes a request; what it points to must stay until its record was given out
 *   poll       the next record, in any order; trains or waits for it as long as that takes
 *   cancel     ends a request: its record has the status MPT_ERROR_INTERRUPTED
 *   close      gives back what it holds, records that were not fetched too
 *
 * docs/add-an-evaluator.md says how to write one. */
#ifndef EVALUATOR_H
#define EVALUATOR_H

#include "store/run_scores.h"
#include "store/timing_runs.h"

typedef enum request_kind {
  REQUEST_TRAIN,   /* from the start to the last step: an evaluation, and the time of its steps */
  REQUEST_OBSERVE, /* the same, instrumented: an observation too */
  REQUEST_TIME     /* a few steps: their time alone */
} request_kind;

enum { TIMING_LEAST_STEPS = 3 }; /* fewer say nothing of a step's time */

/* How often an instrumented training looks: at every n-th step, the first included. */
typedef struct request_instruments {
  int64_t statistics_every; /* full statistics of every layer and operand */
  int64_t probe_every;      /* what rounding would do to each product */
} request_instruments;

/* A training is given up in its second half where the running mean of its loss less the reference's
 * is above `hopeless`. */
typedef struct request_limit {
  const double *losses; /* the reference's, [steps]; NULL: never given up */
  double hopeless;
} request_limit;

typedef struct evaluation_request {
  int64_t id; /* the asker's: records have it */
  request_kind kind;
  /* What the record is kept under: an evaluation's key, or the name of a timing run. */
  char key[65];
  char policy[65];                    /* hash */
  char condition[65];                 /* hash; of an evaluation */
  const mpt_layer_policy *assignment; /* [layers] */
  mpt_loss_scale_policy loss_scale;
  uint64_t seed;
  int64_t steps;    /* a schedule is compressed to them, never cut off; not of a time */
  char purpose[16]; /* "reference", "candidate", ... */
  request_instruments instruments; /* of REQUEST_OBSERVE */
  bool in_turn;                    /* of a time: beside others, A B A B, on one device */
  request_limit limit;
} evaluation_request;

/* What an instrumented training saw. */
typedef struct observation {
  store_statistics *statistics; /* [count] */
  int count;
  store_scores scores; /* its layers' names stay as long as the evaluator does */
} observation;

/* Adds a row; false when there is no memory. */
bool observation_add(observation *seen, const store_statistics *row);

/* What a request came to. `status` other than MPT_OK says that it came to nothing: a device that
 * failed or has too little memory, an interruption; `error` has the words. A training that diverged
 * or was given up is MPT_OK, and its evaluation says so. */
typedef struct evaluation_record {
  int64_t id;
  bool recalled; /* by the asker, from what it keeps: false for an evaluator */
  mpt_status status;
  mpt_error error;
  store_evaluation evaluation; /* its id is 0: the store gives one */
  timing_run time;             /* seconds are NaN where none was measured */
  observation seen;
} evaluation_record;
void evaluation_record_clear(evaluation_record *record);

/* What an evaluator cannot do, and the search does without. */
enum {
  /* An observation has no scores and no statistics: no format is vetoed, and all are thought to
   * cost nothing until they were measured. */
  EVALUATOR_NO_SCORES = 1,
  /* No REQUEST_TIME: a policy's time is predicted until a training of it has measured it. */
  EVALUATOR_NO_TIMES = 2
};

typedef struct evaluator_description {
  const char *name;
  unsigned lacks; /* a bit for each of these */
  int capacity;   /* requests in flight; one more is refused: MPT_ERROR_BUSY */
} evaluator_description;

/* Called while a request is carried out, at every step that the evaluator hears of; `step` counts
 * from 0. It may cancel. */
typedef void evaluator_progress(void *context, int64_t id, int64_t step, int64_t steps);

typedef struct evaluator evaluator;
typedef struct evaluator_table {
  void (*describe)(const evaluator *e, evaluator_description *description);
  mpt_status (*submit)(evaluator *e, const evaluation_request *request, mpt_error *error);
  /* *found is false when nothing is in flight. The caller clears *record. */
  mpt_status (*poll)(evaluator *e, evaluator_progress *progress, void *context, bool *found,
                     evaluation_record *record, mpt_error *error);
  void (*cancel)(evaluator *e, int64_t id); /* one that is not in flight: nothing */
  void (*close)(evaluator *e);
} evaluator_table;

/* Each evaluator's own struct begins with this one. */
struct evaluator {
  const evaluator_table *table;
};

void evaluator_describe(const evaluator *e, evaluator_description *description);
mpt_status evaluator_submit(evaluator *e, const evaluation_request *request, mpt_error *error);
mpt_status evaluator_poll(evaluator *e, evaluator_progress *progress, void *context, bool *found,
                          evaluation_record *record, mpt_error *error);
void evaluator_cancel(evaluator *e, int64_t id);
void evaluator_close(evaluator *e); /* NULL is allowed */

#endif
