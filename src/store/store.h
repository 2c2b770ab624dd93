/* The run store: everything a search learned, in RUN/run.sqlite (WAL). Reports and the frontier are
 * made from it alone; a killed search continues from it.
 *
 * Every put is one transaction, durable when it returns. Texts and arrays that come out are owned
 * by the caller and freed with free(), or by the record's clear function.
 */
#ifndef STORE_H
#define STORE_H

#include "base/arena.h"
#include "mptune/mptune.h"

typedef struct store store;

/* A name and what belongs to it. */
typedef struct store_pair {
  const char *name, *text;
} store_pair;

typedef enum store_access { STORE_WRITE, STORE_READ } store_access;

/* Opens or (STORE_WRITE) makes the directory and the store in it. A writer holds a lock for its
 * life: MPT_ERROR_BUSY names the process that has it. MPT_ERROR_VERSION when a newer mptune wrote
 * it, MPT_ERROR_IO when the directory is read-only or the disk full. A store of an older schema is
 * brought up to this one: in the file by a writer, in memory by a reader. */
mpt_status store_open(const char *directory, store_access access, store **out, mpt_error *error);
void store_close(store *s); /* NULL is allowed */

/* The policies that were evaluated, by the hash of their canonical text: one line for each layer,
 * "name formats" (mpt_layer_policy_text), and a line "loss_scale MODE INITIAL" where that is not
 * the workload's. */
typedef struct store_policy {
  char hash[65];
  char label[64];                               /* "all-fp8", "candidate 3" */
  char *assignment;                             /* canonical text */
  double predicted_seconds, predicted_increase; /* NaN: none */
} store_policy;
mpt_status store_put_policy(store *s, const store_policy *policy, mpt_error *error);
/* The same, but one that is there keeps its label and what was predicted of it. */
mpt_status store_add_policy(store *s, const store_policy *policy, mpt_error *error);
/* The label that a policy has; *label is NULL where there is no such policy, else the caller's. */
mpt_status store_policy_label(store *s, const char *hash, char **label, mpt_error *error);
/* Whether a policy of another hash has that label. */
mpt_status store_label_taken(store *s, const char *label, const char *hash, bool *taken,
                             mpt_error *error);

/* Everything beside policy and seed that decides what a training comes to. Evaluations are compared
 * only under one condition and seed. */
typedef struct store_condition {
  char hash[65];     /* of the rest: store_condition_hash */
  char training[65]; /* hash of the workload's training part */
  char data[65];     /* hash of the data's content */
  int64_t steps;
  char numerics[512]; /* backend with its numerics version, threads, libraries, device */
} store_condition;
void store_condition_hash(store_condition *condition);
/* Does nothing where it is there. */
mpt_status store_put_condition(store *s, const store_condition *condition, mpt_error *error);
/* Free the array with free(). */
mpt_status store_all_conditions(store *s, store_condition **conditions, int *count,
                                mpt_error *error);

/* What saturated and vanished in an operand of a layer over all its casts. */
typedef struct store_counter {
  const char *layer;
  mpt_operand operand;
  int64_t cast, saturated, vanished;
  bool blamed; /* the training diverged, and here a value was not finite first */
} store_counter;
typedef struct store_counters {
  mpt_arena memory; /* what was read, or made */
  const store_counter *rows;
  int count;
} store_counters;

/* One training run. The key is SHA-256 over policy, condition, seed and loss scale: the same key is
 * never trained twice. */
typedef struct store_evaluation {
  int64_t id; /* set by the store */
  char key[65];
  char policy[65];    /* hash of a stored policy */
  char condition[65]; /* hash of a stored condition; "" in runs of schema 1: not known */
  char purpose[16];   /* reference, uniform, candidate, verify, eval */
  uint64_t seed;
  int64_t steps, steps_done;
  bool diverged, stopped;
  double metric, metric_plain, held_out_loss; /* NaN if there is none */
  double output_difference;
  double host_seconds; /* median step on the machine that ran it; emulated formats mean nothing */
  double total_seconds;
  size_t memory_bytes;
  char *failure;  /* why it diverged, or NULL */
  double *losses; /* [loss_count] */
  int64_t loss_count;
  store_counters counters;
  int64_t time; /* Unix, when it ended */
  /* Of a metric that moves in steps, what each held-out sample contributed to it: accuracy's are 0
   * or 1, bit i % 8 of right[i / 8]; f1's are numbers whose mean it is. */
  int64_t judged; /* samples; 0: another metric, or not kept */
  uint8_t *right;
  float *contributions; /* [judged] */
  double unit;          /* the most that one sample's judgement changes its contribution; NaN */
} store_evaluation;
void store_evaluation_clear(store_evaluation *evaluation);
mpt_status store_put_evaluation(store *s, const store_evaluation *evaluation, mpt_error *error);
/* *found says whether there was one. */
mpt_status store_find_evaluation(store *s, const char *key, bool *found,
                                 store_evaluation *evaluation, mpt_error *error);
