/* What the stages of a search share. Private to tuner/. */
#ifndef SEARCH_H
#define SEARCH_H

#include "store/notes.h"
#include "train/graph.h"
#include "tuner/calibration.h"
#include "tuner/evaluators/evaluator.h"
#include "tuner/evidence.h"
#include "tuner/label.h"
#include "tuner/place.h"
#include "tuner/space.h"
#include "tuner/step_times.h"
#include "tuner/tuner.h"

#define SEARCH_FRESH_SEEDS 1000ULL /* verification seeds begin this far above the search's */
#define SEARCH_EQUAL_TIME  0.005   /* times within this share are the same, or within noise */

/* A policy that the search looks at. */
typedef struct candidate {
  mpt_layer_policy *assignment; /* [graph layers] */
  int *choice;                  /* [units]; NULL when it is not in the space (excluded, pinned) */
  mpt_loss_scale_policy loss_scale; /* the workload's, unless a policy file says another */
  char hash[65];                    /* of its canonical text: candidate_text */
  char label[LABEL_SIZE];
  bool uniform;
  mpt_precision precision; /* uniform ones */
  bool permitted;
  bool written;      /* was policy.yaml once */
  cost_parts cost;   /* at the priced size; `total` corrected by what was measured */
  double seconds;    /* a step: measured, else cost.total */
  timing timed;      /* what was measured of it, on the device at hand */
  char untimed[256]; /* why it could not be timed or trained here, or "" */
  double predicted;  /* increase, metric units, worse is positive, when it was chosen */
  int seed_count;    /* search seeds trained: 0..seed_count-1 of the reference's */
  double
      difference[WORKLOAD_MAX_SEEDS]; /* candidate - reference, worse is positive; Inf diverged */
  double metric_sum;                  /* over search seeds that did not diverge */
  size_t memory_bytes;
  mpt_verdict verdict; /* of verification; unverified before it has looked */
  evidence seen;       /* what the records say: after a look of verification, and at the end */
} candidate;

typedef struct search {
  const workload *w;
  const tuner_options *options;
  char training_hash[65];
  store_condition condition; /* of every evaluation of this search */
  int64_t process;           /* this one, in the store */
  char profile_identity[256];
  place place;
  calibration calibration;
  double equal_time; /* a share: times closer than this are the same */
  dataset *data;
  graph *graph;  /* as trained */
  graph *priced; /* as priced; the same layers */
  profile *profile;
  space *space;
  evaluator *evaluator; /* who carries out the requests */
  bool owns_evaluator;
  int64_t requests; /* made so far: the last one's id */
  store *store;     /* NULL in a dry run */
  bool owner;       /* of the run's notes */

  int64_t steps; /* of every evaluation */
  double sign;   /* +1: a larger metric is worse (loss); -1 */
  double margin; /* the budget in metric units */

  candidate reference;
  int reference_seeds;    /* R, once all of them are trained */
  int reference_diverged; /* seeds that were tried beside them */
  uint64_t reference_seed[WORKLOAD_MAX_SEEDS];
  double reference_metric[WORKLOAD_MAX_SEEDS];
  bool may_give_up;         /* hopeless candidates end early */
  double *reference_losses; /* of the first seed, [steps] */
  char observed_key[65];    /* of the same run */
  double reference_mean, reference_deviation;
  double noise;   /* deviation of a paired difference, metric units */
  double ceiling; /* predicted increase that the next policy to be verified may have: the margin at
                     first, less after every policy that did not pass */

  candidate **candidates;
  int candidate_count, candidate_capacity;
  int trainings;           /* distinct (policy, seed) candidate trainings before verification */
  const candidate *best;   /* search_best at the last decision, for the progress line */
  int trained_now;         /* of any purpose, in this process */
  int finished;            /* evaluations, trained or found in the store */
  int planned;             /* how many there may be in all, for the progress line */
  double finished_seconds; /* what they took when they were trained */

  double **increase; /* [unit][choice]: predicted, metric units; INFINITY: vetoed */
  struct predictor *predictor;
  struct sensitivity *sensitivity;

  double started;         /* monotonic seconds */
  double earlier_seconds; /* spent by earlier processes of the same run */
} search;

