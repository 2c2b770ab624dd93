/* The search: reference, observe, sensitivity, cost, frontier, adjust, verify, write. */
#ifndef TUNER_H
#define TUNER_H

#include "tuner/evidence.h"
#include "workload/workload.h"
#include <jansson.h>

typedef struct tuner_options {
  const char *run;          /* directory */
  const char *target;       /* overrides the workload's, or NULL; "here": measured */
  const char *backend;      /* "cpu", "cuda", "auto"; NULL: auto */
  int device_index;         /* of the backend */
  bool force;               /* a profile of this device that was measured with other versions */
  bool baselines;           /* rules that other tools go by are evaluated too; always on a GPU */
  const char *command;      /* as typed, for provenance */
  uint64_t seed;            /* of the search, default 1 */
  int max_evaluations;      /* candidate trainings before verification, default 26 */
  double max_seconds;       /* 0: none */
  double limit;             /* seconds of a run of a program; 0: by the reference's */
  double alpha;             /* default 0.05 */
  int pairs;                /* of a policy that is verified, at most: 4, 6, 9, 13, 18 or 24; 13 */
  int64_t evaluation_steps; /* horizon of the search's evaluations, 0: the workload's steps */
  bool emulated_times;      /* for tests: `here` on the cpu backend too, whose times mean nothing */
  const volatile int *interrupted; /* set by a signal: save and return MPT_ERROR_INTERRUPTED */
  struct evaluator *evaluator;     /* who trains, or NULL: the built-in trainer */
  /* Of a workload that a program trains: what it said of itself. `evaluator` runs it. */
  const struct command_program *program;
  bool dry_run;
} tuner_options;
tuner_options tuner_options_default(void);

typedef struct tuner_row { /* winner and uniform policies, for the summary */
  char label[64];
  char policy[65];            /* its hash */
  double step_seconds, ratio; /* to the reference */
  double predicted_seconds;   /* the same where step_seconds is no measurement */
  bool measured;
  evidence seen;
  mpt_verdict verdict;   /* of verification; the reference is none: `reference` */
  const char *refused;   /* why it may not be chosen: "excluded", "against a pin", "not native" */
  const char *untrained; /* why it was not trained, where it was not; NULL */
  bool winner, reference;
  size_t memory_bytes; /* 0: not known at the size that is priced */
} tuner_row;
/* Its verdict or what stands in place of one: "reference", "pass", "excluded", "timed only". */
const char *tuner_row_verdict(const tuner_row *row);
/* The row as an object, as reports and --json have it. */
json_t *tuner_row_json(const tuner_row *row);

/* What a dry run says: what would be trained, and about how long that takes here. */
typedef struct tuner_plan {
  int layers, units;           /* units: layers whose format is chosen */
  int64_t steps;               /* of a training */
  int references, candidates;  /* trainings; of candidates at most */
  int least_pairs, most_pairs; /* of each policy that is verified */
  /* NaN where a step is too long to be tried. */
  double training_seconds, least_seconds, most_seconds;
} tuner_plan;

typedef struct tuner_summary {
  tuner_row *rows;
  int row_count;
  bool relative;         /* the budget, and so how differences are shown */
  bool gain;             /* the winner is not the reference */
  bool found;            /* something permitted meets the budget; else exit 3 */
  bool predicted;        /* times are predicted, not measured */
  bool proxy;            /* priced_as: accuracy verified on the proxy */
  double tuning_seconds; /* wall time spent, resumed parts included */
  /* Of training with the winner after which tuning has paid, beside training as people would have
   * done otherwise: in policy `otherwise`. NaN: never. */
  double payback_seconds;
  char otherwise[64];
  int evaluations; /* distinct candidate trainings before verification */
  char policy_path[512], report_path[512];
  tuner_plan plan; /* of a dry run */
  char *message;   /* a paragraph for people: what was found, what blocks */
} tuner_summary;

mpt_status tuner_run(const workload *w, const tuner_options *options, tuner_summary *summary,
                     mpt_error *error);
void tuner_summary_clear(tuner_summary *summary);

/* Statistics only: one instrumented reference run in the store of options->run; `key` is its own
 * there. A reference that diverges is MPT_OK with `failure` (layer and step), else empty. */
typedef struct tuner_observation {
  char key[65];
  char failure[256];
} tuner_observation;
mpt_status tuner_observe(const workload *w, const tuner_options *options, tuner_observation *seen,
                         mpt_error *error);

/* A policy to evaluate. Its loss is scaled as it says, else as the workload does. */
typedef struct tuner_policy {
  const char *label;
  const mpt_policy *policy;
  bool uniform; /* by its name, all-FORMAT: as the search has it (graph_uniform) */
} tuner_policy;

/* Evaluates policies under `seeds` seeds against the reference; fills rows like tuner_run. */
mpt_status tuner_evaluate(const workload *w, const tuner_options *options,
                          const tuner_policy *policies, int count, int seeds,
                          tuner_summary *summary, mpt_error *error);

#endif
