/* What a run's records say of a policy against the reference, like for like: trainings that differ
 * in the policy alone (one condition, one seed). Whatever is printed of a policy's metric, of its
 * difference to the reference and of its verdict comes from here: table, chart, frontier, JSON and
 * policy file say one number. */
#ifndef EVIDENCE_H
#define EVIDENCE_H

#include "store/store.h"
#include "tuner/verify.h"

/* Records of a run, and how they are judged. */
typedef struct evidence_records {
  store_evaluation *evaluations;
  store_attempt *attempts;
  int evaluation_count, attempt_count, evaluation_capacity;
  char condition[65]; /* evaluations of others are not looked at */
  char reference[65]; /* the reference's policy */
  verify_rule rule;   /* of what is compared; alpha: of the whole search */
  bool of_error;      /* accuracy and f1: a relative budget is of 1 - metric */
  bool in_steps;  /* the metric moves in steps: pairs whose samples are not known bound nothing */
  bool laid_out;  /* evaluations' contributions are those that are compared */
  int most_pairs; /* of verification: 4, 6, 9, 13, 18 or 24 */
} evidence_records;

/* Of the run that the store's notes are about. MPT_ERROR_NOT_FOUND before there is one. The caller
 * clears *records, also after a failure. */
mpt_status evidence_load(store *s, evidence_records *records, mpt_error *error);
/* The evaluations and attempts alone; the rest is the caller's. */
mpt_status evidence_load_records(store *s, evidence_records *records, mpt_error *error);
void evidence_clear(evidence_records *records);
/* One that was put into the store just now, and policies that were written down: what loading would
 * add. *evaluation is handed over. */
mpt_status evidence_add(evidence_records *records, store_evaluation *evaluation, mpt_error *error);
mpt_status evidence_add_attempts(evidence_records *records, const store_attempt *attempts,
                                 int count, mpt_error *error);
/* Whether an evaluation has that key. */
bool evidence_has(const evidence_records *records, const char *key);

/* NaN for what there is no pair to tell. */
typedef struct evidence {
  bool fresh;             /* from the pairs of verification; else from all that were trained */
  int pairs;              /* in which both trainings finished */
  int diverged, given_up; /* trainings of the policy that did not */
  int reference_diverged; /* of the reference, under the same seeds */
  double metric, reference_metric; /* means over the pairs */
  double worse;                    /* mean difference in the metric's units, worse is positive */
  double deviation;                /* of the differences; NaN for fewer than two */
  bool relative;                   /* the interval is of worse_share, else of worse */
  double worse_share;              /* the same over the mean of what a relative budget is of */
  verify_interval interval;        /* 95%, as the budget is given; of verified policies its bound */
  double confidence;               /* of the upper end: one-sided */
  bool attempted;                  /* verification has begun */
  verify_result verified;          /* of fresh pairs, where it has */
  double weight;                   /* of the attempt */
  uint64_t first_seed;
} evidence;

mpt_status evidence_of(const evidence_records *records, const char *policy, evidence *out,
                       mpt_error *error);
/* The same, of the first `most` pairs of its verification alone: others may have ended by now. */
mpt_status evidence_after(const evidence_records *records, const char *policy, int most,
                          evidence *out, mpt_error *error);

/* As reports and --json have it. */
struct json_t *evidence_json(const evidence *e);

/* The evaluation of the reference under the same condition and seed; NULL. */
const store_evaluation *evidence_pair(const evidence_records *records, const store_evaluation *e);
/* metric - reference's, worse is positive; NaN where there is no such pair. */
double evidence_difference(const evidence_records *records, const store_evaluation *e);
/* The same over what a relative budget is of. */
double evidence_difference_share(const evidence_records *records, const store_evaluation *e);

/* The attempt at a policy under the records' condition; NULL. */
const store_attempt *evidence_attempt(const evidence_records *records, const char *policy);
/* The pairs of an attempt, in the order of their seeds: pairs[VERIFY_MOST_TRIED]; how many. */
int evidence_fresh_pairs(const evidence_records *records, const store_attempt *attempt,
                         verify_pair *pairs);
/* The rule by which an attempt is judged: its share of alpha, and the least deviation that the
 * pairs of the search let one believe. */
verify_rule evidence_rule(const evidence_records *records, const store_attempt *attempt);

#endif