/* ---- search_open.c ---- */
/* `owner`: a search, whose notes ("definition", "reference") the run's report is about. Others that
 * use the run leave them as they are. */
mpt_status search_open(search *s, const workload *w, const tuner_options *options, bool owner,
                       mpt_error *error);
void search_close(search *s);
/* store_set, but a note that is there stays unless this is the run's owner. */
mpt_status search_note(search *s, const char *name, const char *json, mpt_error *error);

/* ---- search_clock.c ---- */
bool search_interrupted(const search *s);
/* Wall time of the search, by this process and earlier ones; kept in the store at every call. */
mpt_status search_spent(search *s, double *seconds, mpt_error *error);

/* ---- candidate_identity.c ---- */
/* Without fp16 no loss is scaled, so that all scales are one: the workload's. */
mpt_loss_scale_policy candidate_scale(const search *s, const mpt_layer_policy *assignment,
                                      mpt_loss_scale_policy scale);
/* One line for each layer that has a format: "name formats"; and one for the loss scale where it is
 * not the workload's, which all policies of a search have. Freed by the caller; NULL without
 * memory. */
char *candidate_text(const search *s, const mpt_layer_policy *assignment,
                     mpt_loss_scale_policy scale);

/* ---- candidate_price.c ---- */
/* Fills hash, cost and the stored policy of a candidate whose assignment is set. */
mpt_status search_price(search *s, candidate *c, mpt_error *error);

/* ---- candidate.c ---- */
/* A candidate with that assignment and loss scale (s->w->loss_scale in a search): the one there is,
 * or a new one. */
mpt_status search_candidate(search *s, const mpt_layer_policy *assignment,
                            mpt_loss_scale_policy loss_scale, const char *label, candidate **out,
                            mpt_error *error);
double candidate_mean(const candidate *c); /* of difference[]; NaN when none */
void candidate_clear(candidate *c);

/* ---- evaluation_key.c ---- */
void evaluation_key(const search *s, const candidate *c, uint64_t seed, char key[65]);
/* The store's record of that training. */
mpt_status evaluation_find(search *s, const candidate *c, uint64_t seed, const char *key,
                           bool *found, store_evaluation *e, mpt_error *error);

/* ---- carry_out.c: requests to the evaluator ---- */
/* Of full length. An empty purpose shows no progress. */
evaluation_request search_request(search *s, const candidate *c, request_kind kind, uint64_t seed,
                                  const char *purpose);
/* Submits it and waits for its record, whose status is returned, MPT_ERROR_INTERRUPTED after a
 * signal; the caller clears it where that is MPT_OK. */
mpt_status search_carry_out(search *s, const evaluation_request *request, const char *label,
                            evaluation_record *record, mpt_error *error);
void progress_show(const search *s, const evaluation_request *r, const char *label, int64_t step,
                   int64_t steps); /* progress_line.c */

/* ---- faults.c ---- */
/* A failure of the device ends the process: says that the same command continues. */
mpt_status search_failed_device(mpt_status status, mpt_error *error);
/* A candidate that does not fit into the device's memory failed; without the reference there is
 * nothing to compare with. */
mpt_status fault_memory(search *s, const candidate *c, store_evaluation *evaluation,
                        mpt_error *error);
/* An evaluation in which the device failed: the second time it is recorded as failed. */
mpt_status fault_note(search *s, const candidate *c, const evaluation_request *r,
                      const mpt_error *why, mpt_error *error);

/* ---- evaluate.c: one training, or its record ---- */
/* Trains `c` under `seed` unless the store has it, and times it where times are measured; the
 * record is cleared by the caller. `instruments` may be NULL. Hopeless runs are stopped early for
 * purpose "candidate" alone. MPT_ERROR_INTERRUPTED after a signal. */
