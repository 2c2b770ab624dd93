/* What the files of bench_horizon share: the bench, its policies, its store. */
#ifndef HORIZON_H
#define HORIZON_H

#include "base/json.h"
#include "base/text.h"
#include "train/trainer.h"

/* ---- horizon_policies.c ---- */
enum { HORIZON_REFERENCE, HORIZON_ALL_FP8, HORIZON_RUNS = 6, HORIZON_POLICIES };

extern const char *const horizon_policy_names[HORIZON_POLICIES];

/* The index of the layer "head", which the policies are about; -1 where there is none. */
int horizon_head(const graph *g);
/* `fast`: fp8 fprop with fast sums, as mptune's own all-fp8 has on tensor cores that differ. The
 * policies behind HORIZON_RUNS are for forks alone. */
void horizon_assign(const workload *w, const graph *g, bool fast, int policy,
                    mpt_layer_policy *assignment);

/* ---- horizon_store.c: lines of JSON in DIR/horizon.jsonl, only added to, each by one write ----
 */
typedef struct horizon_store {
  char path[4096];
  json_t **records;
  int count, capacity;
} horizon_store;

/* A last line that a crash cut short is taken off; another line that is no JSON is an error. */
mpt_status horizon_store_open(horizon_store *s, const char *directory, mpt_error *error);
void horizon_store_close(horizon_store *s);
/* Takes `record`. */
mpt_status horizon_store_add(horizon_store *s, json_t *record, mpt_error *error);
/* The record of that kind; policy NULL, seed and step -1: any. NULL where there is none. */
const json_t *horizon_find(const horizon_store *s, const char *kind, const char *policy,
                           int64_t seed, int64_t step);

/* Members of a record: 0 or NaN where there is none. */
int64_t horizon_integer(const json_t *record, const char *name);
double horizon_real(const json_t *record, const char *name);
/* Element i of a list of numbers. */
double horizon_number(const json_t *record, const char *list, int64_t i);
int64_t horizon_length(const json_t *record, const char *list);

/* ---- horizon_bias.c ---- */
/* What rounding the head's gradient does to its sum over the classes, from the layer probe at a
 * training step of the reference: a member for each way to round, all in units of p - y. `labels`
 * has a label for each of grad's rows. */
mpt_status horizon_bias(mpt_queue *queue, const mpt_tensor *input, const mpt_tensor *weight,
                        const mpt_tensor *grad, const int32_t *labels, json_t **out,
                        mpt_error *error);

/* ---- horizon_report.c ---- */
void horizon_report(const horizon_store *s);

#endif
