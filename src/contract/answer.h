/* What a program has said in one run, event by event: the rules of order, and what comes of it. */
#ifndef ANSWER_H
#define ANSWER_H

#include "contract/event.h"

/* What was asked, by which it is judged. */
typedef struct answer_terms {
  int64_t start, until;         /* the steps to run: [start, until) */
  const char *metric;           /* the name of the metric that counts */
  const mpt_layer_info *layers; /* [layer_count], as said before; NULL: none yet */
  int layer_count;
  const mpt_layer_policy *formats; /* [layer_count]: what each layer must have */
  const mpt_policy *policy;        /* the same where no layers are known yet; NULL: not asked */
} answer_terms;

typedef struct answer {
  answer_terms terms;
  bool heard[EVENT_KIND_COUNT];
  event_hello hello;   /* owned */
  event_layers layers; /* owned */
  int *by_name;        /* [layers.count]: their indices in the order of their names; owned */
  double *losses;      /* of step start + i; NaN where it was not said or not finite; owned */
  double *seconds;     /* of those that were said, in their order; owned */
  int64_t loss_count, second_count;
  int64_t capacity, second_capacity;
  int64_t last_step;      /* -1: none */
  int64_t nonfinite_step; /* the first step whose loss is not finite; -1 */
  event_place nonfinite;  /* the first that was said; step -1 */
  int64_t skipped;
  event_time time;
  double metric; /* of that name, the last that was said; NaN: none, or not finite */
  bool metric_heard, larger_is_better;
  char other_metric[64]; /* a name that it said instead, or "" */
} answer;

void answer_begin(answer *a, const answer_terms *terms);
void answer_end(answer *a);
/* Begins one with what was said before in another: hello and layers. */
mpt_status answer_adopt(answer *a, const answer *from, mpt_error *error);

/* Takes in what the event says; what it points to may become the answer's. The error has words
 * without a place: the caller knows the line. MPT_ERROR_MISMATCH for layers that are not those of
 * before, and formats that are not those that were asked. */
mpt_status answer_take(answer *a, event *e, mpt_error *error);

/* Whether a run that is over has said what it must. */
mpt_status answer_check_end(const answer *a, mpt_error *error);

/* The index of a layer, -1 where there is none of that name. */
int answer_layer(const answer *a, const char *name);

/* ---- applied.c ---- */
/* MPT_ERROR_MISMATCH names the first layer, and product, that is not as it was asked. */
mpt_status applied_check(const mpt_layer_info *layers, const mpt_layer_policy *asked, int count,
                         const event_applied *applied, mpt_error *error);
/* The same of the layers of two runs. */
mpt_status layers_check(const mpt_layer_info *before, int before_count, const event_layers *now,
                        mpt_error *error);

#endif