mpt_status search_train(search *s, candidate *c, uint64_t seed, const char *purpose,
                        const request_instruments *instruments, store_evaluation *evaluation,
                        mpt_error *error);
/* Trains it under its next search seed and notes the difference. */
mpt_status search_try(search *s, candidate *c, mpt_error *error);
typedef enum standing { STANDING_UNKNOWN, STANDING_MEETS, STANDING_FAILS, STANDING_CLOSE } standing;
/* Against the budget, after its search seeds and verification: adjust.c. */
standing candidate_standing(const search *s, const candidate *c);
/* The step time that a policy must stay below to be of use: the reference's, where it is permitted.
 */
double search_limit(const search *s);
/* The fastest that meets the budget so far, or NULL: adjust.c. */
candidate *search_best(const search *s);

/* ---- timing.c: measured step times; nothing where times are predicted ---- */
/* A few steps of a policy that was not timed yet. One that does not fit says so in c->untimed. */
mpt_status timing_measure(search *s, candidate *c, mpt_error *error);
/* The time of the training with that key: `run`, or (NULL) what the store has of it; measured now
 * where that is nothing. */
mpt_status timing_of_training(search *s, candidate *c, const char *key, const timing_run *run,
                              mpt_error *error);
/* The fastest of them, where others come close, again and in turn: A B A B A B. Sorts them. */
mpt_status timing_in_turn(search *s, candidate **finalists, int count, int attempt,
                          mpt_error *error);
/* Calibration, prices and times after something was measured. */
mpt_status timing_refresh(search *s, mpt_error *error);
/* Says so when the policy's step times vary more than those of a GPU of one's own. */
void timing_warn_of_noise(const search *s, const candidate *c);

/* ---- the stages ---- */
mpt_status stage_reference(search *s, mpt_error *error);   /* reference.c, with observe.c */
mpt_status stage_sensitivity(search *s, mpt_error *error); /* sensitivity.c */
mpt_status stage_adjust(search *s, mpt_error *error);      /* adjust.c */
/* The same after `c` did not pass verification, which taught something. */
mpt_status stage_adjust_again(search *s, candidate *c, mpt_error *error);
/* Its increase as predicted from all that was measured so far; INFINITY when vetoed. */
mpt_status search_predict(search *s, const candidate *c, double *increase, mpt_error *error);
/* c->seen of every candidate and the reference, from the records. */
mpt_status search_see(search *s, mpt_error *error); /* verification.c */
/* The records of this search, to be cleared by the caller. */
mpt_status search_records(const search *s, evidence_records *records, mpt_error *error);
/* *winner is NULL when nothing permitted passes. */
mpt_status stage_verify(search *s, candidate **winner, mpt_error *error); /* verification.c */
/* MPT_ERROR_MISMATCH where the search's seeds are among those that were written down for
 * verification, whose pairs would then be none that the search has not seen. */
mpt_status verification_keeps_seeds(search *s, mpt_error *error);
mpt_status stage_write(search *s, candidate *winner, tuner_summary *summary,
                       mpt_error *error); /* write.c */

/* ---- observe.c: the instrumented reference run ---- */
/* Statistics and sensitivity measurements of the reference under its first seed, into the store;
 * does nothing when they are there. *evaluation is the run's record. */
mpt_status observe_reference(search *s, store_evaluation *evaluation, mpt_error *error);
/* Puts what the run with that key saw into the store; whether it is there: a run that was not
 * instrumented is trained again. */
mpt_status observation_keep(search *s, const char *key, const observation *seen, mpt_error *error);
mpt_status observation_kept(search *s, const char *key, bool *kept, mpt_error *error);

/* ---- dry_run.c ---- */
mpt_status search_dry_run(search *s, tuner_summary *summary, mpt_error *error);

/* ---- sensitivity.c: what rounding costs each layer, from what evaluators/score_probe.c measured
 * ---- */