/* All of them, by id; free each with store_evaluation_clear and the array with free. */
mpt_status store_all_evaluations(store *s, store_evaluation **evaluations, int *count,
                                 mpt_error *error);
mpt_status store_all_policies(store *s, store_policy **policies, int *count, mpt_error *error);

/* The policies that verification set out to look at under a condition, in the order in which they
 * were written down before their first fresh seed. */
typedef struct store_attempt {
  char condition[65], policy[65];
  int position;        /* from 1 */
  double weight;       /* share of the search's alpha; those of a condition add up to 1 at most */
  uint64_t first_seed; /* its pairs have this seed and those after it */
} store_attempt;
/* All of them or none. MPT_ERROR_ARGUMENT for a position or policy that is there already. */
mpt_status store_put_attempts(store *s, const store_attempt *attempts, int count, mpt_error *error);
/* By condition and position; free the array with free(). */
mpt_status store_all_attempts(store *s, store_attempt **attempts, int *count, mpt_error *error);

/* Wall time of the processes that searched in this run: begun once, kept up to date as they go. */
mpt_status store_begin_process(store *s, int64_t *id, mpt_error *error);
mpt_status store_put_process(store *s, int64_t id, double seconds, mpt_error *error);
/* Of all but the process `except`. */
mpt_status store_process_seconds(store *s, int64_t except, double *seconds, mpt_error *error);

/* The runs that a measured step time is made of (timing_runs.h). */
typedef struct store_run {
  const char *run; /* its name */
  double seconds, deviation;
  int64_t steps;
  bool in_turn;
} store_run;
/* What a step time is made of; NaN where it is not known. */
typedef struct store_parts {
  mpt_arena memory;      /* what was read */
  const store_run *runs; /* [run_count]: measured */
  int run_count;
  double noise;                               /* relative standard error over the runs */
  double gemms, copies, passes, extrapolated; /* predicted: seconds; a share of them */
} store_parts;
/* Step times of a policy on a device, apart from metrics: measured or predicted. */
typedef struct store_time {
  char policy[65];
  char device[256]; /* device, driver and library versions, or the profile's identity */
  bool measured;
  double seconds;
  store_parts parts;
} store_time;
void store_time_clear(store_time *time);
mpt_status store_put_time(store *s, const store_time *time, mpt_error *error);
mpt_status store_find_time(store *s, const char *policy, const char *device, bool *found,
                           store_time *time, mpt_error *error);
/* The device on which the policy's step was measured, of several the first by name; *device is
 * freed by the caller, and NULL where there is none. */
mpt_status store_measured_device(store *s, const char *policy, char **device, mpt_error *error);

/* Statistics of one layer, operand and step of the run with that evaluation key. */
mpt_status store_put_statistics(store *s, const char *key, int64_t step, const char *layer,
                                mpt_operand operand, const mpt_statistics *statistics,
                                mpt_error *error);
typedef struct store_statistics {
  int64_t step;
  char layer[MPT_MAX_NAME];
  mpt_operand operand;
  mpt_statistics statistics;
} store_statistics;
/* Of the run with that key, or of all runs when NULL; ordered by step, insertion. */
mpt_status store_all_statistics(store *s, const char *key, store_statistics **rows, int *count,
                                mpt_error *error);

/* MPT_ERROR_DAMAGED: "'RUN/run.sqlite' is damaged: <what>; start anew beside it (--fresh)". */
mpt_status store_damaged(const store *s, mpt_error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Groups several puts into one transaction (a run's statistics): nothing is visible before end. */
mpt_status store_begin(store *s, mpt_error *error);
mpt_status store_end(store *s, mpt_error *error);
void store_cancel(store *s); /* takes back the group that is open, if one is */

/* SHA-256 of text, in hex: 64 characters and a NUL. */
void store_hash(const char *text, size_t length, char hex[65]);

#endif