typedef struct layer_score {
  double forward;  /* expected increase of the training loss; fprop only */
  double backward; /* gradient variance by rounding over variance across batches; the others */
  char veto[160];  /* why this precision cannot work here, or "" */
} layer_score;
typedef layer_score unit_scores[MPT_GEMM_COUNT][MPT_PRECISION_COUNT];
typedef struct sensitivity {
  int unit_count;
  unit_scores *unit;
  double forward_weight, backward_weight; /* c1, c2: metric units for each unit of score */
} sensitivity;
mpt_status sensitivity_load(search *s, mpt_error *error);
void sensitivity_free(sensitivity *s);
/* Fits c1 and c2 to the uniform policies trained so far, and gives the predictor its priors. */
mpt_status sensitivity_fit(search *s, mpt_error *error);
/* Predicted from the scores alone, whatever was measured since. */
double sensitivity_score(const search *s, int unit, const mpt_layer_policy *formats);
/* Why a unit should not have one of its choices, though nothing else may be permitted; or NULL. */
const char *sensitivity_choice_veto(const search *s, int unit, int choice);
/* Whether the policy has a format that is vetoed where it has it; why, or NULL. */
const char *sensitivity_veto_of(const search *s, const candidate *c);
/* INFINITY in s->increase where a choice is vetoed; 0 elsewhere. */
void sensitivity_vetoes(search *s);

/* ---- predictor.c: increases by Bayesian linear regression on what was measured ---- */
typedef struct predictor predictor;
/* Prior mean of each (unit, gemm, precision) and its deviation; observations y = sum + noise. */
mpt_status predictor_open(const space *s, predictor **out, mpt_error *error);
void predictor_close(predictor *p);
void predictor_prior(predictor *p, int unit, mpt_gemm_kind gemm, mpt_precision precision,
                     double mean, double deviation);
/* Replaces what was observed of the assignment `choice`: the mean of n paired differences. */
mpt_status predictor_observe(predictor *p, const int *choice, double mean, double noise_deviation,
                             mpt_error *error);
/* Posterior means, at least 0, of every choice of every unit, shifted down by `optimism` posterior
 * deviations. increase[unit][choice] keeps INFINITY. */
mpt_status predictor_increases(predictor *p, double optimism, double *const *increase,
                               mpt_error *error);

/* ---- reasons.c: why a layer has its format, in words ---- */
struct json_t;
mpt_status reasons_make(search *s, const candidate *winner, struct json_t **reasons,
                        mpt_error *error);

/* ---- rows.c: what is said of a policy in tables ---- */
tuner_row search_row(const search *s, const candidate *c);
/* Those of the summary: the policies that its message speaks of, the uniform ones, the reference.
 */
mpt_status search_rows(const search *s, const candidate *winner, const candidate *written,
                       tuner_summary *summary, mpt_error *error);

/* ---- outcome.c: what the search came to ---- */
/* The policy that most people would train in without a search: the fastest uniform one of 16 bits
 * that nothing speaks against, the winner itself where it is one; the reference where there is
 * none. */
const candidate *outcome_otherwise(const search *s, const candidate *winner);
/* What was trained on: "1 to 3 in the search, 9 fresh pairs from 1001". Seeds under which the
 * reference diverged are not among the search's: "3 of 1 to 4". */
#define OUTCOME_SEEDS_SIZE 120
void outcome_seeds(const search *s, const candidate *c, char text[OUTCOME_SEEDS_SIZE]);
/* The fastest that verification could not settle; NULL. */
const candidate *outcome_undecided(const search *s);
/* A paragraph for people; NULL when there is no memory. */
char *outcome_message(const search *s, const candidate *winner, const candidate *written,
                      const tuner_summary *summary);

/* ---- write_policy.c ---- */
/* policy.yaml from the moment there is a candidate. */
mpt_status write_policy(search *s, const candidate *c, mpt_verdict verdict, mpt_error *error);

/* ---- winner_note.c ---- */
/* `winner` is NULL where nothing is gained, `written` where no policy was written. */
mpt_status write_winner_note(search *s, const candidate *winner, const candidate *written,
                             mpt_verdict verdict, const tuner_summary *summary, mpt_error *error);

#endif
